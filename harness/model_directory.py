"""A model directory in the Hub's layout: what is read of it without torch. Weights are safetensors, and nothing is unpickled."""

import json
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from harness.card import first_line
from harness.errors import BadInput

CONFIG, WEIGHTS, PROVENANCE = "config.json", "model.safetensors", "provenance.json"
INDEX_SUFFIX = ".index.json"


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        BadInput: It is not there, or holds anything else.
    """
    try:
        body = json.loads(file.read_text())
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({first_line(error)}); copy it again") from error
    except ValueError as error:
        raise BadInput(f"{file}: not JSON ({first_line(error)}); copy it again") from error
    if not isinstance(body, dict):
        raise BadInput(f"{file}: not a JSON object; copy it again")
    return body


def episodes_of(folder: Path) -> tuple[str, ...]:
    """Ids of the episodes that the weights of a directory have seen, where `provenance.json` says; empty for one from elsewhere.

    Raises:
        BadInput: The file does not say which.
    """
    file = folder / PROVENANCE
    if not file.is_file():
        return ()
    found = read_object(file).get("episodes")
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise BadInput(f"{file}: no list `episodes` with the ids that the weights have seen; write it ([] = none)")
    return tuple(found)


def weight_files(folder: Path, name: str = WEIGHTS) -> list[Path]:
    """The safetensors of a directory: the file `name`, or those that its index names.

    Raises:
        BadInput: There are none, one is missing, or the index names something else than safetensors of the directory.
    """
    if (folder / name).is_file():
        return [folder / name]
    index = folder / f"{name}{INDEX_SUFFIX}"
    if not index.is_file():
        raise BadInput(f"{folder}: no {name} and no {index.name}; give a model directory with safetensors")
    shards = read_object(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise BadInput(f"{index}: no `weight_map`; copy it again")
    files = sorted({str(shard) for shard in shards.values()})
    for shard in files:
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise BadInput(f"{index}: names {shard!r}, which is no safetensors file of this directory; save the model again")
        if not (folder / shard).is_file():
            raise BadInput(f"{folder}: no {shard}, which {index.name} names; complete the directory")
    return [folder / shard for shard in files]


def digest(folder: Path) -> str:
    """Of all weights of a directory: what was trained on them is worth nothing on others.

    Raises:
        BadInput: See `weight_files`.
    """
    found = sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            found.update(path.name.encode() + file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]
