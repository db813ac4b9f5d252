"""What the two hands and the head will do next, as the action a policy would be trained on."""

import numpy as np
from numpy.typing import NDArray

from harness.actions.hand_pose import ANSWER_WIDTH, SIDES, answer_measured, answer_of, encode
from harness.answers import Targets
from harness.episode import BoolArray, Episode
from harness.geometry import to_world
from harness.tasks.horizon import HorizonTask, persistence
from harness.timeline import frame_values
from harness.window import Samples, View, WindowSpec

JOINTS = 21
TRACKS = {side: f"hand_{side}" for side in SIDES}


class HandActionChunk(HorizonTask):
    """The hand-pose action at each of the next `horizon` samples, (t0, t0 + H], anchored at the camera of t0.

    59 numbers a step: the 57 of `harness.actions.hand_pose`, then the distances of thumb tip and index tip, right and left. All
    branches are ranked on the 29 numbers of the projection (camera, wrists, distances), which are columns of these; a branch
    that forecasts only those lifts them (`hand_pose.lift`). The fingertips stand in `detail`.

    A hand is masked out where it or the camera pose of its time is not measured, and where it was not seen in the view. Rows are
    not valid without a camera pose at t0, where no hand is left, and where the horizon leaves the recording. `reference` holds
    the action observed last: the camera of t0 and each hand where it was last seen.
    """

    name = "hand_action_chunk"
    default_horizon = 16
    title = "The next poses of head, wrists and fingers"
    mechanism = "a reach goes on along its path, and the gaze foretells where it ends"
    answer = "vector"
    metric = "harness.metrics.hand_action_error:HandActionError"
    unit = "sd of train"
    floor = "persistence"
    ceiling = 0.0
    requires = ("hand_*", "camera_pose")

    def shape(self, episode: Episode) -> tuple[int, ...]:
        """(H, 59)."""
        return (self.horizon, ANSWER_WIDTH)

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """(n, H * 59): metres, and rotations as six numbers."""
        n = len(samples)
        empty = np.zeros((n, self.horizon * ANSWER_WIDTH), np.float32)
        if not n or not self.poses(tuple(episode.tracks)):
            return Targets(np.zeros(n, bool), values=empty, mask=empty > 0, reference=empty)
        camera, entries = frame_values(episode.tracks["camera_pose"], episode.timeline)
        posed = np.asarray(entries.all(axis=(1, 2)), bool)
        last = samples.last[:, 0]
        ahead = last[:, None] + np.arange(1, self.horizon + 1)
        inside = ahead[:, -1] < len(camera)
        ahead = np.minimum(ahead, len(camera) - 1)
        world, seen = _hands(episode, camera, posed)
        pose = np.where(posed[:, None, None], camera, np.eye(4))
        action, measured = encode(pose[ahead], {s: w[ahead] for s, w in world.items()}, {s: m[ahead] for s, m in seen.items()},
                                  pose[last])  # fmt: skip
        held, known = persistence(self, episode, samples, spec, ANSWER_WIDTH)
        mask = answer_measured(measured) & posed[ahead][..., None] & known[:, None]
        hands = mask[:, :, 9:].any(axis=(1, 2))
        valid = inside & posed[last] & hands
        mask &= valid[:, None, None]
        values = np.where(mask, answer_of(action), 0.0).astype(np.float32)
        reference = np.repeat(held[:, None], self.horizon, axis=1).astype(np.float32)
        return Targets(valid, values=values.reshape(n, -1), mask=mask.reshape(n, -1), reference=reference.reshape(n, -1))

    def tracks_for_history(self) -> tuple[str, ...]:
        """Hands and camera pose."""
        return (*TRACKS.values(), "camera_pose")

    def history(self, view: View) -> tuple[NDArray, BoolArray]:
        """(B, T, 59) actions of the observed past in the frame of the camera at t0; 0 where not measured."""
        batch, steps = view.times.shape
        nothing = np.zeros((batch, steps, ANSWER_WIDTH))
        if "camera_pose" not in view.tracks:
            return nothing, nothing > 0
        track = view.tracks["camera_pose"]
        posed = track.valid & track.valid[:, -1:]
        pose = np.where(posed[..., None, None], track.values, np.eye(4))
        world: dict[str, NDArray] = {side: np.zeros((batch, steps, JOINTS, 3)) for side in SIDES}
        seen: dict[str, BoolArray] = {side: np.zeros((batch, steps), bool) for side in SIDES}
        for side, name in TRACKS.items():
            if name in view.tracks:
                hand = view.tracks[name]
                seen[side] = hand.valid & posed
                world[side] = to_world(np.where(seen[side][..., None, None], hand.values, 0.0), pose)
        action, measured = encode(pose, world, seen, pose[:, -1])
        measured = answer_measured(measured) & posed[..., None]
        return np.where(measured, answer_of(action), 0.0), measured


def _hands(episode: Episode, camera: NDArray, posed: BoolArray) -> tuple[dict[str, NDArray], dict[str, BoolArray]]:
    """Side -> (N, 21, 3) joints in the world, and (N,) True where they and the camera pose are measured."""
    world: dict[str, NDArray] = {side: np.zeros((len(camera), JOINTS, 3)) for side in SIDES}
    seen: dict[str, BoolArray] = {side: np.zeros(len(camera), bool) for side in SIDES}
    for side, name in TRACKS.items():
        if name in episode.tracks:
            joints, entries = frame_values(episode.tracks[name], episode.timeline)
            seen[side] = entries.all(axis=(1, 2)) & posed
            world[side] = to_world(joints, camera)
    return world, seen
