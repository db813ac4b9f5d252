"""Small episodes with latents, hands and commands, and training sets over them."""

from dataclasses import dataclass

import numpy as np

from harness.branch import EpisodeBatch, FitContext
from harness.episode import Episode, Modality, Track
from harness.latents import clip_ends
from harness.observe import Observer
from harness.tasks.future import FutureLatent, FutureRetrieval
from harness.tasks.hands import HandTrajectoryForecast
from harness.window import WindowSpec, make_samples

SPEC = WindowSpec(length=20, stride=5)
SHAPE = (4, 4, 4, 64)
N = 160


def episode(number, *, hands=True, command=False, seconds=N / 20):
    """A latent that swings between two states, and hands that swing with it: what comes can be told from what is there."""
    rng = np.random.default_rng(number)
    n = int(seconds * 20)
    times = np.arange(n) / 20
    two = np.random.default_rng(99).normal(size=(2, *SHAPE[1:]))
    phase = 2 * np.pi * (times / 3 + rng.random())
    tracks = {"video/a": Track("video/a", Modality.VIDEO, np.zeros((n, 0), np.uint8), times)}
    frames = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    tracks["main_camera@32x32"] = Track("main_camera@32x32", Modality.VIDEO, frames, times, sources=("video/a",))
    ends = clip_ends(SPEC, n)
    at = phase[np.maximum(ends[:, None] + 4 * np.arange(1 - SHAPE[0], 1), 0)]
    swing = np.stack([np.sin(at), np.cos(at)], axis=2)
    latents = (swing @ two.reshape(2, -1)).reshape(-1, *SHAPE)
    latents = (latents + rng.normal(0, 0.02, latents.shape)).astype(np.float32)
    name = "latents/vjepa2-tiny"
    tracks[name] = Track(name, Modality.VIDEO, latents, times[ends], sources=("video/a",))
    if hands:
        joints = np.zeros((n, 21, 3), np.float32)
        joints[..., 0] = np.sin(phase)[:, None] * 0.1
        joints += rng.normal(0, 0.002, joints.shape)
        for side in ("left", "right"):
            tracks[f"hand_{side}"] = Track(f"hand_{side}", Modality.HAND, joints, times)
        pose = np.repeat(np.eye(4)[None], n, axis=0)
        tracks["camera_pose"] = Track("camera_pose", Modality.POSE, pose, times)
    if command:
        values = np.stack([np.sin(phase), np.cos(phase)], axis=1).astype(np.float32)
        tracks["command"] = Track("command", Modality.COMMAND, values, times)
    return Episode(f"e{number}", "video/a", tracks, session=f"s{number}")


@dataclass
class Sets:
    """A `TrainingSet` of episodes in memory."""

    given: tuple

    @property
    def episodes(self):
        return tuple(e.id for e in self.given)

    def batches(self, task, needs, role=""):
        for one in self.given:
            if not task.poses([name for name in one.tracks if not name.startswith("main")]):
                continue
            samples = make_samples(task.samples, one.id, one.timeline, SPEC)
            observed = observe(one, task, samples, needs, role)
            yield EpisodeBatch(one.id, one.session, samples, observed, task.targets(one, samples, SPEC))


def observe(one, task, samples, needs, role=""):
    return Observer(SPEC, (), {}).batch(one, task, samples, needs, role=role)


def batch_of(branch, one, task, role="", rows=None):
    samples = make_samples(task.samples, one.id, one.timeline, SPEC)
    samples = samples if rows is None else samples.take(np.asarray(rows))
    return samples, observe(one, task, samples, branch.needs(task), role)


def tasks_of(branch):
    return FutureLatent(branch.encoder), FutureRetrieval(), HandTrajectoryForecast()


def fitted(branch, train, validation, out, tasks=None, seed=0):
    out.mkdir(parents=True)
    tasks = tasks_of(branch) if tasks is None else tasks
    return branch.fit(Sets(tuple(train)), Sets(tuple(validation)), FitContext(tasks, seed, out))
