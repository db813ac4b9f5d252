"""Predictions made elsewhere: read, checked row by row, and written as a bundle like any other."""

from importlib import import_module
from typing import Any

from harness.imports.first_pass import LEFT_OUT
from harness.imports.request import FORMATS, ImportRequest


def import_predictions(request: ImportRequest) -> list[str]:
    """Do an import.

    Returns:
        What was done, as lines.

    Raises:
        BadInput: See the importer of the format.
    """
    module, _, function = FORMATS[request.format].partition(":")
    done: dict[str, Any] = getattr(import_module(module), function)(request)
    lines = [f"{done['name']}: {done['rows']} rows of {done['episodes']} episodes answer {', '.join(done['tasks'])}"]
    if done["note"]:
        lines.append(done["note"])
    if (request.out / LEFT_OUT).is_file():
        lines.append(f"what else stands under ids that stand there twice: {request.out / LEFT_OUT}")
    for figures in done["published"].values():
        lines += [f"published definition of {name}, {done['counted']} rows: {value!r}" for name, value in figures.items()]
    against = "" if request.format == "xperience-json" and not request.targets else f" --targets {request.targets or 'RUN'}"
    return [*lines, f"written to {request.out}; `espalier score {request.out}{against} --out DIR` scores it"]
