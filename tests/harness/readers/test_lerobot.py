"""LeRobot data sets: the files are believed, times are the files' own, what is lacking is said, what is broken is refused."""

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.card import Card, bundled_cards, load_card
from harness.episode import Modality, VideoFile
from harness.errors import BadInput, UnreadableEpisode
from harness.readers import recognise
from harness.readers.lerobot import LeRobotReader
from harness.video import decode

CAMERA = "observation.images.front"
SAME = {29: 0, 30: 1, 31: 2, 59: 3}  # episode of g1_inspire_v21 -> episode of g1_inspire_v30


def reader(root: Path, **card) -> LeRobotReader:
    return LeRobotReader(root, Card(name=root.name, format="lerobot", **card))


def episodes(found: LeRobotReader) -> dict:
    refs, errors = found.list_episodes()
    assert errors == []
    return {ref.index: ref for ref in refs}


def bundled(shared_data: Path, name: str) -> LeRobotReader:
    return LeRobotReader(shared_data / name, load_card(bundled_cards()[name]))


def rows(episode: int, count: int = 12, **changed) -> dict:
    base = np.arange(count)
    columns = {
        "observation.state": [[episode + 0.01 * i, -0.01 * i] for i in base],
        "observation.velocity": [[0.5]] * count,
        "action": [[episode + 0.01 * (i + 1), -0.01 * (i + 1)] for i in base],
        "timestamp": (base / 10).astype(np.float32),
        "next.reward": np.ones(count),
        "episode_index": np.full(count, episode),
        "task_index": np.where(base < 6, 0, 1),
    }
    return {key: value for key, value in (columns | changed).items() if value is not None}


def write_v21(root: Path, count: int = 3, **info) -> Path:
    """Three episodes of 12 rows at 10 Hz, no video."""
    (root / "meta").mkdir(parents=True)
    pair = {"dtype": "float32", "shape": [2], "names": {"motors": ["hip", "knee"]}}
    features = {"observation.state": pair, "action": pair, CAMERA: {"dtype": "video", "shape": [48, 64, 3]}}
    claims = {"codebase_version": "v2.1", "robot_type": "arm", "fps": 10, "features": features}
    (root / "meta" / "info.json").write_text(json.dumps(claims | info))
    tasks = [{"task_index": 0, "task": "reach"}, {"task_index": 1, "task": "grasp"}]
    (root / "meta" / "tasks.jsonl").write_text("\n".join(map(json.dumps, tasks)))
    listed = [{"episode_index": i, "tasks": ["reach"], "length": 12} for i in range(count)]
    (root / "meta" / "episodes.jsonl").write_text("\n".join(map(json.dumps, listed)))
    for i in range(count):
        write_episode(root, i)
    return root


def write_episode(root: Path, index: int, chunk: int = 0, **changed) -> Path:
    path = root / "data" / f"chunk-{chunk:03d}" / f"episode_{index:06d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows(index, **changed)), path)
    return path


@pytest.fixture
def small(tmp_path) -> Path:
    return write_v21(tmp_path / "small")


# Real recordings


def test_all_g1_episodes_are_read_and_nine_have_video(shared_data):
    found = bundled(shared_data, "g1_inspire_v21")
    read = {index: found.read(ref) for index, ref in episodes(found).items()}
    assert list(read) == list(range(70))
    assert sum(len(episode.timeline) for episode in read.values()) == 25_852
    filmed = [index for index, episode in read.items() if "video/cam_high" in episode.tracks]
    assert filmed == [10, 20, 24, 28, 29, 30, 31, 59, 63]
    for index, episode in read.items():
        assert episode.id == f"episode_{index:06d}"
        assert episode.reference == ("video/cam_high" if index in filmed else "state")
        assert list(episode.lacking) == ([] if index in filmed else ["video/cam_high"])
        assert len(episode.uris) == (2 if index in filmed else 1) and all(Path(uri).is_file() for uri in episode.uris)
        state, command = episode.tracks["state"], episode.tracks["command"]
        assert (state.modality, command.modality) == (Modality.STATE, Modality.COMMAND)
        assert state.data.shape == command.data.shape == (len(episode.timeline), 26)
        assert state.data.dtype == np.float32 and state.names[0] == "kLeftShoulderPitch"
        assert episode.timeline[0] == 0 and state.rate == pytest.approx(30, rel=1e-5)


def test_the_command_is_the_action_column(shared_data):
    found = bundled(shared_data, "g1_inspire_v21")
    table = pq.read_table(shared_data / "g1_inspire_v21/data/chunk-000/episode_000007.parquet")
    episode = found.read(episodes(found)[7])
    assert np.array_equal(episode.tracks["command"].data, np.array(table["action"].to_pylist(), np.float32))
    assert np.array_equal(episode.timeline, table["timestamp"].to_numpy().astype(np.float64))
    assert episode.tracks["instruction"].categories == ("Pick up the yellow bottle on the table.",)
    assert set(episode.tracks["instruction"].data) == {0}


@pytest.mark.parametrize("index", SAME)
def test_v21_and_v30_give_the_same_tensors(shared_data, index):
    old, new = bundled(shared_data, "g1_inspire_v21"), bundled(shared_data, "g1_inspire_v30")
    a, b = old.read(episodes(old)[index]), new.read(episodes(new)[SAME[index]])
    assert a.reference == b.reference and list(a.tracks) == list(b.tracks)
    assert np.array_equal(a.timeline, b.timeline)
    for name in ("state", "command", "instruction"):
        assert np.array_equal(a.tracks[name].data, b.tracks[name].data)
        assert a.tracks[name].data.dtype == b.tracks[name].data.dtype
        assert a.tracks[name].names == b.tracks[name].names


@pytest.mark.parametrize(
    ("index", "seconds"), [(30, 1.0), (59, 1.0), *(pytest.param(i, 60.0, marks=pytest.mark.slow) for i in SAME)]
)
def test_v21_and_v30_give_the_same_frames(shared_data, index, seconds):
    old, new = bundled(shared_data, "g1_inspire_v21"), bundled(shared_data, "g1_inspire_v30")
    a, b = old.read(episodes(old)[index]), new.read(episodes(new)[SAME[index]])
    frames = []
    for file in (episode.tracks["video/cam_high"].data for episode in (a, b)):
        stop = min(file.stop, file.start + seconds)
        frames.append(np.concatenate([part for _, (part,) in decode(file, [(48, 64)], stop=stop)]))
    assert np.array_equal(*frames)
    assert len(frames[0]) == min(len(a.timeline), 30 * seconds)


def test_the_timeline_is_the_same_without_video(shared_data, tmp_path):
    root = tmp_path / "blind"
    shutil.copytree(shared_data / "g1_inspire_v21" / "meta", root / "meta")
    (root / "data" / "chunk-000").mkdir(parents=True)
    shutil.copy(shared_data / "g1_inspire_v21/data/chunk-000/episode_000029.parquet", root / "data" / "chunk-000")
    blind, seen = reader(root), bundled(shared_data, "g1_inspire_v21")
    ref = next(ref for ref in blind.list_episodes()[0] if ref.index == 29)
    assert np.array_equal(blind.read(ref).timeline, seen.read(episodes(seen)[29]).timeline)


def test_gr1_is_read_though_its_metadata_are_wrong(shared_data):
    found = bundled(shared_data, "gr1_picknplace_v20")
    read = [found.read(ref) for ref in episodes(found).values()]
    assert [len(episode.timeline) for episode in read] == [416, 470, 470, 412, 328]
    for episode in read:
        assert episode.lacking == {}
        assert episode.tracks["command"].data.dtype == np.float64 and episode.tracks["command"].data.shape[1] == 44
        assert "pick the" in episode.tracks["instruction"].categories[0]
        assert not any(name.startswith(("next", "annotation")) for name in episode.tracks)
    said = "\n".join(found.remarks())
    for word in ("video/egoview", "total_videos is 2; there are 5", "total_chunks is 0; there are 1", "'0:100'"):
        assert word in said


def test_a_first_timestamp_that_is_not_zero_picks_the_frame_at_that_time(shared_data):
    """Row 0 of GR1 is at 0.05 s: its image is the frame at 0.05 s, and the last row, at 20.8 s, has none."""
    found = bundled(shared_data, "gr1_picknplace_v20")
    episode = found.read(episodes(found)[0])
    camera = episode.tracks["video/ego_view"]
    times = np.concatenate([stamps for stamps, _ in decode(camera.data, [(16, 16)])])
    assert times[0] == pytest.approx(0.05) and len(times) == len(camera.times) == 415
    assert episode.reference == "state" and len(episode.timeline) == 416
    assert np.array_equal(camera.times, episode.timeline[:415])


def test_each_real_data_set_is_recognised_and_has_a_card(shared_data):
    for name in ("g1_inspire_v21", "g1_inspire_v30", "gr1_picknplace_v20"):
        card = load_card(bundled_cards()[name])
        assert recognise(shared_data / name) == card.format == "lerobot"
        found = LeRobotReader.fingerprint(shared_data / name)
        assert {key: found[key] for key in card.fingerprint} == card.fingerprint
        width = int(found["action"])
        dims = sorted(index for group in card.action_groups.values() for index in group.indices())
        assert dims == list(range(width))


def test_a_truncated_video_makes_its_episode_unreadable_and_no_other(shared_data, tmp_path):
    root = tmp_path / "cut"
    shutil.copytree(shared_data / "gr1_picknplace_v20", root)
    video = root / "videos/chunk-000/observation.images.ego_view/episode_000001.mp4"
    video.chmod(0o644)
    video.write_bytes(video.read_bytes()[:100_000])
    found = reader(root)
    refs = episodes(found)
    with pytest.raises(UnreadableEpisode) as caught:
        found.read(refs[1])
    assert caught.value.path == str(video)
    assert len(found.read(refs[0]).timeline) == 416


def write_video(path: Path, frames: int, fps: int) -> None:
    """A whole and valid video of grey pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps, width=64, height=48)
        for shade in range(frames):
            picture = np.full((48, 64, 3), shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def test_a_whole_video_that_ends_before_its_rows_makes_its_episode_unreadable(shared_data, tmp_path):
    root = tmp_path / "short"
    shutil.copytree(shared_data / "gr1_picknplace_v20", root)
    video = root / "videos/chunk-000/observation.images.ego_view/episode_000001.mp4"
    video.parent.chmod(0o755)
    write_video(video, 100, 20)  # of 23.5 s
    found = reader(root)
    refs = episodes(found)
    with pytest.raises(UnreadableEpisode, match=r"ends 371 rows before .* 4\.95 s, the last row at 23\.50 s") as caught:
        found.read(refs[1])
    assert caught.value.path == str(video)
    assert len(found.read(refs[0]).timeline) == 416


def test_the_end_of_a_shared_video_is_that_of_the_episode(shared_data, tmp_path):
    root = tmp_path / "shared"
    shutil.copytree(shared_data / "g1_inspire_v30", root)
    [path] = (root / "meta" / "episodes").rglob("*.parquet")
    table = pq.read_table(path)
    column = "videos/observation.images.cam_high/to_timestamp"
    ends = table[column].to_numpy() - [0.0, 2.0, 0.0, 0.0]
    path.parent.chmod(0o755)
    path.unlink()
    pq.write_table(table.set_column(table.column_names.index(column), column, pa.array(ends)), path)
    found = reader(root)
    refs = episodes(found)
    with pytest.raises(UnreadableEpisode, match="ends 60 rows before the episode"):
        found.read(refs[1])
    assert all("video/cam_high" in found.read(refs[index]).tracks for index in (0, 2, 3))


# Small data sets written here


def test_tracks_names_and_instructions(small):
    episode = (found := reader(small)).read(episodes(found)[1])
    assert set(episode.tracks) == {"state", "command", "observation.velocity", "instruction"}
    assert episode.tracks["state"].names == ("hip", "knee")
    instruction = episode.tracks["instruction"]
    assert [instruction.categories[code] for code in instruction.data] == ["reach"] * 6 + ["grasp"] * 6
    assert np.allclose(np.diff(episode.timeline), 0.1)


def test_a_camera_without_any_file_is_a_remark_and_not_lacking(small):
    found = reader(small)
    assert found.read(episodes(found)[0]).lacking == {}
    assert found.infer().ignore == ["video/front"]
    assert any("video/front" in line for line in found.remarks())


def test_a_camera_that_only_some_episodes_have_is_lacking_in_the_others(small, shared_data):
    target = small / "videos" / "chunk-000" / CAMERA / "episode_000001.mp4"
    target.parent.mkdir(parents=True)
    shutil.copy(shared_data / "video_decode" / "h265_video.mp4", target)  # 10 frames at 10 fps for 12 rows at 10 Hz
    found = reader(small)
    refs = episodes(found)
    assert found.read(refs[0]).lacking == {"video/front": "no video file for this episode"}
    filmed = found.read(refs[1])
    assert filmed.lacking == {} and len(filmed.tracks["video/front"].times) == 10
    assert filmed.reference == "state"  # two rows have no frame: the rows are the timeline
    assert isinstance(filmed.tracks["video/front"].data, VideoFile)


@pytest.mark.parametrize(("frames", "is_whole"), [(12, True), (9, True), (8, False)])
def test_a_video_may_lack_its_last_few_frames(small, frames, is_whole):
    write_video(small / "videos" / "chunk-000" / CAMERA / "episode_000001.mp4", frames, 10)  # for 12 rows at 10 Hz
    found = reader(small)
    ref = episodes(found)[1]
    if is_whole:
        assert len(found.read(ref).tracks["video/front"].times) == frames
    else:
        with pytest.raises(UnreadableEpisode, match="ends 4 rows before the episode"):
            found.read(ref)


def test_a_slow_video_ends_where_its_rows_do(small):
    """Rows at 50 Hz have a picture at 5 Hz: the last one is held for many rows."""
    write_episode(small, 1, count=100, timestamp=np.arange(100) / 50)
    write_video(small / "videos" / "chunk-000" / CAMERA / "episode_000001.mp4", 10, 5)
    found = reader(small)
    assert found.read(episodes(found)[1]).tracks["video/front"].times == pytest.approx(np.arange(10) / 5)


def test_the_timeline_starts_at_zero_and_keeps_its_gaps(small):
    stamps = np.array([0.5, 0.6, 0.7, 1.9, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7])
    write_episode(small, 2, timestamp=stamps)
    found = reader(small)
    assert np.allclose(found.read(episodes(found)[2]).timeline, stamps - 0.5)


def test_numbers_that_are_not_finite_are_masked(small):
    state = [[0.0, float("nan")]] + [[1.0, 2.0]] * 11
    write_episode(small, 0, **{"observation.state": state})
    found = reader(small)
    track = found.read(episodes(found)[0]).tracks["state"]
    assert track.mask().tolist() == [False] + [True] * 11
    assert track.valid[0].tolist() == [True, False]


def test_a_missing_column_is_lacking(small):
    write_episode(small, 0, action=None)
    found = reader(small)
    episode = found.read(episodes(found)[0])
    assert "command" not in episode.tracks and "action" in episode.lacking["command"]


def test_a_file_that_the_metadata_do_not_list_is_read(small):
    write_episode(small, 7)
    assert list(episodes(reader(small))) == [0, 1, 2, 7]


def test_a_listed_episode_without_a_table_is_an_error_and_the_others_stay(small):
    (small / "data/chunk-000/episode_000001.parquet").unlink()
    refs, errors = reader(small).list_episodes()
    assert [ref.index for ref in refs] == [0, 2]
    [(name, path, reason)] = errors
    assert name == "episode_000001" and path.endswith("episode_000001.parquet") and "no such file" in reason


@pytest.mark.parametrize("how", ["file", "line"])
def test_two_episodes_with_one_id_are_refused_by_name(small, how):
    if how == "file":
        write_episode(small, 1, chunk=1)
    else:
        with (small / "meta/episodes.jsonl").open("a") as file:
            file.write('\n{"episode_index": 1, "tasks": ["grasp"], "length": 3}')
    refs, errors = reader(small).list_episodes()
    assert [ref.index for ref in refs] == [0, 2]
    assert [error[0] for error in errors] == ["episode_000001"]


def test_rows_of_another_episode_are_refused(small):
    write_episode(small, 1, episode_index=np.zeros(12, int))
    found = reader(small)
    with pytest.raises(UnreadableEpisode, match="belong to episode 0, not 1"):
        found.read(episodes(found)[1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"timestamp": None}, "no column `timestamp`"),
        ({"timestamp": np.r_[0.0:1.0:0.1, 0.5, 0.6]}, "does not increase at row 10"),
        ({"action": [[1.0]] * 6 + [[1.0, 2.0]] * 6}, "column action: rows differ in length"),
    ],
)
def test_a_broken_table_is_refused_with_its_place(small, changed, message):
    path = write_episode(small, 1, **changed)
    found = reader(small)
    with pytest.raises(UnreadableEpisode, match=message) as caught:
        found.read(episodes(found)[1])
    assert caught.value.path == str(path)


def test_a_truncated_table_is_refused(small):
    path = small / "data/chunk-000/episode_000001.parquet"
    path.write_bytes(path.read_bytes()[:500])
    found = reader(small)
    refs = episodes(found)
    with pytest.raises(UnreadableEpisode, match="not a readable table"):
        found.read(refs[1])
    assert len(found.read(refs[2]).timeline) == 12


def test_an_unknown_version_is_bad_input_by_name(tmp_path):
    root = write_v21(tmp_path / "old", codebase_version="v1.6")
    with pytest.raises(BadInput, match=r"'v1\.6' is not read.*v2\.0"):
        reader(root).list_episodes()


@pytest.mark.parametrize("name", ["info.json", "episodes.jsonl"])
def test_metadata_that_are_not_json_are_bad_input(small, name):
    (small / "meta" / name).write_text("{not json")
    with pytest.raises(BadInput, match=name):
        reader(small).list_episodes()


def test_the_card_may_choose_the_reference_and_not_one_that_does_not_exist(small):
    found = reader(small, reference="command")
    assert found.read(episodes(found)[0]).reference == "command"
    found = reader(small, reference="comand")
    with pytest.raises(BadInput, match="did you mean 'command'"):
        found.read(episodes(found)[0])


def test_sessions_come_from_the_pattern_of_the_card(small):
    found = reader(small, session_pattern=r"episode_\d+(\d)$")
    assert [ref.session for ref in found.list_episodes()[0]] == ["0", "1", "2"]
    assert {ref.session for ref in reader(small).list_episodes()[0]} == {None}
    for pattern in (r"episode_\d+", "("):
        with pytest.raises(BadInput, match="session_pattern"):
            reader(small, session_pattern=pattern)


def test_a_modality_that_the_card_expects_and_no_file_has_is_lacking(small):
    found = reader(small, modalities=["state", "audio"])
    assert list(found.read(episodes(found)[0]).lacking) == ["audio"]


def write_v30(root: Path) -> Path:
    """Four episodes in two tables: 0 and 1 in the first, 2 and 3 in the second; the last one's table does not exist."""
    write_v21(root, 0, codebase_version="v3.0")
    (root / "meta" / "tasks.jsonl").unlink()
    (root / "meta" / "episodes.jsonl").unlink()
    pq.write_table(pa.table({"task_index": [0, 1], "__index_level_0__": ["reach", "grasp"]}), root / "meta" / "tasks.parquet")
    folder = root / "data" / "chunk-000"
    folder.mkdir(parents=True)
    pq.write_table(
        pa.concat_tables([pa.table(rows(0)), pa.table(rows(1, 9, task_index=np.ones(9, int)))]), folder / "file-000.parquet"
    )
    pq.write_table(pa.table(rows(2)), folder / "file-001.parquet")
    meta = {"episode_index": [0, 1, 2, 3], "data/chunk_index": [0] * 4, "data/file_index": [0, 0, 1, 2]}
    (root / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
    pq.write_table(pa.table(meta), root / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    return root


def test_v30_reads_only_the_rows_of_its_episode_and_names_a_missing_table(tmp_path):
    found = reader(write_v30(tmp_path / "v30"))
    refs, errors = found.list_episodes()
    assert [(name, Path(path).name) for name, path, _ in errors] == [("episode_000003", "file-002.parquet")]
    read = [found.read(ref) for ref in refs]
    assert [len(episode.timeline) for episode in read] == [12, 9, 12]
    assert [episode.tracks["state"].data[0, 0] for episode in read] == [0, 1, 2]
    assert read[1].tracks["instruction"].categories == ("grasp",)


def test_v30_two_rows_for_one_episode_are_refused(tmp_path):
    root = write_v30(tmp_path / "v30")
    extra = pa.table({"episode_index": [1], "data/chunk_index": [0], "data/file_index": [0]})
    pq.write_table(extra, root / "meta" / "episodes" / "chunk-000" / "file-001.parquet")
    refs, errors = reader(root).list_episodes()
    assert [ref.index for ref in refs] == [0, 2]
    assert sorted(error[0] for error in errors) == ["episode_000001", "episode_000003"]


@pytest.mark.parametrize("how", ["no folder", "no row"])
def test_v30_without_a_list_of_episodes_is_bad_input(tmp_path, how):
    root = write_v30(tmp_path / "v30")
    if how == "no folder":
        shutil.rmtree(root / "meta" / "episodes")
    else:
        path = root / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(BadInput, match=r"meta/episodes: lists no episode.*fetch the folder again"):
        reader(root).list_episodes()


def test_v30_a_shared_video_that_is_not_there_is_lacking_in_each_episode(shared_data, tmp_path):
    root = tmp_path / "blind"
    shutil.copytree(shared_data / "g1_inspire_v30", root, ignore=shutil.ignore_patterns("*.mp4"))
    inferred = LeRobotReader(root, reader(root).infer())
    for found in (inferred, reader(root)):
        read = [found.read(ref) for ref in episodes(found).values()]
        assert len(read) == 4
        for episode in read:
            [(name, reason)] = episode.lacking.items()
            assert name == "video/cam_high" and reason.startswith("no file videos/") and "meta/episodes" in reason
            assert episode.reference == "state" and len(episode.uris) == 1
    assert any("video/cam_high" in line for line in inferred.remarks())
