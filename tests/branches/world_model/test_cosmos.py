"""`world_model:cosmos`: what it loads, what it draws, and what it does where something is missing."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, CosmosTransformer3DModel
from torch import nn

from branches.world_model.cosmos import NAME, Cosmos
from branches.world_model.cosmos_config import (
    PRESETS,
    TINY_TRANSFORMER,
    TINY_VAE,
    TRANSFORMER_TINY,
    VAE_TINY,
    CosmosOptions,
    parse_cosmos,
)
from branches.world_model.cosmos_flow import CosmosFlow, FlowBatch, load_flow, shifted, trainable, trained_state
from branches.world_model.cosmos_predictor import ABOUT, WEIGHTS, CosmosPredictor, shrunk
from branches.world_model.cosmos_training import train
from branches.world_model.cosmos_vae import CosmosVAE, tiny, wan
from branches.world_model.cosmos_windows import FutureWindows, future_latents, needs_of, observed
from branches.world_model.model_folder import check_diffusers, load_diffusers
from branches.world_model.plan import empty_flow
from harness.answers import Status, Targets
from harness.branch import EpisodeBatch
from harness.errors import BadInput
from harness.model_plan import measure
from harness.row_file import RowFile
from harness.tasks import get_task
from harness.tasks.future import FRAMES, SIDE
from harness.window import ObservedBatch, Samples, TrackWindow, View

SHAPE = (2, 8, 8, 8)
SMALL_NETWORK = TRANSFORMER_TINY | {"num_layers": 1, "num_attention_heads": 2, "attention_head_dim": 18}
SMALL = CosmosOptions(steps=30, batch_size=8, warmup=2, evaluate_every=10, draws=2, sampling_steps=2)


def clips(n: int, seed: int = 0) -> np.ndarray:
    """(n, 5, 32, 32, 3) a bright square that moves over a smooth ground."""
    rng = np.random.default_rng(seed)
    out = np.tile(rng.integers(40, 120, (n, 1, 1, 1, 3)), (1, FRAMES, SIDE, SIDE, 1)).astype(np.uint8)
    for clip, x, y in zip(out, rng.integers(0, 12, n), rng.integers(0, 20, n), strict=True):
        for t, frame in enumerate(clip):
            frame[y : y + 10, x + 2 * t : x + 2 * t + 10] = 230
    return out


def seen(n: int, there: list[bool] | None = None, seed: int = 0) -> View:
    """What a view of n windows shows the branch."""
    vae, shown = tiny(), clips(n, seed)
    valid = np.array(there if there is not None else [True] * n)[:, None]
    latents, frames = TrackWindow(vae.encode(shown)[:, None], valid), TrackWindow(shown[:, -1:], valid)
    return View(np.zeros((n, 1)), {f"latents/{vae.name}": latents, "main_camera@32x32": frames})


def rows(folder, n: int, seed: int) -> FutureWindows:
    """Windows whose future is a fixed map of their past."""
    folder.mkdir(parents=True)
    past = np.random.default_rng(seed).normal(size=(n, *SHAPE)).astype(np.float32)
    windows = FutureWindows(SHAPE, RowFile(folder / "past"), RowFile(folder / "future"))
    windows.past.append(past.reshape(n, -1))
    windows.future.append((0.5 * past[:, ::-1]).reshape(n, -1))
    return windows


@pytest.fixture(scope="module")
def branch() -> Cosmos:
    return Cosmos({"draws": 2})


@pytest.fixture
def predictor(branch, tmp_path) -> CosmosPredictor:
    """Flows as they come from the package."""
    from safetensors.torch import save_file

    flow = load_flow(TINY_TRANSFORMER, branch.config)
    for task in ("future_video", f"future_latent[{branch.vae.name}]"):
        (tmp_path / task).mkdir()
        save_file({k: v.contiguous() for k, v in trained_state(flow).items()}, tmp_path / task / WEIGHTS)
        (tmp_path / task / ABOUT).write_text(json.dumps({"base": branch.base}))
    return CosmosPredictor(branch, tmp_path)


def asked(view: View, task: str, seeds) -> ObservedBatch:
    return ObservedBatch(task, (view,), np.asarray(seeds, np.uint64))


# --- the VAE -------------------------------------------------------------------------------------------------------------------


def test_a_latent_depends_on_its_own_clip_alone_to_the_last_bit():
    vae, shown = tiny(), clips(4)
    together = vae.encode(shown)
    assert together.shape == (4, *vae.shape) and together.dtype == np.float32
    for i in range(4):
        assert np.array_equal(vae.encode(shown[i : i + 1])[0], together[i])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    assert np.array_equal(vae.encode(shown[::-1])[::-1], together)
    torch.set_num_threads(threads)


def test_latents_are_scaled_and_decode_to_something_like_the_clip():
    vae, shown = tiny(), clips(8)
    latents = vae.encode(shown)
    assert 0.2 < latents.std() < 3
    frames = vae.decode(latents)
    assert frames.shape == shown.shape and frames.min() >= -1e-3 and frames.max() <= 255.001
    error = np.square(frames - shown).mean()
    assert error < 0.6 * np.square(shown - shown.mean(axis=(1, 2, 3), keepdims=True)).mean()


def test_a_clip_of_the_wrong_length_is_refused():
    with pytest.raises(BadInput, match=r"clip of 6 frames; the VAE takes 4 k \+ 1, e\.g\. 5"):
        CosmosVAE("x", 32, 8, 4, TINY_VAE, frames=6)
    with pytest.raises(BadInput, match="clips of 4 frames; it is made for 5"):
        tiny().encode(clips(1)[:, :4])
    assert CosmosVAE("x", 32, 8, 4, TINY_VAE, frames=9).shape == (3, 8, 8, 8)


# --- model folders -------------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_the_model_says_what_is_wrong(tmp_path):
    folder = tmp_path / "vae"
    shutil.copytree(TINY_VAE, folder)
    weights = folder / "diffusion_pytorch_model.safetensors"
    check_diffusers(AutoencoderKLWan, folder)
    with pytest.raises(BadInput, match="a AutoencoderKLWan, not a CosmosTransformer3DModel"):
        check_diffusers(CosmosTransformer3DModel, folder)
    body = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(body | {"base_dim": 16}))
    with pytest.raises(BadInput, match=r"is \(.*\), config\.json asks for \("):
        check_diffusers(AutoencoderKLWan, folder)
    (folder / "config.json").write_text(json.dumps(body))
    from safetensors.numpy import load_file, save_file

    tensors = load_file(weights)
    save_file({("vision." + k if k.startswith("encoder.conv_in") else k): v for k, v in tensors.items()}, weights)
    with pytest.raises(BadInput, match=r"no weights for encoder\.conv_in\.bias"):
        check_diffusers(AutoencoderKLWan, folder)
    save_file(tensors | {"odd": tensors["quant_conv.bias"]}, weights)
    with pytest.raises(BadInput, match="odd is no part of a AutoencoderKLWan"):
        load_diffusers(AutoencoderKLWan, folder)
    weights.write_bytes(b"nothing")
    with pytest.raises(BadInput, match="not safetensors"):
        check_diffusers(AutoencoderKLWan, folder)
    weights.unlink()
    with pytest.raises(BadInput, match=r"no diffusion_pytorch_model\.safetensors"):
        check_diffusers(AutoencoderKLWan, folder)
    (folder / "config.json").unlink()
    with pytest.raises(BadInput, match=r"no config\.json"):
        Cosmos({"vae": str(folder)})


def test_what_the_package_brings_is_small_and_says_where_it_comes_from():
    for folder in (TINY_VAE, TINY_TRANSFORMER):
        assert sum(f.stat().st_size for f in folder.iterdir()) < 2 * 2**20
        about = json.loads((folder / "provenance.json").read_text())
        assert about["seed"] >= 10_000 and about["episodes"] and about["sessions"]
    assert tiny().pretrained_on == tuple(json.loads((TINY_VAE / "provenance.json").read_text())["episodes"])
    config = json.loads((TINY_VAE / "config.json").read_text())
    assert {k: config[k] for k in VAE_TINY if not k.startswith("latents")} == {
        k: v for k, v in VAE_TINY.items() if not k.startswith("latents")
    }


def test_a_real_vae_needs_its_folder():
    with pytest.raises(BadInput, match=r"give encoders\.wan-vae=FOLDER"):
        _ = wan().fingerprint
    with pytest.raises(BadInput, match="z_dim 8"):
        _ = CosmosVAE("x", 32, 16, 4, TINY_VAE).fingerprint
    with pytest.raises(BadInput, match=r"branch\.world_model:cosmos\.transformer is not given"):
        _ = Cosmos({"preset": "real"}).transformer_folder


# --- options and presets -------------------------------------------------------------------------------------------------------


def test_options_have_presets_and_unknown_ones_are_refused():
    assert set(PRESETS) == set(Cosmos.presets) == {"tiny", "real"}
    assert parse_cosmos({"preset": "real", "steps": 7}, NAME).steps == 7
    with pytest.raises(BadInput, match=r"preset='huge'.*known"):
        parse_cosmos({"preset": "huge"}, NAME)
    with pytest.raises(BadInput, match=r"unknown option world_model:cosmos\.draw; did you mean 'draws'"):
        parse_cosmos({"draw": 1}, NAME)
    with pytest.raises(BadInput, match="sampling_steps=0: give at least 1"):
        parse_cosmos({"sampling_steps": 0}, NAME)
    with pytest.raises(BadInput, match=r"encoder='wan'.*did you mean 'wan-vae'"):
        Cosmos({"encoder": "wan"})


def test_it_answers_frames_and_latents_of_its_own_vae(branch):
    assert branch.route(get_task("future_video")) == "native" and branch.encoders == ("cosmos-vae-tiny",)
    assert branch.route(get_task("future_latent[cosmos-vae-tiny]")) == "native"
    assert Cosmos({"preset": "real"}).route(get_task("future_latent[cosmos-vae-tiny]")) is None
    assert branch.route(get_task("timeline_action")) is None and branch.card.weights == "tiny-pretrained"
    assert Cosmos({"preset": "real"}).card.weights == ""


def test_the_real_preset_has_the_published_shape():
    branch = Cosmos({"preset": "real"})
    plan = branch.plan()
    vae, transformer = plan.parts
    assert (vae.parameters, vae.trained) == (126_892_531, {})
    assert transformer.parameters - transformer.trained_parameters == 2_059_174_912
    expected = {
        f"transformer.transformer_blocks.{block}.{attention}.{projection}.lora_{side}.default.weight"
        for block in range(28)
        for attention in ("attn1", "attn2")
        for projection in ("to_q", "to_k", "to_v", "to_out.0")
        for side in "AB"
    }
    assert set(transformer.trained) == expected
    wide, text = 16 * 128, 1024
    per_block = 32 * (8 * 2 * wide - 2 * (wide - text))
    assert transformer.trained_parameters == 28 * per_block
    assert plan.memory("ingest").total == vae.size and plan.memory("predict").total == vae.size + transformer.size
    assert plan.memory("fit").weights == transformer.size  # its windows are latents already
    with torch.device("meta"):
        batch = FlowBatch(torch.zeros(1, 16, 2, 32, 32), torch.zeros(1, 16, 2, 32, 32))
        flow = empty_flow(branch)
        assert flow.velocity(batch.future, batch.past, torch.zeros(1)).shape == batch.future.shape


def test_the_plan_counts_what_is_loaded(branch, tmp_path):
    vae, transformer = branch.plan().parts
    assert vae == measure("vae", branch.vae.module)
    assert transformer == measure("transformer", load_flow(TINY_TRANSFORMER, branch.config)) and transformer.trained
    assert branch.plan().memory("fit").weights == vae.size + transformer.size  # the VAE encodes the frames to come
    halved = load_diffusers(CosmosTransformer3DModel, TINY_TRANSFORMER).to(torch.bfloat16)
    halved.save_pretrained(tmp_path / "half")
    other = Cosmos({"transformer": str(tmp_path / "half"), "lora_rank": 2})
    lora = other.plan().parts[1]
    assert lora == measure("transformer", load_flow(tmp_path / "half", other.config)) and set(lora.formats) == {"bfloat16"}


def test_tiny_lora_trains_the_attention_only():
    flow = load_flow(TINY_TRANSFORMER, replace(SMALL, lora_rank=2))
    assert {name.split(".")[3] for name in trained_state(flow)} == {"attn1", "attn2"}
    assert all(".lora_" in name for name in trained_state(flow))


# --- the flow ------------------------------------------------------------------------------------------------------------------


class Straight(nn.Module):
    """The velocity field whose data is one point: (x - point) / sigma. A network of one constant."""

    def __init__(self, point: torch.Tensor) -> None:
        super().__init__()
        self.point = nn.Parameter(point)
        self.config = CosmosTransformer3DModel(**TRANSFORMER_TINY).config

    def forward(self, hidden_states, timestep, **_):
        observed = hidden_states.shape[2] - self.point.shape[1]
        sigma = timestep[:, :, observed:].reshape(len(timestep), 1, -1, 1, 1)
        velocity = (hidden_states[:, :, observed:] - self.point) / sigma
        return (torch.cat([torch.full_like(hidden_states[:, :, :observed], torch.nan), velocity], dim=2),)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_straight_flow_ends_at_its_point_and_has_no_loss(steps):
    point = torch.randn(8, 2, 8, 8)
    flow = CosmosFlow(Straight(point), replace(SMALL, sampling_steps=steps))
    past = torch.randn(8, 2, 8, 8)
    torch.testing.assert_close(flow.sample(past, tuple(point.shape), 3), point, atol=1e-4, rtol=1e-4)
    loss = flow.loss(FlowBatch(past[None], point.detach()[None]), torch.Generator().manual_seed(0))
    assert float(loss.detach()) < 1e-8  # and nothing of the observed frames, which are NaN, is in it


def test_noise_levels_shift_towards_noise():
    sigma = torch.linspace(0, 1, 5)
    assert torch.equal(shifted(sigma, 1.0), sigma)
    moved = shifted(sigma, 5.0)
    assert moved[0] == 0 and moved[-1] == 1 and (moved[1:-1] > sigma[1:-1]).all()


def test_the_past_is_a_condition_and_the_noise_is_the_row_s():
    flow = load_flow(TINY_TRANSFORMER, SMALL)
    past = torch.randn(2, 8, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    shape = tuple(past.shape[1:])
    first = flow.sample(past[0], shape, 1)
    assert torch.equal(first, flow.sample(past[0], shape, 1))
    assert not torch.equal(first, flow.sample(past[0], shape, 2)) and not torch.equal(first, flow.sample(past[1], shape, 1))


def test_training_learns_keeps_the_best_step_and_repeats(tmp_path):
    windows, checks = rows(tmp_path / "train", 48, 1), rows(tmp_path / "validation", 16, 2)
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        flow = trainable(CosmosTransformer3DModel(**SMALL_NETWORK), SMALL)
        trained = train(flow, windows, checks, SMALL, 0, 1)
        weights.append(trained_state(flow))
        assert trained.best_step in (10, 20, 30) and trained.validation_loss < 0.9 * trained.untrained_loss
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


# --- answers -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["future_video", "future_latent[cosmos-vae-tiny]"])
def test_an_answer_depends_on_its_own_row_alone_to_the_last_bit(predictor, task):
    view, seeds = seen(4), [5, 6, 7, 8]
    together = predictor.predict(asked(view, task, seeds))
    assert together.ok.all() and np.isfinite(together.values).all()
    for i in (0, 2):
        alone = View(
            view.times[i : i + 1], {n: TrackWindow(t.values[i : i + 1], t.valid[i : i + 1]) for n, t in view.tracks.items()}
        )
        assert np.array_equal(predictor.predict(asked(alone, task, seeds[i : i + 1])).values[0], together.values[i])
    other = predictor.predict(asked(view, task, [5, 6, 9, 8])).values
    assert [np.array_equal(a, b) for a, b in zip(together.values, other, strict=True)] == [True, True, False, True]


def test_a_window_without_the_camera_is_unsupported(predictor):
    found = predictor.predict(asked(seen(3, [True, False, True]), "future_video", [1, 2, 3]))
    assert found.status.tolist() == ["ok", Status.UNSUPPORTED.value, "ok"] and np.isnan(found.values[1]).all()
    assert found.values.shape == (3, FRAMES * SIDE * SIDE * 3) and np.nanmin(found.values) >= 0 and np.nanmax(found.values) <= 255
    blind = predictor.predict(asked(View(np.zeros((2, 1)), {}), "future_video", [1, 2]))
    assert set(blind.status.tolist()) == {Status.UNSUPPORTED.value}


class Hungry(nn.Module):
    """A network that memory does not do for."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.config = CosmosTransformer3DModel(**TRANSFORMER_TINY).config

    def forward(self, **_):
        return torch.empty(2**55)


def test_memory_that_does_not_do_is_a_row_of_its_own(predictor):
    predictor.loaded["future_video"] = CosmosFlow(Hungry(), predictor.branch.config)
    assert set(predictor.predict(asked(seen(2), "future_video", [1, 2])).status.tolist()) == {Status.OOM.value}


def test_no_change_is_the_last_frame(branch, predictor):
    """The flow is over differences, so a point of zeros is copy-last, to the level."""
    predictor.loaded["future_video"] = CosmosFlow(Straight(torch.zeros(8, 2, 8, 8)), branch.config)
    view = seen(2)
    found = predictor.predict(asked(view, "future_video", [1, 2])).values.reshape(2, FRAMES, SIDE, SIDE, 3)
    last = view.tracks["main_camera@32x32"].values
    np.testing.assert_allclose(found, np.broadcast_to(last, found.shape), atol=0.01)


def test_an_artifact_of_other_folders_is_refused(predictor):
    (predictor.folder / "future_video" / ABOUT).write_text(json.dumps({"base": "other"}))
    with pytest.raises(BadInput, match="fitted on other model folders"):
        predictor.predict(asked(seen(1), "future_video", [1]))


def test_frames_shrink_by_the_mean_of_squares():
    frames = np.arange(2 * 4 * 4 * 3, dtype=np.float32).reshape(2, 4, 4, 3)
    found = shrunk(frames, 2)
    assert found.shape == (2, 2, 2, 3) and found[0, 0, 1, 2] == frames[0, :2, 2:, 2].mean()
    assert np.array_equal(shrunk(frames, 4), frames)


# --- training windows ----------------------------------------------------------------------------------------------------------


def episode(n: int, task) -> EpisodeBatch:
    """n windows, five samples apart."""
    starts = 5 * np.arange(n)[:, None]
    samples = Samples("e", "window", np.arange(n).astype(str), starts, 20, starts[:, 0] / 20.0)
    values = clips(n, 1).reshape(n, -1).astype(np.float32)
    return EpisodeBatch("e", "e", samples, asked(seen(n), task.id, range(n)), Targets(np.ones(n, bool), values=values))


def test_the_future_is_encoded_alone_or_taken_from_a_later_window():
    task, vae = get_task("future_video"), tiny()
    batch, every = episode(6, task), np.arange(6)
    shown = observed(batch.observed.views[0], vae)
    found, known = future_latents(task, batch, shown, every, vae)
    assert known.all() and np.array_equal(found, vae.encode(clips(6, 1)))
    larger = CosmosVAE("larger", 64, 8, 8, None)  # takes frames that the task's targets do not have
    found, known = future_latents(task, batch, shown, every, larger)
    assert known.tolist() == [True, True, False, False, False, False]
    assert np.array_equal(found[:2], shown.past[4:])
    with pytest.raises(BadInput, match="frames 4 samples apart"):
        future_latents(get_task("future_video@10"), batch, shown, every, larger)
    with pytest.raises(BadInput, match="clips of 9 frames"):
        future_latents(task, batch, shown, every, CosmosVAE("longer", 32, 8, 4, TINY_VAE, frames=9))
    assert needs_of(vae).tracks == ("latents/cosmos-vae-tiny",) and needs_of(vae).frames[0].steps == 1
