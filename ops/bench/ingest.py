"""How fast recordings become windows, beside what else one could do. Prints one table.

(a) Windows and features of one simulated episode (six cameras, depth, sound, motion), from its files through the track store to
the matrix, beside reading, decoding and resizing the same tracks and doing nothing with them; both on one core.
(b) Windows and features of the decoded episode, in memory, beside the plain loops over windows, blocks and frames that one writes
first (and that describe a frame once per window that has it). Below it the statistics alone, without a bound.
(c) Windows of 20 frames at 64x64 of a real LeRobot data set, one process, beside `LeRobotDataset` with the same delta timestamps
and a resize. Cold: list, read, decode, write the store, copy every window out of it. Warm: only the copies. Below it, without a
bound, beside the option of LeRobotDataset that keeps frames as bytes.

    python ops/bench/ingest.py [--parts a,b,c] [--data ../shared/data] [--demo FOLDER]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ingest_plain import Decoded, plain_features, statistics_only
from numpy.typing import NDArray

from harness import video
from harness.branch import FramesWant
from harness.card import Card, bundled_cards, load_card
from harness.demo import write_demo
from harness.episode import Episode, EpisodeRef, Modality, VideoFile
from harness.features import block_widths, blocks_for, data_set_blocks, descriptors_for, feature_matrix
from harness.features.base import Block, Descriptor
from harness.features.track import TrackBlock
from harness.features.video import VideoDescriptor
from harness.readers import Reader, reader_class
from harness.readers.lerobot import LeRobotReader
from harness.store import TrackStore
from harness.store.frames import window_frames
from harness.store.key import card_fingerprint
from harness.store.wants import Wants
from harness.window import FeatureMatrix, WindowSpec

SPEC = WindowSpec(length=20, stride=5)
SIZE = 64
BATCH = 32
EPISODE_SECONDS = 120.0  # less than half of the published episode; opening its files is a small part of it, as there


class Row(NamedTuple):
    """One line of the table: seconds of ours and of the other, how the ratio is meant and what it must be."""

    what: str
    ours: float
    other: float
    must: str
    note: str

    @property
    def ratio(self) -> float:
        """How many times faster ours is; beside a floor, how many times slower."""
        return self.ours / self.other if self.must.startswith("<=") else self.other / self.ours

    @property
    def ok(self) -> bool:
        """True where the ratio is what it must be, or need be nothing."""
        bound = float(self.must[2:] or 0)
        return self.ratio <= bound if self.must.startswith("<=") else self.ratio >= bound


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one run."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def fastest(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Seconds of the fastest round of each; they take turns, and other load on the machine only ever adds."""
    return np.array([[seconds(work) for work in works] for _ in range(rounds)]).min(axis=0).tolist()


@contextmanager
def one_core() -> Iterator[None]:
    """Everything of this process on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def read_only(reader: Reader, ref: EpisodeRef) -> None:
    """The floor of (a): read the episode, decode and resize its videos, decode its sound, read its depth; keep nothing."""
    for track in reader.read(ref).tracks.values():
        if isinstance(track.data, VideoFile):
            for _ in video.decode(track.data, [VideoDescriptor.size]):
                pass
        elif track.modality == Modality.AUDIO:
            track.array()
        elif not isinstance(track.data, np.ndarray):
            for start in range(0, track.data.shape[0], 64):
                track.array(start, start + 64)


def _descriptors(tracks: list[str]) -> tuple[Descriptor, ...]:
    """What the published blocks read."""
    read = {name for block in data_set_blocks(tracks, ["published"]) for name in block.reads}
    return tuple(d for d in descriptors_for(tracks) if d.name in read)


def store_and_describe(reader: Reader, ref: EpisodeRef) -> Episode:
    """Read, decode, describe, write the store, open what was stored."""
    with tempfile.TemporaryDirectory() as folder:
        store, episode = TrackStore(folder), reader.read(ref)
        key = store.key(ref, card_fingerprint(Card()))
        store.write(episode, Wants(descriptors=_descriptors(list(episode.tracks))), key)
        return store.open(key)


def window_features(episode: Episode, blocks: list[Block], widths: dict[str, int]) -> FeatureMatrix:
    """All windows of an episode; a run knows the widths from its first episode on."""
    return feature_matrix(episode, blocks, SPEC.grid(len(episode.timeline)), SPEC.length, widths)


def described_features(decoded: Decoded, blocks: list[Block], widths: dict[str, int]) -> FeatureMatrix:
    """Our side of (b): every frame described once, then all windows."""
    return window_features(decoded.described(_descriptors(list(decoded.episode.tracks))), blocks, widths)


def bench_features(demo: Path, rounds: int) -> list[Row]:
    """(a) and (b): see the module."""
    reader = reader_class("xperience10m")(demo, load_card(bundled_cards()["demo"]))
    ref = reader.list_episodes()[0][0]
    episode, decoded = store_and_describe(reader, ref), Decoded.of(reader.read(ref))
    blocks, starts = blocks_for(episode), SPEC.grid(len(episode.timeline))
    widths = block_widths(blocks, [episode])
    ours, plain = described_features(decoded, blocks, widths), plain_features(decoded, blocks, starts[1:], SPEC.length)
    for block, columns in ours.blocks.items():
        np.testing.assert_allclose(ours.values[1:, columns], plain[:, columns], rtol=1e-3, atol=1e-3, err_msg=block)
    ready = {block.name: block.held(episode).values for block in blocks if isinstance(block, TrackBlock)}
    of_ready = [block for block in blocks if block.name in ready]
    with one_core():
        full, floor = fastest(
            [lambda: window_features(store_and_describe(reader, ref), blocks, widths), lambda: read_only(reader, ref)], rounds
        )
        described, loop = fastest(
            [
                lambda: described_features(decoded, blocks, widths),
                lambda: plain_features(decoded, blocks, starts[1:], SPEC.length),
            ],
            max(1, rounds // 2),
        )
        statistics, statistics_loop = fastest(
            [lambda: window_features(episode, of_ready, widths), lambda: statistics_only(ready, starts, SPEC.length)], rounds
        )
    size = f"{len(starts)} windows x {plain.shape[1]} features"
    note = f"{len(episode.timeline)} reference samples, {len(blocks)} blocks; one core, the fastest of {rounds} rounds"
    return [
        Row(f"(a) files to {size}", full, floor, "<=1.3", f"beside reading, decoding and resizing alone; {note}"),
        Row(
            f"(b) decoded arrays to {size}",
            described,
            loop,
            ">=10",
            "beside loops over windows, blocks and frames; equal to 1e-3",
        ),
        Row(
            "    of it, statistics of ready descriptors",
            statistics,
            statistics_loop,
            "",
            f"{len(of_ready)} blocks, beside a loop over windows and blocks that does nothing else",
        ),
    ]


def ingest(root: Path, folder: str, threads: int) -> list[Episode]:
    """List, read, decode and store every episode, so many at a time with one decoder thread each; open what was stored."""
    reader = LeRobotReader(root, Card(format="lerobot"))
    fingerprint, store, wants = card_fingerprint(reader.card), TrackStore(folder), Wants((FramesWant("*", SIZE, SIZE),))

    def one(ref: EpisodeRef) -> Episode:
        key = store.key(ref, fingerprint)
        store.write(reader.read(ref), wants, key)
        return store.open(key)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, reader.list_episodes()[0]))


def copy_windows(episodes: list[Episode]) -> int:
    """Copy every window out of the store, batch by batch."""
    count = 0
    for episode in episodes:
        track = next(t for name, t in episode.tracks.items() if name.startswith("frames/"))
        last = SPEC.grid(len(episode.timeline)) + SPEC.length - 1
        for begin in range(0, len(last), BATCH):
            count += len(window_frames(track, last[begin : begin + BATCH], SPEC.length))
    return count


def cold(root: Path, threads: int) -> None:
    """From the files to every window, with an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        copy_windows(ingest(root, folder, threads))


def lerobot_windows(root: Path, **options: bool) -> Callable[[NDArray[np.int64]], tuple[float, NDArray[np.uint8]]]:
    """What takes the windows that end at rows of the data set from `LeRobotDataset`: seconds, and (n, length, H, W, 3)."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: PLC0415  (seconds of imports)
    from torchvision.transforms.v2 import Resize  # noqa: PLC0415

    info = LeRobotReader(root, Card()).info
    camera = next(key for key in info["features"] if key.startswith("observation.images."))
    dataset = LeRobotDataset(
        "local/windows",
        root=root,
        delta_timestamps={camera: [i / info["fps"] for i in range(1 - SPEC.length, 1)]},
        image_transforms=Resize((SIZE, SIZE)),
        video_backend="pyav",
        **options,
    )

    def take(rows: NDArray[np.int64]) -> tuple[float, NDArray[np.uint8]]:
        begin = time.perf_counter()
        windows = [dataset[row][camera] for row in rows.tolist()]
        taken = time.perf_counter() - begin
        frames = np.stack([w.permute(0, 2, 3, 1).numpy() for w in windows])
        return taken, frames if frames.dtype == np.uint8 else (frames * 255).round().astype(np.uint8)

    return take


def bench_windows(data: Path, rounds: int, threads: int, sample: int) -> list[Row]:
    """(c): see the module. All take turns; of each the fastest round counts, because other load only ever adds."""
    root = data / "g1_inspire_v30"
    plain, spare = lerobot_windows(root), lerobot_windows(root, return_uint8=True)
    with tempfile.TemporaryDirectory() as folder:
        episodes = ingest(root, folder, threads)
        rows, windows = _windows_of_data_set(episodes)
        count = len(rows)
        cold_s, warm_s, plain_s, spare_s, difference = [], [], [], [], []
        chosen = np.linspace(0, count - 1, min(sample, count)).round().astype(int)
        for part in (chosen[i::rounds] for i in range(rounds)):
            cold_s.append(seconds(lambda: cold(root, threads)))
            warm_s.append(min(seconds(lambda: copy_windows(episodes)) for _ in range(5)))
            for take, into in ((plain, plain_s), (spare, spare_s)):
                taken, theirs = take(rows[part])
                into.append(taken * count / len(part))
                difference.append(np.abs(theirs.astype(np.int16) - windows[part]).mean())
    ours, copied, other, lean = min(cold_s), min(warm_s), min(plain_s), min(spare_s)
    how = "all windows" if len(chosen) == count else f"timed on {len(chosen)} of {count} windows and extrapolated"
    note = f"LeRobotDataset as it comes, {count / other:.1f} windows/s, {how}; pixels differ by {np.mean(difference):.1f} of 255"
    lean_note = f"LeRobotDataset(return_uint8=True), {count / lean:.1f} windows/s: spares the conversion to float"
    return [
        Row(f"(c) cold: {count} windows, {threads} decoder threads", ours, other, ">=20", note),
        Row(f"(c) warm: {count} windows", copied, other, ">=500", f"{count / copied:,.0f} windows/s copied out of the store"),
        Row("    cold, beside its leaner option", ours, lean, "", lean_note),
        Row("    warm, beside its leaner option", copied, lean, "", lean_note),
    ]


def _windows_of_data_set(episodes: list[Episode]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """(n,) row in the data set of each window's last frame, and (n, length, height, width, 3) the windows."""
    rows, windows, first = [], [], 0
    for episode in episodes:
        track = next(t for name, t in episode.tracks.items() if name.startswith("frames/"))
        last = SPEC.grid(len(episode.timeline)) + SPEC.length - 1
        rows.append(first + last)
        windows.append(window_frames(track, last, SPEC.length))
        first += len(episode.timeline)
    return np.concatenate(rows), np.concatenate(windows)


def main() -> int:
    """Run the parts that were asked for; 0 where every ratio is what it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that holds g1_inspire_v30")
    parser.add_argument("--rounds", type=int, default=5, help="the fastest counts")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="decoder threads of the cold run, one per episode"
    )
    parser.add_argument("--sample", type=int, default=60, help="windows that each LeRobotDataset is timed on")
    parser.add_argument("--parts", default="a,b,c", help="a and b are measured together")
    parser.add_argument("--demo", type=Path, help="a demo data set; made for the occasion where none is given")
    options = parser.parse_args()
    parts, rows = set(options.parts.split(",")), []
    with tempfile.TemporaryDirectory() as folder:
        if parts & {"a", "b"}:
            if options.demo is None:
                write_demo(Path(folder), episodes=1, seconds=EPISODE_SECONDS)
            rows += bench_features(options.demo or Path(folder), options.rounds)
    if "c" in parts:
        rows += bench_windows(options.data, options.rounds, options.threads, options.sample)
    print(f"{'what':58} {'ours s':>9} {'other s':>9} {'ratio':>8} {'must':>6}")
    for row in rows:
        verdict = f"{row.must:>6} {'ok' if row.ok else 'NO'}" if row.must else ""
        print(f"{row.what:58} {row.ours:9.4f} {row.other:9.3f} {row.ratio:8.2f} {verdict}")
        print(f"    {row.note}")
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
