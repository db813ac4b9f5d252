"""Directories of a Qwen3-Omni: the tiny one in this package, or one of your own. Nothing here imports torch."""

import json
from hashlib import file_digest, sha256
from pathlib import Path

from harness.errors import BadInput

TINY = Path(__file__).parent / "tiny"
PROVENANCE = "provenance.json"
KINDS = ("qwen3_omni_moe_thinker", "qwen3_omni_moe")
NEEDED = (
    ("config.json",),
    ("tokenizer_config.json",),
    ("tokenizer.json", "vocab.json"),
    ("processor_config.json", "preprocessor_config.json"),
    ("chat_template.jinja", "chat_template.json"),
    ("*.safetensors",),
)
"""Of each group one file."""


def episodes_of(folder: Path) -> tuple[str, ...]:
    """Episodes that the directory's weights were trained on, where it says so."""
    path = folder / PROVENANCE
    return tuple(json.loads(path.read_text())["episodes"]) if path.is_file() else ()


def digest(folder: Path) -> str:
    """Of all weights of a directory: what was trained on them is worth nothing on others."""
    found = sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            found.update(path.name.encode() + file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]


def check_directory(folder: Path, branch: str) -> None:
    """Refuse a directory that is no Qwen3-Omni, before anything is loaded.

    Raises:
        BadInput: Says which file is missing, or what its config says instead.
    """
    where = f"branch.{branch}.model={folder}"
    ask = f"give a local copy of a Qwen3-Omni with branch.{branch}.model=DIR"
    if not folder.is_dir():
        raise BadInput(f"{where}: no such directory; {ask}")
    lacking = [" or ".join(group) for group in NEEDED if not any(any(folder.glob(name)) for name in group)]
    if lacking:
        raise BadInput(f"{where}: lacks {', '.join(lacking)}; {ask}")
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (ValueError, AttributeError) as error:
        raise BadInput(f"{where}: config.json is no JSON object ({error}); {ask}") from error
    if kind not in KINDS:
        raise BadInput(f"{where}: config.json says model_type {kind!r}, not {KINDS[0]!r}; {ask}")
