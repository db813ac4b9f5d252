"""What a data set holds: modalities, rates, lengths, labels, and what is missing. As a table or as JSON."""

from collections import Counter
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.card import first_line
from harness.console import plain
from harness.dataset import Dataset
from harness.episode import Episode, Modality, Track
from harness.errors import UnreadableEpisode
from harness.tasks import get_task, task_ids


def inspect(dataset: Dataset) -> dict[str, Any]:
    """Read every episode's tracks (no video is decoded) and say what is there; JSON values."""
    refs, faults = dataset.list_episodes()
    quarantined = [{"episode": e, "path": p, "reason": r} for e, p, r in faults]
    episodes: list[dict[str, Any]] = []
    labels: dict[str, Counter[str]] = {}
    for ref in refs:
        try:
            episode = dataset.read(ref)
        except UnreadableEpisode as error:
            quarantined.append({"episode": ref.id, "path": error.path, "reason": error.reason})
            continue
        except Exception as error:  # one recording must not hide the others
            reason = f"unexpected {type(error).__name__} while reading: {first_line(error)}"
            quarantined.append({"episode": ref.id, "path": ref.uris[0] if ref.uris else "", "reason": reason})
            continue
        episodes.append(_episode(episode, ref.index))
        for name, counts in _labels(episode).items():
            labels.setdefault(name, Counter()).update(counts)
    card = dataset.card
    return {
        "dataset": card.name,
        "format": card.format,
        "root": str(dataset.root),
        "card": "inferred" if dataset.inferred else "found",
        "licence": card.licence,
        "simulated": card.simulated,
        "episodes": len(episodes),
        "sessions": len({e["session"] for e in episodes if e["session"]}),
        "seconds": round(sum(e["seconds"] for e in episodes), 3),
        "tracks": _tracks(episodes),
        "action_groups": {name: {"dims": len(g.indices()), "unit": g.unit} for name, g in card.action_groups.items()},
        "labels": {name: dict(counts.most_common()) for name, counts in labels.items()},
        "tasks": [t for t in task_ids() if any(get_task(t).poses(list(e["tracks"])) for e in episodes)],
        "lacking": [{"episode": e["id"], "track": t, "reason": r} for e in episodes for t, r in e["lacking"].items()],
        "remarks": dataset.reader().remarks(),
        "quarantined": quarantined,
        "per_episode": episodes,
    }


def _episode(episode: Episode, index: int) -> dict[str, Any]:
    timeline = episode.timeline
    step = float(np.median(np.diff(timeline))) if len(timeline) > 1 else 0.0
    return {
        "id": episode.id,
        "index": index,
        "session": episode.session,
        "participant": episode.participant,
        "reference": episode.reference,
        "samples": len(timeline),
        "seconds": round(float(timeline[-1] - timeline[0]) + step, 3) if len(timeline) else 0.0,
        "tracks": {name: _track(track) for name, track in episode.tracks.items()},
        "lacking": episode.lacking,
    }


def _track(track: Track) -> dict[str, Any]:
    shape = list(getattr(track.data, "shape", ())[1 if track.times is not None else 0 :])
    if track.modality == Modality.VIDEO:
        shape = [getattr(track.data, "height", 0), getattr(track.data, "width", 0), 3]
    measured = None if track.times is None else round(float(track.mask().mean()), 4) if len(track.times) else None
    rate = track.rate
    return {
        "modality": track.modality.value,
        "rate_hz": None if rate is None else round(rate, 3),
        "shape": shape,
        "unit": track.unit,
        "frame": track.frame,
        "measured": measured,
    }


def _labels(episode: Episode) -> dict[str, Counter[str]]:
    """Frames per label, for label tracks and label sets."""
    found: dict[str, Counter[str]] = {}
    for track in episode.of(Modality.LANGUAGE):
        data = track.array()
        if track.categories:
            counts = np.bincount(data[data >= 0], minlength=len(track.categories))
            found[track.name] = Counter({c: int(n) for c, n in zip(track.categories, counts, strict=True) if n})
        elif track.names:
            found[track.name] = Counter({c: int(n) for c, n in zip(track.names, (data > 0).sum(axis=0), strict=True) if n})
    return found


def _tracks(episodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Track -> what is the same everywhere, and in how many episodes it is."""
    found: dict[str, list[dict[str, Any]]] = {}
    for episode in episodes:
        for name, track in episode["tracks"].items():
            found.setdefault(name, []).append(track)
    return {
        name: {
            "modality": tracks[0]["modality"],
            "episodes": len(tracks),
            "rate_hz": sorted({t["rate_hz"] for t in tracks if t["rate_hz"] is not None}),
            "shapes": [list(s) for s in sorted({tuple(t["shape"]) for t in tracks})],
            "unit": tracks[0]["unit"],
            "frame": tracks[0]["frame"],
            "measured": _mean([t["measured"] for t in tracks if t["measured"] is not None]),
        }
        for name, tracks in found.items()
    }


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def print_card(dataset: Dataset, console: Console) -> None:
    """An inferred card is printed, so that a guess is seen."""
    text = OmegaConf.to_yaml(OmegaConf.structured(dataset.card)).strip()
    console.print(Text(f"no card for this data set; inferred from its metadata:\n{text}", style="dim"))


def print_inspection(found: dict[str, Any], console: Console) -> None:
    """The table form."""
    console.print(
        Text(
            f"{found['dataset']} ({found['format']}, card {found['card']}, licence {found['licence']}"
            f"{', simulated' if found['simulated'] else ''}): {found['episodes']} episodes, {found['sessions']} sessions, "
            f"{found['seconds']:.1f} s",
            style="bold",
        )
    )
    _print_rows(
        console, "tracks", ("track", "modality", "episodes", "rate Hz", "shape", "unit", "frame", "measured"), _track_rows(found)
    )
    lengths = [e["samples"] for e in found["per_episode"]]
    if lengths:
        console.print(f"lengths: {min(lengths)} to {max(lengths)} reference samples, median {int(np.median(lengths))}")
    for name, counts in found["labels"].items():
        shown = ", ".join(f"{label} {n}" for label, n in list(counts.items())[:8])
        more = f", and {len(counts) - 8} more" if len(counts) > 8 else ""
        console.print(Text(f"labels of {name} (frames): {shown}{more}"))
    console.print(Text(f"tasks it can pose: {', '.join(found['tasks']) or 'none'}"))
    _print_missing(console, "lacking", Counter((r["track"], r["reason"]) for r in found["lacking"]))
    for line in found["remarks"]:
        console.print(Text(f"metadata: {line}", style="yellow"))
    for row in found["quarantined"]:
        console.print(Text(f"quarantined {row['episode']}: {row['path']}: {row['reason']}", style="red"))


def _track_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            name,
            track["modality"],
            f"{track['episodes']} of {found['episodes']}",
            _range(track["rate_hz"]),
            " or ".join("x".join(map(str, shape)) or "1" for shape in track["shapes"]),
            track["unit"],
            track["frame"],
            "" if track["measured"] is None else f"{100 * track['measured']:.1f} %",
        )
        for name, track in found["tracks"].items()
    ]


def _range(rates: list[float]) -> str:
    if not rates:
        return "untimed"
    return f"{rates[0]:g}" if rates[0] == rates[-1] else f"{rates[0]:g} to {rates[-1]:g}"


def _print_rows(console: Console, title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    for name in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console.print(table)


def _print_missing(console: Console, title: str, counts: Counter[tuple[str, str]]) -> None:
    for (track, reason), n in counts.most_common(20):
        console.print(Text(f"{title} in {n} episode(s): {track}: {reason}", style="yellow"))
