"""Pictures for the eye: what was observed, what came, and what a branch said would come.

They stand beside the scores and decide nothing. Targets are needed, so the evaluator's side draws them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from harness.answers import Targets
from harness.bundle import Bundle
from harness.evaluate import Held
from harness.record import file_stem
from harness.tables import by_task, read_predictions, sample_ids
from harness.tasks.base import Task
from harness.tasks.future import FRAMES, SIDE, FutureVideo

SCALE = 4  # pixels of the picture per pixel of a frame
ROWS = 4  # samples of a picture
LABEL, GAP = 14, 6  # pixels


def write_examples(held: Held, bundles: Sequence[Bundle], out: Path) -> list[Path]:
    """One PNG per branch and video task: `<out>/<branch>/<task>.png`, of the first test episode that the branch answers.

    Per sample two rows: the frame observed last and the true frames, then the same frame and the predicted ones. Samples are
    those whose frames change most in each quarter of the episode. A failed row is drawn as a grey one.
    """
    written = []
    for task in held.tasks:
        if not isinstance(task, FutureVideo):
            continue
        for bundle in bundles:
            picture = _picture(held, task, bundle) if task.id in bundle.routes and not bundle.privileged else None
            if picture is not None:
                path = out / file_stem(bundle.branch) / f"{task.id}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path, "PNG")
                written.append(path)
    return written


def _picture(held: Held, task: FutureVideo, bundle: Bundle) -> Image.Image | None:
    parts = bundle.parts_by_episode()
    for episode in held.present(held.split.folds[bundle.fold].test):
        predicted = _predicted(parts.get(file_stem(episode), []), task)
        for _, samples, targets in held.rows(episode, [task]):
            known = np.array([targets.valid[i] and s in predicted for i, s in enumerate(samples.ids.tolist())], bool)
            chosen = _liveliest(targets, np.flatnonzero(known))
            if len(chosen):
                return _draw(targets, chosen, [predicted[samples.ids[i]] for i in chosen], f"{bundle.branch}  {episode}")
    return None


def _predicted(parts: Sequence[Path], task: Task) -> dict[str, NDArray[np.float32]]:
    """Sample id -> answer, NaN where the row failed."""
    found: dict[str, NDArray[np.float32]] = {}
    for path in parts:
        for _, table in by_task(path, [task.id]):
            rows = read_predictions(table, ())
            if rows.values is not None and rows.values.shape[1] == FRAMES * SIDE * SIDE * 3:
                values = np.where(rows.ok[:, None], rows.values, np.nan)
                found |= dict(zip(sample_ids(table).tolist(), values, strict=True))
    return found


def _liveliest(targets: Targets, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The row whose frames change most in each of `ROWS` parts of an episode."""
    assert targets.values is not None and targets.reference is not None
    motion = np.abs(targets.values - targets.reference).mean(axis=1)
    return np.array([part[motion[part].argmax()] for part in np.array_split(rows, ROWS) if len(part)], np.int64)


def _draw(targets: Targets, chosen: NDArray[np.int64], answers: Sequence[NDArray[np.float32]], title: str) -> Image.Image:
    assert targets.values is not None and targets.reference is not None
    side, shape = SIDE * SCALE, (FRAMES, SIDE, SIDE, 3)
    canvas = Image.new("RGB", ((1 + FRAMES) * (side + GAP), LABEL + len(chosen) * 2 * (side + LABEL + GAP)), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((2, 0), title, fill="black")
    y = LABEL
    for row, answer in zip(chosen, answers, strict=True):
        observed = targets.reference[row].reshape(shape)[:1]
        for label, frames in (("observed | true", targets.values[row]), ("observed | predicted", answer)):
            pen.text((2, y), label, fill="black")
            y += LABEL
            for column, frame in enumerate(np.concatenate([observed, frames.reshape(shape)])):
                levels = np.where(np.isfinite(frame), frame, 128.0).clip(0, 255).round().astype(np.uint8)
                image = Image.fromarray(levels).resize((side, side), Image.Resampling.NEAREST)
                canvas.paste(image, (column * (side + GAP), y))
            y += side + GAP
    return canvas
