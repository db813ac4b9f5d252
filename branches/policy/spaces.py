"""Action spaces: what a policy is told of the body at t0, and how its numbers become an answer in physical units."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.actions.hand_pose import ANSWER_WIDTH, RANKED, SIDES, WIDTH, answer_of, lift
from harness.episode import BoolArray
from harness.tasks.base import Task
from harness.tasks.hand_action import HandActionChunk
from harness.tasks.horizon import hold_last
from harness.window import View

STATE = "state"


class Space(ABC):
    """One action space of one task.

    Attributes:
        id: Name for the artifact.
        width: Numbers of one action as the policy sees it.
    """

    id: str
    width: int

    @abstractmethod
    def state(self, task: Task, view: View) -> tuple[NDArray[np.float32], BoolArray]:
        """(B, S) what the body is known to do at t0, physical units; (B,) False where a policy cannot be asked."""

    @abstractmethod
    def last(self, task: Task, view: View) -> NDArray[np.float64]:
        """(B, width) the action observed last, 0 where none was."""

    @abstractmethod
    def actions(self, values: NDArray, mask: BoolArray) -> tuple[NDArray[np.float32], BoolArray]:
        """(n, H, D) targets and their mask -> (n, H, width) actions and theirs."""

    @abstractmethod
    def answer(self, task: Task, view: View, actions: NDArray[np.float64]) -> NDArray[np.float32]:
        """(B, H, width) actions -> (B, H, D) answers."""


class CommandSpace(Space):
    """A robot's commands as they are; the state is the robot's, or the last command where none is recorded."""

    id = "command"

    def __init__(self, width: int) -> None:
        self.width = width

    def state(self, task: Task, view: View) -> tuple[NDArray[np.float32], BoolArray]:
        """(B, S) the measured state at t0."""
        if STATE in view.tracks:
            track = view.tracks[STATE]
            values = track.values[:, -1].reshape(len(track.values), -1)
            known = track.valid[:, -1] & np.isfinite(values).all(axis=1)
            return np.where(known[:, None], values, 0.0).astype(np.float32), known
        held, measured = hold_last(*task.history(view))
        return held.astype(np.float32), np.asarray(measured.all(axis=1), bool)

    def last(self, task: Task, view: View) -> NDArray[np.float64]:
        """The last command before t0."""
        return np.asarray(hold_last(*task.history(view))[0], np.float64)

    def actions(self, values: NDArray, mask: BoolArray) -> tuple[NDArray[np.float32], BoolArray]:
        """Unchanged."""
        return values.astype(np.float32), mask

    def answer(self, task: Task, view: View, actions: NDArray[np.float64]) -> NDArray[np.float32]:
        """Unchanged."""
        return actions.astype(np.float32)


class HandSpace(Space):
    """The hand-pose action anchored at t0: the 57 numbers, or the 29 of the projection.

    The state is the pose observed last and, per hand, whether it was seen at all: an unseen hand is zeros and a zero.

    Args:
        projected: True for the 29 numbers, whose answer is lifted to the fingertips of t0.
    """

    def __init__(self, projected: bool) -> None:
        self.projected = projected
        self.id = "hand29" if projected else "hand57"
        self.columns: Sequence[int] = RANKED if projected else range(WIDTH)
        self.width = len(self.columns)

    def state(self, task: Task, view: View) -> tuple[NDArray[np.float32], BoolArray]:
        """(B, width + 2)."""
        held, measured = hold_last(*task.history(view))
        grasps = [measured[:, WIDTH + i] for i in range(len(SIDES))]
        seen = np.stack(grasps, axis=1)
        return np.concatenate([held[:, self.columns], seen], axis=1).astype(np.float32), measured[:, 0] & seen.any(axis=1)

    def last(self, task: Task, view: View) -> NDArray[np.float64]:
        """The pose observed last; the sum of six numbers is made a rotation again when it is read (`from_six`)."""
        return np.asarray(hold_last(*task.history(view))[0][:, self.columns], np.float64)

    def actions(self, values: NDArray, mask: BoolArray) -> tuple[NDArray[np.float32], BoolArray]:
        """The columns of the space."""
        return values[..., self.columns].astype(np.float32), mask[..., self.columns]

    def answer(self, task: Task, view: View, actions: NDArray[np.float64]) -> NDArray[np.float32]:
        """(B, H, 59)."""
        if not self.projected:
            return answer_of(actions).astype(np.float32)
        held, _ = hold_last(*task.history(view))
        return answer_of(lift(actions, held[:, None, :WIDTH])).astype(np.float32)


def space_of(task: Task, width: int, *, projected: bool) -> Space:
    """The space in which a policy answers a task.

    Args:
        task: `action_chunk` or `hand_action_chunk`.
        width: Numbers of one step of its target.
        projected: For hands: 29 numbers instead of 57.
    """
    if isinstance(task, HandActionChunk):
        assert width == ANSWER_WIDTH
        return HandSpace(projected)
    return CommandSpace(width)
