"""Regressors for tables: real parameter counts, least squares as scikit-learn has it, networks as torch has them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from branches.heads.adapter import Ridge
from branches.heads.config import SmallMLPOptions
from branches.heads.regression import Linear, MediumMLP, SmallMLP
from branches.heads.relu import Rows, choose_steps, fit_relu, parameter_count, planned_steps, relu_forward
from harness.answers import Status, Targets
from harness.branch import Artifact, EpisodeBatch, FitContext, Needs, make_branch
from harness.errors import BadInput
from harness.tasks import get_task, task_ids
from harness.tasks.base import Task
from harness.window import FeatureMatrix, ObservedBatch, View, WindowSpec, make_samples, row_seeds

TASK = get_task("quality_score")
NETWORKS = pytest.mark.parametrize("branch", [SmallMLP, MediumMLP])
QUICK = {"steps": 200, "evaluate_every": 50}


@dataclass
class Sheet:
    """Groups of rows in memory: name -> (n, d) features, NaN where a cell is empty, and (n,) targets, NaN where none."""

    groups: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @property
    def episodes(self) -> tuple[str, ...]:
        return tuple(sorted(self.groups))

    def batches(self, task: Task, needs: Needs, role: str = "") -> Iterator[EpisodeBatch]:
        for name in self.episodes:
            yield self.batch(name)

    def batch(self, name: str) -> EpisodeBatch:
        x, y = self.groups[name]
        samples = make_samples(TASK.samples, name, np.arange(len(x), dtype=float), WindowSpec(length=1, stride=1))
        shown = FeatureMatrix(
            np.nan_to_num(x).astype(np.float32), np.isfinite(x).any(axis=1)[:, None], {"table": slice(0, x.shape[1])}
        )
        view = View(np.zeros((len(x), 1)), {}, shown)
        observed = ObservedBatch(TASK.id, (view,), row_seeds(samples.ids, 0), "")
        values = np.nan_to_num(y)[:, None].astype(np.float32)
        return EpisodeBatch(name, name, samples, observed, Targets(np.isfinite(y), values=values))


def sheet(names: str, rows: int = 60, seed: int = 0, columns: int = 6, noise: float = 0.3) -> Sheet:
    rng = np.random.default_rng(seed)
    found = {}
    for name in names:
        x = rng.normal(size=(rows, columns)) * 10 ** np.arange(columns) + 5
        z = (x - 5) / 10 ** np.arange(columns)
        found[name] = (x, 50 + 10 * z[:, 0] - 5 * z[:, 1] + 8 * np.abs(z[:, 2]) + noise * rng.normal(size=rows))
    return Sheet(found)


def fit(branch, out: Path, train: Sheet, validation: Sheet | None = None, seed: int = 0):
    out.mkdir()
    artifact = branch.fit(train, validation or Sheet(), FitContext((TASK,), seed, out))
    artifact.save()
    return Artifact.load(out)


def answers(branch, artifact, test: Sheet, name: str = "z") -> np.ndarray:
    rows = branch.predictor(artifact).predict(test.batch(name).observed)
    assert rows.ok.all()
    return rows.values[:, 0]


@pytest.mark.parametrize(("branch", "count"), [(Linear, 7), (Ridge, 7), (SmallMLP, 257), (MediumMLP, 2561)])
def test_the_count_is_of_what_is_stored(tmp_path, branch, count):
    artifact = fit(branch(QUICK if branch in (SmallMLP, MediumMLP) else {}), tmp_path / "fit", sheet("abc"))
    assert artifact.parameters == count
    stored = [np.load(path) for path in tmp_path.rglob("head-*.npz")]
    fitted = [file[name].size for file in stored for name in file.files if not name.startswith("target_")]
    assert sum(fitted) == count


def test_counts_by_hand():
    assert parameter_count((6, 16, 8, 1)) == 6 * 16 + 16 + 16 * 8 + 8 + 8 + 1 == 257
    assert parameter_count((6, 64, 32, 1)) == 6 * 64 + 64 + 64 * 32 + 32 + 32 + 1 == 2561


@pytest.mark.parametrize("twin", [False, True], ids=["columns of full rank", "a column twice"])
def test_least_squares_as_scikit_learn_has_it(tmp_path, twin):
    train, test = sheet("abc"), sheet("z", seed=1)
    if twin:
        for world in (train, test):
            world.groups = {g: (np.concatenate([x, 3 * x[:, :1] + 2], axis=1), y) for g, (x, y) in world.groups.items()}
    x, y = (np.concatenate(parts) for parts in zip(*train.groups.values(), strict=True))
    expected = LinearRegression().fit(x, y).predict(test.groups["z"][0])
    found = answers(Linear(), fit(Linear(), tmp_path / "fit", train), test)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-4)


def test_fewer_rows_than_columns_have_a_solution_all_the_same(tmp_path):
    train = sheet("ab", rows=2)
    branch = Linear()
    artifact = fit(branch, tmp_path / "fit", train)
    for name in "ab":
        np.testing.assert_allclose(answers(branch, artifact, train, name), train.groups[name][1], rtol=1e-4)


def test_features_that_never_change_give_the_mean(tmp_path):
    train = Sheet({g: (np.full((5, 2), 7.0), np.arange(5.0)) for g in "abc"})
    for branch in (Linear(), SmallMLP(QUICK), MediumMLP(QUICK)):
        found = answers(branch, fit(branch, tmp_path / branch.card.name, train), Sheet({"z": train.groups["a"]}))
        np.testing.assert_allclose(found, 2.0, atol=0.05)
        assert np.ptp(found) == 0


@NETWORKS
def test_networks_learn_what_is_not_linear(tmp_path, branch):
    train, test = sheet("abcd", rows=200), sheet("z", rows=200, seed=1)
    truth = test.groups["z"][1]
    linear = answers(Linear(), fit(Linear(), tmp_path / "linear", train), test)
    found = answers(branch(), fit(branch(), tmp_path / "network", train), test)
    assert np.std(found - truth) < 0.5 * np.std(linear - truth)


@NETWORKS
def test_the_number_of_steps_is_chosen_on_left_out_groups_of_train(tmp_path, branch):
    """Pure noise: the best network is the one that is stopped early."""
    rng = np.random.default_rng(0)
    noise = Sheet({g: (rng.normal(size=(60, 6)), rng.normal(size=60)) for g in "abcdef"})
    artifact = fit(branch(), tmp_path / "fit", noise)
    details = artifact.details[TASK.id]
    assert details["steps_chosen_on"] == "left-out clusters of train" and details["steps"] <= 200
    assert details["left_out_mse"] > 0.8  # of a target of variance 1
    assert "early_stopping" not in artifact.fitted_on and set(artifact.fitted_on["weights"]) == set("abcdef")
    found = answers(branch(), artifact, Sheet({"z": (rng.normal(size=(200, 6)), np.zeros(200))}))
    assert np.std(found) < 0.6


@NETWORKS
def test_validation_groups_stop_the_training_where_there_are_any(tmp_path, branch):
    artifact = fit(branch(QUICK), tmp_path / "fit", sheet("abc"), sheet("v", seed=3))
    assert artifact.fitted_on["early_stopping"] == ("v",) and "v" not in artifact.fitted_on["weights"]
    assert "v" not in artifact.fitted_on["scaler"]
    details = artifact.details[TASK.id]
    assert details["steps_chosen_on"] == "validation groups" and details["validation_loss"] > 0
    # Validation rows without a target say nothing: the groups of train choose.
    x, y = sheet("v", seed=3).groups["v"]
    blind = fit(branch(QUICK), tmp_path / "blind", sheet("abc"), Sheet({"v": (x, np.full(len(y), np.nan))}))
    assert "early_stopping" not in blind.fitted_on and "left_out_mse" in blind.details[TASK.id]


@NETWORKS
def test_the_seed_decides_everything(tmp_path, branch):
    train, test = sheet("abc"), sheet("z", seed=1)
    one, two, other = (
        answers(branch(QUICK), fit(branch(QUICK), tmp_path / name, train, seed=seed), test)
        for name, seed in (("one", 0), ("two", 0), ("other", 1))
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_rows_without_a_target_or_any_feature_take_no_part(tmp_path):
    train = sheet("abc")
    more = {
        g: (np.vstack([x, x[:2] * 9, np.full((1, 6), np.nan)]), np.append(y, [np.nan, np.nan, 1e6]))
        for g, (x, y) in train.groups.items()
    }
    test = sheet("z", seed=1)
    for branch in (Linear(), SmallMLP(QUICK)):
        x = answers(branch, fit(branch, tmp_path / f"{branch.card.name}-1", train), test)
        weights = fit(branch, tmp_path / f"{branch.card.name}-2", Sheet(more))
        assert weights.parameters in (7, 257)
        if isinstance(branch, Linear):
            # The scaler has seen the rows without a target, as in every head; least squares does not care.
            np.testing.assert_allclose(answers(branch, weights, test), x, rtol=1e-4)
    blind = Sheet({"z": (np.full((2, 6), np.nan), np.zeros(2))}).batch("z").observed
    rows = branch.predictor(weights).predict(blind)
    assert set(rows.status.tolist()) == {Status.UNSUPPORTED.value} and rows.raw[0] == "nothing is measured in a view"


@pytest.mark.parametrize("name", ["linear", "mlp_small", "mlp_medium"])
def test_they_answer_tables_and_nothing_else(name):
    branch = make_branch(name)
    assert [task for task in task_ids() if branch.route(get_task(task)) is not None] == ["quality_score"]
    with pytest.raises(BadInput, match=rf"{name} stands on the columns of a table; use ridge@policy:act"):
        make_branch(f"{name}@policy:act")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": [16, 0]}, r"branch\.mlp_small\.hidden=\[16, 0\]: give at least 1"),
        ({"steps": 0}, r"branch\.mlp_small\.steps=0: give at least 1"),
        ({"learning_rate": float("nan")}, r"branch\.mlp_small\.learning_rate=nan: give a number from 0 up"),
        ({"hiden": [3]}, r"unknown option mlp_small\.hiden; did you mean 'hidden'"),
    ],
)
def test_options_that_cannot_be_are_one_line(options, message):
    with pytest.raises(BadInput, match=message):
        SmallMLP(options)


# --- the network


def rows_of(n, d=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return Rows(x, np.stack([np.sin(x[:, 0]) + x[:, 1], x[:, 2]], axis=1))


def torch_twin(arrays):
    layers = []
    for i in range(3):
        layer = torch.nn.Linear(*arrays[f"dense{i}_weight"].shape).double()
        layer.weight.data = torch.tensor(arrays[f"dense{i}_weight"].T.copy())
        layer.bias.data = torch.tensor(arrays[f"dense{i}_bias"])
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def test_steps_are_those_of_torch():
    """Full batches, so that the order of rows does not matter; the rate falls by the same rule."""
    rows, planned = rows_of(32), 40
    options = SmallMLPOptions(hidden=[7, 5], batch_size=32, weight_decay=0.05, learning_rate=0.01)
    start = fit_relu(rows, None, options, 4, planned, stop=0)
    twin = torch_twin(start.arrays)
    optimiser = torch.optim.AdamW(twin.parameters(), lr=0.01, weight_decay=0.05)
    x, y = torch.tensor(rows.inputs), torch.tensor(rows.targets)
    for step in range(planned):
        optimiser.param_groups[0]["lr"] = 0.01 * (1 - step / planned)
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(twin(x), y).backward()
        optimiser.step()
    end = fit_relu(rows, None, options, 4, planned)
    assert end.step == planned
    np.testing.assert_allclose(relu_forward(end.arrays, rows.inputs), twin(x).detach().numpy(), atol=1e-8)


def test_the_watched_rows_choose_the_best_look_and_change_no_step():
    rows, watched = rows_of(64), rows_of(20, seed=1)
    options = SmallMLPOptions(hidden=[8], batch_size=16, evaluate_every=10)
    found = fit_relu(rows, watched, options, 0, 95)
    assert len(found.losses) == 10  # 10, 20 .. 90, and the last
    best = int(np.argmin(found.losses))
    assert found.step == min(10 * (best + 1), 95)
    again = fit_relu(rows, None, options, 0, 95, found.step)
    for name, array in found.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])
    loss = np.mean((relu_forward(found.arrays, watched.inputs) - watched.targets) ** 2)
    assert loss == pytest.approx(found.losses[best], rel=1e-12)


def test_one_group_alone_leaves_all_steps():
    rows = rows_of(16)
    assert choose_steps(rows, np.zeros(16, int), SmallMLPOptions(), 0, 30) == (30, None)


@pytest.mark.parametrize(("n", "steps"), [(1, 200), (64, 200), (65, 400), (1600, 5000), (10**6, 5000)])
def test_the_schedule_is_bounded_in_passes_and_in_steps(n, steps):
    assert planned_steps(n, SmallMLPOptions()) == steps


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 16), st.integers(0, 1000))
def test_every_row_comes_once_before_any_comes_again(n, size, seed):
    from branches.heads.relu import _batches

    steps = 3 * -(-n // size)
    drawn = np.concatenate(list(_batches(n, size, steps, np.random.default_rng(seed))))
    assert (np.sort(drawn.reshape(3, n), axis=1) == np.arange(n)).all()


def test_files_are_plain_arrays(tmp_path):
    fit(SmallMLP(QUICK), tmp_path / "fit", sheet("abc"))
    assert {path.suffix for path in (tmp_path / "fit").iterdir()} == {".json", ".npz"}
    assert json.loads((tmp_path / "fit" / "artifact.json").read_text())["details"][TASK.id]["layers"] == "6-16-8-1"
