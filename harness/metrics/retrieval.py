"""Mean reciprocal rank of the right item in the query's own episode."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.episode import BoolArray
from harness.metrics.base import Details, Metric, State, number, pack, ratio

RECALL_AT = (1, 5, 10)
# Cosines closer than this tie. It lies above the rounding of a float64 product and below that of float32 vectors.
TIE = 1e-12
# At most this many similarities are in memory at a time (about 64 MiB with their comparisons).
BLOCK = 2**21
# Below every cosine.
NEVER = -2.0


class Ranks(NamedTuple):
    """(n,) rank of each query's first hit, half ranks where it ties, and whether it was found at all."""

    rank: NDArray[np.float64]
    found: BoolArray


class ReciprocalRank(Metric):
    """Mean of 1 / rank of the first hit.

    The gallery is the contents of the query's own episode: rows with one `item` (identical captions) are one candidate, at the
    best of their keys, so that a text which fills ten windows is neither ten chances nor ten rivals and windows that stand there
    twice change nothing. Similarity is the cosine. rank = 1 + (other items above the query's own) + 0.5 (others tied with it), so
    a constant answer gains nothing by its order.

    A vector that is not finite or is zero has no direction: its row fails, as does a row whose status is not ok. A failed query
    has reciprocal rank 0 and the last rank. A failed key is no hit of its own query, and its item stands before every other
    query's, so that a key which would be retrieved too often cannot be dropped for the others' sake.

    State (7,): rows, sum of reciprocal ranks, hits at 1, 5 and 10, sum of ranks, sum of gallery sizes.
    """

    name = "mrr"
    direction = "up"
    mean_over_rows = True
    margin = 0.02
    bounded = True

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(7,) sums over the queries of one episode."""
        assert targets.item is not None, "retrieval needs items"
        assert predictions.query is not None and predictions.key is not None, "retrieval needs a query and a key per row"
        query, query_ok = _directions(predictions.query, predictions.ok)
        key, key_ok = _directions(predictions.key, predictions.ok)
        gallery = _gallery(targets.item, key, key_ok)
        n, size = len(query), len(gallery.starts)
        step = max(1, BLOCK // max(n, 1))
        blocks = [slice(i, min(i + step, n)) for i in range(0, n, step)]
        parts = [_ranks(query[b], query_ok[b], gallery, gallery.column[b]) for b in blocks]
        rank = np.concatenate([np.zeros(0), *(p.rank for p in parts)])
        found = np.concatenate([np.zeros(0, bool), *(p.found for p in parts)])
        recalls = [(found & (rank <= k)).sum() for k in RECALL_AT]
        return pack(n, np.where(found, 1 / rank, 0.0).sum(), *recalls, rank.sum(), n * size)

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) mean reciprocal rank; NaN where there is no query."""
        return ratio(states[..., 1], states[..., 0])

    def details(self, states: State) -> Details:
        """`recall@1`, `recall@5`, `recall@10`, `mean_rank` and `gallery_size` (mean over queries)."""
        means = ratio(states[2:], states[0])
        names = (*(f"recall@{k}" for k in RECALL_AT), "mean_rank", "gallery_size")
        return {name: number(mean) for name, mean in zip(names, means, strict=True)}

    def best_case(self, targets: Targets, predictions: Predictions) -> State:
        """(7,) the answered rows among themselves, and every failed query at rank 1."""
        assert targets.item is not None, "retrieval needs items"
        answered = np.flatnonzero(predictions.ok)
        n, lost = len(targets), len(targets) - len(answered)
        state = self.state(targets.take(answered), predictions.take(answered))
        return pack(n, state[1] + lost, state[2:5] + lost, state[5] + lost, n * len(np.unique(targets.item)))

    def chance(self, targets: Targets) -> State:
        """(7,) expected state of a random order of the N items of each gallery: the expected reciprocal rank is H_N / N."""
        assert targets.item is not None, "retrieval needs items"
        n, size = len(targets.item), len(np.unique(targets.item))
        harmonic = (1 / np.arange(1, size + 1)).sum()
        expected = [harmonic, *(min(k, size) for k in RECALL_AT), size * (size + 1) / 2, size * size]
        return pack(n, *(n * ratio(e, size) for e in expected)) if n else np.zeros(7)


def _directions(vectors: NDArray[np.float32], ok: BoolArray) -> tuple[NDArray[np.float64], BoolArray]:
    """(n, E) unit vectors, 0 in failed rows, and (n,) True where the row has a direction."""
    usable = ok & np.isfinite(vectors).all(axis=1)
    vectors64 = np.where(usable[:, None], vectors, 0.0).astype(np.float64)
    length = np.linalg.norm(vectors64, axis=1)
    return vectors64 / np.where(length > 0, length, 1.0)[:, None], usable & (length > 0)


class _Gallery(NamedTuple):
    """Keys in the order of their items: (N, E) keys, (N,) usable, first key of each of M items, (M,) items that lost a key.

    `column` is the item of each row, (N,) in the order of the rows.
    """

    key: NDArray[np.float64]
    ok: BoolArray
    starts: NDArray[np.int64]
    lost: BoolArray
    column: NDArray[np.int64]


def _gallery(item: NDArray[np.int32], key: NDArray[np.float64], key_ok: BoolArray) -> _Gallery:
    _, column = np.unique(item, return_inverse=True)
    order = np.argsort(column, kind="stable")
    starts = np.flatnonzero(np.diff(column[order], prepend=-1))
    lost = np.logical_or.reduceat(~key_ok[order], starts) if len(starts) else np.zeros(0, bool)
    return _Gallery(key[order], key_ok[order], starts, lost, column)


def _ranks(query: NDArray, query_ok: BoolArray, gallery: _Gallery, own: NDArray[np.int64]) -> Ranks:
    """Ranks of b queries (b, E) whose items are `own` (b,)."""
    score = np.where(gallery.ok, query @ gallery.key.T, NEVER)
    items = np.maximum.reduceat(score, gallery.starts, axis=1) if len(gallery.starts) < score.shape[1] else score
    rows = np.arange(len(query))
    best = items[rows, own][:, None]
    other = np.ones(items.shape, bool)
    other[rows, own] = False
    above = (other & ((items > best + TIE) | gallery.lost)).sum(axis=1)
    tied = (other & ~gallery.lost & (np.abs(items - best) <= TIE)).sum(axis=1)
    found = query_ok & (best[:, 0] > NEVER)
    return Ranks(np.where(found, 1 + above + 0.5 * tied, float(len(gallery.starts))), found)
