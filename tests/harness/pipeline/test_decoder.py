"""The decoder of a run: resolved once, in the manifest and in every key, refused by name where it is another one."""

from pathlib import Path

import pytest
from pipeline_runs import ingested, prepared

from harness.decoder import resolve_decoder
from harness.errors import BadInput
from harness.score import read_manifest

WORDS = ("limit.episodes=1", "limit.windows=4", "windows.stride=20")


def test_a_run_says_what_decoded_and_takes_no_other(shared_data: Path, tmp_path: Path) -> None:
    root, out = shared_data / "g1_inspire_v30", tmp_path / "run"
    if not root.is_dir():
        pytest.skip("../shared/data/g1_inspire_v30 is absent: real recordings are not part of the repository")
    try:
        name = resolve_decoder("torchcodec")
    except BadInput as error:
        pytest.skip(str(error))
    asked = {"branches": ("persistence",), "tasks": ("action_chunk",), "store": tmp_path / "store"}
    ready = prepared(root, out, *WORDS, "store.decoder=auto", **asked)
    _, lost = ingested(ready)
    manifest = read_manifest(out)
    assert not lost and manifest["decoder"] == manifest["config"]["store"]["decoder"] == name
    assert ready.data_keys == prepared(root, out, *WORDS, f"store.decoder={name}", **asked).data_keys
    with pytest.raises(BadInput, match=f"another decoder .*{name}.*pyav"):
        prepared(root, out, *WORDS, **asked)
    other = prepared(root, tmp_path / "other", *WORDS, **asked)
    assert not set(ready.data_keys.values()) & set(other.data_keys.values())


def test_an_unknown_decoder_is_refused_before_anything_is_written(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"store\.decoder='torch' is not known"):
        prepared(shared_data / "g1_inspire_v30", tmp_path / "run", "store.decoder=torch")
    assert not (tmp_path / "run").exists()
