"""Memory plans: what is counted, and when it is held."""

import torch
from torch import nn

from harness.model_plan import STATES, Memory, ModelPlan, measure


class Two(nn.Module):
    """A frozen bfloat16 layer with a buffer, and a trained float32 one."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(8, 4, bias=False, dtype=torch.bfloat16).requires_grad_(False)
        self.base.register_buffer("scale", torch.zeros(3))
        self.head = nn.Linear(4, 2)


def test_a_module_is_counted_by_format_and_by_what_is_trained():
    part = measure("two", Two())
    assert (part.parameters, part.formats) == (42, {"bfloat16": 32, "float32": 10})
    assert part.size == 32 * 2 + 10 * 4 + 3 * 4
    assert part.trained == {"head.weight": 8, "head.bias": 2} and part.trained_parameters == 10 and part.trained_size == 40
    with torch.device("meta"):
        assert measure("two", Two()) == part
    rest = measure("rest", Two(), without="base.")
    assert (rest.parameters, rest.size) == (10, 40)


def test_shared_weights_are_counted_once():
    module = nn.ModuleList([nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)])
    module[1].weight = module[0].weight
    assert measure("tied", module).parameters == 16


def test_the_optimiser_holds_what_the_plan_says():
    for kind in (torch.float32, torch.bfloat16):
        module = nn.Linear(16, 8, dtype=kind)
        optimiser = torch.optim.AdamW(module.parameters())
        module(torch.ones(1, 16, dtype=kind)).sum().backward()
        optimiser.step()
        states = [t for state in optimiser.state.values() for t in state.values() if t.numel() > 1]
        assert sum(t.numel() * t.element_size() for t in states) == STATES * measure("linear", module).trained_size


def test_a_stage_holds_the_largest_of_its_sets():
    with torch.device("meta"):
        parts = (measure("encoder", nn.Linear(100, 10).requires_grad_(False)), *(
            measure(name, nn.Linear(n, 1, bias=False)) for name, n in (("a", 10), ("b", 20))
        ))  # fmt: skip
    plan = ModelPlan(parts, {"ingest": (("encoder",),), "fit": (("a",), ("b",)), "predict": (("a", "b"),)})
    assert plan.memory("ingest") == Memory(4040)
    assert plan.memory("fit") == Memory(80, 80, 160, 80) and plan.memory("fit").total == 400
    assert plan.memory("predict") == Memory(120)
    assert ModelPlan(parts, {"predict": (("a",),)}).memory("fit") == Memory()
