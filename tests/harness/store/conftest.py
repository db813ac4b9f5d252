import pytest
from store_episodes import make_episode, write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return path, write_video(path, 60)


@pytest.fixture
def episode(clip):
    return make_episode(clip[0], 60)
