"""Directories of a SmolVLM: the tiny one in this package, one of your own, and the published shape without weights."""

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from harness.card import first_line
from harness.errors import BadInput

TINY = Path(__file__).parent / "tiny" / "smolvlm"
PROVENANCE = "provenance.json"
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")
PROCESSOR = ("processor_config.json", "preprocessor_config.json")
PUBLISHED: dict[str, Any] = {
    "model_type": "smolvlm",
    "architectures": ["SmolVLMForConditionalGeneration"],
    "scale_factor": 4,
    "image_token_id": 49190,
    "pad_token_id": 128002,
    "text_config": {
        "model_type": "llama", "hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 15,
        "num_key_value_heads": 5, "head_dim": 64, "vocab_size": 49280, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
        "pad_token_id": 2,
    },
    "vision_config": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 512,
        "patch_size": 16,
    },
}  # fmt: skip
"""The shape of SmolVLM2-500M-Video-Instruct."""


def write_shape(folder: Path) -> None:
    """A directory with the published config and the tiny processor: enough to build the real shape without weights."""
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json", PROVENANCE))
    (folder / "config.json").write_text(json.dumps(PUBLISHED))


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
    """Refuse a directory that is no SmolVLM, before anything is loaded.

    Raises:
        BadInput: Says which file or which module is missing.
    """
    ask = f"give a local copy of a SmolVLM with branch.{branch}.model=DIR"
    if not folder.is_dir():
        raise BadInput(f"branch.{branch}.model={folder}: no such directory; {ask}")
    lacking = [name for name in FILES if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in PROCESSOR):
        lacking.append(" or ".join(PROCESSOR))
    if not any(folder.glob("*.safetensors")):
        lacking.append("model.safetensors")
    if lacking:
        raise BadInput(f"branch.{branch}.model={folder}: lacks {', '.join(lacking)}; {ask}")
    kind = json.loads((folder / "config.json").read_text()).get("model_type")
    if kind != "smolvlm":
        raise BadInput(f"branch.{branch}.model={folder}: config.json says model_type {kind!r}, not 'smolvlm'; {ask}")


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and load reports of transformers, no announcements of lerobot on stdout, where results belong."""
    from transformers.utils import logging  # noqa: PLC0415

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def check_modules(folder: Path, branch: str) -> None:
    """Refuse weights whose names or shapes are not those of the model: transformers would draw what is missing at random.

    Raises:
        BadInput: Names the first module, and how many there are; or says why the directory cannot be read.
    """
    from safetensors import SafetensorError  # noqa: PLC0415
    from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: PLC0415

    where = f"branch.{branch}.model={folder}"
    try:
        with quiet():
            AutoProcessor.from_pretrained(folder, local_files_only=True)
            _, said = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError) as error:
        raise BadInput(f"{where}: cannot be loaded ({first_line(error)}); copy it again, or install what it names") from error
    odd = {kind: sorted(map(str, said[kind])) for kind in ("missing_keys", "mismatched_keys") if said[kind]}
    for kind, names in odd.items():
        what = "does not have" if kind == "missing_keys" else "has in another shape"
        raise BadInput(f"{where}: {what} {names[0]} (and {len(names) - 1} more); its modules are not those of its config")
