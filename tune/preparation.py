"""What it costs to encode recordings for the arms that stand on frozen encoders, as `espalier store --prepare` reports it."""

from dataclasses import replace
from typing import Any

from harness.pipeline.plan import Plan
from harness.pipeline.prepare import make_order, prepare, report


def preparations(plan: Plan) -> list[dict[str, Any]]:
    """One report per such arm, measured on the first training episode that was read, in the Ray that is there.

    Ingest has decoded its frames, so that decoding is not measured here, and encoding is measured anew.
    """
    read = [
        ref
        for ref in plan.dataset.list_episodes()[0]
        if ref.id in plan.split.folds[0].train and plan.targets_file(ref.id).is_file()
    ]
    config = replace(plan.config, store=replace(plan.config.store, uri=plan.store_uri))
    found = []
    for name in plan.branches:
        if plan.make_branch(name).encoders and read:
            order = make_order(plan.dataset, config, name)
            found.append(report(order, prepare(order, read[:1], lambda _: None)))
    return found
