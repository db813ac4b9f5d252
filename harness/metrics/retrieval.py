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

    The gallery is the keys of the query's own episode. Every row with the query's `item` is a hit (identical captions); the best
    of them stands for it. Similarity is the cosine. With M items in the gallery,

        rank = 1 + (M - 1) (rivals above + 0.5 rivals tied) / rivals,

    rivals being the rows of other items. Where all items are different that is 1 + (others above) + 0.5 (others tied). Places
    are counted in items, so that windows which stand there twice change nothing; a constant answer gains nothing by its order.

    A vector that is not finite or is zero has no direction: its row fails, as does a row whose status is not ok. A failed query
    has reciprocal rank 0 and the last rank. A failed key is no hit of its own query and stands before every other query's hit, so
    that a key which would be retrieved too often cannot be dropped for the others' sake.

    State (7,): rows, sum of reciprocal ranks, hits at 1, 5 and 10, sum of ranks, sum of gallery sizes.
    """

    name = "mrr"
    direction = "up"
    mean_over_rows = True
    margin = 0.02
    limits = (0.0, 1.0)
    bounded = True

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(7,) sums over the queries of one episode."""
        assert targets.item is not None, "retrieval needs items"
        assert predictions.query is not None and predictions.key is not None, "retrieval needs a query and a key per row"
        query, query_ok = _directions(predictions.query, predictions.ok)
        key, key_ok = _directions(predictions.key, predictions.ok)
        n, items = len(query), len(np.unique(targets.item))
        step = max(1, BLOCK // max(n, 1))
        blocks = [slice(i, min(i + step, n)) for i in range(0, n, step)]
        parts = [_ranks(query[b], query_ok[b], key, key_ok, targets.item[b, None] == targets.item, items) for b in blocks]
        rank = np.concatenate([np.zeros(0), *(p.rank for p in parts)])
        found = np.concatenate([np.zeros(0, bool), *(p.found for p in parts)])
        recalls = [(found & (rank <= k)).sum() for k in RECALL_AT]
        return pack(n, np.where(found, 1 / rank, 0.0).sum(), *recalls, rank.sum(), n * items)

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
        """(7,) expected state of a random order of each gallery.

        With m hits among N rows, k rivals stand before the first with probability C(N - k - 1, m - 1) / C(N, m); for m = 1 the
        expected reciprocal rank is H_N / N.
        """
        assert targets.item is not None, "retrieval needs items"
        n = len(targets.item)
        _, row, sizes = np.unique(targets.item, return_inverse=True, return_counts=True)
        hits, of = np.unique(sizes, return_inverse=True)
        above = np.arange(n)
        # (H, N): probability that none of the first k + 1 rows is a hit, for each number of hits that occurs.
        factors = np.clip(n - hits[:, None] - above, 0, None) / np.maximum(n - above, 1)
        none_yet = np.concatenate([np.ones((len(hits), 1)), np.cumprod(factors, axis=1)], axis=1)
        first = none_yet[:, :-1] - none_yet[:, 1:]
        rank = 1 + (len(sizes) - 1) * above / np.maximum(n - hits[:, None], 1)
        expected = [first / rank, *(first * (rank <= k) for k in RECALL_AT), first * rank]
        queries = np.bincount(of[row], minlength=len(hits))
        return pack(n, *((e.sum(axis=1) * queries).sum() for e in expected), n * len(sizes))


def _directions(vectors: NDArray[np.float32], ok: BoolArray) -> tuple[NDArray[np.float64], BoolArray]:
    """(n, E) unit vectors, 0 in failed rows, and (n,) True where the row has a direction."""
    usable = ok & np.isfinite(vectors).all(axis=1)
    vectors64 = np.where(usable[:, None], vectors, 0.0).astype(np.float64)
    length = np.linalg.norm(vectors64, axis=1)
    return vectors64 / np.where(length > 0, length, 1.0)[:, None], usable & (length > 0)


def _ranks(query: NDArray, query_ok: BoolArray, key: NDArray, key_ok: BoolArray, hit: BoolArray, items: int) -> Ranks:
    """Ranks of b queries (b, E) among N keys (N, E) of so many items; `hit` is (b, N)."""
    score = np.where(key_ok, query @ key.T, NEVER)
    best = np.where(hit, score, NEVER).max(axis=1, initial=NEVER)[:, None]
    above = (~hit & ((score > best + TIE) | ~key_ok)).sum(axis=1)
    tied = (~hit & key_ok & (np.abs(score - best) <= TIE)).sum(axis=1)
    share = (above + 0.5 * tied) / np.maximum((~hit).sum(axis=1), 1)
    found = query_ok & (best[:, 0] > NEVER)
    return Ranks(np.where(found, 1 + (items - 1) * share, float(items)), found)
