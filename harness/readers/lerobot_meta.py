"""What the `meta/` folder of a LeRobot data set says, and where its files really are.

Metadata describe, files decide: episodes are listed from both, and a claim of `info.json` that no file bears out is a remark,
never a failure.
"""

import hashlib
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.card import ActionGroup, first_line
from harness.errors import BadInput

VERSIONS = ("v2.0", "v2.1", "v3.0")
IMAGES = "observation.images."
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

Locator = dict[str, str | int | float]


@dataclass
class Listing:
    """Where the episodes are.

    Attributes:
        found: Episode index -> locator: `data` (table, relative to the root), and per camera track its file (empty where this
            episode has none), with `<track>:from` and `<track>:to` seconds where several episodes share the file, and
            `<track>:missing` the file that the metadata name and that is not there.
        errors: (episode, path, reason) of what is named but cannot be read.
        cameras: Camera track -> declared feature, for the cameras that have a file, or the name of one, for some episode.
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
    if not isinstance(info.get("fps"), int | float) or info["fps"] <= 0:
        raise BadInput(f"{path}: `fps` is {info.get('fps')!r}; give the frames per second")
    version = str(info.get("codebase_version"))
    if version not in VERSIONS:
        known = ", ".join(VERSIONS)
        raise BadInput(f"{path}: LeRobot codebase_version {version!r} is not read; convert the data set to one of {known}")
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
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not a text file ({first_line(error)}); restore it from the source") from error
    for number, line in enumerate(lines, start=1):
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
        "fps": f"{info['fps']:g}",
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
            for track in listing.cameras:
                locator[track] = next(iter(videos[track].get(index, [])), "")
                locator |= {f"{track}:from": 0.0, f"{track}:to": math.inf}
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
    listing = Listing(videos=len(list((root / "videos").rglob("*.mp4"))))
    rows = _read_episode_rows(root)
    counts = Counter(int(row["episode_index"]) for row in rows)
    meta = root / "meta" / "episodes"
    doubled = [index for index, count in counts.items() if count > 1]
    for index in doubled:
        reason = f"two episodes with one id: {counts[index]} rows say {index}; keep the right one"
        listing.errors.append((episode_id(index), str(meta), reason))
    for row in rows:
        index = int(row["episode_index"])
        if index in doubled:
            continue
        table = _place(info, "data_path", DATA_PATH, row, "data")
        if table is not None and (root / table).is_file():
            listing.found[index] = {"data": table, **_video_places(root, info, row)}
        else:
            reason = f"the table of {episode_id(index)} is missing though meta/episodes lists it; fetch it again"
            listing.errors.append((episode_id(index), str(root / table if table else meta), reason))
    used = {str(locator["data"]) for locator in listing.found.values()}
    listing.unreferenced = sorted({str(p.relative_to(root)) for p in (root / "data").rglob("*.parquet")} - used)
    for track, key in camera_features(info).items():
        if any(locator[track] or f"{track}:missing" in locator for locator in listing.found.values()):
            listing.cameras[track] = key
        else:
            for locator in listing.found.values():
                del locator[track]
    return listing


def _read_episode_rows(root: Path) -> list[dict[str, Any]]:
    """The rows of `meta/episodes/**.parquet` without the statistics, sorted by episode; at least one."""
    folder = root / "meta" / "episodes"
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("*.parquet")):
        try:
            file = pq.ParquetFile(path)
            columns = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
            rows.extend(file.read(columns=columns).to_pylist())
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{path}: not a table ({first_line(error)}); fetch it again") from error
    if not rows:
        raise BadInput(f"{folder}: lists no episode, and LeRobot v3.0 finds them by it alone; fetch the folder again")
    if any(row.get("episode_index") is None for row in rows):
        raise BadInput(f"{folder}: a row has no `episode_index`; fetch the folder again")
    return sorted(rows, key=lambda row: int(row["episode_index"]))


def _place(info: dict[str, Any], pattern: str, default: str, row: dict[str, Any], part: str, key: str = "") -> str | None:
    """The path that a row of `meta/episodes` gives for `part`; None where it gives none.

    Raises:
        BadInput: The path pattern in `info.json` has a field that is not known, or leads out of the data set.
    """
    chunk, file = row.get(f"{part}/chunk_index"), row.get(f"{part}/file_index")
    if chunk is None or file is None:
        return None
    template = str(info.get(pattern) or default)
    try:
        place = template.format(chunk_index=int(chunk), file_index=int(file), video_key=key)
    except (AttributeError, KeyError, IndexError, ValueError) as error:
        raise BadInput(f"meta/info.json: `{pattern}` is {template!r}; LeRobot v3.0 has {default!r}") from error
    if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
        raise BadInput(f"meta/info.json: `{pattern}` leads out of the data set ({place}); LeRobot v3.0 has {default!r}")
    return place


def _video_places(root: Path, info: dict[str, Any], row: dict[str, Any]) -> Locator:
    """Per camera the file that holds the episode (empty where none does) and its interval in that file's clock.

    A file that the row names and that is not there is named beside it.
    """
    locator: Locator = {}
    for track, key in camera_features(info).items():
        path = _place(info, "video_path", VIDEO_PATH, row, f"videos/{key}", key)
        locator[track] = path if path is not None and (root / path).is_file() else ""
        if path is not None and not locator[track]:
            locator[f"{track}:missing"] = path
        for end in ("from", "to"):
            seconds = row.get(f"videos/{key}/{end}_timestamp")
            if seconds is None and locator[track]:
                raise BadInput(f"meta/episodes: episode {row['episode_index']} has a video and no videos/{key}/{end}_timestamp")
            locator[f"{track}:{end}"] = float(seconds or 0.0)
    return locator


def remarks(root: Path, info: dict[str, Any], listing: Listing) -> list[str]:
    """What `info.json` claims and the files do not bear out, one line each. The files are believed."""
    out = [
        f"camera {track} is declared and has no file for any episode"
        for track in camera_features(info)
        if not any(locator.get(track) for locator in listing.found.values())
    ]
    count = len(listing.found)
    chunks = len({path.parent for path in (root / "data").rglob("*.parquet")})
    claims = (("total_episodes", count), ("total_videos", listing.videos), ("total_chunks", chunks))
    out += [f"{key} is {info[key]}; there are {real}" for key, real in claims if key in info and info[key] != real]
    last = max(listing.found, default=-1)
    for name, span in (info.get("splits") or {}).items():
        stop = str(span).rpartition(":")[2]
        if stop.isdigit() and int(stop) > last + 1:
            out.append(f"split {name!r} is {span!r}; the last episode is {last}")
    out += [f"{path} is used by no episode of meta/episodes" for path in listing.unreferenced]
    return out
