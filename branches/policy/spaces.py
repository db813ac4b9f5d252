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
    def past(self, task: Task, view: View) -> tuple[NDArray, BoolArray, BoolArray]:
        """What the body was seen to do.

        Returns:
            (B, T, S) states in physical units, oldest first, (B, T, S) True where measured, and (B,) False where a policy
            cannot be asked.
        """

    def state(self, task: Task, view: View, steps: int, stride: int) -> tuple[NDArray[np.float32], BoolArray]:
        """What the network is told of the body.

        Args:
            task: Says what is forecast.
            view: As observed.
            steps: States that are shown.
            stride: Samples between them.

        Returns:
            (B, steps, S): the last known state, then the differences to it of those before, the nearest first; 0 where one of
            the two is not measured. (B,) False where a policy cannot be asked.
        """
        values, measured, known = self.past(task, view)
        now, ever = hold_last(values, measured)
        shown = [now]
        for back in range(stride, steps * stride, stride):
            i = values.shape[1] - 1 - back
            shown.append(np.where(ever & measured[:, i], values[:, i] - now, 0.0) if i >= 0 else np.zeros_like(now))
        return np.stack(shown, axis=1).astype(np.float32), known

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

    def past(self, task: Task, view: View) -> tuple[NDArray, BoolArray, BoolArray]:
        """The measured states; commands where no state is recorded."""
        if STATE in view.tracks:
            track = view.tracks[STATE]
            values = track.values.reshape(*track.valid.shape, -1)
            measured = track.valid[..., None] & np.isfinite(values)
            return np.where(measured, values, 0.0), measured, np.asarray(measured[:, -1].all(axis=1), bool)
        values, measured = task.history(view)
        known = np.asarray(measured.any(axis=1), bool)
        return values, measured, np.asarray(known.all(axis=1), bool)

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

    The state is the pose observed last and, per hand, whether it was seen at all: a hand that was not is zeros and a zero.

    Args:
        projected: True for the 29 numbers, whose answer is lifted to the fingertips of t0.
    """

    def __init__(self, projected: bool) -> None:
        self.projected = projected
        self.id = "hand29" if projected else "hand57"
        self.columns: Sequence[int] = RANKED if projected else range(WIDTH)
        self.width = len(self.columns)

    def past(self, task: Task, view: View) -> tuple[NDArray, BoolArray, BoolArray]:
        """(B, T, width + 2): the poses, and per hand 1 where it was seen; a hand that never was is zeros."""
        values, measured = task.history(view)
        seen = measured[..., WIDTH : WIDTH + len(SIDES)]
        ever = np.asarray(seen.any(axis=1, keepdims=True), bool)
        values = np.concatenate([values[..., self.columns], np.broadcast_to(ever, seen.shape)], axis=-1)
        every = np.concatenate([measured[..., self.columns], np.ones(seen.shape, bool)], axis=-1)
        return values, every, measured[:, -1, 0] & ever[:, 0].any(axis=1)

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
