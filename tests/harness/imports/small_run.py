"""A run folder with one task of every kind of answer, made of arrays: three test episodes and one that trains."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness.answers import Targets
from harness.imports.folder import ImportedRun
from harness.record import EpisodeRecord
from harness.splits import Fold, Split
from harness.tables import targets_table, write_atomically
from harness.tasks import get_task
from harness.window import Samples, WindowSpec, make_samples

SPEC = WindowSpec(length=4, stride=4)
TASKS = ("timeline_action", "object_relevance", "imu_to_hand_pose", "cross_modal_retrieval")
WORDS, OBJECTS, WIDTH, ROWS = ("pour", "stir"), ("cup", "kettle", "pan"), 3, 5
TEST, TRAIN = ("a", "b", "c"), "t"


def samples_of(episode: str) -> Samples:
    return make_samples("window", episode, np.arange(SPEC.length * ROWS) / 20, SPEC)


def targets_of(episode: str) -> dict[str, Targets]:
    rng = np.random.default_rng(ord(episode))
    everywhere = np.ones(ROWS, bool)
    valid = everywhere.copy()
    valid[-1] = episode != "a"  # one window of one episode has no label
    return {
        "timeline_action": Targets(
            valid, labels=np.where(valid, rng.integers(0, 2, ROWS), -1).astype(np.int32), vocabulary=WORDS
        ),
        "object_relevance": Targets(everywhere, label_sets=rng.random((ROWS, 3)) < 0.5, vocabulary=OBJECTS),
        "imu_to_hand_pose": Targets(everywhere, values=rng.normal(size=(ROWS, WIDTH)).astype(np.float32)),
        "cross_modal_retrieval": Targets(everywhere, item=np.arange(ROWS, dtype=np.int32)),
    }


ONE_FOLD = (Fold(0, (TRAIN,), (), TEST),)
TWO_FOLDS = (Fold(0, (TRAIN, "c"), (), ("a", "b")), Fold(1, (TRAIN, "a", "b"), (), ("c",)))


def make_run(folder: Path, folds: tuple[Fold, ...] = ONE_FOLD, lacking: tuple[str, str] = ("", "")) -> Path:
    """`lacking`: an episode and the task that it does not have."""
    for episode in (*TEST, TRAIN):
        posed = {task: targets for task, targets in targets_of(episode).items() if (episode, task) != lacking}
        tables = [targets_table(task, samples_of(episode), targets) for task, targets in posed.items()]
        shapes = {"imu_to_hand_pose": [WIDTH]}
        record = EpisodeRecord(episode, "", SPEC.length * ROWS, {}, {}, {}, shapes, list(posed))
        write_atomically(tables, folder / "targets" / f"{episode}.parquet", record.to_metadata())
    every = (*TEST, TRAIN)
    split = Split("explicit", "episode", {e: e for e in every}, dict.fromkeys(every), folds, asdict(SPEC))
    ImportedRun([], list(TASKS)).write(folder, split, SPEC)
    return folder


def right_rows() -> list[dict[str, Any]]:
    """The truth as rows of our own schema, for every sample that is scored."""
    rows = []
    for episode in TEST:
        ids = samples_of(episode).ids.tolist()
        for task, targets in targets_of(episode).items():
            answer = get_task(task).answer
            for i, sample in enumerate(ids):
                if not targets.valid[i]:
                    continue
                row: dict[str, Any] = {"task": task, "sample": sample, "episode": episode}
                if answer == "label":
                    row["label"] = WORDS[targets.labels[i]]
                elif answer == "label_set":
                    row["labels"] = [word for word, there in zip(OBJECTS, targets.label_sets[i].tolist(), strict=True) if there]
                elif answer == "vector":
                    row["values"] = targets.values[i].tolist()
                else:
                    row |= dict.fromkeys(("query", "key"), np.eye(ROWS)[i].tolist())
                rows.append(row)
    return rows
