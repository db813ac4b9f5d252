"""Models of transformers from a directory: the one way in which their weights are loaded, and what is refused."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from harness.card import first_line
from harness.errors import BadInput


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and load reports of transformers, no announcements of lerobot on stdout, where results belong."""
    from transformers.utils import logging  # noqa: PLC0415  seconds

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load_pretrained(cls: Any, folder: Path, where: str, **options: Any) -> Any:
    """A model from safetensors alone, with exactly the modules of its config.

    Args:
        cls: Class of transformers with `from_pretrained`.
        folder: Its directory.
        where: What names the directory to the user, as an error begins.
        options: Passed on.

    Raises:
        BadInput: It cannot be read; or a module is missing or has another shape, which transformers would draw at random.
    """
    from safetensors import SafetensorError  # noqa: PLC0415

    try:
        with quiet():
            model, said = cls.from_pretrained(
                folder,
                local_files_only=True,
                output_loading_info=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # or transformers gives up before it says which they are
                **options,
            )
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise BadInput(f"{where}: cannot be loaded ({first_line(error)}); copy it again, or install what it names") from error
    for kind, what in (("missing_keys", "does not have"), ("mismatched_keys", "has in another shape")):
        if names := sorted(str(key[0] if isinstance(key, tuple) else key) for key in said[kind]):
            raise BadInput(f"{where}: {what} {names[0]} (and {len(names) - 1} more); its modules are not those of its config")
    return model
