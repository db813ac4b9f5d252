"""What the `meta/` folder of a LeRobot data set says, and where its files really are.

Metadata describe, files decide: episodes are listed from both, and a claim of `info.json` that no file bears out is a remark,
never a failure.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.card import ActionGroup, first_line, suggest
from harness.errors import BadInput

VERSIONS = ("v2.0", "v2.1", "v3.0")
IMAGES = "observation.images."

Locator = dict[str, str | int | float]


@dataclass
class Listing:
    """Where the episodes are.

    Attributes:
        found: Episode index -> locator: `data` (table, relative to the root), and per camera track its file (empty where this
            episode has none), with `<track>:from` and `<track>:to` seconds where several episodes share the file.
        errors: (episode, path, reason) of what is named but cannot be read.
        cameras: Camera track -> declared feature, for the cameras that have a file for at least one episode.
        videos: How many video files exist.
        unreferenced: Tables that exist and that no episode points to.
    """

    found: dict[int, Locator] = field(default_factory=dict)
    errors: list[tuple[str, str, str]] = field(default_factory=list)
    cameras: dict[str, str] = field(default_factory=dict)
    videos: int = 0
    unreferenced: list[str] = field(default_factory=list)


def episode_id(index: int) -> str:
    """The id of an episode: the stem that LeRobot v2 gives its files."""
    return f"episode_{index:06d}"


def read_info(root: Path) -> dict[str, Any]:
    """`meta/info.json`.

    Raises:
        BadInput: It is missing, not JSON, lacks the features, or is of a version that is not read here.
    """
    path = root / "meta" / "info.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not a readable LeRobot info file ({first_line(error)}); restore it from the source") from error
    if not isinstance(info, dict) or not isinstance(info.get("features"), dict):
        raise BadInput(f"{path}: has no `features`; restore it from the source")
    version = str(info.get("codebase_version"))
    if version not in VERSIONS:
        hint = suggest(version, list(VERSIONS))
        raise BadInput(f"{path}: LeRobot codebase_version {version!r} is not read{hint}; convert the data set to one of these")
    return info


def camera_features(info: dict[str, Any]) -> dict[str, str]:
    """Track name -> feature key of every declared camera, e.g. `video/cam_high` -> `observation.images.cam_high`."""
    return {f"video/{key.removeprefix(IMAGES)}": key for key in info["features"] if key.startswith(IMAGES)}


def feature_names(feature: dict[str, Any], width: int) -> tuple[str, ...]:
    """Names of a feature's dimensions, nested lists flattened; empty where they do not match the data's width."""
    raw = feature.get("names")
    if isinstance(raw, dict):
        raw = list(raw.values())
    names = tuple(str(name) for name in _flatten(raw)) if isinstance(raw, list) else ()
    return names if len(names) == width else ()


def _flatten(nested: Iterable[Any]) -> Iterable[Any]:
    for item in nested:
        if isinstance(item, list | tuple):
            yield from _flatten(item)
        else:
            yield item


def action_groups(root: Path, info: dict[str, Any]) -> dict[str, ActionGroup]:
    """Named parts of the command from `meta/modality.json`, else one group `all`; empty where there is no action.

    Raises:
        BadInput: `meta/modality.json` is there and cannot be read.
    """
    path = root / "meta" / "modality.json"
    action = info["features"].get("action")
    if path.is_file():
        try:
            parts = json.loads(path.read_text(encoding="utf-8")).get("action", {})
            return {str(name): ActionGroup([f"{int(part['start'])}:{int(part['end'])}"]) for name, part in parts.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"{path}: not a modality file ({first_line(error)}); repair or remove it") from error
    if action is None:
        return {}
    return {"all": ActionGroup([f"0:{action['shape'][0]}"])}


def read_tasks(root: Path) -> dict[int, str]:
    """`task_index` -> text, from `meta/tasks.jsonl` or `meta/tasks.parquet`; empty where neither exists.

    Raises:
        BadInput: The file cannot be read.
    """
    lines, table = root / "meta" / "tasks.jsonl", root / "meta" / "tasks.parquet"
    if lines.is_file():
        rows = read_lines(lines)
        try:
            return {int(row["task_index"]): str(row["task"]) for row in rows}
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{lines}: a line lacks `task_index` or `task`; repair the file") from error
    if not table.is_file():
        return {}
    try:
        read = pq.read_table(table, partitioning=None)
        # pandas stores the text as its index, which has no name of its own.
        text = next(name for name in ("task", "__index_level_0__") if name in read.column_names)
        pairs = zip(read["task_index"].to_pylist(), read[text].to_pylist(), strict=True)
        return {int(index): str(task) for index, task in pairs}
    except (pa.ArrowException, OSError, KeyError, StopIteration) as error:
        raise BadInput(f"{table}: not a LeRobot tasks table ({first_line(error)}); restore it from the source") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file.

    Raises:
        BadInput: A line is not a JSON object.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BadInput(f"{path}: line {number} is not JSON; repair the line or restore the file") from error
        if not isinstance(row, dict):
            raise BadInput(f"{path}: line {number} is not a JSON object; repair the line or restore the file")
        rows.append(row)
    return rows


def fingerprint(root: Path) -> dict[str, str]:
    """Version, robot, cameras, width of the action and a hash of the task texts: they tell LeRobot data sets apart."""
    info = read_info(root)
    tasks = "\n".join(sorted(read_tasks(root).values()))
    return {
        "codebase_version": str(info["codebase_version"]),
        "robot_type": str(info.get("robot_type")),
        "fps": f"{float(info.get('fps') or 0):g}",
        "cameras": ",".join(sorted(camera_features(info))),
        "action": "x".join(str(n) for n in info["features"].get("action", {}).get("shape", [])),
        "tasks_sha256": hashlib.sha256(tasks.encode()).hexdigest()[:16],
    }


def scan(root: Path, info: dict[str, Any]) -> Listing:
    """Find the episodes of a data set and their files, opening no recording.

    Raises:
        BadInput: The metadata cannot be read.
    """
    return _scan_shared(root, info) if info["codebase_version"] == "v3.0" else _scan_single(root, info)


def _scan_single(root: Path, info: dict[str, Any]) -> Listing:
    """v2.0 and v2.1: one table and one video per camera for each episode, named by its index in whatever chunk folder."""
    listing = Listing()
    meta = root / "meta" / "episodes.jsonl"
    rows = read_lines(meta) if meta.is_file() else []
    declared = Counter(_index_of(row, meta) for row in rows)
    tables = _by_index(root, "data", "parquet")
    videos = {track: _by_index(root, "videos", "mp4", key) for track, key in camera_features(info).items()}
    listing.videos = sum(len(paths) for files in videos.values() for paths in files.values())
    listing.cameras = {track: camera_features(info)[track] for track, files in videos.items() if files}
    for index in sorted(set(declared) | set(tables)):
        copies = [tables.get(index, []), *(files.get(index, []) for files in videos.values())]
        doubled = next((paths for paths in copies if len(paths) > 1), None)
        if declared[index] > 1:
            reason = f"{declared[index]} lines for one episode; keep the right one"
            listing.errors.append((episode_id(index), str(meta), reason))
        elif doubled:
            reason = f"two episodes with one id: also {root / doubled[0]}; remove or renumber one"
            listing.errors.append((episode_id(index), str(root / doubled[1]), reason))
        elif index not in tables:
            path = root / "data" / f"chunk-{index // int(info.get('chunks_size') or 1000):03d}" / f"{episode_id(index)}.parquet"
            listing.errors.append((episode_id(index), str(path), f"no such file though {meta.name} lists it; fetch it again"))
        else:
            locator: Locator = {"data": tables[index][0]}
            locator.update({track: next(iter(videos[track].get(index, [])), "") for track in listing.cameras})
            listing.found[index] = locator
    return listing


def _index_of(row: dict[str, Any], meta: Path) -> int:
    try:
        return int(row["episode_index"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{meta}: a line has no whole `episode_index`; repair the line or restore the file") from error


def _by_index(root: Path, folder: str, suffix: str, parent: str | None = None) -> dict[int, list[str]]:
    """Episode index -> files under `folder`, relative to the root; only those in a folder named `parent`, where given."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted((root / folder).rglob(f"episode_*.{suffix}")):
        match = re.fullmatch(r"episode_(\d+)", path.stem)
        if match and parent in (None, path.parent.name):
            found[int(match[1])].append(str(path.relative_to(root)))
    return found


def _scan_shared(root: Path, info: dict[str, Any]) -> Listing:
    """v3.0: tables and videos that hold several episodes; `meta/episodes` says where each one is."""
    rows = _read_episode_tables(root)
    listing = Listing(videos=len(list((root / "videos").rglob("*.mp4"))))
    counts = Counter(int(row["episode_index"]) for row in rows)
    cameras = camera_features(info)
    for row in rows:
        index = int(row["episode_index"])
        table = _place(info, "data_path", "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet", row, "data")
        if counts[index] > 1:
            if index in {known for known, _ in listing.found.items()}:
                continue
        path = root / table if table else root / "meta" / "episodes"
        if counts[index] > 1:
            reason = f"two episodes with one id: {counts[index]} rows of meta/episodes; keep the right one"
            listing.errors.append((episode_id(index), str(root / "meta" / "episodes"), reason))
        elif not table or not path.is_file():
            listing.errors.append((episode_id(index), str(path), "no such table though meta/episodes lists it; fetch it again"))
        else:
            listing.found[index] = {"data": table} | _video_places(root, info, row, cameras)
    used = {str(locator["data"]) for locator in listing.found.values()}
    listing.unreferenced = sorted({str(p.relative_to(root)) for p in (root / "data").rglob("*.parquet")} - used)
    listing.cameras = {t: key for t, key in cameras.items() if any(locator[t] for locator in listing.found.values())}
    return listing
