"""`policy:smolvla`: what it stands on, what it is told, what it refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from branches.policy.adapter import SmolVLA
from branches.policy.config import SmolVLAOptions
from branches.policy.plan import SMOLVLA_HORIZON
from branches.policy.smolvla import SmolVLANetwork
from branches.policy.training import Batch, load_trained_state, trained_state
from branches.policy.vlm import TINY
from branches.policy.windows import NO_INSTRUCTION, texts_of
from harness.doctor.name_patterns import name_patterns
from harness.errors import BadInput
from harness.model_directory import PROVENANCE
from harness.model_plan import measure
from harness.window import TrackWindow, View

ACTION, STATE, HORIZON = 26, 26, 8
OPTIONS = SmolVLAOptions(state_steps=2, draws=2)


@pytest.fixture(scope="module")
def network() -> SmolVLANetwork:
    torch.manual_seed(0)
    return SmolVLANetwork(OPTIONS, TINY, 1, STATE, ACTION, HORIZON)


def batch(n: int = 5, seed: int = 0, texts: tuple[str, ...] | None = None) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    frames, states = torch.rand((n, 1, 3, 64, 64), generator=rng), torch.rand((n, 2 * STATE), generator=rng)
    actions = torch.rand((n, HORIZON, ACTION), generator=rng) - 0.5
    return Batch(frames, states, texts or (NO_INSTRUCTION,) * n, actions, torch.ones_like(actions, dtype=torch.bool))


def only(rows: Batch, i: int) -> Batch:
    at = slice(i, i + 1)
    return Batch(rows.frames[at], rows.states[at], rows.texts[at], rows.actions[at], rows.masks[at])


def test_only_the_expert_and_its_projections_are_trained(network):
    trainable = {name.removeprefix("model.") for name, p in network.module.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in trainable} == {
        "vlm_with_expert", "state_proj", "action_in_proj", "action_out_proj", "action_time_mlp_in", "action_time_mlp_out",
    }  # fmt: skip
    assert all(".lm_expert." in name for name in trainable if name.startswith("vlm_with_expert"))
    assert not any(".vlm." in name for name in trained_state(network.module))


def test_what_was_trained_is_all_that_is_kept(network):
    torch.manual_seed(1)
    other = SmolVLANetwork(OPTIONS, TINY, 1, STATE, ACTION, HORIZON)
    rows, seeds = only(batch(), 0), np.array([3], np.uint64)
    assert not torch.equal(network.chunk(rows, seeds), other.chunk(rows, seeds))
    load_trained_state(other.module, trained_state(network.module))
    assert torch.equal(network.chunk(rows, seeds), other.chunk(rows, seeds))
    with pytest.raises(ValueError, match="another network"):
        load_trained_state(other.module, {"x": torch.zeros(1)})


def test_noise_comes_from_the_seed_of_the_row(network):
    rows = only(batch(), 0)
    chunks = [network.chunk(rows, np.array([seed], np.uint64)) for seed in (1, 1, 2, 2**63 + 5)]
    assert chunks[0].shape == (1, HORIZON, ACTION)
    assert torch.equal(chunks[0], chunks[1])
    assert not torch.equal(chunks[0], chunks[2]) and not torch.equal(chunks[0], chunks[3])


def test_image_state_and_text_are_looked_at(network):
    rows, seed = only(batch(), 0), np.array([1], np.uint64)
    plain = network.chunk(rows, seed)
    for other in (
        replace(rows, frames=1 - rows.frames),
        replace(rows, states=-rows.states),
        replace(rows, texts=("pick up the bottle",)),
    ):
        assert not torch.equal(network.chunk(other, seed), plain)
    # A text is as long as any other, or its neighbours' lengths would tell.
    assert {len(network._tokens(text)[0]) for text in ("a", "put " * 50)} == {OPTIONS.text_tokens}


def test_what_is_not_measured_teaches_nothing(network):
    network.module.eval()
    rows = batch()
    half = replace(rows, masks=rows.masks & (torch.arange(ACTION) < 13))
    moved = replace(half, actions=torch.where(half.masks, half.actions, half.actions))
    with torch.no_grad():
        one = network.loss(half, torch.Generator().manual_seed(0))
        same = network.loss(moved, torch.Generator().manual_seed(0))
        every = network.loss(rows, torch.Generator().manual_seed(0))
    assert one == same != every


def view(codes: list[int], valid: bool = True) -> View:
    track = TrackWindow(np.array(codes, np.int32)[:, None], np.full((len(codes), 1), valid), ("pick", "place"))
    return View(np.zeros((len(codes), 1)), {"instruction": track})


def test_the_text_is_the_recorded_instruction():
    assert texts_of(view([1, 0, -1])) == ["place", "pick", NO_INSTRUCTION]
    assert texts_of(view([1], valid=False)) == [NO_INSTRUCTION]
    assert texts_of(View(np.zeros((2, 1)), {})) == [NO_INSTRUCTION] * 2


def test_it_asks_for_no_caption_and_no_action_label():
    from harness.tasks import get_task

    needs = SmolVLA().needs(get_task("hand_action_chunk"))
    assert not {"objects", "interaction", "action", "subtask", "main_task"} & set(needs.tracks)


def test_the_tiny_directory_says_what_it_has_seen():
    about = json.loads((TINY / PROVENANCE).read_text())
    assert about["seed"] >= 10_000 and about["sessions"] and about["loss_by_tenth"][-1] < 0.7 * about["loss_by_tenth"][0]
    branch = SmolVLA()
    assert branch.card.weights == "tiny-pretrained" and branch.pretrained_on() == tuple(about["episodes"])
    assert sum(p.stat().st_size for p in TINY.rglob("*")) <= 2 * 2**20


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "mine"))


def test_a_directory_that_lacks_a_file_is_refused(copy):
    (copy / "tokenizer.json").unlink()
    with pytest.raises(BadInput, match=r"mine: lacks tokenizer\.json; give a local copy"):
        SmolVLA({"model": str(copy)})
    with pytest.raises(BadInput, match=r"model=.*none: no such directory"):
        SmolVLA({"model": str(copy / "none")})


def test_weights_that_are_pickles_are_refused(copy):
    """Safetensors beside them that hold something else make them no better."""
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").rename(copy / "adapter.safetensors")
    with pytest.raises(BadInput, match=r"lacks model\.safetensors or model\.safetensors\.index\.json; give"):
        SmolVLA({"model": str(copy)})


@pytest.mark.parametrize(("file", "text"), [("config.json", "[]"), ("config.json", "{"), (PROVENANCE, "{}")])
def test_a_broken_file_is_one_line_with_its_name(copy, file, text):
    (copy / file).write_text(text)
    with pytest.raises(BadInput, match=rf"{file}: no"):
        SmolVLA({"model": str(copy)})


def test_a_directory_of_another_model_is_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    with pytest.raises(BadInput, match="model_type 'llama', not 'smolvlm'"):
        SmolVLA({"model": str(copy)})


def test_weights_of_other_modules_are_refused(copy):
    file = copy / "model.safetensors"
    state = load_file(file)
    name = next(n for n in state if "connector" in n)
    state[name.replace("connector", "bridge")] = state.pop(name)
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"does not have \S*connector\S* \(and 0 more\)"):
        SmolVLA({"model": str(copy)}).base()
    state[name] = torch.zeros(3, 3)
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(BadInput, match=rf"has in another shape {name} \(and 0 more\)"):
        SmolVLA({"model": str(copy)}).base()
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BadInput, match="cannot be loaded"):
        SmolVLA({"model": str(copy)}).base()


def test_the_digest_tells_weights_apart(copy):
    assert SmolVLA({"model": str(copy)}).base() == SmolVLA().base()
    assert SmolVLA({"model": str(copy)}).card.weights == "tiny-pretrained"
    state = load_file(copy / "model.safetensors")
    state["lm_head.weight"] = state["lm_head.weight"] + 1
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    assert SmolVLA({"model": str(copy)}).base() != SmolVLA().base()


def test_more_numbers_than_fit_are_refused():
    with pytest.raises(BadInput, match=r"policy:smolvla: the action of these data has 57 numbers and the policy takes 32"):
        SmolVLA().build(1, 32, 57, 4)
    with pytest.raises(BadInput, match=r"the state of these data has 40 numbers"):
        SmolVLA().build(1, 40, 29, 4)


def test_the_real_preset_has_no_weights_of_its_own():
    with pytest.raises(BadInput, match=r"preset real .* branch\.policy:smolvla\.model=DIR"):
        SmolVLA({"preset": "real"}).base()


def test_the_real_preset_has_the_published_shape():
    vlm, expert = SmolVLA({"preset": "real"}).plan().parts
    assert vlm.parameters == 350_165_184 and not vlm.trained  # with the expert "450 M"
    assert expert.parameters == expert.trained_parameters == 99_880_992  # "about 100 M"
    layers = "model.vlm_with_expert.lm_expert.layers.{0..15}"
    assert list(name_patterns(expert.trained)) == [
        f"{layers}.self_attn.{{q,k,v,o}}_proj.weight",
        f"{layers}.mlp.{{gate,up,down}}_proj.weight",
        f"{layers}.{{input,post_attention}}_layernorm.weight",
        "model.vlm_with_expert.lm_expert.norm.weight",
        "model.{state_proj,action_in_proj,action_out_proj,action_time_mlp_in,action_time_mlp_out}.{weight,bias}",
    ]
    assert expert.trained["model.vlm_with_expert.lm_expert.norm.weight"] == 720


def test_the_plan_counts_what_is_loaded(copy):
    branch = SmolVLA({"model": str(copy)})
    vlm, expert = branch.plan().parts
    loaded = branch.build(1, branch.config.max_state_dim, branch.config.max_action_dim, SMOLVLA_HORIZON)
    assert vlm == measure("vlm", loaded.model.vlm_with_expert.vlm)
    assert expert == measure("expert", loaded.module, without="model.vlm_with_expert.vlm.")
    assert set(expert.trained) == set(trained_state(loaded.module))
