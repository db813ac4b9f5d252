"""Rows of several batches as one."""

import numpy as np

from harness.answers import Predictions, Status, all_ok, concatenate, failed

CLASSES = ("a", "b")


def rows(labels: list[int], *strange: str) -> Predictions:
    return Predictions(all_ok(len(labels)), labels=np.array(labels, np.int32), vocabulary=(*CLASSES, *strange))


def words(found: Predictions) -> list[str | None]:
    assert found.labels is not None
    return [found.vocabulary[code] if code >= 0 else None for code in found.labels.tolist()]


def test_a_word_that_only_one_batch_met_keeps_its_rows() -> None:
    found = concatenate([rows([0, 2], "x"), rows([2, 3, 1], "y", "x"), failed(1, Status.OOM, "label", 1, CLASSES)])
    assert words(found) == ["a", "x", "y", "x", "b", None]
    assert found.vocabulary[:2] == CLASSES  # probabilities are over these


def test_sets_over_different_words_are_put_together() -> None:
    one = Predictions(all_ok(1), label_sets=np.array([[True, False, True]]), vocabulary=("a", "b", "x"))
    two = Predictions(all_ok(1), label_sets=np.array([[False, True, True]]), vocabulary=("a", "b", "y"))
    found = concatenate([one, two])
    assert found.label_sets is not None
    named = [{w for w, there in zip(found.vocabulary, row, strict=True) if there} for row in found.label_sets]
    assert named == [{"a", "x"}, {"b", "y"}]
