"""Two decoders, one contract: the same times, cut files refused, colours within what is stated; and the choice is said aloud."""

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from hypothesis import given, settings
from hypothesis import strategies as st
from test_video import COUNT, RATE, REAL, collect, write_clip

import harness
from harness.branch import FramesWant
from harness.config import load_config
from harness.decoder import resolve_decoder
from harness.episode import Episode, EpisodeRef, Modality, Track, VideoFile
from harness.errors import BadInput, UnreadableEpisode
from harness.store import TrackStore, Wants
from harness.store.key import episode_key
from harness.video import decode, probe, timestamps

try:
    TORCHCODEC = resolve_decoder("torchcodec")
except BadInput as absent:
    LACKING = str(absent)
    TORCHCODEC = ""
else:
    LACKING = ""

needs_torchcodec = pytest.mark.skipif(not TORCHCODEC, reason=LACKING)
STREAMS = [(name, 0) for name in REAL] + [("nasa_13013.mp4", 1)]
# Steps of 255 by which a frame of 32 x 32 may differ: most of it where strong colours meet (h265_video.mp4 is a test card).
MOST_MEAN, MOST_P99 = 4.0, 64.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@needs_torchcodec
@pytest.mark.parametrize(("name", "stream"), STREAMS)
def test_at_its_own_size_a_real_video_comes_out_the_same_to_the_bit(shared_data, name, stream):
    """Times, order, rotation, stream and every pixel."""
    path = str(shared_data / "video_decode" / name)
    about = probe(path, stream)
    file, size = VideoFile(path, stream), (about.height, about.width)
    for mine, other in zip(decode(file, [size]), decode(file, [size], decoder="torchcodec"), strict=True):
        assert np.array_equal(mine[0], other[0])
        assert np.array_equal(mine[1][0], other[1][0])


@needs_torchcodec
@pytest.mark.parametrize(("name", "stream"), STREAMS)
def test_shrunk_frames_have_the_same_times_and_nearly_the_same_colours(shared_data, name, stream):
    file = VideoFile(str(shared_data / "video_decode" / name), stream)
    mine, other = collect(file, (32, 32)), collect(file, (32, 32), decoder="torchcodec")
    assert np.array_equal(mine[0], other[0]) and np.array_equal(other[0], timestamps(file))
    difference = np.abs(mine[1][0].astype(int) - other[1][0])
    assert difference.mean() <= MOST_MEAN and np.quantile(difference, 0.99) <= MOST_P99


@needs_torchcodec
def test_they_differ_only_in_when_they_shrink(shared_data):
    """Whole RGB frames of PyAV, shrunk by swscale after that, are those of torchcodec to the bit."""
    path = str(shared_data / "video_decode" / "mma_demo.mp4")
    about = probe(path)
    scaler, expected = VideoReformatter(), []
    for _, (frames,) in decode(VideoFile(path), [(about.height, about.width)], stop=1.0):
        for whole in frames:
            frame = av.VideoFrame.from_ndarray(whole, format="rgb24")
            frame.color_range = ColorRange.JPEG
            small = scaler.reformat(frame, 64, 48, "rgb24", interpolation=Interpolation.AREA, dst_colorspace=Colorspace.DEFAULT)
            expected.append(small.to_ndarray())
    _, (found,) = collect(VideoFile(path), (48, 64), stop=1.0, decoder="torchcodec")
    assert np.array_equal(found, np.stack(expected))


@needs_torchcodec
@settings(max_examples=30, deadline=None)
@given(
    first=st.integers(0, COUNT - 1),
    length=st.integers(0, COUNT),
    jitter=st.floats(-0.4, 0.4),
    threads=st.sampled_from([1, 2]),
    chunk=st.sampled_from([None, 7]),
)
def test_an_interval_holds_the_same_frames(clip, first, length, jitter, threads, chunk):
    """B-frames, open groups of pictures, rounded bounds: half a frame of tolerance with either decoder."""
    file = VideoFile(str(clip), start=(first + jitter) / RATE, stop=(first + length + jitter) / RATE)
    mine = collect(file, (48, 64), (12, 16), threads=threads, chunk=chunk)
    other = collect(file, (48, 64), (12, 16), threads=threads, chunk=chunk, decoder="torchcodec")
    assert np.array_equal(mine[0], other[0]) and len(other[0]) == len(other[1][1])
    assert np.array_equal(mine[1][0], other[1][0])


@needs_torchcodec
@pytest.mark.parametrize("keep", [0.4, 0.95])
def test_a_cut_off_file_is_refused(clip, tmp_path, keep):
    whole, path = clip.read_bytes(), tmp_path / "cut.mp4"
    path.write_bytes(whole[: whole.index(b"mdat") + int((len(whole) - whole.index(b"mdat")) * keep)])
    with pytest.raises(UnreadableEpisode, match=rf"\d+ of {COUNT} frames.*promises 1\.60 s"):
        collect(VideoFile(str(path)), (16, 16), decoder="torchcodec")


@needs_torchcodec
def test_damaged_av1_is_refused(shared_data, tmp_path):
    """Of H.264 torchcodec shows what its decoder patched up, and does not say so: `docs/adr/0006-pyav-decodes-by-default.md`."""
    data = bytearray((shared_data / "video_decode" / "libero_ep82.mp4").read_bytes())
    for at in np.random.default_rng(0).integers(len(data) // 4, len(data) * 3 // 4, 200):
        data[at] ^= 0xFF
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with pytest.raises(UnreadableEpisode):
        collect(VideoFile(str(path)), (16, 16), decoder="torchcodec")


@needs_torchcodec
@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
@pytest.mark.parametrize("color_range", [1, 2])
def test_colours_follow_the_range_that_the_file_states(tmp_path, codec, color_range):
    """64 wide: torchcodec converts such frames on a fast path that would take AV1 of full range for limited."""
    path = tmp_path / "range.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.width = stream.height = 64
        stream.pix_fmt, stream.codec_context.color_range = "yuv420p", color_range
        ramp = np.repeat(np.linspace(16, 235, 64).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(ramp, format="rgb24").reformat(format="yuv420p")
            frame.color_range = color_range
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    mine, other = (collect(VideoFile(str(path)), (64, 64), decoder=decoder)[1][0] for decoder in ("pyav", "torchcodec"))
    assert np.array_equal(mine, other)


@needs_torchcodec
def test_the_store_keeps_the_frames_of_the_decoder_it_is_told(shared_data, tmp_path):
    file = VideoFile(str(shared_data / "video_decode" / "mma_demo.mp4"), stop=1.0)
    track = Track("video/cam", Modality.VIDEO, file, timestamps(file))
    for number, decoder in enumerate(("pyav", TORCHCODEC)):
        store, key = TrackStore(str(tmp_path)), f"{number:032x}"
        store.write(Episode("e", "video/cam", {"video/cam": track}), Wants((FramesWant("cam", 32, 32),)), key, decoder=decoder)
        kept = store.open(key).tracks["frames/cam@32x32"]
        assert np.array_equal(kept.array(), collect(file, (32, 32), decoder=decoder)[1][0])


@needs_torchcodec
def test_what_decodes_is_said_with_its_ffmpeg():
    assert TORCHCODEC.startswith("torchcodec-ffmpeg") and resolve_decoder("auto") == TORCHCODEC == resolve_decoder(TORCHCODEC)
    config, _ = load_config(None, ["store.decoder=auto"])
    assert config.store.resolved().decoder == TORCHCODEC
    other = "torchcodec-ffmpeg4" if TORCHCODEC != "torchcodec-ffmpeg4" else "torchcodec-ffmpeg8"
    with pytest.raises(BadInput, match=r"loads FFmpeg \d; install the same on all machines"):
        resolve_decoder(other)


def test_pyav_is_the_default_and_a_bad_name_is_one_line():
    assert load_config(None, [])[0].store.resolved().decoder == "pyav"
    config, _ = load_config(None, ["store.decoder=torchcodek"])
    with pytest.raises(BadInput, match=r"store\.decoder='torchcodek' is not known.*torchcodec"):
        config.store.resolved()


def test_every_decoder_has_content_keys_of_its_own(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    ref = EpisodeRef("e", (str(tmp_path / "a"),), 0)
    names = ("pyav", "torchcodec-ffmpeg5", "torchcodec-ffmpeg6")
    assert len({episode_key(ref, "", decoder=name) for name in names}) == 3
    assert episode_key(ref, "", decoder="pyav") == episode_key(ref, "")


@pytest.mark.parametrize("keep_package", [False, True], ids=["no torchcodec", "torchcodec that cannot load FFmpeg"])
def test_where_it_cannot_be_loaded_that_is_one_line_and_auto_is_pyav(tmp_path, keep_package):
    """A Python whose packages are these, but for torchcodec or for its libraries."""
    packages = Path(av.__file__).parents[1]
    for entry in packages.iterdir():
        if entry.name != "torchcodec":
            (tmp_path / entry.name).symlink_to(entry)
    if keep_package:
        if not (packages / "torchcodec").is_dir():
            pytest.skip("torchcodec is not installed")
        (tmp_path / "torchcodec").mkdir()
        for entry in (packages / "torchcodec").iterdir():
            if not entry.name.startswith("libtorchcodec"):
                (tmp_path / "torchcodec" / entry.name).symlink_to(entry)
    code = (
        "from harness.decoder import resolve_decoder\n"
        "print(resolve_decoder('auto'))\n"
        "try:\n    resolve_decoder('torchcodec')\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    paths = os.pathsep.join([str(Path(harness.__file__).parents[1]), str(tmp_path)])
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=os.environ | {"PYTHONPATH": paths},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *rest = ran.stdout.splitlines()
    assert first == "pyav" and len(rest) == 1
    assert rest[0].startswith("BadInput store.decoder=torchcodec: on ") and "give store.decoder=pyav" in rest[0]
