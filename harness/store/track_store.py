"""The track store: decoded, resized and derived tracks of episodes, by content key.

`<uri>/<key>/` holds the parts of one episode (see `harness.store.parts`). Tracks come back as arrays mapped into memory,
read-only, and JPEG frames as a `Source`. A local folder is read in place; of a remote store the files that are asked for are
copied into a folder on this machine, least recently used out.
"""

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from harness.card import first_line
from harness.dataset import home
from harness.decoder import PYAV
from harness.episode import Episode, EpisodeRef, Modality, Source, Track, VideoFile
from harness.errors import BadInput, UnreadableEpisode
from harness.features.base import EpisodeDescriptor, FrameDescriptor
from harness.store.cache import (
    GIB,
    MARKER,
    NodeCache,
    Usage,
    hold,
    hold_while,
    is_key,
    local_usage,
    markers_first,
    open_filesystem,
    release,
    remove,
    to_remove,
    token_of,
    touch,
    written_at,
)
from harness.store.frames import DescriptorSink, JpegFrames, Sink, decode_into, frame_bytes, keep_frames
from harness.store.key import episode_key
from harness.store.parts import Part, PartWriter, Recording, StoredTrack, load_arrays, visible
from harness.store.wants import CAMERA, Wants

ABANDONED_S = 24 * 3600.0
ATTEMPTS = 3


class TrackStore:
    """Stored episodes. It holds no open file, so it may be sent to workers.

    Args:
        uri: A folder, or any URI that fsspec knows.
        max_gib: Bound of the copies of a remote store on this machine; None = no bound.
        cache: Folder of these copies; None = under `$ESPALIER_HOME`.
        options: What fsspec needs to reach the store (endpoint, profile).

    Raises:
        BadInput: fsspec does not know the URI.
    """

    def __init__(
        self, uri: str, max_gib: float | None = None, cache: Path | None = None, options: dict[str, Any] | None = None
    ) -> None:
        self.uri = uri
        try:
            self._filesystem, self._root = open_filesystem(uri, options or {})
        except (ValueError, ImportError) as error:
            raise BadInput(f"store {uri}: {first_line(error)}; give a folder or a URI that fsspec knows") from error
        self.is_local = isinstance(self._filesystem, LocalFileSystem)
        self.folder = Path(self._root) if self.is_local else None
        self._cache = NodeCache(Path(cache or home() / "cache").expanduser(), max_gib)

    @property
    def absolute_uri(self) -> str:
        """The same store from any working folder."""
        return str(self.folder) if self.folder else self.uri

    def key(self, ref: EpisodeRef, card_fingerprint: str, *, content_hash: bool = False, decoder: str = PYAV) -> str:
        """See `harness.store.key.episode_key`."""
        return episode_key(ref, card_fingerprint, content_hash=content_hash, decoder=decoder)

    def recorded(self, key: str) -> dict[str, Modality]:
        """Name -> modality of the tracks as their reader gave them, stored or not; empty where nothing is stored."""
        parts = self._parts(key)
        return parts[-1].recording.tracks if parts else {}

    def missing(self, key: str, wants: Wants) -> list[str]:
        """Names of what the wants ask for and the store does not have yet; `["*"]` where it has nothing of the episode."""
        parts = self._parts(key)
        if not parts:
            return ["*"]
        recording, found = parts[-1].recording, visible(parts)
        wanted = wants.stored(recording.tracks, recording.reference)
        return [name for name, version in wanted.items() if name not in found or found[name][0].version != version]

    def estimate_bytes(self, episode: Episode, wants: Wants) -> int:
        """Bytes that `write` would need for an episode of which nothing is stored.

        Exact for arrays and raw frames; for JPEG what such frames usually take. Descriptors of whole tracks (depth, audio) are
        small and only known once computed: they are left out.
        """
        modalities = {name: track.modality for name, track in episode.tracks.items()}
        total = len(episode.timeline) * 8
        for name in wants.recorded(modalities):
            data = episode.tracks[name].data
            assert not isinstance(data, VideoFile)
            total += int(np.prod(data.shape, dtype=np.int64)) * data.dtype.itemsize
        for camera, want in wants.cameras(modalities, episode.reference):
            total += frame_bytes(want, _length(episode.tracks[camera]))
        for descriptor in wants.derived(modalities):
            if isinstance(descriptor, FrameDescriptor):
                total += _length(episode.tracks[descriptor.tracks[0]]) * descriptor.dim * 4
        return total

    def write(self, episode: Episode, wants: Wants, key: str, *, threads: int = 1, decoder: str = PYAV) -> list[str]:
        """Store what is missing of an episode, in one part that becomes visible as a whole.

        Every camera is decoded once for all sizes, rates and descriptors that it must give. Writers of one key do not disturb
        each other: the newest part is the one that is read.

        Args:
            episode: As its reader gives it.
            wants: What to store.
            key: Of the episode, see `key`.
            threads: Decoder threads.
            decoder: Of videos, the one that the key was made with.

        Returns:
            Names of the tracks that were written; empty where nothing was missing.

        Raises:
            UnreadableEpisode: A file of the recording cannot be read; nothing of this write stays.
            BadInput: The decoder is not on this machine.
        """
        absent = set(self.missing(key, wants))
        modalities = {name: track.modality for name, track in episode.tracks.items()}
        names = [name for name in wants.stored(modalities, episode.reference) if name in absent or "*" in absent]
        if not names:
            return []
        if not self.is_local:
            self._cache.make_room(self.estimate_bytes(episode, wants))

        def fill(part: PartWriter) -> None:
            _write_tracks(part, episode, wants, set(names), threads, decoder)

        self._commit(key, Recording.of(episode), fill)
        return names

    def add(self, key: str, tracks: Sequence[Track]) -> None:
        """Store derived tracks (arrays in memory) beside what is stored of an episode.

        Raises:
            KeyError: Nothing is stored of it.
        """
        parts = self._parts(key)
        if not parts:
            raise KeyError(f"{self.uri}: episode {key} is not stored")

        def fill(part: PartWriter) -> None:
            for track in tracks:
                part.add(track, part.samples(track))

        self._commit(key, parts[-1].recording, fill)

    def _commit(self, key: str, recording: Recording, fill: Callable[[PartWriter], None]) -> None:
        """Write one part, which becomes visible as a whole or not at all."""
        folder = self._folder(key)
        hold(folder)
        try:
            part = PartWriter(folder)
            try:
                fill(part)
                finished = part.finish(recording)
                self._upload(finished, key)
            except BaseException:
                part.discard()
                raise
            # Outside: once the marker may be there the files must be.
            self._filesystem.pipe_file(f"{self._root}/{key}/{finished.token}{MARKER}", finished.to_bytes())
        finally:
            release(folder)

    def open(self, key: str, tracks: Collection[str] | None = None) -> Episode:
        """A stored episode.

        Args:
            key: Of the episode.
            tracks: Names to open, the reference track being always among them; None = everything that is stored.

        Raises:
            KeyError: The episode or one of the tracks is not stored.
            UnreadableEpisode: A stored file is damaged or gone.
        """
        parts = self._parts(key)
        if not parts:
            raise KeyError(f"{self.uri}: episode {key} is not stored")
        recording, found = parts[-1].recording, visible(parts)
        unknown = sorted(set(tracks or ()) - set(found))
        if unknown:
            raise KeyError(f"{self.uri}: {recording.id} has no stored track {', '.join(unknown)}")
        chosen = [name for name in found if tracks is None or name in tracks or name == recording.reference]
        files = {file: found[name][1].files[file] for name in chosen for file in found[name][0].files()}
        folder = self._folder(key)
        hold(folder)
        try:
            arrays = self._arrays(key, files)
            opened = {name: _track(found[name][0], arrays) for name in _ordered(chosen, recording)}
            episode = Episode(
                recording.id,
                recording.reference,
                opened,
                recording.session,
                recording.participant,
                recording.lacking,
                recording.uris,
            )
            hold_while(episode, folder)
        finally:
            release(folder)
        touch(folder)
        return episode

    def decoded_frames(self, key: str) -> dict[str, int]:
        """Camera track -> frames that were ever decoded for this stored episode; decoded once, it is their number."""
        total: dict[str, int] = {}
        for part in self._parts(key):
            for camera, count in part.decoded.items():
                total[camera] = total.get(camera, 0) + count
        return total

    def size(self) -> int:
        """Bytes of the store, abandoned files included."""
        return sum(usage.size for usage in self._usage().values())

    def prune(self, max_gib: float, *, abandoned_s: float = ABANDONED_S) -> list[str]:
        """Remove what killed writers left, then the least recently used episodes until the store is below `max_gib`.

        Episodes that this process has open stay. Of a remote store the last use is the last write. Do not prune a store on a
        network file system while other machines read it.

        Args:
            max_gib: What may stay.
            abandoned_s: Files without a marker whose writer began so many seconds ago are no write in progress.

        Returns:
            Keys of the episodes that were removed.
        """
        usage = self._usage()
        for key, about in usage.items():
            for name in _abandoned(about, abandoned_s):
                self._filesystem.rm_file(f"{self._root}/{key}/{name}")
                del about.files[name]
        removed = to_remove(usage, Path(self._root), max_gib * GIB)
        for key in removed:
            if self.is_local:
                remove(self._folder(key), usage[key])
            else:
                for name in markers_first(usage[key]):
                    self._filesystem.rm_file(f"{self._root}/{key}/{name}")
        return removed

    def _folder(self, key: str) -> Path:
        return Path(self._root if self.is_local else self._cache.root) / key

    def _parts(self, key: str) -> list[Part]:
        """Committed parts, oldest first."""
        folder = f"{self._root}/{key}"
        self._filesystem.invalidate_cache(folder)
        try:
            names = self._filesystem.ls(folder, detail=False)
        except FileNotFoundError:
            return []
        markers = sorted(name for name in names if name.endswith(MARKER))
        parts = (Part.from_bytes(self._filesystem.cat_file(name)) for name in markers)
        return [part for part in parts if part is not None]

    def _upload(self, part: Part, key: str) -> None:
        """Bring the files of a part to a remote store; a local one has them already."""
        if self.is_local:
            return
        self._filesystem.makedirs(f"{self._root}/{key}", exist_ok=True)
        for name in part.files:
            self._filesystem.put_file(str(self._folder(key) / name), f"{self._root}/{key}/{name}")

    def _arrays(self, key: str, files: dict[str, int]) -> dict[str, NDArray]:
        """The mapped files, brought to this machine where the store is remote."""
        folder = self._folder(key)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if not self.is_local:
                    self._cache.fetch(self._filesystem, f"{self._root}/{key}", key, files)
                return load_arrays(folder, files)
            except FileNotFoundError as error:
                # Another process may take the room between the copy and the map; then it is copied again.
                if attempt == ATTEMPTS:
                    raise UnreadableEpisode(f"{self.uri}/{key}", f"a stored file is gone ({error}); run again") from error
        raise AssertionError("unreachable")

    def _usage(self) -> dict[str, Usage]:
        """Key -> files and last use."""
        if self.is_local:
            return local_usage(Path(self._root))
        self._filesystem.invalidate_cache(self._root)
        found: dict[str, Usage] = {}
        for path, about in self._filesystem.find(self._root, detail=True).items():
            key, name = str(path).rsplit("/", 2)[-2:]
            if is_key(key) and token_of(name):
                usage = found.setdefault(key, Usage())
                usage.files[name] = int(about["size"])
                usage.used = max(usage.used, written_at(name))
        return found


def _write_tracks(part: PartWriter, episode: Episode, wants: Wants, names: set[str], threads: int, decoder: str) -> None:
    """Everything of `names` that the episode gives, into a part."""
    modalities = {name: track.modality for name, track in episode.tracks.items()}
    recorded = [name for name in wants.recorded(modalities) if name in names]
    for name in recorded:
        part.add(episode.tracks[name], part.samples(episode.tracks[name]))
    if episode.reference in names and episode.reference not in recorded:
        # Its samples stay where they are (encoded frames): the store keeps its times, which windows are cut on.
        reference = episode.tracks[episode.reference]
        part.add(reference, part.array(reference.name, np.zeros((_length(reference), 0), np.uint8)))
    sinks: dict[str, list[Sink]] = {}
    for camera, want in wants.cameras(modalities, episode.reference):
        track = want.track(camera.removeprefix(CAMERA))
        if track in names:
            sinks.setdefault(camera, []).append(keep_frames(part, want, track))
    for descriptor in wants.derived(modalities):
        if descriptor.name not in names:
            continue
        if isinstance(descriptor, FrameDescriptor):
            sinks.setdefault(descriptor.tracks[0], []).append(DescriptorSink(descriptor))
        elif isinstance(descriptor, EpisodeDescriptor):
            track_of = descriptor.describe(episode)
            part.add(track_of, part.samples(track_of), version=descriptor.version)
    for camera, wanting in sinks.items():
        decode_into(part, episode.tracks[camera], wanting, threads, decoder)


def _track(stored: StoredTrack, arrays: dict[str, NDArray]) -> Track:
    data: NDArray | Source = arrays[stored.data]
    if stored.offsets is not None:
        data = JpegFrames(arrays[stored.data], arrays[stored.offsets], stored.shape)
    return Track(
        stored.name,
        stored.modality,
        data,
        None if stored.times is None else arrays[stored.times],
        None if stored.valid is None else arrays[stored.valid],
        stored.unit,
        stored.frame,
        stored.names,
        stored.categories,
        stored.sources,
    )


def _ordered(names: list[str], recording: Recording) -> list[str]:
    """Recorded tracks in the order of the reader, then the derived ones."""
    return [n for n in recording.tracks if n in names] + [n for n in names if n not in recording.tracks]


def _length(track: Track) -> int:
    assert track.times is not None, f"track {track.name} is untimed"
    return len(track.times)


def _abandoned(usage: Usage, seconds: float) -> list[str]:
    """Files that no marker of their folder stands for and whose writer began at least so many seconds ago."""
    committed = {token_of(name) for name in usage.files if name.endswith(MARKER)}
    old = time.time() - seconds
    return [name for name in usage.files if token_of(name) not in committed and written_at(name) < old]
