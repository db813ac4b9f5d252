"""The frozen V-JEPA 2 encoder."""

import json
import shutil

import numpy as np
import pytest

from branches.world_model.vjepa2 import FILES, SHAPES, TINY, VJEPA2Encoder, large, tiny
from harness.errors import BadInput
from harness.model_directory import PROVENANCE


@pytest.fixture(scope="module")
def encoder():
    return tiny()


def clips(n, seed=0):
    rng = np.random.default_rng(seed)
    shape = SHAPES["vjepa2-tiny"]
    return rng.integers(0, 256, (n, shape.frames, shape.crop, shape.crop, 3), dtype=np.uint8)


def test_a_latent_depends_on_its_own_clip_alone(encoder):
    given = clips(5)
    together = encoder.encode(given)
    assert together.shape == (5, *encoder.shape) and together.dtype == np.float32
    for i in (0, 4):
        np.testing.assert_array_equal(encoder.encode(given[i : i + 1])[0], together[i])
    np.testing.assert_array_equal(encoder.encode(given[::-1])[::-1], together)
    np.testing.assert_array_equal(VJEPA2Encoder("vjepa2-tiny", TINY).encode(given), together)


def test_tokens_are_layer_normed(encoder):
    latent = encoder.encode(clips(2))
    np.testing.assert_allclose(latent.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(latent.std(axis=-1), 1, atol=1e-3)


def test_encoding_past_and_future_together_would_leak(encoder):
    """Why the two are encoded apart: attention looks both ways."""
    one, other = clips(1), clips(1, seed=1)
    half = one.shape[1] // 2
    mixed = np.concatenate([one[:, :half], other[:, half:]], axis=1)
    times = encoder.shape[0] // 2
    assert np.abs(encoder.encode(one)[:, :times] - encoder.encode(mixed)[:, :times]).max() > 1e-3


def test_the_tiny_weights_are_small_have_not_collapsed_and_say_where_they_come_from():
    assert sum(file.stat().st_size for file in TINY.iterdir()) <= 2 * 2**20
    body = json.loads((TINY / PROVENANCE).read_text())
    assert body["seed"] >= 10_000 and body["episodes"] and body["sessions"]
    assert body["last_loss"] < body["first_loss"]
    assert body["spread"] > 0.3
    assert tiny().pretrained_on == tuple(body["episodes"])


@pytest.mark.parametrize("file", FILES)
def test_a_directory_that_lacks_a_file_is_refused_by_its_name(tmp_path, file):
    folder = shutil.copytree(TINY, tmp_path / "model")
    (folder / file).unlink()
    with pytest.raises(BadInput, match=file):
        _ = tiny(str(folder)).fingerprint
    with pytest.raises(BadInput, match=file):
        tiny(str(folder)).encode(clips(1))


def test_other_modules_are_refused_by_name(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(TINY, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.blocks.0.norm1.weight"] = weights.pop("encoder.layer.0.norm1.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"does not have encoder\.layer\.0\.norm1\.weight"):
        tiny(str(folder)).encode(clips(1))
    weights["encoder.layer.0.norm1.weight"] = weights.pop("encoder.blocks.0.norm1.weight")[:3].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"has in another shape encoder\.layer\.0\.norm1\.weight \(and 0 more\)"):
        tiny(str(folder)).encode(clips(1))


@pytest.mark.parametrize(("file", "text"), [("config.json", "[]"), ("config.json", "{"), (PROVENANCE, "{}")])
def test_a_broken_file_is_one_line_with_its_name(tmp_path, file, text):
    folder = shutil.copytree(TINY, tmp_path / "model")
    (folder / file).write_text(text)
    with pytest.raises(BadInput, match=rf"{file}: no"):
        _ = tiny(str(folder)).fingerprint


@pytest.mark.parametrize(("key", "value"), [("model_type", "llama"), ("hidden_size", 128), ("crop_size", 32)])
def test_another_model_is_refused(tmp_path, key, value):
    folder = shutil.copytree(TINY, tmp_path / "model")
    body = json.loads((folder / "config.json").read_text()) | {key: value}
    (folder / "config.json").write_text(json.dumps(body))
    with pytest.raises(BadInput, match=key) as error:
        _ = tiny(str(folder)).fingerprint
    assert "\n" not in str(error.value)


def test_other_weights_are_another_encoder(tmp_path, encoder):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(TINY, tmp_path / "model")
    assert tiny(str(folder)).fingerprint == encoder.fingerprint
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layernorm.bias"] = weights["encoder.layernorm.bias"] + 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert tiny(str(folder)).fingerprint != encoder.fingerprint


def test_the_large_one_has_the_published_shape_and_asks_for_its_directory():
    model = large().without_weights()
    assert sum(p.numel() for p in model.parameters()) == 325_971_328
    config, shape = model.config, SHAPES["vjepa2-large"]
    assert (config.crop_size, config.patch_size, config.tubelet_size, config.hidden_size) == (
        shape.crop, shape.patch, shape.tubelet, shape.hidden,
    )  # fmt: skip
    assert large().shape == (8, 2, 2, 1024)
    with pytest.raises(BadInput, match=r"encoders\.vjepa2-large=DIR"):
        _ = large().fingerprint
