"""Latents in a run: made once, from the past alone; what a plain `future_latent` stands for; what preparing costs."""

from pathlib import Path

import av
import numpy as np
import pytest
from pipeline_runs import ingested, prepared, row, run_here, write_sessions

from harness.branch import branch_names
from harness.config import load_config
from harness.dataset import open_dataset
from harness.errors import BadInput
from harness.pipeline.ingest import is_ingested
from harness.pipeline.prepare import lines, make_order, prepare_episode, report
from harness.pipeline.workbench import Workbench
from harness.store import TrackStore

if "world_model:jepa" not in branch_names():
    pytest.skip("world_model:jepa is under way: it is not registered yet", allow_module_level=True)


JEPA = "world_model:jepa"
PROBE = f"ridge@{JEPA}"
LATENT = "future_latent[vjepa2-tiny]"
CAMERA = "fisheye_cam0"
SPLIT = ("split.train=0,1", "split.validation=2", "split.test=3")
QUICK = (f"branch.{JEPA}.steps=2", f"branch.{JEPA}.evaluate_every=2", f"branch.{JEPA}.layers=1")


def film(path: Path, frames: int, seed: int, changed_from: int | None = None) -> None:
    """A moving square on noise that stands still; from `changed_from` on, noise that changes."""
    rng = np.random.default_rng(seed)
    still = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        # Every frame on its own, so that a frame's bits cannot depend on a later one.
        video = container.add_stream("libx264", rate=20, options={"preset": "ultrafast", "qp": "20", "g": "1", "threads": "1"})
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        for i in range(frames):
            picture = still.copy()
            if changed_from is not None and i >= changed_from:
                picture = np.random.default_rng(1000 + i).integers(0, 256, still.shape, dtype=np.uint8)
            picture[10:26, i % 48 : i % 48 + 16] = (255, 0, 0)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = i
            container.mux(video.encode(frame))
        container.mux(video.encode())


def recordings(root: Path, changed_from: int | None = None) -> Path:
    write_sessions(root, 2, 2)
    for i, folder in enumerate(sorted(root.glob("s*/ep*"))):
        film(folder / f"{CAMERA}.mp4", 60, i, changed_from)
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return recordings(tmp_path_factory.mktemp("films"))


def test_a_run_answers_with_copy_last_as_floor(data, tmp_path):
    ready = prepared(
        data, tmp_path / "run", *SPLIT, *QUICK, branches=(JEPA, PROBE, "persistence", "oracle"), tasks=("future_latent",)
    )
    assert ready.plan.tasks == (LATENT,)
    board = run_here(ready)
    task = next(t for t in board["tasks"] if t["id"] == LATENT)
    assert row(board, "persistence", LATENT)["value"] == pytest.approx(task["floor"]["value"])
    assert row(board, "oracle", LATENT)["value"] == 0
    probe = row(board, PROBE, LATENT)
    assert probe["route"] == "probe" and probe["coverage"] == 1
    found = row(board, JEPA, LATENT)
    assert found["coverage"] == 1 and found["detail"]["newest_held"] > 0
    assert board["evidence"] in ("smoke", "dry_run", "held_out")


def test_what_is_stored_is_neither_decoded_nor_encoded_again(data, tmp_path):
    words, store = (*SPLIT, *QUICK), tmp_path / "store"
    first = prepared(data, tmp_path / "one", *words, branches=(JEPA,), tasks=("future_latent",), store=store)
    plan, lost = ingested(first)
    assert not lost
    opened = TrackStore(plan.store_uri)
    for ref in first.refs:
        assert is_ingested(plan, ref, opened)
        assert opened.decoded_frames(Workbench(plan).record(ref.id).key) == {f"video/{CAMERA}": 60}
    size = opened.size()
    ingested(prepared(data, tmp_path / "two", *words, branches=(JEPA,), tasks=("future_latent",), store=store))
    assert opened.size() == size
    ingested(
        prepared(data, tmp_path / "three", *words, "windows.stride=10", branches=(JEPA,), tasks=("future_latent",), store=store)
    )
    assert opened.size() > size  # other windows, other clips; the frames are there


def test_the_future_changes_no_bit_of_what_is_seen_at_t0(data, tmp_path):
    """Fresh stores of two recordings that are the same up to t0 and noise after it."""
    cut, seen = 40, []
    for name, root in (("one", data), ("other", recordings(tmp_path / "films", cut))):
        ready = prepared(root, tmp_path / name / "run", *SPLIT, branches=(JEPA,), tasks=("future_latent",))
        plan, _ = ingested(ready)
        bench = Workbench(plan)
        episode = bench.episode(plan.split.folds[0].test[0])
        seen.append((episode.tracks["latents/vjepa2-tiny"], episode.timeline))
    (one, timeline), (other, _) = seen
    past = one.times <= timeline[cut - 1]
    assert past.sum() >= 3 and (~past).any()
    np.testing.assert_array_equal(one.array()[past], other.array()[past])
    assert np.abs(one.array()[~past & one.mask()] - other.array()[~past & one.mask()]).max() > 0.1


def test_future_tasks_are_in_a_run_only_where_a_model_answers_them_or_they_are_named(data, tmp_path):
    def tasks(*branches, named=()):
        return set(
            prepared(data, tmp_path / "-".join(branches).replace(":", "_"), *SPLIT, branches=branches, tasks=named).plan.tasks
        )

    future = {"future_video", "future_retrieval", LATENT}
    assert not future & tasks("persistence", "ridge")
    assert future & tasks("persistence", JEPA) == {"future_retrieval", LATENT}
    assert tasks("persistence", named=("future_video",)) == {"future_video"}
    with pytest.raises(BadInput, match="needs an encoder"):
        tasks("persistence", named=("future_latent",))


def test_a_clip_longer_than_a_window_is_refused(data, tmp_path):
    with pytest.raises(BadInput, match=r"windows\.length=15"):
        prepared(data, tmp_path / "run", *SPLIT, "windows.length=10", branches=(JEPA,), tasks=("future_latent",))


def test_the_large_encoder_asks_for_its_directory(data, tmp_path):
    with pytest.raises(BadInput, match=r"encoders\.vjepa2-large=DIR"):
        prepared(data, tmp_path / "run", *SPLIT, "preset=real", branches=(JEPA,), tasks=("future_latent",))


def test_preparing_says_what_it_costs_and_a_run_finds_the_latents(data, tmp_path):
    config, passed = load_config(None, [f"store.uri={tmp_path / 'store'}"])
    dataset = open_dataset(str(data), config, passed)
    refs, _ = dataset.list_episodes()
    order = make_order(dataset, config, JEPA)
    first = report(order, [prepare_episode(order, ref) for ref in refs])
    # 60 frames: windows end at 19, 24, ..., 59 and nowhere else; a latent has 4 x 4 x 4 x 64 numbers of 4 bytes.
    assert first["clips"] == 4 * 9
    assert first["video_minutes"] == pytest.approx(4 * 59 / 20 / 60, abs=1e-3)
    assert first["latent_bytes_per_video_hour"] == pytest.approx(9 * 4096 * 4 * 3600 / (59 / 20), rel=1e-3)
    assert first["frame_bytes_per_video_hour"] == pytest.approx(60 * 64 * 64 * 3 * 3600 / (59 / 20), rel=1e-3)
    assert first["decode_s_per_video_minute"] > 0 and first["encode_s_per_video_minute"] > 0
    again = report(order, [prepare_episode(order, ref) for ref in refs])
    assert again["decode_s_per_video_minute"] is None and again["clips"] == first["clips"]
    assert any("MiB per hour" in line for line in lines(again))
    ready = prepared(data, tmp_path / "run", *SPLIT, branches=(JEPA,), tasks=("future_latent",), store=tmp_path / "store")
    size = TrackStore(ready.plan.store_uri).size()
    ingested(ready)
    assert TrackStore(ready.plan.store_uri).size() == size


def test_a_branch_without_a_frozen_encoder_has_nothing_to_prepare(data):
    with pytest.raises(BadInput, match="nothing to prepare"):
        make_order(open_dataset(str(data)), load_config(None, [])[0], "ridge")
