"""Latents of frozen encoders as tracks of a stored episode: one latent per clip, at the time of the clip's last frame.

A latent at time t is made of frames up to t and of nothing else, so the track is causal: what stands at t0 is an encoding of the
past alone, and what stands at the end of the next window is an encoding of that window alone. Encoding both together and cutting
afterwards would not do: most encoders look both ways.

Clips end where windows end, so the track is keyed by encoder and window spec: `latents/<encoder>@<key>` in the store,
`latents/<encoder>` in an opened episode of a run.
"""

from collections.abc import Collection
from dataclasses import asdict
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from harness.branch import MAIN, FramesWant
from harness.encoder import Encoder
from harness.episode import Episode, Modality, Track
from harness.store import TrackStore
from harness.store.frames import JpegFrames
from harness.timeline import held_index
from harness.window import WindowSpec

LATENTS = "latents/"
CLIPS_AT_ONCE = 16


def frames_of(encoder: Encoder) -> FramesWant:
    """The frames an encoder wants to be stored."""
    return FramesWant(MAIN, encoder.height, encoder.width)


def track_name(encoder: str) -> str:
    """Name of an encoder's track in an opened episode."""
    return f"{LATENTS}{encoder}"


def stored_name(encoder: Encoder, spec: WindowSpec) -> str:
    """Name of an encoder's track in the store."""
    windows = asdict(spec) | {"context": None, "resampling": None}  # neither moves the end of a window
    about = (encoder.fingerprint, encoder.frames, encoder.stride, encoder.height, encoder.width, sorted(windows.items()))
    return f"{track_name(encoder.name)}@{blake2b(repr(about).encode(), digest_size=6).hexdigest()}"


def opened(episode: Episode, encoders: Collection[Encoder], spec: WindowSpec) -> Episode:
    """A stored episode as a run sees it: its own latents under their plain names, frames of the main camera under theirs too."""
    mine = {stored_name(encoder, spec): track_name(encoder.name) for encoder in encoders}
    tracks: dict[str, Track] = {}
    for name, track in episode.tracks.items():
        if not name.startswith(LATENTS):
            tracks[name] = track
        elif name in mine:
            tracks[mine[name]] = track.renamed(mine[name])
    camera = episode.main_camera
    for name, track in episode.tracks.items():
        if name.startswith("frames/") and camera is not None and track.sources == (camera,):
            alias = f"{MAIN}{name[name.rindex('@') :]}"
            tracks[alias] = track.renamed(alias)
    return episode.with_tracks(tracks)


def is_missing(store: TrackStore, key: str, encoder: Encoder, spec: WindowSpec) -> bool:
    """True where a stored episode has the main camera's frames and not their latents."""
    episode = store.open(key)
    if stored_name(encoder, spec) in episode.tracks:
        return False
    return frames_of(encoder).pattern in opened(episode, (), spec).tracks


def keep(store: TrackStore, key: str, encoder: Encoder, spec: WindowSpec) -> bool:
    """Encode the clips of one stored episode, from its stored frames; False where there is nothing to do (or no camera)."""
    if not is_missing(store, key, encoder, spec):
        return False
    track = latent_track(opened(store.open(key), (), spec), encoder, spec)
    store.add(key, [track.renamed(stored_name(encoder, spec))])
    return True


def latent_track(episode: Episode, encoder: Encoder, spec: WindowSpec) -> Track:
    """The latents of all clips that end with a window or with the window after one, from the main camera's stored frames.

    A clip that begins before the recording, or with a frame that is missing, is masked.
    """
    frames, timeline = episode.tracks[frames_of(encoder).pattern], episode.timeline
    ends = clip_ends(spec, len(timeline))
    index = ends[:, None] + encoder.stride * np.arange(1 - encoder.frames, 1)
    rows = held_index(frames, timeline)[np.maximum(index, 0)]
    measured = frames.mask()[np.maximum(rows, 0)] & (rows >= 0) & (index >= 0)
    valid = np.asarray(measured.all(axis=1), bool)
    values = np.zeros((len(ends), *encoder.shape), np.float32)
    wanted = np.flatnonzero(valid)
    for start in range(0, len(wanted), CLIPS_AT_ONCE):
        part = wanted[start : start + CLIPS_AT_ONCE]
        values[part] = encoder.encode(take(frames, rows[part]))
    return Track(track_name(encoder.name), Modality.VIDEO, values, timeline[ends], valid, sources=frames.sources)


def clip_ends(spec: WindowSpec, n: int) -> NDArray[np.int64]:
    """(K,) the last reference sample of every window and of the window after it, ascending, within `n` samples."""
    last = spec.grid(n) + spec.length - 1
    ends: NDArray[np.int64] = np.unique(np.concatenate([last, last + spec.advance]))
    return ends[ends < n]


def take(frames: Track, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Stored frames at `rows` (...) as (..., height, width, 3); each is read once."""
    needed, position = np.unique(rows, return_inverse=True)
    data = frames.data
    found = data.take(needed) if isinstance(data, JpegFrames) else np.asarray(frames.array()[needed])
    return np.asarray(found[position.reshape(rows.shape)], np.uint8)
