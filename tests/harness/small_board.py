"""A small held-out set of labels, and bundles that are as wrong as a test wants them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.answers import Predictions, Status, Targets, all_ok
from harness.bundle import Bundle
from harness.evaluate import evaluate
from harness.held import Held
from harness.leaderboard import build
from harness.record import EpisodeRecord
from harness.splits import Fold, Split
from harness.tables import predictions_table, targets_table, write_atomically
from harness.tasks import get_task
from harness.window import Samples, WindowSpec, make_samples

SPEC = WindowSpec(length=4, stride=4)
TASK = get_task("timeline_action")
WORDS = ("pour", "stir")
N = 10
TEST = tuple("abcdefgh")
RNG = np.random.default_rng(0)
TRUTH = {episode: RNG.integers(0, 2, N).astype(np.int32) for episode in (*TEST, "train")}
TRUTH["train"][:6] = 0


def samples(episode: str) -> Samples:
    """Windows of an episode."""
    return make_samples("window", episode, np.arange(4 * N) / 20, SPEC)


def make_held(tmp_path: Path) -> Held:
    """Eight test episodes of ten windows and one that trains; some rows lack the sound."""
    for episode, labels in TRUTH.items():
        missing = np.array(["audio"] * 3 + [""] * (N - 3)) if episode == "a" else np.full(N, "")
        targets = Targets(np.ones(N, bool), labels=labels, vocabulary=WORDS, lacking=missing)
        sensors = ["hand"] if episode == "b" else ["audio", "hand"]
        record = EpisodeRecord(episode, "key", 4 * N, {}, {}, {}, {}, [TASK.id], sensors=sensors)
        table = targets_table(TASK.id, samples(episode), targets)
        write_atomically([table], tmp_path / f"{episode}.parquet", record.to_metadata())
    split = Split("explicit", "episode", {e: e for e in TRUTH}, dict.fromkeys(TRUTH), (Fold(0, ("train",), (), TEST),))
    return Held(tmp_path, split, (TASK,), SPEC)


def bundle(held: Held, folder: Path, wrong: int = 0, lost: int = 0, seed: int = 0, **changes) -> Bundle:
    """The truth, with the first rows of every episode wrong and the last ones lost."""
    made = Bundle(folder, folder.name, "test", 0, seed, held.split.hash, {TASK.id: "native"}, {"weights": ["train"]})
    made = replace(made, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    made.save()
    for episode in TEST:
        labels = TRUTH[episode].copy()
        labels[:wrong] = 1 - labels[:wrong]
        status = all_ok(N)
        if lost:
            labels[-lost:], status[-lost:] = -1, Status.TIMEOUT.value
        rows = Predictions(status, labels=labels, vocabulary=WORDS, seen_until=samples(episode).t0)
        table = predictions_table(TASK.id, samples(episode), rows, 0, seed, 0)
        write_atomically([table], folder / f"part-{episode}-0000000.parquet")
    return made


def board_of(held: Held, *bundles: Bundle) -> dict:
    """The leaderboard as JSON values."""
    return build(evaluate(held, bundles), "held_out")


def by_branch(board: dict) -> dict[str, dict]:
    """Branch -> its row."""
    return {row["branch"]: row for row in board["rows"]}
