"""The networks: what they learn, that they repeat themselves, and that NumPy and several workers agree with torch and one."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu as torch_gelu

from branches.heads.config import MLPOptions
from branches.heads.heads import forward, gelu
from branches.heads.mlp import MLPProblem, RotatedAdamW, fit_mlp, train, train_loop

FEW = MLPOptions(hidden=16, epochs=20, batch_size=32)


def problem(loss="values", seed=0, n=160, columns=12, validation=40):
    """A product of two inputs decides: nothing linear can do it."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n + validation, columns)).astype(np.float32)
    hidden = rows[:, 0] * rows[:, 1]
    targets = {
        "values": np.stack([hidden, rows[:, 2]], axis=1).astype(np.float32),
        "classes": (hidden > 0).astype(np.int64),
        "labels": np.stack([hidden > 0, rows[:, 2] > 1], axis=1).astype(np.float32),
    }[loss]
    return MLPProblem("t", loss, rows[:n], np.arange(n), targets[:n], rows[n:], targets[n:], 2, columns)


@pytest.mark.parametrize("loss", ["values", "classes", "labels"])
def test_it_learns_what_is_not_linear(loss):
    one = problem(loss, n=400, columns=4, validation=200)
    fit = fit_mlp(one, replace(FEW, hidden=32, patience=20, epochs=60, learning_rate=1e-2), seed=0)
    scores = forward(fit.arrays, one.validation_rows)
    if loss == "values":
        assert 1 - np.square(scores - one.validation_targets).sum() / np.square(one.validation_targets).sum() > 0.7
    else:
        found = scores.argmax(axis=1) if loss == "classes" else scores[:, 0] > 0
        truth = one.validation_targets if loss == "classes" else one.validation_targets[:, 0] > 0
        assert (found == truth).mean() > 0.85


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    one, again, other = (fit_mlp(problem(), FEW, seed) for seed in (3, 3, 4))
    assert one.epochs == again.epochs
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])
    assert not np.array_equal(one.arrays["projection"], other.arrays["projection"])


def test_the_best_epoch_is_kept_and_training_stops_after_it():
    fit = fit_mlp(problem(seed=1), replace(FEW, epochs=400, patience=5, learning_rate=1e-2), seed=0)
    assert fit.epochs == fit.best_epoch + 5 < 400
    exact = fit_mlp(problem(seed=1), replace(FEW, fixed_epochs=fit.best_epoch, learning_rate=1e-2), seed=0)
    np.testing.assert_array_equal(fit.arrays["projection"], exact.arrays["projection"])
    assert exact.validation_loss is None and exact.epochs == fit.best_epoch


def test_without_validation_rows_all_epochs_run():
    fit = fit_mlp(problem(validation=0), replace(FEW, epochs=7), seed=0)
    assert fit.epochs == fit.best_epoch == 7 and fit.validation_loss is None


def test_only_indexed_rows_are_seen():
    whole = problem()
    some = replace(whole, index=np.arange(0, 160, 2), targets=whole.targets[::2])
    spoilt = replace(some, rows=np.where(np.arange(160)[:, None] % 2, np.float32(1e6), some.rows))
    one, other = fit_mlp(some, FEW, 0), fit_mlp(spoilt, FEW, 0)
    np.testing.assert_array_equal(one.arrays["projection"], other.arrays["projection"])


def test_a_missing_target_teaches_nothing():
    """The second target of half of the rows is missing: whatever stood there makes no difference, and the first is learnt."""
    whole = problem()
    holes = whole.targets.copy()
    holes[::2, 1] = np.nan
    fit = fit_mlp(replace(whole, targets=holes), FEW, 0)
    assert all(np.isfinite(array).all() for array in fit.arrays.values())
    nothing = np.full_like(whole.targets, np.nan)
    start = fit_mlp(replace(whole, targets=nothing, validation_rows=whole.validation_rows[:0]), replace(FEW, epochs=1), 0)
    decayed = fit_mlp(replace(whole, targets=nothing, validation_rows=whole.validation_rows[:0]), replace(FEW, epochs=2), 0)
    np.testing.assert_allclose(decayed.arrays["projection"], start.arrays["projection"] * (1 - 1e-7) ** 5, rtol=1e-5)


def test_numpy_says_what_torch_says():
    fit = fit_mlp(problem("classes"), FEW, 0)
    x = np.linspace(-6, 6, 101)
    np.testing.assert_allclose(gelu(x), torch_gelu(torch.from_numpy(x)).numpy(), atol=1e-12)
    rows = problem("classes").rows
    tensors = {k: torch.from_numpy(v) for k, v in fit.arrays.items()}
    hidden = torch_gelu(torch.from_numpy(rows) @ tensors["projection"] + tensors["bias"])
    hidden = torch_gelu(hidden @ tensors["hidden_weight"] + tensors["hidden_bias"])
    np.testing.assert_allclose(
        forward(fit.arrays, rows), (hidden @ tensors["out_weight"] + tensors["out_bias"]).numpy(), atol=1e-4
    )


def test_ray_train_in_this_process_is_the_plain_loop(tmp_path):
    problems = [problem(), problem("classes", seed=2)]
    threads = torch.get_num_threads()
    config = {"problems": problems, "options": asdict(FEW), "seed": 5, "threads": 1}
    for one, other in zip(train_loop(config), train(problems, FEW, 5, 1, str(tmp_path)), strict=True):
        assert one.best_epoch == other.best_epoch
        np.testing.assert_array_equal(one.arrays["out_weight"], other.arrays["out_weight"])
    assert torch.get_num_threads() == threads and not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
def test_two_workers_train_the_network_of_one(tmp_path):
    import ray

    problems = [problem(), problem("classes", seed=2)]
    options = replace(FEW, fixed_epochs=5)
    alone = train(problems, options, 5, 1, str(tmp_path))
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=200 * 2**20)
    try:
        together = train(problems, replace(options, workers=2), 5, 1, str(tmp_path))
    finally:
        ray.shutdown()
    for one, other in zip(alone, together, strict=True):
        for name in one.arrays:
            np.testing.assert_allclose(one.arrays[name], other.arrays[name], atol=2e-4)


def test_on_rotated_columns_it_steps_as_adamw_steps_on_the_columns():
    """Where a unit's gradients are equally large in all columns the two are the same, whatever the rotation."""
    draw = torch.Generator().manual_seed(0)
    hidden, columns = 3, 16
    rotation = torch.linalg.qr(torch.randn((columns, columns), generator=draw, dtype=torch.float64))[0]
    start = torch.randn((hidden, columns), generator=draw, dtype=torch.float64)
    plain, rotated = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start @ rotation)
    reference = torch.optim.AdamW([plain], lr=0.01, weight_decay=0.1)
    ours = RotatedAdamW(rotated, columns, lr=0.01, weight_decay=0.1)
    for _ in range(5):
        size = torch.rand((hidden, 1), generator=draw, dtype=torch.float64)
        gradient = size * (torch.randint(0, 2, (hidden, columns), generator=draw, dtype=torch.float64) * 2 - 1)
        plain.grad, rotated.grad = gradient, gradient @ rotation
        reference.step()
        ours.step()
    torch.testing.assert_close(rotated.detach() @ rotation.T, plain.detach(), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(plain.detach(), start, atol=0.01)
