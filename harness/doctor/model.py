"""A branch as its card and its plan describe it; no weights are needed."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.branch import Branch, make_branch
from harness.card import first_line, suggest
from harness.config import load_config
from harness.doctor.findings import gib
from harness.errors import BadInput
from harness.model_plan import STAGES, ModelPlan


def named_branch(name: str, preset: str | None, words: list[str], file: Path | None) -> Branch:
    """The branch that the command line names.

    Raises:
        BadInput: An unknown branch, preset or option, or options of another branch.
    """
    config, _ = load_config(file, words)
    if unknown := sorted(set(config.branch) - {name}):
        raise BadInput(f"branch.{unknown[0]}: options for another branch than {name}{suggest(unknown[0], [name])}")
    config = replace(config, preset=preset or config.preset)
    try:
        branch = make_branch(name, config.branch.get(name), config.preset)
    except (TypeError, ValueError) as error:  # options that the branch's config class does not take
        raise BadInput(f"branch.{name}: {first_line(error)}") from error
    if preset and not branch.presets:
        raise BadInput(f"--preset {preset}: {name} comes in one size; leave it out")
    return branch


def describe(name: str, branch: Branch, plan: ModelPlan | None) -> dict[str, Any]:
    """Card and plan as JSON values; memory in GiB."""
    body: dict[str, Any] = {"branch": name, "preset": branch.options.get("preset"), "card": asdict(branch.card), "plan": None}
    if plan is not None:
        held = {stage: plan.memory(stage) for stage in STAGES if stage in plan.held}
        body["plan"] = {
            "parts": [asdict(part) | {"trained_parameters": part.trained_parameters} for part in plan.parts],
            "memory_gib": {
                stage: {kind: gib(size) for kind, size in (asdict(memory) | {"total": memory.total}).items()}
                for stage, memory in held.items()
            },
            "activations": "not planned",
            "assumed": list(plan.assumed),
        }
    return body
