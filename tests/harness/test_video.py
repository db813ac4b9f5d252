"""Frames come out in presentation order, upright, at the right times, or the file is refused."""

import json
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.episode import VideoFile
from harness.errors import UnreadableEpisode
from harness.video import decode, decode_audio, probe, timestamps

RATE, COUNT, STEP = 25, 40, 6
REAL = {  # file: (frames, height, width, codec) of the first stream
    "decord_unordered.mov": (4, 50, 50, "h264"),
    "decord_video_90.mov": (3, 568, 320, "h264"),
    "h265_video.mp4": (10, 128, 128, "hevc"),
    "libero_ep82.mp4": (169, 256, 256, "libdav1d"),
    "mma_demo.mp4": (280, 256, 340, "h264"),
    "nasa_13013.mp4": (325, 180, 320, "h264"),
}


def write_clip(path: Path, *, b_frames: int = 2, colorspace: int = 5, color_range: int = 1, luma=None) -> Path:
    """H.264 with key frames every 12 frames; frame i is grey of luma 16 + 5 i, so that every picture says its number."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        options = {"crf": "1", "bf": str(b_frames), "g": "12", "x264-params": "open-gop=1:scenecut=0"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = colorspace, color_range
        for i in range(COUNT):
            y, u, v = luma or (16 + 5 * i, 128, 128)
            planes = np.concatenate([np.full(48 * 64, y), np.full(12 * 64, u), np.full(12 * 64, v)]).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(planes.reshape(72, 64), format="yuv420p")
            frame.colorspace, frame.color_range = colorspace, color_range
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def collect(file: VideoFile, *sizes: tuple[int, int], **options):
    parts = list(decode(file, sizes, **options))
    if not parts:
        return np.empty(0), [np.empty((0, *size, 3), np.uint8) for size in sizes]
    return np.concatenate([p for p, _ in parts]), [np.concatenate(arrays) for arrays in zip(*(f for _, f in parts), strict=True)]


def numbers(frames) -> np.ndarray:
    """The frame numbers that the grey levels of `write_clip` say: luma 16-235 is shown as 0-255."""
    return np.round(frames.mean((1, 2, 3)) * 219 / 255 / 5).astype(int)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


def test_frames_come_in_presentation_order_at_their_times(clip):
    times, (frames,) = collect(VideoFile(str(clip)), (48, 64))
    assert np.allclose(times, np.arange(COUNT) / RATE, atol=1e-9)
    assert numbers(frames).tolist() == list(range(COUNT))


@settings(max_examples=40, deadline=None)
@given(
    first=st.integers(0, COUNT - 1),
    length=st.integers(0, COUNT),
    jitter=st.floats(-0.4, 0.4),
    threads=st.sampled_from([1, 2]),
)
def test_an_interval_holds_exactly_its_frames(clip, first, length, jitter, threads):
    """Half a frame of tolerance: rounded bounds give the same frames as exact ones, whatever the key frames are."""
    start, stop = (first + jitter) / RATE, (first + length + jitter) / RATE
    file = VideoFile(str(clip), start=start, stop=stop)
    times, (frames,) = collect(file, (48, 64), threads=threads)
    expected = list(range(first, min(first + length, COUNT)))
    assert numbers(frames).tolist() == expected
    assert np.array_equal(times, timestamps(file))


def test_start_and_stop_override_those_of_the_file(clip):
    times, _ = collect(VideoFile(str(clip), start=0.2, stop=0.4), (16, 16), start=0.8, stop=1.0)
    assert np.allclose(times, np.arange(20, 25) / RATE)


def test_one_pass_gives_every_size_as_a_pass_of_its_own(clip):
    sizes = [(24, 32), (48, 64), (96, 128), (10, 7)]
    together = collect(VideoFile(str(clip)), *sizes)[1]
    alone = [collect(VideoFile(str(clip)), size)[1][0] for size in sizes]
    assert [a.shape for a in together] == [(COUNT, *size, 3) for size in sizes]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("chunk", [1, 7, 40, 64])
def test_chunks_bound_what_is_held_and_lose_nothing(clip, chunk):
    parts = list(decode(VideoFile(str(clip)), [(16, 16)], chunk=chunk))
    assert max(len(times) for times, _ in parts) <= chunk
    kept = np.concatenate([frames for _, (frames,) in parts])  # earlier chunks are not written over
    assert numbers(kept).tolist() == list(range(COUNT))


def test_shrinking_averages_the_area(tmp_path):
    """A checkerboard of single pixels becomes grey, not black or white."""
    path = tmp_path / "board.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "1"})
        stream.width = stream.height = 64
        board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.repeat(board[..., None], 3, 2), format="rgb24")))
        container.mux(stream.encode())
    _, (frames,) = collect(VideoFile(str(path)), (8, 8))
    assert frames.min() > 117 and frames.max() < 137


@pytest.mark.parametrize(
    ("colorspace", "color_range", "luma"),
    # (200, 40, 90): luma 0.299 R + 0.587 G + 0.114 B = 93.5 in BT.601 (matrix 5) and 0.2126 R + 0.7152 G + 0.0722 B = 77.6 in
    # BT.709 (matrix 1); chroma (B - Y) / 1.772 and (R - Y) / 1.402, or / 1.8556 and / 1.5748; limited range is 16 + 219 / 255 Y.
    [(5, 2, (94, 126, 204)), (5, 1, (96, 126, 195)), (1, 2, (78, 135, 206)), (1, 1, (83, 134, 196))],
)
def test_colours_follow_the_matrix_and_range_that_the_file_states(tmp_path, colorspace, color_range, luma):
    path = write_clip(tmp_path / "c.mp4", b_frames=0, colorspace=colorspace, color_range=color_range, luma=luma)
    _, (frames,) = collect(VideoFile(str(path)), (48, 64), stop=0.1)
    assert np.abs(frames[0].reshape(-1, 3).astype(int) - (200, 40, 90)).max() <= 4


@pytest.mark.parametrize("keep", [0.4, 0.7, 0.95])
def test_a_cut_off_file_is_refused_with_both_numbers(clip, tmp_path, keep):
    path = tmp_path / "cut.mp4"
    whole = clip.read_bytes()
    frames_at = whole.index(b"mdat")  # behind the index, so that the header stays whole
    path.write_bytes(whole[: frames_at + int((len(whole) - frames_at) * keep)])
    for attempt in (lambda: collect(VideoFile(str(path)), (16, 16)), lambda: timestamps(VideoFile(str(path)))):
        with pytest.raises(UnreadableEpisode, match=rf"\d+ of {COUNT} frames.*promises 1\.60 s") as caught:
            attempt()
        assert caught.value.path == str(path)


def test_a_file_cut_before_its_index_is_refused(shared_data, tmp_path):
    whole = (shared_data / "video_decode" / "mma_demo.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableEpisode, match="cannot be decoded"):
        probe(str(path))


def test_damaged_bytes_are_refused_and_never_shown(shared_data, tmp_path):
    data = bytearray((shared_data / "video_decode" / "libero_ep82.mp4").read_bytes())
    for at in np.random.default_rng(0).integers(len(data) // 4, len(data) * 3 // 4, 200):
        data[at] ^= 0xFF
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with pytest.raises(UnreadableEpisode):
        collect(VideoFile(str(path)), (16, 16))


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    for name in ("text.mp4", "absent.mp4"):
        with pytest.raises(UnreadableEpisode, match="cannot be decoded"):
            probe(str(tmp_path / name))


@pytest.mark.parametrize("name", REAL)
def test_real_files_give_every_frame_that_they_promise(shared_data, name):
    path = str(shared_data / "video_decode" / name)
    count, height, width, codec = REAL[name]
    info = probe(path)
    assert (info.frames, info.height, info.width, info.codec) == (count, height, width, codec)
    times, (frames,) = collect(VideoFile(path), (32, 32))
    assert len(frames) == count
    assert np.all(np.diff(times) > 0)
    assert np.array_equal(times, timestamps(VideoFile(path)))
    assert info.duration == pytest.approx(times[-1] + 1 / info.rate, abs=1e-6)


def test_a_rotated_video_comes_out_upright(shared_data):
    path = shared_data / "video_decode" / "decord_video_90.mov"
    assert probe(str(path)).rotation == -90
    _, (frames,) = collect(VideoFile(str(path)), (568, 320))
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    turned = np.rot90(stored, -1).astype(int)  # a quarter turn clockwise
    assert np.abs(turned - frames[0]).mean() < 20 < np.abs(np.rot90(stored, 1).astype(int) - frames[0]).mean()


def test_a_stream_is_chosen_by_its_number(shared_data):
    path = str(shared_data / "video_decode" / "nasa_13013.mp4")
    listed = json.loads((shared_data / "video_decode" / "nasa_13013.stream0.json").read_text())
    assert np.allclose(timestamps(VideoFile(path, 0)), [float(row["pts_time"]) for row in listed], atol=1e-6)
    second = probe(path, 1)
    assert (second.frames, second.height, second.width, second.video_streams) == (390, 270, 480, 2)
    assert len(collect(VideoFile(path, 1), (27, 48))[0]) == 390
    with pytest.raises(UnreadableEpisode, match="2 video streams; stream 2"):
        timestamps(VideoFile(path, 2))


def test_sound_is_mixed_to_one_channel_at_the_rate_asked_for(tmp_path):
    t = np.arange(22_050) / 44_100
    left, right = 0.5 * np.sin(2 * np.pi * 440 * t), np.zeros_like(t)
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
        file.writeframes((np.stack([left, right], 1) * 32767).astype("<i2").tobytes())
    sound = decode_audio(str(tmp_path / "tone.wav"), 16_000)
    assert sound.dtype == np.float32 and abs(len(sound) - 8_000) <= 1
    spectrum = np.abs(np.fft.rfft(sound[:8_000]))
    assert spectrum.argmax() * 2 == 440
    assert np.abs(sound).max() == pytest.approx(0.25, abs=0.01)  # the mean of the two channels


def test_real_sound_is_as_long_as_its_stream(shared_data, tmp_path):
    path = shared_data / "video_decode" / "nasa_13013.mp4"
    audio = probe(str(path)).audio
    assert [stream.rate for stream in audio] == [8_000, 16_000]
    for number, stream in enumerate(audio):
        sound = decode_audio(str(path), 16_000, number)
        assert len(sound) == round(stream.duration * 16_000) and sound.std() > 0.05
    with pytest.raises(UnreadableEpisode, match="2 audio streams"):
        decode_audio(str(path), stream=2)
    with pytest.raises(UnreadableEpisode, match="0 audio streams"):
        decode_audio(str(shared_data / "video_decode" / "libero_ep82.mp4"))
