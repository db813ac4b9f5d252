"""Video, sound and depth of an Xperience-10M episode: probed when an episode is read, decoded when they are asked for."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from harness import video
from harness.card import XperienceOptions, first_line
from harness.episode import FloatArray, Modality, Track, VideoFile
from harness.errors import UnreadableEpisode
from harness.readers.xperience_tree import NUMERIC, Annotation, hdf5_errors, open_hdf5

CAMERAS = ("fisheye_cam0", "fisheye_cam1", "fisheye_cam2", "fisheye_cam3", "stereo_left", "stereo_right")
SOUND = "fisheye_cam0"  # the only stream that carries sound
AUDIO_RATE = 16_000  # Hz, of the track
TAIL_FRAMES = 1  # the authors' trim tool may leave the last frame out; it is then masked
TAIL = 2048  # samples of the file: two AAC frames that an encoder's delay may take from the end


def video_tracks(folder: Path, times: FloatArray) -> tuple[list[Track], dict[str, str]]:
    """`video/<camera>` of every camera that has a file, and why the others are lacking. Frame i of a file is at `times[i]`.

    Raises:
        UnreadableEpisode: A file is truncated, no video, or has fewer frames than the annotation.
    """
    tracks: list[Track] = []
    lacking: dict[str, str] = {}
    for camera in CAMERAS:
        path = folder / f"{camera}.mp4"
        if path.is_file():
            tracks.append(Track(f"video/{camera}", Modality.VIDEO, probe_video(path, len(times)), times))
        else:
            lacking[f"video/{camera}"] = f"no file {path.name}"
    return tracks, lacking


def probe_video(path: Path, frames: int) -> VideoFile:
    """The first video stream of a file that has so many frames by its container, or one less.

    Raises:
        UnreadableEpisode: As `video_tracks`.
    """
    about = video.probe(str(path))
    stated = about.frames or round((about.duration or 0) * about.rate)
    if stated < frames - TAIL_FRAMES:
        raise UnreadableEpisode(str(path), f"has {stated} frames, annotation.hdf5 has {frames}; fetch it again")
    if cut_short(path):
        raise UnreadableEpisode(str(path), "truncated: it ends before its last box does; fetch it again")
    return VideoFile(str(path), height=about.height, width=about.width)


def cut_short(path: Path) -> bool:
    """True where a file in the ISO base media format (mp4) ends inside one of its boxes."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1:  # a 64-bit length follows the type
                length = int.from_bytes(header[8:16], "big")
            if length == 0:  # up to the end of the file
                return False
            if length < 8:
                return True
            at += length
    return at != size


@dataclass(frozen=True)
class AudioFile:
    """The sound of a file: mono float32 at 16 kHz, full scale 1, decoded as a whole at the first read.

    Attributes:
        path: The file.
        length: Samples, by the container.
        slack: Samples at the end that the codec need not give.
    """

    path: str
    length: int
    slack: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(T,)."""
        return (self.length,)

    @property
    def dtype(self) -> np.dtype:
        """float32."""
        return np.dtype(np.float32)

    def read(self, start: int, stop: int) -> NDArray:
        """Samples [start, stop) as a view that must not be written to; NaN where the codec gives less than the container states.

        Raises:
            UnreadableEpisode: The sound cannot be decoded or ends early.
        """
        return _decoded(self)[start:stop]


@lru_cache(maxsize=2)
def _decoded(file: AudioFile) -> NDArray[np.float32]:
    """(T,) decoded sound. Decoding from the middle would give other samples than decoding from the start, so it is done once."""
    sound = video.decode_audio(file.path, AUDIO_RATE)[: file.length]
    if len(sound) < file.length - file.slack:
        raise UnreadableEpisode(file.path, f"its sound ends after {len(sound)} of {file.length} samples; fetch it again")
    sound = np.pad(sound, (0, file.length - len(sound)), constant_values=np.nan)
    sound.flags.writeable = False
    return sound


def audio_track(folder: Path) -> tuple[list[Track], dict[str, str]]:
    """`audio/fisheye_cam0`: (T,) float32 at 16 kHz, from the first frame of the file's video on, or why it is lacking.

    Raises:
        UnreadableEpisode: The file cannot be opened.
    """
    name, path = f"audio/{SOUND}", folder / f"{SOUND}.mp4"
    if not path.is_file():
        return [], {name: f"no file {path.name}"}
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            if not container.streams.audio:
                return [], {name: f"{path.name} has no audio stream"}
            sound, pictures = container.streams.audio[0], container.streams.video[0]
            if not sound.duration or not sound.time_base:
                return [], {name: f"{path.name} does not state how long its sound is"}
            length = int(sound.duration * sound.time_base * AUDIO_RATE)
            source = AudioFile(str(path), length, TAIL * AUDIO_RATE // sound.rate)
            start = float((sound.start_time or 0) * sound.time_base - (pictures.start_time or 0) * (pictures.time_base or 0))
    except FFmpegError as error:
        raise UnreadableEpisode(str(path), f"cannot be opened ({first_line(error)}); fetch it again") from error
    return [Track(name, Modality.AUDIO, source, start + np.arange(length) / AUDIO_RATE)], {}


LOOKS = 9


@dataclass(frozen=True)
class DepthMaps:
    """Depth or its confidence, one map per frame, read from the HDF5 file as float32.

    Attributes:
        path: The HDF5 file.
        dataset: Name of the dataset.
        shape: (N, H, W).
        scale: Multiplies stored values; None = confidence: bytes, or floats above 1, are divided by 255.
    """

    path: str
    dataset: str
    shape: tuple[int, ...]
    scale: float | None

    @property
    def dtype(self) -> np.dtype:
        """float32."""
        return np.dtype(np.float32)

    def read(self, start: int, stop: int) -> NDArray:
        """(stop - start, H, W): metres, NaN where not measured (stored as 0, below 0 or not finite); or confidence in [0, 1].

        Raises:
            UnreadableEpisode: The file is damaged here.
        """
        with hdf5_errors(Path(self.path)), open_hdf5(Path(self.path)) as file:
            stored = file[self.dataset][start:stop]
        maps: NDArray[np.float32] = stored.astype(np.float32)
        if self.scale is not None:
            maps[~(np.isfinite(maps) & (maps > 0))] = np.nan
            return maps * np.float32(self.scale)
        bytes_like = stored.dtype.kind in "iu" or (np.nanmax(maps, axis=(1, 2), initial=0, keepdims=True) > 1)
        return np.clip(np.where(bytes_like, maps / 255, maps), 0, 1)


def depth_tracks(file: Annotation, options: XperienceOptions) -> tuple[list[Track], dict[str, str]]:
    """`depth` and `depth_confidence` (N, H, W), and `depth_range` (2,), untimed: the range that depth is normalised by, metres.

    Depth outside the range is left as it is. Pixels that were not measured are NaN in what `depth` reads; its mask is per frame.

    Raises:
        UnreadableEpisode: `depth/depth` is missing or not (N, H, W).
    """
    path = str(file.path)
    shape = _map_shape(file, "depth/depth")
    if shape is None:
        raise file.fault("dataset depth/depth is missing")
    scale = metres_per_unit(file, options)
    depth = DepthMaps(path, "depth/depth", shape, scale)
    # A look at a few maps: all of them are many gigabytes.
    if not any(
        np.isfinite(depth.read(i, i + 1)).any() for i in np.unique(np.linspace(0, shape[0] - 1, LOOKS).astype(int)).tolist()
    ):
        raise file.fault(f"depth/depth measures nothing: {LOOKS} maps over the recording hold no finite number above 0")
    tracks = [Track("depth", Modality.DEPTH, depth, file.times, unit="m", frame="camera")]
    lacking: dict[str, str] = {}
    limits = file.scalar("depth/depth_min"), file.scalar("depth/depth_max")
    if limits[0] is None or limits[1] is None:
        lacking["depth_range"] = "no dataset depth/depth_min or depth/depth_max"
    else:
        data = np.array(limits, np.float64) * scale
        tracks.append(Track("depth_range", Modality.CALIBRATION, data, unit="m", names=("min", "max")))
    shape = _map_shape(file, "depth/confidence")
    if shape is None:
        lacking["depth_confidence"] = "no dataset depth/confidence"
    else:
        source = DepthMaps(path, "depth/confidence", shape, None)
        tracks.append(Track("depth_confidence", Modality.DEPTH, source, file.times, frame="camera"))
    return tracks, lacking


def metres_per_unit(file: Annotation, options: XperienceOptions) -> float:
    """Metres per stored unit of depth, from the card; else from the file.

    In recordings, float depth is metres and `depth/scale` says how much smaller the maps are than the images they belong to
    (0.5: 256 of 512 pixels). Only where depth is stored as integers can it be a factor.
    """
    if options.depth_to_metres is not None:
        return options.depth_to_metres
    dataset = file.dataset("depth/depth")
    scale = file.scalar("depth/scale")
    return scale if dataset is not None and dataset.dtype.kind in "iu" and scale is not None else 1.0


def _map_shape(file: Annotation, name: str) -> tuple[int, ...] | None:
    dataset = file.dataset(name)
    if dataset is None:
        return None
    if dataset.dtype.kind not in NUMERIC or dataset.ndim != 3:
        raise file.fault(f"{name} is {dataset.dtype} of shape {dataset.shape}, not (N, H, W) numbers")
    if len(dataset) != file.count:
        raise file.fault(f"{name} has {len(dataset)} rows, the recording has {file.count} frames")
    return tuple(int(n) for n in dataset.shape)
