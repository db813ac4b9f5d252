"""Xperience-10M: `<root>/<session>/ep<N>/` with `annotation.hdf5` and up to six videos.

The root may also be a session folder, an episode folder, or a folder of shards that hold sessions. All frame-synchronous tracks
share one clock, the device timestamps of the video frames; sound and IMU have their own times on that clock.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from harness.card import Card, suggest
from harness.episode import Episode, EpisodeRef, Track
from harness.errors import BadInput, UnreadableEpisode
from harness.readers.xperience_captions import FrameIndex, caption_tracks, load_caption
from harness.readers.xperience_media import CAMERAS, audio_track, depth_tracks, video_tracks
from harness.readers.xperience_signals import BODY_ROOTS, calibration_tracks, camera_pose, imu_track, mocap_tracks, point_cloud
from harness.readers.xperience_tree import Annotation

ANNOTATION = "annotation.hdf5"
REFERENCE = f"video/{CAMERAS[0]}"
_VIDEOS = tuple(f"video/{camera}" for camera in CAMERAS)
LEVELS = 3  # shard / session / episode
LABELS = ("action", "subtask", "interaction", "objects", "main_task")

_EPISODE = re.compile(r"ep0*(\d+)")


class XperienceReader:
    """Reads one data set in the Xperience-10M layout.

    Args:
        root: A data set, a session folder or an episode folder.
        card: What is known beside the files; `card.xperience` settles what public documents leave open.

    Raises:
        BadInput: `card.session_pattern` is no regular expression with a group, or a root of the body is not known.
    """

    format: ClassVar[str] = "xperience10m"

    def __init__(self, root: Path, card: Card) -> None:
        self.root = root
        self.card = card
        if card.xperience.body_root not in BODY_ROOTS:
            raise BadInput(
                f"xperience.body_root={card.xperience.body_root!r}{suggest(card.xperience.body_root, list(BODY_ROOTS))}"
            )
        try:
            self._session = re.compile(card.session_pattern) if card.session_pattern else None
        except re.error as error:
            raise BadInput(f"card {card.name}: session_pattern {card.session_pattern!r}: {error}") from error
        if self._session is not None and self._session.groups < 1:
            raise BadInput(f"card {card.name}: session_pattern {card.session_pattern!r} has no group; put () round the session")

    @staticmethod
    def recognises(root: Path) -> bool:
        """True where an episode folder with an `annotation.hdf5` is found."""
        return any(os.path.isfile(folder / ANNOTATION) for folder in _episode_folders(root.resolve()))

    @staticmethod
    def fingerprint(root: Path) -> dict[str, str]:
        """The scalars under `metadata/` of the first episode that can be opened, as text: `metadata/<key>` -> value."""
        for folder in sorted(_episode_folders(root.resolve())):
            try:
                with Annotation(folder / ANNOTATION) as file:
                    return {
                        f"metadata/{key}": text for key in file.children("metadata") if (text := file.word(f"metadata/{key}"))
                    }
            except UnreadableEpisode:
                continue  # reported when the episodes are read; another one may tell
        return {}

    def infer(self) -> Card:
        """A card with the defaults of the format."""
        root = self.root.resolve()
        return Card(
            name=root.name,
            format=self.format,
            root=str(root),
            title=f"Xperience-10M layout, {root.name}",
            fingerprint=dict(self.fingerprint(root)),
            session_pattern=self.card.session_pattern,
            xperience=self.card.xperience,
        )

    def list_episodes(self) -> tuple[list[EpisodeRef], list[tuple[str, str, str]]]:
        """References sorted by id, and (episode, path, reason) of those that cannot even be listed. Opens no file.

        The index of an episode is the rank of its id among all ids found, so a damaged folder does not move the others.

        Raises:
            BadInput: There is no episode folder, or the card's session pattern does not match.
        """
        found: dict[str, list[Path]] = defaultdict(list)
        for folder in _episode_folders(self.root.resolve()):
            found[episode_id(folder)].append(folder)
        if not found:
            raise BadInput(f"{self.root}: no episode folder; expected <session>/ep<N>/{ANNOTATION}")
        refs: list[EpisodeRef] = []
        errors: list[tuple[str, str, str]] = []
        for index, (name, folders) in enumerate(sorted(found.items())):
            for folder in sorted(folders):
                others = ", ".join(str(other) for other in sorted(folders) if other != folder)
                if others:
                    errors.append((name, str(folder), f"another episode has the id {name}: {others}; rename or remove one"))
                elif not (folder / ANNOTATION).is_file():
                    errors.append((name, str(folder), f"no file {ANNOTATION}; fetch it or remove the folder"))
                else:
                    refs.append(self._ref(name, folder, index))
        return refs, errors

    def _ref(self, name: str, folder: Path, index: int) -> EpisodeRef:
        session: str | None = folder.parent.name
        if self._session is not None:
            match = self._session.search(name)
            session = match[1] if match else None
            if session is None:
                raise BadInput(
                    f"card {self.card.name}: session_pattern {self.card.session_pattern!r} finds no session in {name!r}"
                )
        present = {entry.name for entry in os.scandir(folder)}
        # A caption may stand in a JSON file of its own: it keys the store as the annotation does.
        files = [ANNOTATION, *(f"{camera}.mp4" for camera in CAMERAS), *sorted(n for n in present if n.endswith(".json"))]
        uris = tuple(str(folder / file) for file in files if file in present)
        return EpisodeRef(name, uris, index, session, locator={"folder": str(folder)})

    def remarks(self) -> list[str]:
        """None: this format has no metadata apart from its files."""
        return []

    def read(self, ref: EpisodeRef) -> Episode:
        """One episode; what its tracks hold stands with the functions that make them (`video_tracks`, `mocap_tracks`, ...).

        The reference is the card's, else `video/fisheye_cam0`, else (no such file) `camera_pose`, which shares its clock.

        Raises:
            UnreadableEpisode: A file is missing or truncated, a group of the format is missing, or numbers do not fit.
            BadInput: The card's reference is no track of this format.
        """
        folder = Path(str(ref.locator["folder"]))
        path = folder / ANNOTATION
        if not path.is_file():
            raise UnreadableEpisode(str(path), "no such file; fetch it or remove the folder")
        with Annotation(path) as file:
            tracks, lacking = self._tracks(file, folder)
        by_name = {track.name: track for track in tracks}
        for wanted in self.card.modalities:
            if not any(wanted in (t.name, t.modality) for t in tracks) and not any(n.split("/")[0] == wanted for n in lacking):
                lacking.setdefault(wanted, "no track of this modality in the files")
        lacking = {name: why for name, why in lacking.items() if name not in self.card.ignore}
        reference = self._reference(by_name, lacking, path)
        by_name = _rebased(by_name, reference)
        return Episode(ref.id, reference, by_name, ref.session, ref.participant, lacking, ref.uris)

    def _tracks(self, file: Annotation, folder: Path) -> tuple[list[Track], dict[str, str]]:
        options = self.card.xperience
        tracks: list[Track] = []
        lacking: dict[str, str] = {}
        parts: tuple[tuple[list[Track], dict[str, str]], ...] = (
            video_tracks(folder, file.times),
            audio_track(folder),
            depth_tracks(file, options),
            ([camera_pose(file, options.world_to_body), imu_track(file, options)], {}),
            mocap_tracks(file, options.body_root),
            calibration_tracks(file),
            point_cloud(file),
            self._captions(file, folder),
        )
        for found, missing in parts:
            tracks.extend(found)
            lacking.update(missing)
        if file.timestamps is None:
            lacking["device_timestamp"] = "no dataset video/device_timestamp: frames are spaced evenly over video/length_sec"
        return tracks, lacking

    def _captions(self, file: Annotation, folder: Path) -> tuple[list[Track], dict[str, str]]:
        for name in ("caption", "captions"):
            if text := file.word(name):
                break
        else:
            return [], dict.fromkeys(LABELS, f"{ANNOTATION} has no caption")
        names = file.texts("slam/frame_names") or []
        if names and len(names) != file.count:
            raise file.fault(f"slam/frame_names has {len(names)} rows, the recording has {file.count} frames")
        options = self.card.xperience
        frames = FrameIndex(names, file.timestamps, file.count, options.frame_numbers_from, options.timestamps_from)
        try:
            found, lacking = caption_tracks(load_caption(text, folder), frames, file.times)
        except (ValueError, OSError) as error:
            raise file.fault(str(error)) from error
        return list(found.values()), lacking

    def _reference(self, tracks: dict[str, Track], lacking: dict[str, str], path: Path) -> str:
        wanted = self.card.reference or REFERENCE
        if wanted in tracks and tracks[wanted].times is not None:
            return wanted
        if wanted in _VIDEOS:
            return "camera_pose"
        if wanted in lacking:
            raise UnreadableEpisode(str(path), f"lacks {wanted}, the reference of card {self.card.name}: {lacking[wanted]}")
        timed = sorted(name for name, track in tracks.items() if track.times is not None)
        raise BadInput(f"card {self.card.name}: reference {wanted!r} is no timed track{suggest(wanted, timed)}")


def _rebased(tracks: dict[str, Track], reference: str) -> dict[str, Track]:
    """Tracks with times from the first sample of the reference."""
    times = tracks[reference].times
    assert times is not None
    if len(times) == 0 or times[0] == 0:
        return tracks
    return {n: t if t.times is None else replace(t, times=t.times - times[0]) for n, t in tracks.items()}


def _episode_folders(root: Path, levels: int = LEVELS) -> Iterator[Path]:
    """Folders called `ep<N>` or with an annotation file: the root itself or up to so many levels below it."""
    try:
        entries = list(os.scandir(root))
    except OSError:
        return  # no folder, or one that we may not enter: nothing is found in it
    if _EPISODE.fullmatch(root.name) or any(entry.name == ANNOTATION for entry in entries):
        yield root
        return
    if levels:
        for entry in entries:
            if entry.is_dir() and not entry.name.startswith("."):  # a hidden folder is one that is not finished
                yield from _episode_folders(Path(entry.path), levels - 1)


def episode_id(folder: Path) -> str:
    """`<session>__ep<N>` from the names of the folder and the one above it."""
    number = _EPISODE.fullmatch(folder.name)
    return f"{folder.parent.name}__{f'ep{number[1]}' if number else folder.name}"
