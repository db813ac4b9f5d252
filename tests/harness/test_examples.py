"""Pictures of observed, true and predicted frames."""

import numpy as np
from PIL import Image

from harness.answers import Predictions, Status, Targets, all_ok
from harness.bundle import Bundle
from harness.held import Held
from harness.record import EpisodeRecord
from harness.report.examples import LABEL, SCALE, write_examples
from harness.splits import Fold, Split
from harness.tables import predictions_table, targets_table, write_atomically
from harness.tasks.future import FRAMES, SIDE, FutureRetrieval, FutureVideo
from harness.window import WindowSpec, make_samples

SPEC = WindowSpec(length=8, stride=4)
D = FRAMES * SIDE * SIDE * 3


def test_a_picture_per_branch_with_the_frames_in_their_places(tmp_path):
    task, times = FutureVideo(), np.arange(60) / 20
    samples = make_samples("window", "e/1", times, SPEC)
    n = len(samples)
    truth, held_frame, guess = (np.full((n, D), level, np.float32) for level in (200, 50, 100))
    targets = Targets(np.ones(n, bool), values=truth, reference=held_frame)
    record = EpisodeRecord("e/1", "k", 60, {}, {}, {}, {task.id: [FRAMES, SIDE, SIDE, 3]}, [task.id])
    split = Split("held_out_episode", "episode", {"e/1": "e/1"}, {"e/1": None}, (Fold(0, (), (), ("e/1",)),))
    held = Held(tmp_path / "targets", split, (task,), SPEC)
    write_atomically([targets_table(task.id, samples, targets)], held.file("e/1"), record.to_metadata())
    status = all_ok(n)
    status[0] = Status.OOM.value
    folder = tmp_path / "bundles" / "fold=0" / "seed=0"
    rows = Predictions(status, values=np.where(status[:, None] == Status.OK.value, guess, np.nan))
    write_atomically(
        [predictions_table(task.id, samples, rows, 0, 0, 0)], folder / f"part-{held.file('e/1').stem}-0000000.parquet"
    )
    bundle = Bundle(folder, "world_model:x", "world_model", 0, 0, split.hash, {task.id: "native"}, {})
    other = Bundle(tmp_path / "none", "silent", "head", 0, 0, split.hash, {}, {})
    (path,) = write_examples(held, [bundle, other], tmp_path / "examples")
    assert path.parent.parent == tmp_path / "examples"
    picture = np.asarray(Image.open(path))
    side = SIDE * SCALE

    def level(column, row):
        y = LABEL + row * (side + LABEL + 6) + LABEL + side // 2
        return picture[y, column * (side + 6) + side // 2].tolist()

    assert level(0, 0) == [50, 50, 50] and level(1, 0) == [200, 200, 200]
    assert level(0, 1) == [50, 50, 50] and level(1, 1) == [128, 128, 128]  # the first row failed: grey
    assert level(FRAMES, 3) == [100, 100, 100]


def test_a_branch_that_finds_windows_is_shown_with_the_frames_of_the_window_it_took(tmp_path):
    """Four windows of other levels; the query of each points at the key of the one after it."""
    video, task, times = FutureVideo(8), FutureRetrieval(), np.arange(28) / 20
    samples, pairs = (make_samples(kind, "e/1", times, SPEC) for kind in (video.samples, task.samples))
    n = 4
    samples, pairs = samples.take(np.arange(n)), pairs.take(np.arange(n))
    levels = np.array([40, 80, 120, 160], np.float32)
    truth = np.repeat(levels[:, None], D, axis=1)
    shown = Targets(np.ones(n, bool), values=truth, reference=np.full((n, D), 10, np.float32))
    found = Targets(np.ones(n, bool), item=np.arange(n, dtype=np.int32))
    record = EpisodeRecord("e/1", "k", 28, {}, {}, {}, {video.id: [FRAMES, SIDE, SIDE, 3]}, [video.id, task.id])
    split = Split("held_out_episode", "episode", {"e/1": "e/1"}, {"e/1": None}, (Fold(0, (), (), ("e/1",)),))
    held = Held(tmp_path / "targets", split, (video, task), SPEC)
    tables = [targets_table(video.id, samples, shown), targets_table(task.id, pairs, found)]
    write_atomically(tables, held.file("e/1"), record.to_metadata())
    key = np.eye(n, dtype=np.float32)
    rows = Predictions(all_ok(n), query=np.roll(key, -1, axis=0), key=key)
    folder = tmp_path / "bundles" / "fold=0" / "seed=0"
    write_atomically([predictions_table(task.id, pairs, rows, 0, 0, 0)], folder / f"part-{held.file('e/1').stem}-0000000.parquet")
    bundle = Bundle(folder, "world_model:x", "world_model", 0, 0, split.hash, {task.id: "native"}, {})
    (path,) = write_examples(held, [bundle], tmp_path / "examples")
    assert path.name == "future_retrieval.png"
    picture = np.asarray(Image.open(path))
    side = SIDE * SCALE
    middle = [picture[LABEL + r * (side + LABEL + 6) + LABEL + side // 2, (side + 6) + side // 2, 0] for r in range(2 * n)]
    assert middle[::2] == levels.tolist() and middle[1::2] == np.roll(levels, -1).tolist()
