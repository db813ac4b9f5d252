"""Predict: blocks of references go to a pool of actors that hold the fitted branches; each block becomes one bundle part."""

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from harness.answers import Predictions, Status, Targets, concatenate, failed
from harness.branch import Artifact, Branch, Predictor
from harness.bundle import COST
from harness.card import first_line
from harness.pipeline.fit import FitJob, artifact_folder
from harness.pipeline.memory import peak_gib, reset_peak
from harness.pipeline.plan import Plan
from harness.pipeline.processes import note_process
from harness.pipeline.workbench import Workbench
from harness.record import file_stem
from harness.reference import PRIVILEGED, copy_current, oracle
from harness.tables import PREDICTION_SCHEMA, by_task, predictions_table, read_targets, write_atomically
from harness.tasks.base import Task
from harness.video import frames_decoded
from harness.window import Samples, row_seeds

_ROLES: tuple[Literal["query", "key"], ...] = ("query", "key")
BATCH_SAMPLES = 1024  # samples a predictor sees at once
LOADED_BRANCHES = 4  # predictors kept in an actor
HAND = 8  # blocks that one actor takes at most


@dataclass(frozen=True)
class Block:
    """The unit of work and of loss: samples [start, stop) of one test episode, for one bundle.

    Attributes:
        branch: Branch id, or a privileged row.
        fold: Fold id.
        seed: Seed.
        episode: Test episode.
        start: First sample of every task's list.
        stop: One past the last.
        run: Which of the runs that predict together.
    """

    branch: str
    fold: int
    seed: int
    episode: str
    start: int
    stop: int
    run: int = 0

    def part(self, plan: Plan) -> Path:
        """The bundle part this block becomes; the same block always has the same name."""
        return plan.bundle(self.branch, self.fold, self.seed) / f"part-{file_stem(self.episode)}-{self.start:07d}.parquet"


class Actor:
    """Holds a workbench and the last branches it predicted with.

    Args:
        plan: The run.
    """

    def __init__(self, plan: Plan) -> None:
        _limit_threads(plan.config.threads)
        self.plan = plan
        self.bench = Workbench(plan)
        self.loaded: OrderedDict[tuple[str, int, int], tuple[Branch, Predictor]] = OrderedDict()

    def run(self, block: Block) -> dict[str, Any]:
        """The stage: predict a block and write its part.

        Returns:
            What it cost.
        """
        began, decoded = time.monotonic(), frames_decoded()
        reset_peak()
        fold = self.plan.split.folds[block.fold]
        tables = []
        for task_id in self.plan.tasks:
            if task_id not in self.bench.record(block.episode).tasks:
                continue
            task = self.plan.task(task_id)
            samples = self.bench.samples(task, block.episode, fold, "test")
            samples = samples.take(np.arange(len(samples))[block.start : block.stop])
            if len(samples) == 0:
                continue
            rows = self._privileged(task, samples, block) if block.branch in PRIVILEGED else self._answer(task, samples, block)
            if rows is not None:
                tables.append(predictions_table(task_id, samples, rows, block.fold, block.seed, 0))
        cost = {"rows": sum(t.num_rows for t in tables), "seconds": time.monotonic() - began, "peak_gib": peak_gib()}
        if frames := frames_decoded() - decoded:
            note_process(self.plan.home, block.branch, "predict", frames)
        # A block without rows is written too: its part says that it is done.
        write_atomically(tables or [PREDICTION_SCHEMA.empty_table()], block.part(self.plan), {COST: json.dumps(cost).encode()})
        return cost

    def _branch(self, block: Block) -> tuple[Branch, Predictor]:
        key = (block.branch, block.fold, block.seed)
        if key not in self.loaded:
            note_process(self.plan.home, block.branch, "predict")
            branch = self.plan.make_branch(block.branch)
            folder = artifact_folder(self.plan, FitJob(*key))
            self.loaded[key] = (branch, branch.predictor(Artifact.load(folder)))
            while len(self.loaded) > LOADED_BRANCHES:
                self.loaded.popitem(last=False)
        self.loaded.move_to_end(key)
        return self.loaded[key]

    def _answer(self, task: Task, samples: Samples, block: Block) -> Predictions | None:
        branch, predictor = self._branch(block)
        if self.plan.route(block.branch, branch, task) is None:
            return None
        if not self._is_fitted(task, block):
            nothing = np.full(len(samples), -np.inf)
            return replace(failed(len(samples), Status.UNSUPPORTED, task.answer, 1), seen_until=nothing)
        parts = [
            self._batch(task, samples.take(np.arange(i, min(i + BATCH_SAMPLES, len(samples)))), block, branch, predictor)
            for i in range(0, len(samples), BATCH_SAMPLES)
        ]
        return parts[0] if len(parts) == 1 else concatenate(parts)

    def _is_fitted(self, task: Task, block: Block) -> bool:
        """A task that no training episode poses was not fitted; its rows fail instead of vanishing."""
        train = self.plan.split.folds[block.fold].train
        return any(task.id in self.bench.record(e).tasks for e in train if self.bench.usable(e))

    def _batch(self, task: Task, samples: Samples, block: Block, branch: Branch, predictor: Predictor) -> Predictions:
        if task.answer != "retrieval":
            rows = self._shuffled(task, samples, block, branch, predictor, "")
        else:
            # Two calls that know nothing of each other; only the evaluator pairs their vectors.
            query, key = (self._shuffled(task, samples, block, branch, predictor, role) for role in _ROLES)
            status = np.where(query.ok, key.status, query.status)
            assert query.seen_until is not None and key.seen_until is not None
            seen_until = np.maximum(query.seen_until, key.seen_until)
            rows = Predictions(status, query=query.values, key=key.values, seen_until=seen_until)
        return rows

    def _shuffled(
        self, task: Task, samples: Samples, block: Block, branch: Branch, predictor: Predictor, role: Literal["", "query", "key"]
    ) -> Predictions:
        """Rows in the order of `samples`, predicted in another one.

        The order of samples answers the pair tasks (true and swapped alternate) and retrieval (query i belongs to key i), so a
        predictor sees them in an order that is a fixed function of the rows, the role and the seed.
        """
        order = np.argsort(row_seeds(samples.ids, block.seed, role=f"order of {role or 'rows'}"), kind="stable")
        episode, needs = self.bench.episode(block.episode), branch.needs(task)
        observe = self.bench.observer.observe
        observed, seen_until = observe(episode, task, samples.take(order), needs, seed=block.seed, role=role)
        rows = predictor.predict(observed)
        if len(rows) != len(samples):
            raise ValueError(f"branch {block.branch} gave {len(rows)} rows for {len(samples)} samples of {task.id}")
        # What a row saw is what it was shown, not what the branch says of it.
        return replace(rows, seen_until=seen_until).take(np.argsort(order))

    def _privileged(self, task: Task, samples: Samples, block: Block) -> Predictions | None:
        targets = self._targets(task, block.episode, samples)
        if block.branch == "oracle":
            return oracle(task, targets)
        if task.copies is None or task.copies not in self.plan.tasks:
            return None
        return copy_current(task, targets, self._targets(self.plan.task(task.copies), block.episode, samples))

    def _targets(self, task: Task, episode: str, samples: Samples) -> Targets:
        for _, table in by_task(self.plan.targets_file(episode), [task.id]):
            ids = np.asarray(table.column("sample").to_pylist(), dtype=np.str_)
            order = np.argsort(ids)
            return read_targets(table, task.answer).take(order[np.searchsorted(ids, samples.ids, sorter=order)])
        raise ValueError(f"no targets of {task.id} in {episode}")


def _limit_threads(threads: int) -> None:
    """Fixed threads: the order of a sum, and so its last bit, may depend on them."""
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    threadpool_limits(threads)


def blocks_of(plan: Plan, bench: Workbench, branch: str, fold: int, seed: int) -> Iterator[Block]:
    """The blocks of one bundle, done or not."""
    for episode in plan.split.folds[fold].test:
        if not bench.usable(episode):
            continue
        # Pair tasks have at most two samples per window; blocks are cut alike for all tasks of an episode.
        n = 2 * len(plan.spec.grid(bench.record(episode).n_reference))
        for start in range(0, max(n, 1), plan.config.block_samples):
            yield Block(branch, fold, seed, episode, start, start + plan.config.block_samples)


def predict(plans: Sequence[Plan], blocks: list[Block], tick: Callable[[Block], None]) -> dict[Block, dict[str, Any]]:
    """Run the stage over blocks with Ray Data; rows that travel are references and costs.

    Args:
        plans: Of the runs; `Block.run` counts them.
        blocks: To predict.
        tick: Called with each that is done.

    Returns:
        Block -> what it cost; a block that raised or killed its worker has an `error` line instead, and the others are done.
    """
    costs: dict[Block, dict[str, Any]] = {}
    pools: dict[tuple[float, float], list[Block]] = {}
    for block in blocks:
        card = None if block.branch in PRIVILEGED else plans[block.run].make_branch(block.branch).card
        pools.setdefault((card.cpus, card.gpus) if card else (1.0, 0.0), []).append(block)
    for (cpus, gpus), mine in pools.items():
        for block, cost in _predict_in_pool(plans, mine, cpus, gpus):
            costs[block] = cost
            tick(block)
    return costs


def _predict_in_pool(
    plans: Sequence[Plan], blocks: list[Block], cpus: float, gpus: float
) -> Iterator[tuple[Block, dict[str, Any]]]:
    """Blocks of branches that ask for the same resources, in one pool of actors."""
    import ray.data  # noqa: PLC0415

    from harness.pipeline.cluster import TRIES_AFTER_DEATH, pool_shape  # noqa: PLC0415

    class Pool:
        """The actor as Ray Data calls it. It closes over the plans: constructor arguments would not outlive a lost node."""

        def __init__(self) -> None:
            self.run, self.actor = blocks[0].run, Actor(plans[blocks[0].run])

        def __call__(self, batch: dict[str, Any]) -> Iterator[pa.Table]:
            for body in json.loads(str(batch["blocks"][0])):
                yield pa.table({"block": [json.dumps(body)], "result": [json.dumps(self.result(Block(**body)))]})

        def result(self, block: Block) -> dict[str, Any]:
            if block.part(plans[block.run]).is_file():  # by an actor that died after it
                return {}
            try:
                if block.run != self.run:  # one at a time: each keeps features and models in memory
                    self.run, self.actor = block.run, Actor(plans[block.run])
                return self.actor.run(block)
            except Exception as error:  # one branch's fault must not lose the others' work
                return {"error": f"{type(error).__name__}: {first_line(error)}"}

    size, share = pool_shape(cpus, gpus, len(blocks))
    left = dict.fromkeys(blocks)
    # In hands first; then, where a block has killed whoever held its hand, one at a time, so that only that block is lost.
    for hands in (hands_of(blocks, size), [[block] for block in blocks]):
        items = [{"blocks": json.dumps([asdict(b) for b in hand])} for hand in hands if all(b in left for b in hand)]
        if not items:
            continue
        dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            Pool,
            batch_size=1,
            # One hand at a time: one that kills its actor takes no waiting one down with it.
            compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            num_cpus=share,
            num_gpus=gpus,
            max_task_retries=TRIES_AFTER_DEATH,
        )
        for row in dataset.iter_rows():
            block = Block(**json.loads(row["block"]))
            del left[block]
            yield block, json.loads(row["result"])
    for block in left:
        yield block, {"error": "its worker died again and again (out of memory, or a crash in a library)"}


def hands_of(blocks: list[Block], actors: int) -> list[list[Block]]:
    """Blocks in hands, each of one branch of one run and for one actor: few actors have to import a branch's libraries.

    A branch's blocks come in one hand, in more where there are more actors than branches, or to keep a hand below `HAND` blocks.
    """
    by_branch: dict[tuple[int, str], list[Block]] = {}
    for block in blocks:
        by_branch.setdefault((block.run, block.branch), []).append(block)
    hands = []
    for mine in by_branch.values():
        parts = max(-(-actors // len(by_branch)), -(-len(mine) // HAND))
        size = -(-len(mine) // parts)
        hands += [mine[i : i + size] for i in range(0, len(mine), size)]
    return hands
