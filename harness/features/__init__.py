"""Window features: which blocks and descriptors there are for given tracks, their manifest, and the matrix of one view.

The published block list (names, order and widths) stands in `PUBLISHED`; blocks of other cameras, robots and tables follow it,
sorted by name. Block lists are made from track names alone, so that episodes that lack a track keep its columns, masked.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from harness.card import suggest
from harness.episode import Episode
from harness.errors import BadInput, UnreadableEpisode
from harness.features.audio import AUDIO_NAMES, AudioDescriptor
from harness.features.base import Block, Descriptor
from harness.features.body import BODY_DIMS, BodyBlock
from harness.features.camera import ROTATION_DIMS, TRANSLATION_DIMS, CameraRotationBlock, CameraTranslationBlock
from harness.features.depth import DEPTH_NAMES, DepthDescriptor
from harness.features.hands import HAND_DIMS, HandBlock
from harness.features.imu import ImuBlock
from harness.features.logmel import LogMelBlock, LogMelDescriptor
from harness.features.robot import SignalBlock
from harness.features.static import CalibrationBlock, PointCloudBlock
from harness.features.table import TableBlock
from harness.features.text import TEXT_DIMS, CaptionTextBlock, InstructionBlock
from harness.features.track import TrackBlock
from harness.features.video import VIDEO_NAMES, VideoDescriptor
from harness.window import FeatureMatrix

VIDEO, AUDIO = "video/", "audio/"
DESCRIPTOR = "descriptor/"
DEPTH_TRACKS = ("depth", "depth_confidence")
PUBLISHED = (
    "hand_left_joints",
    "hand_right_joints",
    "body_joints",
    "body_contacts",
    "camera_translation",
    "camera_rotation_matrix",
    "imu_accel_gyro",
    "depth_confidence",
    "video_fisheye_cam0",
    "video_fisheye_cam1",
    "video_fisheye_cam2",
    "video_fisheye_cam3",
    "video_stereo_left",
    "video_stereo_right",
    "audio_fisheye_cam0_aac",
    "caption_objects_interaction_text",
    "slam_point_cloud",
    "calibration",
)
NOT_BY_DEFAULT = ("slam_point_cloud", "logmel_*")
LOGMEL = "logmel/"
LISTS = ("default", "published")
CONTACT_DIMS = tuple(map(str, range(21)))

# Blocks whose tracks have one name everywhere.
_FIXED: tuple[Block, ...] = (
    HandBlock("hand_left_joints", ("hand_left", "camera_pose"), ("hand_left", "camera_pose"), HAND_DIMS),
    HandBlock("hand_right_joints", ("hand_right", "camera_pose"), ("hand_right", "camera_pose"), HAND_DIMS),
    BodyBlock("body_joints", ("body",), ("body",), BODY_DIMS),
    TrackBlock("body_contacts", ("contacts",), ("contacts",), CONTACT_DIMS),
    CameraTranslationBlock("camera_translation", ("camera_pose",), ("camera_pose",), TRANSLATION_DIMS),
    CameraRotationBlock("camera_rotation_matrix", ("camera_pose",), ("camera_pose",), ROTATION_DIMS),
    ImuBlock("imu_accel_gyro", ("imu",), ("imu",)),
    CaptionTextBlock("caption_objects_interaction_text", ("objects", "interaction"), ("objects", "interaction"), TEXT_DIMS),
    PointCloudBlock("slam_point_cloud", ("point_cloud",), ("point_cloud",)),
    CalibrationBlock("calibration", ("calibration",), ("calibration",)),
    SignalBlock("state", ("state",), ("state",)),
    SignalBlock("command", ("command",), ("command",), until_t0=False),
    InstructionBlock("instruction", ("instruction",), ("instruction",)),
    TableBlock("table", ("features",), ("features",)),
)


def descriptors_for(tracks: Sequence[str]) -> list[Descriptor]:
    """The descriptors that an episode with these tracks can give: one per camera, one of depth, two per sound track."""
    found: list[Descriptor] = [VideoDescriptor(DESCRIPTOR + t, (t,)) for t in tracks if t.startswith(VIDEO)]
    if DEPTH_TRACKS[0] in tracks:
        found.append(DepthDescriptor(f"{DESCRIPTOR}depth", tuple(t for t in DEPTH_TRACKS if t in tracks)))
    sounds = [t for t in tracks if t.startswith(AUDIO)]
    found += [AudioDescriptor(DESCRIPTOR + t, (t,)) for t in sounds]
    return found + [LogMelDescriptor(DESCRIPTOR + LOGMEL + t, (t,)) for t in sounds]


def data_set_blocks(tracks: Sequence[str], names: Sequence[str] = ("default",)) -> list[Block]:
    """The blocks of a block list that can be made of these tracks, in the published order.

    Args:
        tracks: As read, as stored (descriptors), or both; of one episode or of all.
        names: `default` (all but the point cloud and log-mel spectrograms), `published` (those of the published list), shell
            patterns, block names; one after the other, and one that begins with `-` takes away again. A name that is right but
            whose tracks are not here is passed over.

    Raises:
        BadInput: A name or a pattern fits no block at all.
    """
    blocks = sorted(_offered(frozenset(tracks)), key=_rank)
    offered = [block.name for block in blocks]
    known = list(dict.fromkeys((*LISTS, *offered, *PUBLISHED, *(block.name for block in _FIXED))))
    wanted: set[str] = set()
    for sign, name in ((n[:1], n.removeprefix("-")) for n in names):
        if name in LISTS:
            unasked = {o for o in offered if any(fnmatchcase(o, p) for p in NOT_BY_DEFAULT)}
            listed = set(offered) - unasked if name == "default" else set(PUBLISHED)
            wanted = wanted - listed if sign == "-" else wanted | listed
            continue
        # Cameras and sound tracks have whatever names the data set gives them: another episode may have this one.
        if not any(fnmatchcase(k, name) for k in known) and not name.startswith(("video_", "audio_", "logmel_")):
            raise BadInput(f"features: no block is called {name!r}{suggest(name, known)}")
        meant = {offer for offer in offered if fnmatchcase(offer, name)}
        wanted = wanted - meant if sign == "-" else wanted | meant
    return [block for block in blocks if block.name in wanted]


def blocks_for(episode: Episode, names: Sequence[str] = ("default",)) -> list[Block]:
    """`data_set_blocks` of one episode, those of tracks that it should have and lacks included.

    Raises:
        BadInput: As `data_set_blocks`.
    """
    return data_set_blocks([*episode.tracks, *episode.lacking], names)


def _offered(tracks: frozenset[str]) -> list[Block]:
    """All blocks that can be made of these tracks."""
    blocks = [block for block in _FIXED if block.possible(tracks)]
    sources = {t.removeprefix(DESCRIPTOR) for t in tracks}
    if DEPTH_TRACKS[0] in sources:
        # Of a stored episode only the descriptor may be left, and that hides whether confidence went into it.
        seen = tuple(t for t in DEPTH_TRACKS if t in tracks or DEPTH_TRACKS[0] not in tracks)
        blocks.append(TrackBlock("depth_confidence", (f"{DESCRIPTOR}depth",), seen, DEPTH_NAMES))
    for track in sorted(sources):
        kind, _, name = track.partition("/")
        if track.startswith((VIDEO, AUDIO)):
            dims = VIDEO_NAMES if track.startswith(VIDEO) else AUDIO_NAMES
            block = f"{kind}_{name}"
            block = next((p for p in PUBLISHED if p == f"{block}_aac"), block)
            blocks.append(TrackBlock(block, (DESCRIPTOR + track,), (track,), dims))
        if track.startswith(AUDIO):
            blocks.append(LogMelBlock(f"logmel_{name}", (DESCRIPTOR + LOGMEL + track,), (track,)))
    return blocks


def _rank(block: Block) -> tuple[int, str]:
    return (PUBLISHED.index(block.name) if block.name in PUBLISHED else len(PUBLISHED), block.name)


def block_widths(blocks: Sequence[Block], episodes: Iterable[Episode]) -> dict[str, int]:
    """Columns per block: as the episodes that have it say, else as its format fixes them; what neither knows is left out.

    Args:
        blocks: A block list.
        episodes: Stored episodes, each looked at once.

    Raises:
        UnreadableEpisode: An episode's block is of another width than in the episodes before it.
    """
    found: dict[str, int] = {}
    for episode in episodes:
        for block in blocks:
            if block.available(episode):
                width = len(block.columns(episode))
                _check_width(episode, block, found.setdefault(block.name, width), width)
    fixed = {block.name: block.fixed_columns() for block in blocks}
    known = {name: found.get(name, len(columns or ())) for name, columns in fixed.items()}
    return {name: width for name, width in known.items() if width}


def manifest(blocks: Sequence[Block], widths: Mapping[str, int]) -> list[dict[str, str | int]]:
    """Name, first column, column after the last and width of each block: the published format of a feature manifest."""
    entries: list[dict[str, str | int]] = []
    start = 0
    for block in blocks:
        width = widths[block.name]
        entries.append({"name": block.name, "start": start, "end": start + width, "dim": width})
        start += width
    return entries


def published_manifest() -> list[dict[str, str | int]]:
    """The manifest of the published block list on a full Xperience-10M episode; no data are read."""
    cameras = (block.removeprefix("video_") for block in PUBLISHED if block.startswith("video_"))
    tracks = {*(VIDEO + camera for camera in cameras), "audio/fisheye_cam0", *DEPTH_TRACKS}
    blocks = data_set_blocks([*tracks, *(track for block in _FIXED for track in block.reads)], ("published",))
    return manifest(blocks, block_widths(blocks, ()))


def feature_matrix(
    episode: Episode, blocks: Sequence[Block], starts: NDArray[np.int64], length: int, widths: Mapping[str, int]
) -> FeatureMatrix:
    """Features of one view: block after block, zeros and not valid where the episode lacks a block.

    Args:
        episode: As the track store gives it.
        blocks: A block list.
        starts: (n,) first reference sample of each window.
        length: Reference samples per window.
        widths: As `block_widths` gives them; a block without a width has no columns.

    Raises:
        UnreadableEpisode: A block of this episode is of another width than `widths` says.
    """
    edges = np.cumsum([0, *(widths.get(block.name, 0) for block in blocks)]).tolist()
    columns = {block.name: slice(edges[i], edges[i + 1]) for i, block in enumerate(blocks)}
    values = np.zeros((len(starts), edges[-1]), np.float32)
    valid = np.zeros((len(starts), len(blocks)), bool)
    for i, block in enumerate(blocks):
        if len(starts) and block.available(episode):
            numbers, measured = block.compute(episode, starts, length)
            _check_width(episode, block, widths.get(block.name, 0), numbers.shape[1])
            values[:, columns[block.name]], valid[:, i] = numbers, measured
    return FeatureMatrix(values, valid, columns)


def _check_width(episode: Episode, block: Block, expected: int, found: int) -> None:
    if found != expected:
        reason = f"feature block {block.name} has {found} numbers, in the data set it has {expected}; leave the episode out"
        raise UnreadableEpisode(episode.id, reason)
