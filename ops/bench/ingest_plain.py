"""Window features as one writes them first: loops over windows, blocks and frames, with plain NumPy and no masks.

`Decoded` has everything in memory before a clock starts: frames in the size that is described, depth maps, sound, motion.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness import video
from harness.episode import Episode, Modality, Track, VideoFile
from harness.features.audio import describe_sound
from harness.features.base import Block, EpisodeDescriptor, FrameDescriptor
from harness.features.text import bag_of_words
from harness.features.video import LUMA, VideoDescriptor

SOUND_RATE = 16_000


@dataclass(frozen=True)
class Decoded:
    """An episode in memory.

    Attributes:
        episode: Depth and sound are arrays; videos are left as they were read.
        frames: Video track -> (N, 32, 32, 3) uint8.
    """

    episode: Episode
    frames: dict[str, NDArray[np.uint8]]

    @staticmethod
    def of(episode: Episode) -> "Decoded":
        """Decode an episode once."""
        tracks, frames = {}, {}
        for name, track in episode.tracks.items():
            if isinstance(track.data, VideoFile):
                frames[name] = np.concatenate([f for _, (f,) in video.decode(track.data, [VideoDescriptor.size])])
                tracks[name] = track
            else:
                tracks[name] = replace(track, data=np.array(track.array()))
        return Decoded(episode.with_tracks(tracks), frames)

    def described(self, descriptors: list[FrameDescriptor | EpisodeDescriptor]) -> Episode:
        """With the descriptors of the package, each frame described once."""
        tracks = dict(self.episode.tracks)
        for one in descriptors:
            if isinstance(one, FrameDescriptor):
                values = one.describe(self.frames[one.tracks[0]])
                tracks[one.name] = Track(one.name, Modality.VIDEO, values, self.episode.timeline, sources=one.tracks)
            else:
                tracks[one.name] = one.describe(self.episode)
        return self.episode.with_tracks(tracks)


def plain_features(decoded: Decoded, blocks: list[Block], starts: NDArray[np.int64], length: int) -> NDArray[np.float32]:
    """(n, D) features, window after window."""
    rows = []
    for start in starts.tolist():
        rows.append(np.concatenate([plain_block(decoded, block, start, start + length) for block in blocks]))
    return np.stack(rows).astype(np.float32)


def statistics_only(arrays: dict[str, NDArray], starts: NDArray[np.int64], length: int) -> NDArray[np.float32]:
    """(n, D): only the seven statistics, of numbers per frame that are there already; block -> (N, D)."""
    rows = []
    for start in starts.tolist():
        rows.append(np.concatenate([stats7(values[start : start + length]) for values in arrays.values()]))
    return np.stack(rows).astype(np.float32)


def stats7(x: NDArray) -> NDArray:
    """(T, D) -> (7 D,)."""
    steps = np.diff(x, axis=0)
    return np.concatenate([x.mean(0), x.std(0), x.min(0), x.max(0), x[-1] - x[0], steps.mean(0), steps.std(0)])


def plain_block(decoded: Decoded, block: Block, start: int, stop: int) -> NDArray:  # noqa: PLR0911
    """One block of one window."""
    tracks, timeline = decoded.episode.tracks, decoded.episode.timeline
    source = tracks[block.sources[0]]
    if block.name == "calibration":
        return np.ravel(source.data)
    if block.name.startswith("video_"):
        return stats7(np.stack([plain_frame(f) for f in decoded.frames[source.name][start:stop]]))
    if block.name.startswith("depth_"):
        maps, trust = tracks["depth"].array(start, stop), tracks["depth_confidence"].array(start, stop)
        limits = tracks["depth_range"].array()
        return stats7(np.stack([plain_depth(m, t, limits) for m, t in zip(maps, trust, strict=True)]))
    if block.name.startswith("audio_"):
        edges = np.searchsorted(source.times, timeline[max(start - 1, 0) : stop], side="right")
        heard = [source.array(a, b)[None].astype(np.float64) for a, b in pairwise(edges)]
        return stats7(np.concatenate([describe_sound(x, SOUND_RATE) for x in heard]))
    if block.name.startswith("caption_"):
        return stats7(np.stack([plain_text(tracks["objects"], tracks["interaction"], i) for i in range(start, stop)]))
    if block.name.startswith("imu_"):
        first, last = np.searchsorted(source.times, timeline[[start, stop - 1]], side="right") - 1
        return stats7(source.data[first : last + 1])
    return stats7(plain_motion(block.name, source.data[start:stop], tracks["camera_pose"].data[start:stop]))


def plain_motion(name: str, x: NDArray, pose: NDArray) -> NDArray:
    """(T, D) numbers of a motion block; poses are T_world_camera (T, 4, 4)."""
    if name.startswith("hand_"):
        world = x @ pose[:, :3, :3].transpose(0, 2, 1) + pose[:, None, :3, 3]
        x = (world - pose[-1, :3, 3]) @ pose[-1, :3, :3]
    elif name == "body_joints":
        x = x - x[:, :1]
    elif name == "camera_translation":
        x = x[:, :3, 3] - x[0, :3, 3]
    elif name == "camera_rotation_matrix":
        x = x[:, :3, :3]
    return x.reshape(len(x), -1)


def plain_frame(frame: NDArray[np.uint8]) -> NDArray:
    """(98,) of one frame."""
    x = frame / 255
    histograms = [np.histogram(x[..., c], bins=8, range=(0, 1))[0] / x[..., c].size for c in range(3)]
    gray = x @ LUMA
    gy, gx = np.abs(np.gradient(gray))
    edges = [gx.mean(), gy.mean(), gx.std(), gy.std()]
    cells = gray.reshape(8, 4, 8, 4).mean(axis=(1, 3)).ravel()
    return np.concatenate([x.mean(axis=(0, 1)), x.std(axis=(0, 1)), *histograms, cells, edges])


def plain_depth(depth: NDArray, trust: NDArray, limits: NDArray) -> NDArray:
    """(140,) of one depth map and its confidence; NaN is not measured."""
    seen = depth[np.isfinite(depth)]
    spread = [seen.mean(), seen.std(), seen.min(), seen.max(), *np.percentile(seen, [10, 50, 90]), seen.size / depth.size]
    near = np.clip((depth - limits[0]) / (limits[1] - limits[0]), 0, 1)
    numbers = [spread, np.nanmean(cells_of(near), axis=1), [trust.mean(), trust.std(), trust.min(), trust.max()]]
    return np.concatenate([*numbers, cells_of(trust).mean(axis=1)])


def cells_of(image: NDArray) -> NDArray:
    """(64, P) pixels of 8 x 8 cells."""
    height, width = image.shape
    return image.reshape(8, height // 8, 8, width // 8).transpose(0, 2, 1, 3).reshape(64, -1)


def plain_text(objects: Track, interaction: Track, frame: int) -> NDArray:
    """(128,) hashed words of what is said of one frame."""
    words = [objects.names[i] for i in np.flatnonzero(objects.data[frame])]
    code = int(interaction.data[frame])
    bag = bag_of_words(" ".join([*words, interaction.categories[code] if code >= 0 else ""]))
    return bag / max(float(np.linalg.norm(bag)), 1e-12)
