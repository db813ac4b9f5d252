"""The frozen split of 3 to 8 episodes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.split import SIZES, freeze

IDS = [f"e{i}" for i in range(8)]
SESSIONS = {e: f"s{i // 2}" for i, e in enumerate(IDS)}


def sessions(episodes: list[str]) -> set[str]:
    return {SESSIONS[e] for e in episodes}


@pytest.mark.parametrize("count", SIZES)
def test_sizes_are_those_announced(count: int) -> None:
    roles = freeze(IDS[:count], SESSIONS, {"e2", "e6"})
    assert tuple(map(len, roles.values())) == SIZES[count] == tuple(len(roles[role]) for role in ("train", "validation", "test"))
    assert sorted(itertools.chain(*roles.values())) == IDS[:count]
    assert {"e2", "e6"} & set(IDS[:count]) <= set(roles["train"])


def test_seven_demo_episodes_keep_the_test_session_to_itself() -> None:
    roles = freeze(IDS[:7], SESSIONS, {"e2", "e6"})
    assert roles == {"train": ["e0", "e1", "e2", "e6"], "validation": ["e3"], "test": ["e4", "e5"]}


def test_without_defects_all_three_are_apart_where_they_can_be() -> None:
    roles = freeze(IDS[:7], SESSIONS, ())
    assert not sessions(roles["test"]) & sessions(roles["train"] + roles["validation"])
    assert not sessions(roles["validation"]) & sessions(roles["train"])


@pytest.mark.parametrize("count", [6, 7])
def test_six_and_seven_test_one_session_that_nothing_else_saw(count: int) -> None:
    roles = freeze(IDS[:count], SESSIONS, {"e2", "e6"})
    assert len(sessions(roles["test"])) == 1 and not sessions(roles["test"]) & sessions(roles["train"] + roles["validation"])


def test_eight_test_a_second_session_that_only_validates() -> None:
    roles = freeze(IDS, SESSIONS, {"e2", "e6"})
    assert len(sessions(roles["test"])) == 2 and not sessions(roles["test"]) & sessions(roles["train"])


@given(
    count=st.sampled_from(sorted(SIZES)),
    clusters=st.lists(st.integers(0, 4), min_size=8, max_size=8),
    defective=st.sets(st.sampled_from(IDS)),
    order=st.permutations(IDS),
)
def test_it_is_a_function_of_what_is_there(count: int, clusters: list[int], defective: set[str], order: list[str]) -> None:
    named = {e: f"c{c}" for e, c in zip(IDS, clusters, strict=True)}
    roles = freeze(IDS[:count], named, defective)
    assert roles == freeze([e for e in order if e in IDS[:count]], named, defective)
    assert sorted(itertools.chain(*roles.values())) == IDS[:count]
    missed = [e for e in defective if e in IDS[:count] and e not in roles["train"]]
    assert len(missed) == max(0, len(defective & set(IDS[:count])) - SIZES[count][0])
