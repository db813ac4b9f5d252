"""Pictures for the eye: what was observed, what came, and what a branch said would come.

They stand beside the scores and decide nothing. Targets are needed, so the evaluator's side draws them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from harness.answers import Predictions, Targets
from harness.bundle import Bundle
from harness.held import Held
from harness.record import file_stem
from harness.tables import by_task, read_predictions, sample_ids
from harness.tasks.base import Task
from harness.tasks.future import FRAMES, SIDE, FutureRetrieval, FutureVideo
from harness.window import Samples

SCALE = 4  # pixels of the picture per pixel of a frame
ROWS = 4  # samples of a picture
LABEL, GAP = 14, 6  # pixels


def write_examples(held: Held, bundles: Sequence[Bundle], out: Path) -> list[Path]:
    """One PNG per branch and task: `<out>/<branch>/<task>.png`, of the first test episode that the branch answers.

    Per sample two rows: the frame observed last and the true frames, then the same frame and the predicted ones: those that a
    branch drew (`future_video`), or those of the window that it took for the next one (`future_retrieval`, where the run has the
    frames: it poses `future_video` as well). Samples are those whose frames change most in each quarter of the episode. A failed
    row is drawn as a grey one.
    """
    written = []
    for task, video in _pictured(held):
        for bundle in bundles:
            picture = _picture(held, task, video, bundle) if task.id in bundle.routes and not bundle.privileged else None
            if picture is not None:
                path = out / file_stem(bundle.branch) / f"{task.id}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path, "PNG")
                written.append(path)
    return written


def _pictured(held: Held) -> Iterator[tuple[Task, FutureVideo]]:
    """Tasks with a picture, each with the task whose targets hold its frames."""
    videos = [task for task in held.tasks if isinstance(task, FutureVideo)]
    yield from ((task, task) for task in videos)
    next_window = [video for video in videos if video.horizon == held.spec.length]
    yield from ((task, next_window[0]) for task in held.tasks if isinstance(task, FutureRetrieval) and next_window)


def _picture(held: Held, task: Task, video: FutureVideo, bundle: Bundle) -> Image.Image | None:
    parts = bundle.parts_by_episode()
    for episode in held.present(held.split.folds[bundle.fold].test):
        answered = parts.get(file_stem(episode), [])
        for _, samples, targets in held.rows(episode, [video]):
            if task is video:
                said, predicted = "predicted", _drawn(answered, task, samples)
            else:
                said, predicted = "retrieved", _retrieved(held, episode, answered, task, samples, targets)
            known = np.array([targets.valid[i] and i in predicted for i in range(len(samples))], bool)
            chosen = _liveliest(targets, np.flatnonzero(known))
            if len(chosen):
                return _draw(targets, chosen, [predicted[i] for i in chosen.tolist()], f"{bundle.branch}  {episode}", said)
    return None


def _drawn(parts: Sequence[Path], task: Task, samples: Samples) -> dict[int, NDArray[np.float32]]:
    """Row of the samples -> answer, NaN where the row failed."""
    found: dict[int, NDArray[np.float32]] = {}
    row = {sample: i for i, sample in enumerate(samples.ids.tolist())}
    for ids, rows in _rows(parts, task):
        if rows.values is not None and rows.values.shape[1] == FRAMES * SIDE * SIDE * 3:
            values = np.where(rows.ok[:, None], rows.values, np.nan)
            found |= {row[sample]: value for sample, value in zip(ids, values, strict=True) if sample in row}
    return found


def _retrieved(
    held: Held, episode: str, parts: Sequence[Path], task: Task, samples: Samples, targets: Targets
) -> dict[int, NDArray[np.float32]]:
    """Row of the samples -> true frames of the window whose key is nearest to the query, NaN where the row failed."""
    assert targets.values is not None
    row, place = {start: i for i, start in enumerate(samples.starts[:, 0].tolist())}, {}
    for _, pairs, _ in held.rows(episode, [task]):
        place = {sample: row.get(start) for sample, start in zip(pairs.ids.tolist(), pairs.starts[:, 0].tolist(), strict=True)}
    where, queries, keys = [], [], []
    for ids, rows in _rows(parts, task):
        for i, sample in enumerate(ids):
            at = place.get(sample)
            if at is not None and rows.query is not None and rows.key is not None:
                where.append(at)
                queries.append(np.where(rows.ok[i], rows.query[i], np.nan))
                keys.append(np.where(rows.ok[i], rows.key[i], np.nan))
    if not where:
        return {}
    query, key = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (np.array(queries), np.array(keys)))
    similar = query @ key.T
    failed = ~np.isfinite(similar).any(axis=1)
    nearest = np.where(np.isfinite(similar), similar, -np.inf).argmax(axis=1)
    frames = np.where(failed[:, None], np.nan, targets.values[np.array(where)[nearest]])
    return dict(zip(where, frames, strict=True))


def _rows(parts: Sequence[Path], task: Task) -> Iterator[tuple[list[str], Predictions]]:
    for path in parts:
        for _, table in by_task(path, [task.id]):
            yield sample_ids(table).tolist(), read_predictions(table, ())


def _liveliest(targets: Targets, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The row whose frames change most in each of `ROWS` parts of an episode."""
    assert targets.values is not None and targets.reference is not None
    motion = np.abs(targets.values - targets.reference).mean(axis=1)
    return np.array([part[motion[part].argmax()] for part in np.array_split(rows, ROWS) if len(part)], np.int64)


def _draw(
    targets: Targets, chosen: NDArray[np.int64], answers: Sequence[NDArray[np.float32]], title: str, said: str
) -> Image.Image:
    assert targets.values is not None and targets.reference is not None
    side, shape = SIDE * SCALE, (FRAMES, SIDE, SIDE, 3)
    canvas = Image.new("RGB", ((1 + FRAMES) * (side + GAP), LABEL + len(chosen) * 2 * (side + LABEL + GAP)), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((2, 0), title, fill="black")
    y = LABEL
    for row, answer in zip(chosen, answers, strict=True):
        observed = targets.reference[row].reshape(shape)[:1]
        for label, frames in (("observed | true", targets.values[row]), (f"observed | {said}", answer)):
            pen.text((2, y), label, fill="black")
            y += LABEL
            for column, frame in enumerate(np.concatenate([observed, frames.reshape(shape)])):
                levels = np.where(np.isfinite(frame), frame, 128.0).clip(0, 255).round().astype(np.uint8)
                image = Image.fromarray(levels).resize((side, side), Image.Resampling.NEAREST)
                canvas.paste(image, (column * (side + GAP), y))
            y += side + GAP
    return canvas
