"""Directories of a SmolVLM: the tiny one in this package, one of your own, and the published shape without weights."""

import json
import shutil
from pathlib import Path
from typing import Any

from branches.pretrained import load_pretrained, quiet
from harness.card import first_line
from harness.errors import BadInput
from harness.model_directory import CONFIG, INDEX_SUFFIX, PROVENANCE, WEIGHTS, read_object, weight_files

TINY = Path(__file__).parent / "tiny" / "smolvlm"
FILES = (CONFIG, "tokenizer.json", "tokenizer_config.json")
PROCESSOR = ("processor_config.json", "preprocessor_config.json")
EITHER = (PROCESSOR, (WEIGHTS, f"{WEIGHTS}{INDEX_SUFFIX}"))
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
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.safetensors", CONFIG, PROVENANCE))
    (folder / CONFIG).write_text(json.dumps(PUBLISHED))


def check_directory(folder: Path, branch: str) -> None:
    """Refuse a directory that is no SmolVLM, before anything is loaded.

    Raises:
        BadInput: Says which file is missing or broken, or what its config says instead.
    """
    ask = f"give a local copy of a SmolVLM with branch.{branch}.model=DIR"
    if not folder.is_dir():
        raise BadInput(f"branch.{branch}.model={folder}: no such directory; {ask}")
    lacking = [name for name in FILES if not (folder / name).is_file()]
    lacking += [" or ".join(group) for group in EITHER if not any((folder / name).is_file() for name in group)]
    if lacking:
        raise BadInput(f"branch.{branch}.model={folder}: lacks {', '.join(lacking)}; {ask}")
    weight_files(folder)
    kind = read_object(folder / CONFIG).get("model_type")
    if kind != "smolvlm":
        raise BadInput(f"branch.{branch}.model={folder}: config.json says model_type {kind!r}, not 'smolvlm'; {ask}")


def check_modules(folder: Path, branch: str) -> None:
    """Refuse weights whose names or shapes are not those of the model: transformers would draw what is missing at random.

    Raises:
        BadInput: Names the first module, and how many there are; or says why the directory cannot be read.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: PLC0415

    where = f"branch.{branch}.model={folder}"
    load_pretrained(AutoModelForImageTextToText, folder, where)
    try:
        with quiet():
            AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{where}: its processor cannot be loaded ({first_line(error)}); copy it again, or install what it names"
        ) from error
