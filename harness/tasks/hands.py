"""Where the hands will be, in the camera frame of t0."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Targets
from harness.episode import BoolArray, Episode
from harness.geometry import HAND_JOINTS as JOINTS
from harness.geometry import from_world, to_world
from harness.tasks.horizon import HorizonTask, persistence
from harness.timeline import frame_values
from harness.window import Samples, View, WindowSpec

HANDS = ("hand_left", "hand_right")
WIDTH = 2 * JOINTS * 3


class HandTrajectoryForecast(HorizonTask):
    """Task 5: the 21 joints of both hands (left, then right) at each of the next `horizon` samples, (t0, t0 + H], metres.

    Frame: the camera at t0. A joint is stored in the camera frame of its own time; it is taken to the world by the camera pose
    of that time and back by the pose at t0, so that turning the head moves no target.

    A joint is masked out where it, or the camera pose of its time, is not measured, and where its hand was not seen in the view:
    a hand that nobody saw is not forecast but guessed. Rows are not valid where nothing is left, where the camera pose at t0 is
    not measured, and where the horizon leaves the recording. `reference` holds the last step of `history`.
    """

    name = "hand_trajectory_forecast"
    default_horizon = 10
    title = "Both hands' joints after t0"
    mechanism = "a reach goes on along its path: position, velocity and target are seen"
    answer = "vector"
    metric = "harness.metrics.mpjpe:JointError"
    unit = "m"
    floor = "persistence"
    ceiling = 0.0
    requires = ("hand_*", "camera_pose")

    def shape(self, episode: Episode) -> tuple[int, ...]:
        """(H, 42, 3)."""
        return (self.horizon, 2 * JOINTS, 3)

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """(n, H * 126) metres."""
        n, timeline = len(samples), episode.timeline
        empty = np.zeros((n, self.horizon * WIDTH), np.float32)
        if not n or not self.poses(tuple(episode.tracks)):
            return Targets(np.zeros(n, bool), values=empty, mask=empty > 0, reference=empty)
        world, measured, pose = _world_joints(episode)
        last = samples.last[:, 0]
        ahead = last[:, None] + np.arange(1, self.horizon + 1)
        inside = ahead[:, -1] < len(timeline)
        ahead = np.minimum(ahead, len(timeline) - 1)
        joints = from_world(world[ahead], pose[last][:, None]).reshape(n, self.horizon, WIDTH)
        held, known = persistence(self, episode, samples, spec, WIDTH)
        mask = np.repeat(measured[ahead], 3, axis=2) & known[:, None]
        valid = inside & mask.any(axis=(1, 2))  # without a pose at t0 no hand was seen
        mask &= valid[:, None, None]
        values = np.where(mask, joints, 0.0).astype(np.float32)
        reference = np.repeat(held[:, None], self.horizon, axis=1).astype(np.float32)
        return Targets(valid, values=values.reshape(n, -1), mask=mask.reshape(n, -1), reference=reference.reshape(n, -1))

    def tracks_for_history(self) -> tuple[str, ...]:
        """Hands and camera pose."""
        return (*HANDS, "camera_pose")

    def history(self, view: View) -> tuple[NDArray, BoolArray]:
        """(B, T, 126) joints of the observed past in the camera frame of t0, metres; 0 where not measured.

        A hand that the view lacks, a frame without a camera pose, and a sample without one at t0 are not measured.
        """
        batch, steps = view.times.shape
        if "camera_pose" not in view.tracks:
            return np.zeros((batch, steps, WIDTH)), np.zeros((batch, steps, WIDTH), bool)
        camera = view.tracks["camera_pose"]
        pose = np.where(camera.valid[..., None, None], camera.values, 0.0)
        joints = np.zeros((batch, steps, 2 * JOINTS, 3))
        measured = np.zeros((batch, steps, 2 * JOINTS), bool)
        for i, name in enumerate(HANDS):
            if name in view.tracks:
                columns = slice(i * JOINTS, (i + 1) * JOINTS)
                hand = view.tracks[name]
                joints[:, :, columns] = np.where(hand.valid[..., None, None], hand.values, 0.0)
                measured[:, :, columns] = hand.valid[..., None]
        anchored = from_world(to_world(joints, pose), pose[:, -1:])
        measured &= (camera.valid & camera.valid[:, -1:])[:, :, None]
        past = np.where(measured[..., None], anchored, 0.0).reshape(batch, steps, WIDTH)
        return past, np.repeat(measured, 3, axis=2)


def _world_joints(episode: Episode) -> tuple[NDArray[np.float64], BoolArray, NDArray]:
    """(N, 42, 3) joints in the world, (N, 42) which are measured, (N, 4, 4) camera poses, zeros where not measured."""
    pose, entries = frame_values(episode.tracks["camera_pose"], episode.timeline)
    posed = np.asarray(entries.all(axis=(1, 2)), bool)
    joints = np.zeros((len(pose), 2 * JOINTS, 3))
    measured: BoolArray = np.zeros((len(pose), 2 * JOINTS), bool)
    for i, name in enumerate(HANDS):
        if name in episode.tracks:
            columns = slice(i * JOINTS, (i + 1) * JOINTS)
            joints[:, columns], entries = frame_values(episode.tracks[name], episode.timeline)
            measured[:, columns] = entries.all(axis=2) & posed[:, None]
    return to_world(joints, pose), measured, pose
