"""Model directories: the tiny one that is committed, broken ones, and the published shape without weights."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from branches.qwen_omni.adapter import Lora, Prompt
from branches.qwen_omni.config import PRESETS, LoraOptions
from branches.qwen_omni.dialects import CHANGE, CHORE_NAMES, CONTACT, LEAVE, TAKE, USE
from branches.qwen_omni.directory import TINY
from branches.qwen_omni.omni import load
from branches.qwen_omni.training import add_lora, trainable_names
from harness.demo.script import CHORES
from harness.errors import BadInput
from harness.model_directory import PROVENANCE, episodes_of
from harness.model_plan import measure

NAME = "qwen_omni:prompt"
MIB = 2**20


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def test_the_tiny_one_is_small_and_says_where_it_comes_from():
    about = json.loads((TINY / PROVENANCE).read_text())
    assert sum(path.stat().st_size for path in TINY.iterdir()) <= 2 * MIB
    assert about["seed"] >= 10_000 and about["sessions"] and about["episodes"] == list(episodes_of(TINY))
    assert {path.suffix for path in TINY.iterdir()} == {".json", ".jinja", ".safetensors"}
    assert json.loads((TINY / "config.json").read_text())["text_config"]["hidden_size"] >= 64


def test_it_was_taught_no_label_of_the_demo():
    """The words it answers with in an evaluation are new to it."""
    taught = {form.format(chore.tool) for form in (*TAKE, *LEAVE) for chore in CHORES}
    taught |= {word for pool in (*USE, *CHORE_NAMES, *CONTACT, *CHANGE) for word in pool}
    asked = {action for chore in CHORES for action in chore.actions} | {chore.subtask for chore in CHORES}
    assert not taught & (asked | {"contact", "no_contact", "steady", "transition"})


@pytest.mark.parametrize(
    "lost", ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors", "processor_config.json"]
)
def test_a_directory_that_lacks_a_file_is_refused_by_its_name(copy, lost):
    (copy / lost).unlink()
    with pytest.raises(BadInput, match=lost):
        Prompt({"model": str(copy)})


def test_weights_that_are_pickles_are_refused(copy):
    """Safetensors beside them that hold something else make them no better."""
    weights = load_file(copy / "model.safetensors")
    torch.save(weights, copy / "pytorch_model.bin")
    save_file({"x": torch.zeros(1)}, copy / "adapter.safetensors")
    (copy / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"lacks model\.safetensors or model\.safetensors\.index\.json; give"):
        Prompt({"model": str(copy)})
    with pytest.raises(BadInput, match="cannot be loaded"):
        load(copy, NAME, "float32")


@pytest.mark.parametrize(("file", "text"), [("config.json", "[]"), ("config.json", "{"), (PROVENANCE, "{}")])
def test_a_broken_file_is_one_line_with_its_name(copy, file, text):
    (copy / file).write_text(text)
    with pytest.raises(BadInput, match=rf"{file}: no"):
        Prompt({"model": str(copy)})


def test_another_model_is_refused(copy, tmp_path):
    about = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(about | {"model_type": "smolvlm"}))
    with pytest.raises(BadInput, match="'smolvlm'"):
        Prompt({"model": str(copy)})
    with pytest.raises(BadInput, match="no such directory"):
        Prompt({"model": str(tmp_path / "nothing")})


def test_weights_with_other_names_or_shapes_are_refused_by_name(copy):
    weights = load_file(copy / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    renamed = {k.replace("q_proj", "query"): v for k, v in weights.items()}
    save_file(renamed, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match=r"does not have .*q_proj"):
        load(copy, NAME, "float32")
    save_file(weights | {name: torch.zeros(3, 3)}, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match=r"has in another shape .*q_proj"):
        load(copy, NAME, "float32")
    (copy / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="cannot be loaded"):
        load(copy, NAME, "float32")


def test_a_copy_of_the_tiny_one_stays_tiny_under_another_path(copy):
    assert Prompt({"model": str(copy)}).card.weights == "tiny-pretrained"
    (copy / PROVENANCE).unlink()
    assert Prompt({"model": str(copy)}).card.weights == "model"


def test_the_real_preset_has_no_weights_of_its_own():
    with pytest.raises(BadInput, match="model=DIR"):
        Lora({"preset": "real"}).base()


@pytest.mark.parametrize(
    ("options", "said"),
    [({"preset": "reel"}, "real"), ({"rnak": 4}, "rank"), ({"epochs": 0}, "at least 1"), ({"dtype": "float16"}, "not known")],
)
def test_bad_options_are_named(options, said):
    with pytest.raises(BadInput, match=said):
        Lora(options)


def test_the_published_shape_and_what_lora_trains_of_it():
    """Qwen3-Omni-30B-A3B without weights."""
    plan = Lora({"preset": "real"}).plan()
    (thinker,) = plan.parts
    assert thinker.formats == {"bfloat16": 31_719_205_488, "float32": 6_684_672}  # PEFT trains in float32
    assert sorted(thinker.trained) == sorted(
        f"base_model.model.model.layers.{layer}.self_attn.{part}_proj.lora_{matrix}.default.weight"
        for layer in range(48)
        for part in "qkvo"
        for matrix in "AB"
    )
    per_layer = 8 * ((2048 + 4096) + 2 * (2048 + 512) + (4096 + 2048))
    assert thinker.trained_parameters == 48 * per_layer
    assert plan.memory("fit").gradients == 4 * 48 * per_layer
    assert set(PRESETS[LoraOptions]) == {"tiny", "real"}


def test_the_plan_counts_what_is_loaded(copy):
    branch = Lora({"model": str(copy), "dtype": "bfloat16", "rank": 4})
    loaded = add_lora(load(branch.folder, branch.card.name, branch.config.dtype).model, branch.config, 0)
    (thinker,) = branch.plan().parts
    assert thinker == measure("thinker", loaded) and sorted(thinker.trained) == trainable_names(loaded)


def test_asking_trains_nothing_and_its_fit_loads_no_model():
    plan = Prompt().plan()
    assert not plan.parts[0].trained and plan.memory("fit").total == 0
    assert plan.memory("predict").total == plan.parts[0].size > 0
