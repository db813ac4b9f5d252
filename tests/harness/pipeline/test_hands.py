"""How blocks are handed to actors: a branch goes to as few of them as can be, and no block is lost or done twice."""

from hypothesis import given
from hypothesis import strategies as st

from harness.pipeline.predict import HAND, Block, hands_of


def blocks(counts: list[int]) -> list[Block]:
    return [Block(f"b{i}", 0, 0, f"e{j}", 0, 8) for i, count in enumerate(counts) for j in range(count)]


def test_with_as_many_branches_as_actors_a_branch_is_one_hand() -> None:
    assert [len(hand) for hand in hands_of(blocks([3, 3, 2]), 2)] == [3, 3, 2]


def test_one_branch_is_shared_by_all_actors() -> None:
    assert [len(hand) for hand in hands_of(blocks([8]), 2)] == [4, 4]


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=6), actors=st.integers(1, 9))
def test_every_block_is_in_one_hand_of_its_branch(counts: list[int], actors: int) -> None:
    given_out = hands_of(blocks(counts), actors)
    assert sorted((b.branch, b.episode) for hand in given_out for b in hand) == sorted(
        (b.branch, b.episode) for b in blocks(counts)
    )
    assert all(len({block.branch for block in hand}) == 1 and 1 <= len(hand) <= HAND for hand in given_out)
