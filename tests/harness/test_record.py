"""Names of files made from episode ids: safe, one per id, and short enough for a file system."""

import pyarrow as pa
import pytest

from harness.record import file_stem
from harness.tables import write_atomically

LONG = "session of a long day " * 20


@pytest.mark.parametrize(("episode", "stem"), [("episode_000001", "episode_000001"), ("lab/3", "lab%2F3"), ("", "%")])
def test_a_short_name_stays_as_it_is(episode, stem):
    assert file_stem(episode) == stem


@pytest.mark.parametrize("episode", [LONG, "録" * 100, "/" * 100])
def test_a_long_name_becomes_a_file_that_can_be_written(episode, tmp_path):
    path = tmp_path / f"part-{file_stem(episode)}-0000000.parquet"
    write_atomically([pa.table({name: [0] for name in ("task", "episode", "status", "label")})], path)
    assert path.is_file()


def test_long_names_keep_apart():
    names = [LONG + "a", LONG + "b", file_stem(LONG + "a")]
    assert len({file_stem(name) for name in names}) == 3
    assert file_stem(names[0]) == file_stem(LONG + "a")
