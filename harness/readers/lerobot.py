"""LeRobot data sets, versions v2.0, v2.1 and v3.0.

Time. The `timestamp` column is the clock of an episode. LeRobot looks a row's image up in the video at `timestamp` (v3.0: at
`from_timestamp + timestamp`), so video and rows share one clock and no frame is ever counted: where the first timestamp is
0.05, the first row belongs to the frame at 0.05 s, not to the first frame of the file. Where every row has its frame, the
frames carry the rows' times and the video is the reference track; where a row has none (a video that lacks its last frame),
the rows are the reference. So the timeline of an episode is always its rows, with video or without. A video that ends well
before them makes its episode unreadable: its last picture would stand for all that it does not show.
"""

import re
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness import video
from harness.card import Card, first_line, suggest
from harness.episode import Episode, EpisodeRef, FloatArray, Modality, Track, VideoFile
from harness.errors import BadInput, UnreadableEpisode
from harness.readers import lerobot_meta as meta

# Seconds. Above the rounding of any clock in use (milliseconds in Matroska, float32 after hours), below any frame period.
SAME_INSTANT = 2e-3
TAIL_FRAMES = 3  # real videos lack one last frame; one that lacks more than these has been cut
NAMES = {"observation.state": "state", "action": "command"}


class LeRobotReader:
    """Reads one LeRobot data set.

    Args:
        root: The folder that holds `meta/`, `data/` and `videos/`.
        card: What is known beside the files.

    Raises:
        BadInput: `card.session_pattern` is no regular expression with a group.
    """

    format: ClassVar[str] = "lerobot"

    def __init__(self, root: Path, card: Card) -> None:
        self.root = root
        self.card = card
        self._session = _session_pattern(card)

    @staticmethod
    def recognises(root: Path) -> bool:
        """True where there is a `meta/info.json`."""
        return (root / "meta" / "info.json").is_file()

    @staticmethod
    def fingerprint(root: Path) -> dict[str, str]:
        """As `lerobot_meta.fingerprint`."""
        return meta.fingerprint(root)

    @cached_property
    def info(self) -> dict[str, Any]:
        """The parsed `meta/info.json`."""
        return meta.read_info(self.root)

    @cached_property
    def tasks(self) -> dict[int, str]:
        """`task_index` -> text."""
        return meta.read_tasks(self.root)

    @cached_property
    def listing(self) -> meta.Listing:
        """Where the episodes are."""
        return meta.scan(self.root, self.info)

    def infer(self) -> Card:
        """A card from the metadata; cameras without any file are ignored."""
        cameras = meta.camera_features(self.info)
        return Card(
            name=self.root.resolve().name,
            format=self.format,
            root=str(self.root),
            title=f"LeRobot {self.info['codebase_version']}, {self.info.get('robot_type') or 'unknown robot'}",
            action_groups=meta.action_groups(self.root, self.info),
            fingerprint=dict(self.fingerprint(self.root)),
            ignore=[track for track in cameras if track not in self.listing.cameras],
        )

    def remarks(self) -> list[str]:
        """What the metadata claim and the files do not bear out, for the data set as a whole."""
        return meta.remarks(self.root, self.info, self.listing)

    def list_episodes(self) -> tuple[list[EpisodeRef], list[tuple[str, str, str]]]:
        """References sorted by id, and (episode, path, reason) of those that cannot even be listed."""
        return [self._ref(index, locator) for index, locator in sorted(self.listing.found.items())], self.listing.errors

    def _ref(self, index: int, locator: meta.Locator) -> EpisodeRef:
        name = meta.episode_id(index)
        files = [str(locator["data"]), *(str(locator[track]) for track in self.listing.cameras if locator[track])]
        match = self._session.search(name) if self._session else None
        session = match[1] if match else None
        return EpisodeRef(name, tuple(str(self.root / file) for file in files), index, session, locator=dict(locator))

    def read(self, ref: EpisodeRef) -> Episode:
        """One episode: `state`, `command`, `instruction`, `video/<camera>` and further observations.

        Raises:
            UnreadableEpisode: A file is missing, truncated or lacks a required part.
            BadInput: The card's reference track is not one that this data set declares.
        """
        path = self.root / str(ref.locator["data"])
        table = self._table(path, ref.index)
        clock = _clock(table, path)
        tracks, lacking = self._numeric(table, clock, path)
        self._add_instruction(table, clock, tracks, lacking)
        self._add_videos(ref, clock, tracks, lacking)
        lacking = {name: why for name, why in lacking.items() if name not in self.card.ignore}
        reference = self._reference(tracks, lacking, clock, path)
        for modality in self.card.modalities:
            if not any(modality in (t.modality, t.name) for t in tracks.values()) and not _named(modality, lacking):
                lacking[modality] = "no track of this modality in the files"
        start = _times(tracks[reference])[0]
        rebased = {name: _shifted(track, start) for name, track in tracks.items()}
        return Episode(ref.id, reference, rebased, ref.session, ref.participant, lacking, ref.uris)

    def _table(self, path: Path, index: int) -> pa.Table:
        """The episode's rows; of a table that several episodes share only the row groups that hold them are read."""
        try:
            with pq.ParquetFile(path) as file:
                wanted = [name for name in file.schema_arrow.names if self._is_wanted(name)]
            filters = [("episode_index", "==", index)] if self.info["codebase_version"] == "v3.0" else None
            table = pq.read_table(path, columns=wanted, filters=filters, partitioning=None, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise UnreadableEpisode(str(path), f"not a readable table ({first_line(error)}); fetch it again") from error
        if not table.num_rows:
            raise UnreadableEpisode(str(path), f"holds no row of episode {index}; fetch it again or remove the episode")
        found = np.unique(table["episode_index"].to_numpy()).tolist() if "episode_index" in table.column_names else [index]
        if found != [index]:
            reason = (
                f"its rows belong to episode {', '.join(map(str, found))}, not {index}: two episodes with one id; renumber it"
            )
            raise UnreadableEpisode(str(path), reason)
        return table

    def _is_wanted(self, name: str) -> bool:
        """Columns a track is made of. Rewards, flags and annotations of the future are left out: nothing may observe them."""
        keys = ("timestamp", "task_index", "episode_index")
        return name in keys or (_is_signal(name) and not name.startswith(meta.IMAGES))

    def _numeric(self, table: pa.Table, clock: FloatArray, path: Path) -> tuple[dict[str, Track], dict[str, str]]:
        tracks: dict[str, Track] = {}
        lacking: dict[str, str] = {}
        features = self.info["features"]
        for column in filter(_is_signal, table.column_names):
            try:
                data = _to_numpy(table[column])
            except ValueError as error:
                raise UnreadableEpisode(str(path), f"column {column}: {error}; repair the table") from error
            name = NAMES.get(column, column)
            if data.dtype.kind not in "fiub":
                lacking[name] = f"column {column} is not numeric"
                continue
            finite = np.isfinite(data)
            modality = Modality.COMMAND if column.startswith("action") else Modality.STATE
            names = meta.feature_names(features.get(column, {}), data.shape[-1])
            unit = self._unit(column, data.shape[-1])
            tracks[name] = Track(name, modality, data, clock, None if finite.all() else finite, unit, names=names)
        for column, name in NAMES.items():
            if column in features and column not in table.column_names:
                lacking[name] = f"the table has no column {column}"
        return tracks, lacking

    def _unit(self, column: str, width: int) -> str:
        """The unit that all dimensions share, by the card's action groups; empty where they differ or one is not covered.

        The groups are those of the command. A state has their unit where its dimensions have the same names.
        """
        features = self.info["features"]
        names = features.get("action", {}).get("names")
        if column != "action" and (names is None or features.get(column, {}).get("names") != names):
            return ""
        groups = self.card.action_groups.values()
        covered = {index for group in groups for index in group.indices()}
        units = {group.unit for group in groups}
        return units.pop() if len(units) == 1 and covered == set(range(width)) else ""

    def _add_instruction(self, table: pa.Table, clock: FloatArray, tracks: dict[str, Track], lacking: dict[str, str]) -> None:
        """The task text of every row, as codes into the texts of this episode."""
        if "task_index" not in table.column_names:
            lacking["instruction"] = "the table has no column task_index"
            return
        used, inverse = np.unique(table["task_index"].fill_null(-1).to_numpy(), return_inverse=True)
        texts = [self.tasks.get(int(index)) for index in used]
        known = list(dict.fromkeys(text for text in texts if text is not None))
        if not known:
            lacking["instruction"] = "meta/tasks has no text for its task_index"
            return
        codes = np.array([-1 if text is None else known.index(text) for text in texts], np.int32)[inverse]
        tracks["instruction"] = Track("instruction", Modality.LANGUAGE, codes, clock, categories=tuple(known))

    def _add_videos(self, ref: EpisodeRef, clock: FloatArray, tracks: dict[str, Track], lacking: dict[str, str]) -> None:
        for name, feature in meta.camera_features(self.info).items():
            declared = self.info["features"][feature]
            details = declared.get("info") or declared.get("video_info") or {}
            file = str(ref.locator.get(name, ""))
            if declared.get("dtype") == "image":
                lacking[name] = "its images stand inside the table, which is not read; convert them to video"
            elif details.get("video.is_depth_map"):
                lacking[name] = "depth coded as video is not read"
            elif file:
                interval = float(ref.locator[f"{name}:from"]), float(ref.locator[f"{name}:to"])
                period = float(np.median(np.diff(clock))) if len(clock) > 1 else 1.0 / float(self.info["fps"])
                track = _video_track(name, str(self.root / file), interval, clock, period)
                if track is None:
                    lacking[name] = f"{file} holds no frame at the times of the rows"
                else:
                    tracks[name] = track
            elif f"{name}:missing" in ref.locator:
                lacking[name] = f"no file {ref.locator[f'{name}:missing']}, which meta/episodes names; fetch it again"
            elif name in ref.locator:
                lacking[name] = "no video file for this episode"

    def _reference(self, tracks: dict[str, Track], lacking: dict[str, str], clock: FloatArray, path: Path) -> str:
        wanted = self.card.reference
        if wanted in tracks:
            return wanted
        declared = {*tracks, *lacking, *NAMES.values(), *meta.camera_features(self.info)}
        if wanted is not None and wanted not in declared:
            raise BadInput(f"card {self.card.name}: reference {wanted!r} is no track here{suggest(wanted, sorted(declared))}")
        videos = [name for name, t in tracks.items() if t.modality == Modality.VIDEO and np.array_equal(_times(t), clock)]
        candidates = [*videos, *(name for name in tracks if tracks[name].modality != Modality.VIDEO)]
        ordered = sorted(candidates, key=lambda name: (name not in videos, name != "state", name != "command"))
        if not ordered:
            raise UnreadableEpisode(str(path), "has neither video, state nor command; there is nothing to cut windows on")
        return ordered[0]


def _session_pattern(card: Card) -> re.Pattern[str] | None:
    try:
        pattern = re.compile(card.session_pattern or "()")
    except re.error as error:
        raise BadInput(f"card {card.name}: session_pattern {card.session_pattern!r}: {error}") from error
    if not pattern.groups:
        raise BadInput(f"card {card.name}: session_pattern {card.session_pattern!r} has no group; put () round the session")
    return pattern if card.session_pattern else None


def _is_signal(column: str) -> bool:
    return column == "action" or column.startswith(("observation.", "action."))


def _named(modality: str, lacking: dict[str, str]) -> bool:
    return any(name == modality or name.startswith(f"{modality}/") for name in lacking)


def _times(track: Track) -> FloatArray:
    assert track.times is not None, "every track of a LeRobot episode is timed"
    return track.times


def _shifted(track: Track, start: float) -> Track:
    return Track(**{**track.__dict__, "times": _times(track) - start})


def _clock(table: pa.Table, path: Path) -> FloatArray:
    """(T,) float64 the rows' own timestamps in seconds."""
    if "timestamp" not in table.column_names:
        raise UnreadableEpisode(str(path), "has no column `timestamp`; frames are never counted instead: add the column")
    clock: FloatArray = table["timestamp"].to_numpy().astype(np.float64)
    bad = ~np.isfinite(clock)
    bad[1:] |= ~(np.diff(clock) > 0)
    if bad.any():
        row = int(bad.argmax())
        raise UnreadableEpisode(str(path), f"timestamp is missing or does not increase at row {row} of the episode; repair it")
    return clock


def _to_numpy(column: pa.ChunkedArray) -> NDArray:
    """(T, ...) array of a scalar or (nested) list column.

    Raises:
        ValueError: A row is null or of another length than the first.
    """
    array: Any = pa.concat_arrays(column.chunks)
    shape = [len(array)]
    while pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        if array.null_count:
            raise ValueError("a row is null")
        lengths = pc.unique(pc.list_value_length(array)).to_pylist()
        if len(lengths) != 1:
            raise ValueError("rows differ in length")
        shape.append(lengths[0])
        array = array.flatten()
    flat: NDArray = array.to_numpy(zero_copy_only=False)
    return flat.reshape(shape if len(shape) > 1 else (-1, 1))


def _video_track(name: str, path: str, interval: tuple[float, float], clock: FloatArray, period: float) -> Track | None:
    """The frames of the rows, at file time `interval[0] + clock`, up to `interval[1]`; None where the file has none there.

    Raises:
        UnreadableEpisode: The file cannot be read, or ends well before the rows.
    """
    begin, end = interval
    found = video.probe(path)
    source = VideoFile(path, 0, begin + float(clock[0]), min(end, begin + float(clock[-1]) + period), found.height, found.width)
    times = video.timestamps(source) - begin
    if not len(times):
        return None
    slack = TAIL_FRAMES * max(period, 1.0 / found.rate if found.rate else 0.0) + SAME_INSTANT
    if clock[-1] - times[-1] > slack:
        unseen = int((clock > times[-1] + SAME_INSTANT).sum())
        ends = f"its last frame here is at {begin + times[-1]:.2f} s, the last row at {begin + clock[-1]:.2f} s"
        raise UnreadableEpisode(path, f"ends {unseen} rows before the episode ({ends}); fetch it again or remove the episode")
    after = np.searchsorted(clock, times).clip(1, max(len(clock) - 1, 1)) if len(clock) > 1 else np.zeros(len(times), np.int64)
    before = (after - 1).clip(0)
    row = np.where(times - clock[before] <= clock[after] - times, before, after)
    if np.all(np.diff(row) > 0) and np.abs(times - clock[row]).max() <= SAME_INSTANT:
        times = clock[row]
    return Track(name, Modality.VIDEO, source, times)
