"""Targets and bundles of the gates: four windows an episode, labels by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.answers import Predictions, Targets, all_ok
from harness.bundle import Bundle
from harness.held import Held
from harness.record import EpisodeRecord
from harness.splits import Fold, Split
from harness.tables import predictions_table, targets_table, write_atomically
from harness.tasks import get_task
from harness.window import Samples, WindowSpec, make_samples

SPEC = WindowSpec(length=4, stride=4)
TASK = get_task("timeline_action")
N = 16
SPOKEN = {"a": ("pour", "stir"), "b": ("pour", "wipe"), "c": ("stir",), "train": ("pour", "stir")}
FOLD = Fold(0, ("train",), ("c",), ("a", "b"))


def samples(episode: str, n: int = N) -> Samples:
    return make_samples("window", episode, np.arange(n) / 20, SPEC)


def held_of(
    folder: Path, fold: Fold = FOLD, unit: str = "episode", untrue: Sequence[int] = (), **about: Mapping[str, str | None]
) -> Held:
    """Targets on disk; `b` carries a label that no other episode has. The windows `untrue` have no truth in any of them."""
    for episode, words in SPOKEN.items():
        labels = np.arange(4, dtype=np.int32) % len(words)
        targets = Targets(~np.isin(np.arange(4), untrue), labels=labels, vocabulary=words)
        record = EpisodeRecord(episode, "key", N, {}, {}, {}, {}, [TASK.id])
        write_atomically([targets_table(TASK.id, samples(episode), targets)], folder / f"{episode}.parquet", record.to_metadata())
    nobody = dict.fromkeys(SPOKEN)
    sessions, participants = ({**nobody, **about.get(name, {})} for name in ("sessions", "participants"))
    clusters = {e: participants[e] or sessions[e] or e for e in SPOKEN}
    return Held(folder, Split("explicit", unit, clusters, sessions, (fold,), {}, participants), (TASK,), SPEC)


def bundle_of(held: Held, folder: Path, shown: Mapping[str, Sequence[float]] | None = None, **changes) -> Bundle:
    """A bundle that always answers `pour`.

    Args:
        held: What it answers.
        folder: Where it stands.
        shown: Episode -> (4,) seconds that its rows say they saw; by default their t0.
        changes: Fields of the bundle.
    """
    made = Bundle(folder, "model:x", "test", 0, 0, held.split.hash, {TASK.id: "native"}, {"weights": ["train"]})
    made = replace(made, classes={TASK.id: ["pour", "stir"]}, card={"fitted": True})
    made = replace(made, **changes)
    made.save()
    for episode in held.split.folds[0].test:
        rows = Predictions(all_ok(4), labels=np.zeros(4, np.int32), vocabulary=("pour",))
        of = samples(episode)
        rows = replace(rows, seen_until=np.asarray((shown or {}).get(episode, of.t0), np.float64))
        write_atomically([predictions_table(TASK.id, of, rows, 0, 0, 0)], folder / f"part-{episode}-0000000.parquet")
    return made
