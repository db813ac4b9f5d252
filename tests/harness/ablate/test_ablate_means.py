"""Means over tasks, by hand: three clusters, two tasks."""

import numpy as np
import pytest

from harness.ablate.means import Part, means_of


def part(task: str, deltas: list[float], variant: str = "without_audio", status: str = "compared", **more: float) -> Part:
    by_cluster = np.array(deltas, float)
    measured = by_cluster[np.isfinite(by_cluster)]
    return Part("ridge", variant, task, status, float(measured.mean()) if len(measured) else None, by_cluster, **more)


def test_two_tasks_by_hand() -> None:
    [mean] = means_of([part("a", [0.1, 0.2, 0.3]), part("b", [0.3, 0.0, 0.3])], ["without_audio"])
    # Clusters: 0.2, 0.1, 0.3; mean 0.2, sd 0.1, t(2) = 4.302653.
    assert mean["skill_delta"] == pytest.approx(0.2)
    assert mean["ci_high"] - mean["skill_delta"] == pytest.approx(4.302653 * 0.1 / np.sqrt(3), rel=1e-6)
    assert mean["median"] == pytest.approx(0.2)
    assert (mean["n_tasks"], mean["n_clusters"]) == (2, 3)
    assert mean["p"] == 0.25  # the smallest that three clusters have
    assert (mean["verdict"], mean["leaning"]) == ("inconclusive", "helps")


def test_one_task_may_rule_the_mean_and_not_the_median() -> None:
    parts = [part(str(i), [0.0, 0.01, 0.02]) for i in range(4)] + [part("wild", [-90.0, -100.0, -110.0])]
    [mean] = means_of(parts, ["without_audio"])
    assert mean["skill_delta"] == pytest.approx((4 * 0.01 - 100) / 5)
    assert mean["median"] == pytest.approx(0.01)
    assert mean["leaning"] == "hurts"


def test_what_is_not_there_is_left_out_and_named() -> None:
    parts = [
        part("a", [0.1, 0.2, 0.3]),
        Part("ridge", "without_audio", "b", "not_shown", None, np.zeros(0)),
        Part("ridge", "without_audio", "c", "not_answered", None, np.zeros(0)),
        Part("ridge", "without_audio", "d", "failed", None, np.zeros(0)),
        Part("ridge", "without_audio", "vacuous", "compared", None, np.full(3, np.nan)),
    ]
    [mean] = means_of(parts, ["without_audio"])
    assert mean["skill_delta"] == pytest.approx(0.2) and mean["n_tasks"] == 1
    assert mean["left_out"] == {"not_answered": ["c"], "failed": ["d"], "not_shown": ["b"], "without_skill": ["vacuous"]}


def test_nothing_to_average_is_null() -> None:
    [mean] = means_of([Part("ridge", "only_audio", "b", "not_answered", None, np.zeros(0))], ["only_audio"])
    assert (mean["skill_delta"], mean["median"], mean["verdict"], mean["n_tasks"], mean["n_clusters"]) == (None, None, None, 0, 0)


def test_two_clusters_have_no_interval() -> None:
    [mean] = means_of([part("a", [0.1, 0.2, np.nan]), part("b", [0.1, 0.2, 0.3])], ["without_audio"])
    assert mean["n_clusters"] == 2
    assert (mean["ci_low"], mean["p"], mean["mde"]) == (None, None, None)
    assert (mean["verdict"], mean["leaning"]) == ("inconclusive", "helps")


def test_eight_clusters_can_tell_and_variants_are_one_family() -> None:
    rng = np.random.default_rng(0)
    clear, small = 0.5 + 0.01 * rng.normal(size=8), 0.001 * np.array([1, -1, 2, -2, 1, -1, 1.5, -1])
    none = np.array([0.2, -0.3, 0.1, -0.1, 0.25, -0.2, 0.05, -0.02])
    parts = [part("a", clear.tolist()), part("a", none.tolist(), "without_imu"), part("a", small.tolist(), "without_body")]
    found = {m["variant"]: m for m in means_of(parts, ["without_audio", "without_imu", "without_body"])}
    assert found["without_audio"]["verdict"] == "helps"
    assert found["without_audio"]["p_adjusted"] == 2 / 2**8
    assert found["without_imu"]["verdict"] == "inconclusive"
    assert found["without_imu"]["p_adjusted"] >= found["without_imu"]["p"]
    assert found["without_body"]["verdict"] == "tied"
    assert [found[name]["within_margin"] for name in ("without_audio", "without_imu", "without_body")] == [False, False, True]
    [refitted] = means_of([part("a", clear.tolist(), refit_ratio=1 / 7)], ["without_audio"])
    width = found["without_audio"]["ci_high"] - found["without_audio"]["ci_low"]
    assert refitted["ci_high"] - refitted["ci_low"] == pytest.approx(width * np.sqrt(1 + 8 / 7))


def test_what_helps_less_than_the_margin_says_so() -> None:
    tiny = 0.001 + 0.0001 * np.random.default_rng(0).normal(size=8)
    [mean] = means_of([part("a", tiny.tolist())], ["without_audio"])
    assert (mean["verdict"], mean["within_margin"], mean["margin"]) == ("helps", True, 0.02)
    [half] = means_of([part("a", (tiny + 0.019).tolist())], ["without_audio"])  # its interval ends above the margin
    assert (half["verdict"], half["within_margin"]) == ("helps", False)


def test_variants_on_unlike_clusters_are_still_one_family() -> None:
    rng = np.random.default_rng(1)
    helped = [(0.05 + 0.01 * rng.random(8)).tolist() for _ in range(4)]
    one_less = [*helped[3][:7], np.nan]
    other_less = [np.nan, *helped[3][1:]]
    names = [f"without_{i}" for i in range(5)]
    parts = [part("a", deltas, name) for deltas, name in zip([*helped[:3], one_less, other_less], names, strict=True)]
    found = {m["variant"]: m for m in means_of(parts, names)}
    assert [found[name]["p"] for name in names] == [2 / 2**8] * 3 + [2 / 2**7] * 2
    # Holm by hand: 5, 4 and 3 times 2 / 2^8 made monotone, then 2 and 1 times 2 / 2^7.
    assert [found[name]["p_adjusted"] for name in names] == pytest.approx([10 / 2**8] * 3 + [10 / 2**8] * 2)
    equal = {m["variant"]: m for m in means_of([*parts[:3]], names)}
    assert all(equal[name]["p_adjusted"] < found[name]["p_adjusted"] for name in names[:3])


def test_a_variant_of_two_clusters_takes_part_in_the_family_and_has_no_p() -> None:
    rng = np.random.default_rng(2)
    whole, two = (0.05 + 0.01 * rng.random(6)).tolist(), [0.05, 0.06, *[np.nan] * 4]
    found = {
        m["variant"]: m for m in means_of([part("a", whole), part("a", two, "without_imu")], ["without_audio", "without_imu"])
    }
    assert found["without_audio"]["p_adjusted"] == 2 * 2 / 2**6
    assert (found["without_imu"]["p"], found["without_imu"]["verdict"]) == (None, "inconclusive")
