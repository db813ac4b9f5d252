"""A seeded episode of 1,161 windows in the published feature blocks, and the targets of the 20 published tasks."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.answers import Targets
from harness.episode import Episode
from harness.tasks.base import Task, ViewSpec
from harness.window import Samples, WindowSpec

N, STATE = 1161, 24
SHIFT, NEXT, FUTURE = 8, 4, 20  # windows: misaligned pair, adjacent window, long horizon
CAMERAS = tuple(f"video_{c}" for c in ("fisheye_cam0", "fisheye_cam1", "fisheye_cam2", "fisheye_cam3", "left", "right"))
MOTION = {"hand_left": 441, "hand_right": 441, "body": 1092, "contacts": 147, "translation": 21, "rotation": 63, "imu": 42}
SENSES = {"depth": 980} | dict.fromkeys(CAMERAS, 686) | {"audio": 168}
BLOCKS: dict[str, int] = MOTION | SENSES | {"text": 896, "slam_points": 22, "calibration": 117}
ACTIONS, SUBTASKS, OBJECTS, SENTENCES = 18, 14, 34, 60
Answer = Literal["label", "label_set", "vector", "retrieval"]


class BenchTask(Task):
    """A published task on the simulated episode.

    Args:
        number: In the published suite: from 13 on, heads trained shorter.
        name: Task id.
        score: What is reported.
        answer: Kind of answer.
        views: Blocks of each view.
        truth: Targets of every sample.
        starts: (n, V) window of each view.
    """

    title = metric = ""
    requires = ()
    floor = "chance"
    ceiling = 1.0

    def __init__(
        self, number: int, name: str, score: str, answer: Answer, views: list[list[str]], truth: Targets, starts: NDArray
    ) -> None:
        self.id, self.score, self.truth, self.starts = name, score, truth, starts
        self.answer = answer  # type: ignore[misc]
        self.views = tuple(ViewSpec(include=tuple(blocks)) for blocks in views)  # type: ignore[misc]
        self.samples = "window" if starts.shape[1] == 1 else "order_pair" if len(views) == 1 else "sync_pair"  # type: ignore[misc]
        self.early = number <= 12
        self.epochs = 80 if self.early else 25
        self.steps = 400 if self.early else 220
        self.quick_epochs = 8 if self.early else 3

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """Of the simulation."""
        return self.truth


def simulate(seed: int) -> tuple[dict[str, NDArray[np.float32]], list[BenchTask]]:
    """Features by block, (1161, width) each, and the 20 tasks.

    A smooth hidden motion carries the action as an offset; every block shows a squashed mixture of it, its own smooth clutter, a
    slow drift and white noise. Actions recur in segments; a few appear only after the split, as in the published episode.
    """
    rng = np.random.default_rng(seed)
    action, subtask = _segments(rng, 45, ACTIONS), _segments(rng, 24, SUBTASKS)
    change = np.flatnonzero(np.diff(action, append=action[-1:])) + 1
    state = 0.8 * _smooth(rng, N + 40, STATE, 12)
    state[:N] += rng.normal(size=(ACTIONS, STATE))[action] + 0.5 * rng.normal(size=(SUBTASKS, STATE))[subtask]
    cell = np.arange(N) // 8
    features = {}
    for block, width in BLOCKS.items():
        seen = state[:N] if block != "text" else state[np.minimum(cell * 8 + 4, N - 1)]
        mixed = np.tanh(seen @ rng.normal(size=(STATE, 40)) / 3) @ rng.normal(size=(40, width)) / 6
        clutter = _smooth(rng, N, 15, 25) @ rng.normal(size=(15, width)) / 6 if block != "text" else 0
        drift = np.linspace(-0.5, 0.5, N)[:, None] * rng.normal(size=width)
        features[block] = (mixed + clutter + drift + 0.5 * rng.normal(size=(N, width))).astype(np.float32)
    features["calibration"][:] = features["calibration"][0]
    objects = (rng.random((ACTIONS, OBJECTS)) < 0.12)[action] ^ (rng.random((N // 40 + 1, OBJECTS)) < 0.03)[np.arange(N) // 40]
    return features, _tasks(rng, features, state, action, subtask, objects, cell, change)


def _tasks(rng, x, state, action, subtask, objects, cell, change) -> list[BenchTask]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    windows = np.arange(N)
    every = [*BLOCKS]
    quiet = [b for b in BLOCKS if b != "text"]
    contactless = [b for b in quiet if b != "contacts"]
    body, world = [*MOTION, "audio"], ["depth", *CAMERAS]
    sentence = (3 * action + (state[:N, 1] > 0.5) + (state[:N, 1] > -0.5)) % SENTENCES
    together = np.unique(np.column_stack([action, objects]), axis=0, return_inverse=True)[1].reshape(-1)
    ahead = np.minimum(np.searchsorted(change, windows, side="right"), len(change) - 1)
    until = np.clip(5 * (change[ahead] - windows), 0, 200).astype(np.float32)
    near = np.abs(windows[:, None] - change).min(axis=1) <= 2
    hands = (np.stack([state[windows + k // 5 + 1] for k in range(10)], 1) @ rng.normal(size=(STATE, 126)) / 20).reshape(N, -1)
    later = np.minimum(windows + FUTURE, N - 1)
    known = windows + FUTURE < N

    def label(codes: NDArray, valid: NDArray | None = None) -> Targets:
        valid = np.ones(len(codes), bool) if valid is None else valid
        return Targets(valid, labels=np.where(valid, codes, -1).astype(np.int32), vocabulary=_words(int(codes.max()) + 1))

    def sets(found: NDArray, valid: NDArray) -> Targets:
        return Targets(valid, label_sets=found, vocabulary=_words(OBJECTS))

    def vector(values: NDArray) -> Targets:
        return Targets(np.ones(len(values), bool), values=np.asarray(values, np.float32))

    def match(item: NDArray) -> Targets:
        return Targets(np.ones(N, bool), item=item.astype(np.int32))

    one = windows[:, None]
    first = windows[: N - NEXT]
    order = np.stack([np.stack([first, first + NEXT], 1), np.stack([first + NEXT, first], 1)], 1).reshape(-1, 2)
    first = windows[: N - SHIFT]
    sync = np.stack([np.stack([first, first], 1), np.stack([first, first + SHIFT], 1)], 1).reshape(-1, 2)
    everywhere = np.ones(N, bool)
    world_values = np.concatenate([x[b] for b in world], axis=1)
    hand_values = np.concatenate([x["hand_left"], x["hand_right"]], axis=1)
    return [
        BenchTask(1, "timeline_action", "macro-F1", "label", [every], label(action), one),
        BenchTask(2, "timeline_subtask", "macro-F1", "label", [every], label(subtask), one),
        BenchTask(3, "transition_detection", "macro-F1", "label", [every], label(near), one),
        BenchTask(4, "next_action", "macro-F1", "label", [every], label(action[np.minimum(windows + 8, N - 1)]), one),
        BenchTask(5, "hand_trajectory_forecast", "-MPJPE", "vector", [every], vector(hands), one),
        BenchTask(6, "contact_prediction", "macro-F1", "label", [contactless], label(state[:N, 0] > 0.3), one),
        BenchTask(7, "object_relevance", "micro-F1", "label_set", [quiet], sets(objects, everywhere), one),
        BenchTask(8, "caption_grounding", "MRR", "retrieval", [["text"], quiet], match(cell), one),
        BenchTask(9, "cross_modal_retrieval", "MRR", "retrieval", [body, world], match(windows), one),
        BenchTask(10, "modality_reconstruction", "R2", "vector", [body], vector(world_values), one),
        BenchTask(11, "temporal_order", "macro-F1", "label", [every], label(order[:, 0] < order[:, 1]), order),
        BenchTask(
            12, "misalignment_detection", "macro-F1", "label", [[*MOTION], [*SENSES]], label(sync[:, 0] == sync[:, 1]), sync
        ),
        BenchTask(13, "long_horizon_next_action", "macro-F1", "label", [quiet], label(action[later], known), one),
        BenchTask(14, "next_subtask_forecast", "macro-F1", "label", [quiet], label(subtask[later], known), one),
        BenchTask(15, "interaction_text_prediction", "macro-F1", "label", [quiet], label(sentence), one),
        BenchTask(16, "action_object_relation", "macro-F1", "label", [quiet], label(together), one),
        BenchTask(17, "object_set_forecast", "micro-F1", "label_set", [quiet], sets(objects[later], known), one),
        BenchTask(18, "imu_to_hand_pose", "-MAE", "vector", [["imu"]], vector(hand_values), one),
        BenchTask(19, "camera_view_sync_retrieval", "MRR", "retrieval", [[CAMERAS[1]], [CAMERAS[3]]], match(windows), one),
        BenchTask(20, "time_to_transition", "-MAE", "vector", [quiet], vector(until[:, None]), one),
    ]


def _segments(rng: np.random.Generator, count: int, classes: int) -> NDArray[np.int64]:
    """(1161,) classes in segments; the last two classes occur only in the last quarter."""
    edges = np.sort(rng.choice(np.arange(8, N - 8), count - 1, replace=False))
    codes = rng.integers(0, classes - 2, count)
    codes[-2:] = classes - 2, classes - 1
    return np.asarray(np.repeat(codes, np.diff(edges, prepend=0, append=N)))


def _smooth(rng: np.random.Generator, n: int, width: int, span: int) -> NDArray[np.float64]:
    """(n, width) smooth noise of variance 1."""
    kernel = np.hanning(span + 2)[1:-1]
    noise = rng.normal(size=(n + span - 1, width))
    return np.asarray(np.stack([np.convolve(column, kernel / np.linalg.norm(kernel), "valid") for column in noise.T], axis=1))


def _words(count: int) -> tuple[str, ...]:
    return tuple(f"w{i:03d}" for i in range(count))
