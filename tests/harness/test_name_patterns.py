"""Parameter names as patterns."""

import re
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from harness.doctor.name_patterns import name_patterns


def expanded(pattern: str) -> set[str]:
    """Every name that a pattern stands for, as a reader understands it."""
    parts = []
    for piece in re.split(r"(\{[^}]*\})", pattern):
        if not piece.startswith("{"):
            parts.append([piece])
            continue
        words = []
        for word in piece[1:-1].split(","):
            first, dots, last = word.partition("..")
            words += [str(i) for i in range(int(first), int(last) + 1)] if dots else [word]
        parts.append(words)
    return {"".join(choice) for choice in product(*parts)}


def test_layers_projections_and_sides_are_one_pattern():
    names = [
        f"model.layers.{layer}.self_attn.{part}_proj.lora_{side}.weight"
        for layer in range(48)
        for part in "qkvo"
        for side in "AB"
    ]
    (pattern, found), *rest = name_patterns(names).items()
    assert pattern == "model.layers.{0..47}.self_attn.{q,k,v,o}_proj.lora_{A,B}.weight" and not rest
    assert sorted(found) == sorted(names)


def test_what_does_not_combine_stays_apart():
    names = ["norm.weight", "layer1.weight", "layer2.weight", "layer2.bias", "blocks.0.bias", "blocks.1.bias", "blocks.7.bias"]
    assert list(name_patterns(names)) == ["{norm,layer1}.weight", "layer2.{weight,bias}", "blocks.{0,1,7}.bias"]
    assert name_patterns([]) == {} and list(name_patterns(["scale"])) == ["scale"]


WORD = st.sampled_from(
    ["0", "1", "2", "3", "9", "q_proj", "k_proj", "proj", "norm1", "norm2", "norm", "weight", "bias", "lora_A"]
)


@given(st.sets(st.lists(WORD, min_size=1, max_size=4).map(".".join), max_size=40))
def test_patterns_stand_for_the_names_and_for_nothing_else(names):
    found = name_patterns(sorted(names))
    assert sorted(name for group in found.values() for name in group) == sorted(names)
    for pattern, group in found.items():
        assert expanded(pattern) == set(group)
