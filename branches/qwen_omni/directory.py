"""Directories of a Qwen3-Omni: the tiny one in this package, or one of your own. Nothing here imports torch."""

from pathlib import Path

from harness.errors import BadInput
from harness.model_directory import CONFIG, INDEX_SUFFIX, WEIGHTS, read_object, weight_files

TINY = Path(__file__).parent / "tiny"
KINDS = ("qwen3_omni_moe_thinker", "qwen3_omni_moe")
NEEDED = (
    (CONFIG,),
    ("tokenizer_config.json",),
    ("tokenizer.json", "vocab.json"),
    ("processor_config.json", "preprocessor_config.json"),
    ("chat_template.jinja", "chat_template.json"),
    (WEIGHTS, f"{WEIGHTS}{INDEX_SUFFIX}"),
)
"""Of each group one file."""


def check_directory(folder: Path, branch: str) -> None:
    """Refuse a directory that is no Qwen3-Omni, before anything is loaded.

    Raises:
        BadInput: Says which file is missing or broken, or what its config says instead.
    """
    where = f"branch.{branch}.model={folder}"
    ask = f"give a local copy of a Qwen3-Omni with branch.{branch}.model=DIR"
    if not folder.is_dir():
        raise BadInput(f"{where}: no such directory; {ask}")
    lacking = [" or ".join(group) for group in NEEDED if not any((folder / name).is_file() for name in group)]
    if lacking:
        raise BadInput(f"{where}: lacks {', '.join(lacking)}; {ask}")
    weight_files(folder)
    kind = read_object(folder / CONFIG).get("model_type")
    if kind not in KINDS:
        raise BadInput(f"{where}: config.json says model_type {kind!r}, not {KINDS[0]!r}; {ask}")
