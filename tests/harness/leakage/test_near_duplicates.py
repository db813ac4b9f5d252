"""One recording under two names: copied, coded again, trimmed, in part; and recordings that only look alike are not flagged."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from canary_world import fitted, planned
from copied_world import split_of, targets_of, walk, wandering
from gate_world import bundle_of, held_of

from harness.bundle import find_bundles
from harness.dataset import open_dataset
from harness.demo import write_demo
from harness.episode import Episode, EpisodeRef, Modality, Track
from harness.errors import BadInput
from harness.evaluate import evaluate
from harness.held import Held
from harness.leaderboard import build
from harness.leakage import DUPLICATES, check
from harness.leakage.clips import CLIP, Moving, matching_bins
from harness.leakage.duplicates import find_copies, refuse_copies
from harness.leakage.fingerprint import BIN_S, fingerprint, read_fingerprint
from harness.pipeline.ingest import is_ingested
from harness.pipeline.predict import Actor, Block
from harness.record import RECORD
from harness.report.model import headline
from harness.run import write_bundle
from harness.splits import Split, SplitConfig, make_split
from harness.store.track_store import TrackStore
from harness.window import WindowSpec

SECONDS = 10.0
SPEC = WindowSpec()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes of one session, and the first of them again in sessions of its own: as it is, and coded again."""
    out = tmp_path_factory.mktemp("demo") / "recordings"
    write_demo(out, episodes=2, seed=3, seconds=SECONDS)
    first = sorted(path.parent for path in out.rglob("annotation.hdf5"))[0]
    shutil.copytree(first, out / "zz-copied" / "ep0")
    again = out / "zz-coded-again" / "ep0"
    again.mkdir(parents=True)
    shutil.copy(first / "annotation.hdf5", again)
    for video in first.glob("*.mp4"):
        coded_again(video, again / video.name)
    return out


def coded_again(source: Path, place: Path) -> None:
    """The video in a coarser quality; its sound as it is."""
    with av.open(str(source)) as old, av.open(str(place), "w") as new:
        video = old.streams.video[0]
        stream = new.add_stream("libx264", rate=video.average_rate, options={"crf": "35"})
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        sound = new.add_stream_from_template(old.streams.audio[0]) if old.streams.audio else None
        for packet in old.demux():
            if packet.stream.type == "audio":
                if packet.dts is not None:
                    packet.stream = sound
                    new.mux(packet)
                continue
            for frame in packet.decode():
                frame.pict_type = 0
                new.mux(stream.encode(frame))
        new.mux(stream.encode())


@pytest.mark.parametrize("copy", ["zz-copied__ep0", "zz-coded-again__ep0"])
def test_a_copy_under_another_name_is_refused_by_the_run_and_at_scoring(root: Path, tmp_path: Path, copy: str) -> None:
    dataset = open_dataset(str(root))
    ids = sorted(ref.id for ref in dataset.list_episodes()[0])
    first, second = [i for i in ids if not i.startswith("zz")]
    words = (f"split.train=[{first},{second}]", f"split.test=[{copy}]")
    plan = planned(root, tmp_path, ["ridge"], ("timeline_action",), *words)  # features are wanted, so videos are described
    with pytest.raises(BadInput, match=rf"fold 0 fits on {first}, and {copy} is {first} under another name \({copy}#w\d+, "):
        refuse_copies(plan.out / "targets", plan.split, plan.spec)
    [job] = fitted(plan)
    write_bundle(plan, job)
    Actor(plan).run(Block("ridge", 0, 0, copy, 0, 1000))
    held = Held(plan.out / "targets", plan.split, (plan.task("timeline_action"),), plan.spec)
    [made] = find_bundles(plan.out / "bundles")
    with pytest.raises(BadInput) as error:
        evaluate(held, [made])
    assert all(word in str(error.value) for word in (f"of ridge was fitted on {first}", copy, f"{copy}#w"))
    [found] = held.copies
    assert len(found.windows) >= 0.8 * len(SPEC.grid(int(SECONDS * 20)))
    assert check(replace(made, imported=True), held) == [DUPLICATES]
    # What was not fitted on the twin may be scored; the honest pair of episodes is no pair of twins.
    assert check(replace(made, fitted_on={"weights": [second]}, spans={}), held) == []


def test_episodes_of_one_session_are_no_copies(root: Path, tmp_path: Path) -> None:
    plan = planned(root, tmp_path, ["ridge"], ("timeline_action",), "split.train=0", "split.test=1")
    refuse_copies(plan.out / "targets", plan.split, plan.spec)
    for episode in plan.split.episodes:
        assert len(read_fingerprint(plan.targets_file(episode))) > 10


def test_a_trimmed_copy_is_found_whatever_the_cut(root: Path, tmp_path: Path) -> None:
    plan = planned(root, tmp_path, ["majority"], ("timeline_action",), "split.train=0", "split.test=1")
    episode = plan.dataset.read(plan.dataset.list_episodes()[0][0])
    for cut in (1.0, 1.13, 2.06):
        matched = matching_bins(Moving(fingerprint(episode)), Moving(fingerprint(trimmed(episode, cut))), -round(cut / BIN_S))
        assert matched.mean() > 0.8, cut


def trimmed(episode: Episode, seconds: float) -> Episode:
    """Without its beginning, on a clock of its own."""

    def cut(track: Track) -> Track:
        if track.times is None or not isinstance(track.data, np.ndarray):
            return track
        keep = track.times >= seconds
        valid = None if track.valid is None else track.valid[keep]
        return replace(track, data=track.data[keep], times=track.times[keep] - seconds, valid=valid)

    tracks = {name: cut(track) for name, track in episode.tracks.items() if isinstance(track.data, np.ndarray)}
    clock = episode.timeline[episode.timeline >= seconds] - seconds
    reference = Track("clock", Modality.STATE, np.zeros((len(clock), 1)), clock)
    return Episode("trimmed", "clock", {**tracks, "clock": reference})


def test_a_passage_in_the_middle_is_named_by_its_windows_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train, test = walk(rng, 120), walk(rng, 160)
    for name in test:
        test[name][60:100] = train[name][20:60]
    targets_of(tmp_path / "targets", {"a": train, "b": test})
    [copy] = find_copies(tmp_path / "targets", split_of(["a"], ["b"]), SPEC)
    assert (copy.train, copy.test) == ("a", "b")
    starts = [int(window.rpartition("#w")[2]) for window in copy.windows]
    # Bins 60 to 100 at five samples a bin are samples 300 to 500.
    assert starts == list(range(300, 485, 5)) and not copy.exact


def test_what_is_alike_for_less_than_four_seconds_or_in_one_modality_of_two_is_no_copy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train, test = walk(rng, 120), walk(rng, 160)
    for name in test:
        test[name][60:74] = train[name][20:34] * 1.001  # to the bit it would be one
    test["state"][90:140] = train["state"][60:110] * 1.05
    targets_of(tmp_path / "targets", {"a": train, "b": test})
    assert find_copies(tmp_path / "targets", split_of(["a"], ["b"]), SPEC) == ()


def test_what_stands_still_is_no_copy(tmp_path: Path) -> None:
    """The same scene twice, with the noise of its sensors, and a track that never changes."""
    found = {}
    for episode, seed in (("a", 1), ("b", 2)):
        rng = np.random.default_rng(seed)
        still = {name: (5 + 0.01 * rng.normal(size=(200, 4))).astype(np.float32) for name in ("state", "descriptor/video/a")}
        found[episode] = still | {"hand_left": np.ones((200, 4), np.float32)}
    targets_of(tmp_path / "targets", found)
    assert find_copies(tmp_path / "targets", split_of(["a"], ["b"]), SPEC) == ()


def test_the_very_numbers_of_a_still_scene_are_a_copy(tmp_path: Path) -> None:
    """One camera that shows little: it moves for three seconds, and its noise is nobody else's."""
    rng = np.random.default_rng(3)
    quiet = (5 + 0.01 * rng.normal(size=(200, 4))).astype(np.float32)
    quiet[50:62] += walk(rng, 12)["state"]
    other = (5 + 0.01 * rng.normal(size=(200, 4))).astype(np.float32)
    other[50:62] += quiet[50:62] - 5
    track = "descriptor/video/a"
    targets_of(tmp_path / "targets", {"a": {track: quiet}, "b": {track: quiet.copy()}, "c": {track: other}})
    copies = find_copies(tmp_path / "targets", split_of(["a"], ["b", "c"]), SPEC)
    assert [copy.test for copy in copies] == ["b"] and len(copies[0].windows) > 150


def test_one_path_of_the_camera_in_two_recordings_is_no_copy_where_the_noise_of_the_rest_differs(tmp_path: Path) -> None:
    path = walk(np.random.default_rng(0), 60)["state"]
    found = {}
    for episode, seed in (("a", 1), ("b", 2)):
        rng = np.random.default_rng(seed)
        found[episode] = {
            "camera_pose": (path * (1 + 0.05 * (seed - 1))).astype(np.float32),
            "hand_left": rng.normal(size=(60, 4)).astype(np.float32),
        }
    targets_of(tmp_path / "targets", found)
    assert find_copies(tmp_path / "targets", split_of(["a"], ["b"]), SPEC) == ()
    targets_of(tmp_path / "targets", {"a": found["a"], "b": found["a"]})
    assert len(find_copies(tmp_path / "targets", split_of(["a"], ["b"]), SPEC)) == 1


def test_within_episodes_a_copy_counts_only_where_one_trains_what_the_other_tests(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one, twin = walk(rng, 200), walk(rng, 200)
    for name in twin:
        twin[name][:100] = one[name][:100]
    late = {name: np.concatenate([values[150:], values[:150]]) for name, values in one.items()}
    targets_of(tmp_path / "targets", {"a": one, "b": twin, "c": late})
    split = split_of(["a", "b", "c"], ["a", "b", "c"], (0.5, 0.5))
    # The first half of b is that of a: both train it. The first quarter of c is the last one of a, which a tests.
    pairs = {(copy.train, copy.test) for copy in find_copies(tmp_path / "targets", split, SPEC)}
    assert ("c", "a") in pairs and not {("a", "b"), ("b", "a")} & pairs


def test_targets_of_before_there_were_fingerprints_are_refused_and_made_again(root: Path, tmp_path: Path) -> None:
    plan = planned(root, tmp_path, ["majority"], ("timeline_action",), "split.train=0", "split.test=1")
    [first, *_] = refs = [ref for ref in plan.dataset.list_episodes()[0] if ref.id in plan.split.episodes]
    store = TrackStore(plan.store_uri, plan.config.store.max_gib)
    assert all(is_ingested(plan, ref, store) for ref in refs)
    path = plan.targets_file(first.id)
    about = json.loads(pq.read_schema(path).metadata[RECORD])
    del about["fingerprint"]
    pq.write_table(pq.read_table(path).replace_schema_metadata({RECORD: json.dumps(about)}), path)
    assert not is_ingested(plan, first, store)
    with pytest.raises(BadInput, match=rf"targets: {first.id} stand there without a fingerprint"):
        find_copies(plan.out / "targets", plan.split, plan.spec)


def test_damaged_targets_of_a_copy_are_named(tmp_path: Path) -> None:
    targets_of(tmp_path / "targets", {"a": walk(np.random.default_rng(0), 40), "b": walk(np.random.default_rng(1), 40)})
    path = tmp_path / "targets" / "b.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"targets/b\.parquet: damaged .* remove it and run again"):
        find_copies(tmp_path / "targets", split_of(["a"], ["b"]), SPEC)


@pytest.mark.parametrize("name", ["g1_inspire_v21", "gr1_picknplace_v20"])
def test_real_recordings_of_one_task_are_no_copies_of_each_other(shared_data: Path, tmp_path: Path, name: str) -> None:
    """Robots that repeat one task, compared by their joints alone: no picture may tell them apart."""
    dataset = open_dataset(str(shared_data / name))
    refs, _ = dataset.list_episodes()
    found = {ref.id: dataset.read(ref) for ref in refs}
    counted = {f"{ref.id}-counted": beside(dataset.read(ref), lambda clock: 30 * clock) for ref in refs}
    targets_of(tmp_path / "targets", found | counted)
    numbered = sorted(counted)
    assert find_copies(tmp_path / "targets", split_of(numbered[::2], numbered[1::2]), SPEC) == ()
    ids = sorted(found)
    assert len(ids) >= 5 and all(set(fingerprint(episode)) == {"state", "command"} for episode in found.values())
    assert find_copies(tmp_path / "targets", split_of(ids[::2], ids[1::2]), SPEC) == ()
    twin = {"twin": found[ids[0]]}
    targets_of(tmp_path / "targets", twin)
    copies = find_copies(tmp_path / "targets", split_of(ids, ["twin"]), SPEC)
    assert [(copy.train, copy.test) for copy in copies] == [(ids[0], "twin")] and len(copies[0].windows) > CLIP


def beside(episode: Episode, channel: Callable[[np.ndarray], np.ndarray]) -> Episode:
    """With one more channel in joints and commands."""
    more = {}
    for name in ("state", "command"):
        track = episode.tracks[name]
        assert isinstance(track.data, np.ndarray) and track.times is not None
        data = np.concatenate([track.data.astype(np.float64), channel(track.times)[:, None]], axis=1)
        more[name] = replace(track, data=data, names=())
    return episode.with_tracks({**episode.tracks, **more})


def of_arm(state: np.ndarray, command: np.ndarray) -> Episode:
    """20 samples a second."""
    clock = np.arange(len(state)) / 20
    tracks = (Track("state", Modality.STATE, state, clock), Track("command", Modality.COMMAND, command, clock))
    return Episode("arm", "state", {track.name: track for track in tracks})


def test_a_pair_may_be_said_to_be_two_which_is_printed_and_caps_the_evidence(tmp_path: Path) -> None:
    track = walk(np.random.default_rng(0), 80)
    targets_of(tmp_path / "targets", {"a": track, "b": track})
    split = split_of(["a"], ["b"])
    with pytest.raises(BadInput, match=r"split\.allow_copies=\[a=b\]"):
        refuse_copies(tmp_path / "targets", split, SPEC)
    allowed = replace(split, allow_copies=("b=a",))
    refuse_copies(tmp_path / "targets", allowed, SPEC)
    assert allowed.hash != split.hash and allowed.shared()["copy"] == ["b=a"]
    allowed.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == allowed
    held = held_of(tmp_path / "gates")
    known = replace(held, split=replace(held.split, allow_copies=("train=a",)))
    board = build(evaluate(known, [bundle_of(known, tmp_path / "m")]), "held_out")
    assert [row["evidence"] for row in board["rows"] if row["branch"] == "model:x"] == ["dry_run"]
    assert any(line.startswith("shared: copy") for line in headline(board))
    with pytest.raises(BadInput, match=r"split\.allow_copies: 'zz' is no episode"):
        make_split(
            [EpisodeRef("a", (), 0), EpisodeRef("b", (), 1)], SplitConfig(train="0", test="1", allow_copies=["a=zz"]), SPEC
        )


def test_an_offset_hides_no_copy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    state, command = wandering(rng, 400, 5), wandering(rng, 400, 5)
    for offset in (1e3, 1e5, 4e6):
        episode = beside(of_arm(state, command), lambda clock, offset=offset: np.full(len(clock), offset))
        targets_of(tmp_path / "targets", {"a": fingerprint(episode), "b": fingerprint(episode)})
        [copy] = find_copies(tmp_path / "targets", split_of(["a"], ["b"]), SPEC)
        assert len(copy.windows) >= len(SPEC.grid(400)) - 1, offset  # the last bin is not whole


def test_the_very_numbers_of_a_sensor_are_a_copy_whatever_the_commands_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    state, command, other = (wandering(rng, 400, 5) for _ in range(3))
    found = {"a": of_arm(state, command), "b": of_arm(state, other), "c": of_arm(other, command)}
    targets_of(tmp_path / "targets", {name: fingerprint(episode) for name, episode in found.items()})
    # One script played twice (c) is no copy: what the sensors measured differs.
    copies = find_copies(tmp_path / "targets", split_of(["a"], ["b", "c"]), SPEC)
    assert [(copy.train, copy.test) for copy in copies] == [("a", "b")]


def test_what_runs_at_one_pace_throughout_is_no_copy(tmp_path: Path) -> None:
    found = {}
    for name, seed in (("a", 0), ("b", 1)):
        rng = np.random.default_rng(seed)
        driven = np.stack([0.3 * np.arange(400) / 20, 0.001 * np.cumsum(rng.normal(size=400))], axis=1)
        found[name] = fingerprint(of_arm(driven + 0.002 * rng.normal(size=(400, 2)), np.full((400, 2), 0.3)))
    targets_of(tmp_path / "targets", found)
    assert find_copies(tmp_path / "targets", split_of(["a"], ["b"]), SPEC) == ()


def test_one_script_of_the_hands_is_no_copy_where_the_camera_goes_elsewhere(tmp_path: Path) -> None:
    """The same but for rounding, for most of two short recordings."""
    hands = walk(np.random.default_rng(0), 60)["state"]
    found = {
        name: {"hand_left": hands.round(digits), "camera_pose": walk(np.random.default_rng(digits), 60)["state"]}
        for name, digits in (("a", 4), ("b", 3))
    }
    targets_of(tmp_path / "targets", found)
    assert find_copies(tmp_path / "targets", split_of(["a"], ["b"]), SPEC) == ()
