"""What the robot will be told to do: the next chunk of commands."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Targets
from harness.card import ActionGroup
from harness.episode import BoolArray, Episode
from harness.errors import BadInput
from harness.tasks.horizon import HorizonTask, persistence
from harness.timeline import measured_entries
from harness.window import Samples, View, WindowSpec


class ActionChunk(HorizonTask):
    """The `horizon` commands from t0 on, `command[t0 .. t0 + H - 1]`, in the units of the data set.

    As in LeRobot the chunk starts at t0 itself, so commands are observed strictly before t0. Where commands have a clock of
    their own, the chunk starts at the first command at or after t0. Not valid where it leaves the recording.
    `reference` repeats the last command before t0; a dimension of which the view shows no command is masked out.

    Args:
        horizon: Commands, at the source rate; None = 16.
        action_groups: Named dimensions of the command, scored apart.
    """

    name = "action_chunk"
    default_horizon = 16
    title = "The next commands"
    mechanism = "commands are smooth and lead to a goal that is seen"
    answer = "vector"
    metric = "harness.metrics.chunk_error:ChunkError"
    unit = "sd of train"
    floor = "persistence"
    ceiling = 0.0
    requires = ("command",)

    def __init__(self, horizon: int | None = None, action_groups: dict[str, ActionGroup] | None = None) -> None:
        super().__init__(horizon)
        self.action_groups = {name: group.indices() for name, group in (action_groups or {}).items()}
        self.units = {name: group.unit for name, group in (action_groups or {}).items()}

    def shape(self, episode: Episode) -> tuple[int, ...]:
        """(H, dims of the command); no dims where the episode has no command."""
        width = _samples(episode).shape[1] if self.poses(tuple(episode.tracks)) else 0
        return (self.horizon, width)

    def groups(self) -> dict[str, list[int]]:
        """The action groups of the data set's card."""
        return self.action_groups

    def group_units(self) -> dict[str, str]:
        """As the card has them."""
        return self.units

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """(n, H * D) commands, step after step.

        Raises:
            BadInput: An action group names a dimension that the command lacks.
        """
        n, (horizon, width) = len(samples), self.shape(episode)
        empty = np.zeros((n, horizon * width), np.float32)
        if not n or not width:
            return Targets(np.zeros(n, bool), values=empty, mask=empty > 0, reference=empty)
        self._check_groups(width)
        track, timeline = episode.tracks["command"], episode.timeline
        commands = _samples(episode)
        valid_entries = None if track.valid is None else track.valid.reshape(len(commands), -1)
        measured = measured_entries(commands, valid_entries)
        assert track.times is not None
        first = np.searchsorted(track.times, timeline[samples.last[:, 0]], side="left")
        index = first[:, None] + np.arange(horizon)
        inside = index[:, -1] < len(commands)
        index = np.minimum(index, len(commands) - 1)
        held, known = persistence(self, episode, samples, spec, width)
        mask = measured[index] & known[:, None] & inside[:, None, None]
        values = np.where(mask, commands[index], 0).astype(np.float32).reshape(n, -1)
        reference = np.repeat(held[:, None], horizon, axis=1).astype(np.float32).reshape(n, -1)
        mask = mask.reshape(n, -1)
        return Targets(mask.any(axis=1), values=values, mask=mask, reference=reference)

    def tracks_for_history(self) -> tuple[str, ...]:
        """The commands."""
        return ("command",)

    def history(self, view: View) -> tuple[NDArray, BoolArray]:
        """(B, T - 1, D) commands strictly before t0, 0 where not measured.

        The last slot of a view, at t0, repeats the last command before t0, which the slot before it also shows. One of the two
        is left out; a view of a single slot keeps it.
        """
        window = view.tracks["command"]
        slots = np.delete(np.arange(window.valid.shape[1]), slice(-2, -1))
        values = window.values[:, slots].reshape(*window.valid[:, slots].shape, -1)
        measured = np.broadcast_to(window.valid[:, slots, None], values.shape)
        return np.where(measured, values, 0), measured

    def _check_groups(self, width: int) -> None:
        for name, dims in self.action_groups.items():
            if outside := [d for d in dims if not 0 <= d < width]:
                raise BadInput(
                    f"action group {name!r} of the card names dimension {outside[0]}, the command has {width}: correct `dims`"
                )


def _samples(episode: Episode) -> NDArray:
    """(T, D) the commands."""
    commands = episode.tracks["command"].array()
    return commands.reshape(len(commands), -1)
