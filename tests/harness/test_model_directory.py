"""Model directories: what is refused before anything is loaded."""

import json
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.model_directory import PROVENANCE, digest, episodes_of, read_object, weight_files

INDEX = "model.safetensors.index.json"


def sharded(folder: Path, *shards: str) -> Path:
    (folder / INDEX).write_text(json.dumps({"weight_map": {f"layer.{i}": shard for i, shard in enumerate(shards)}}))
    return folder


def test_weights_are_one_file_or_those_of_an_index(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"a")
    (tmp_path / "b.safetensors").write_bytes(b"b")
    (tmp_path / "adapter.safetensors").write_bytes(b"no part of the model")
    assert [f.name for f in weight_files(sharded(tmp_path, "b.safetensors", "a.safetensors"))] == [
        "a.safetensors",
        "b.safetensors",
    ]
    before = digest(tmp_path)
    (tmp_path / "b.safetensors").write_bytes(b"c")
    assert digest(tmp_path) != before
    (tmp_path / "model.safetensors").write_bytes(b"whole")
    assert [f.name for f in weight_files(tmp_path)] == ["model.safetensors"]


def test_weights_that_are_pickles_are_none(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    (tmp_path / "adapter.safetensors").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"no model\.safetensors and no model\.safetensors\.index\.json; give"):
        weight_files(tmp_path)
    for name in ("pytorch_model.bin", "../other.safetensors"):
        with pytest.raises(BadInput, match=r"is no safetensors file of this directory; save"):
            weight_files(sharded(tmp_path, name))
    with pytest.raises(BadInput, match=r"no a\.safetensors, which model\.safetensors\.index\.json names; complete"):
        weight_files(sharded(tmp_path, "a.safetensors"))
    (tmp_path / INDEX).write_text("{}")
    with pytest.raises(BadInput, match=r"index\.json: no `weight_map`; copy"):
        weight_files(tmp_path)


@pytest.mark.parametrize(("text", "said"), [("{", "not JSON"), ("[]", "not a JSON object")])
def test_broken_json_is_one_line_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadInput, match=rf"config\.json: {said}.*copy it again") as caught:
        read_object(tmp_path / "config.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{}", '{"episodes": 3}', '{"episodes": [3]}', "[]", "{"])
def test_a_provenance_that_does_not_say_what_was_seen_is_refused(tmp_path: Path, text: str) -> None:
    assert episodes_of(tmp_path) == ()
    (tmp_path / PROVENANCE).write_text('{"episodes": ["a"]}')
    assert episodes_of(tmp_path) == ("a",)
    (tmp_path / PROVENANCE).write_text(text)
    with pytest.raises(BadInput, match=r"provenance\.json: (no list|not)"):
        episodes_of(tmp_path)
