"""Splits: who trains and who tests, what is refused, and a hash that tells."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.episode import EpisodeRef
from harness.errors import BadInput
from harness.evidence import evidence_grade
from harness.splits import ROLES, Split, SplitConfig, make_split
from harness.window import WindowSpec, make_samples

SPEC = WindowSpec()


def refs(n: int = 8, per_session: int = 2) -> list[EpisodeRef]:
    return [EpisodeRef(f"ep{i:02d}", (), i, session=f"s{i // per_session}") for i in range(n)]


def test_explicit_ranges_and_ids() -> None:
    split = make_split(refs(), SplitConfig(train="0-2,4", validation=["ep03"], test="6-7"), SPEC)
    fold = split.folds[0]
    assert fold.train == ("ep00", "ep01", "ep02", "ep04")
    assert fold.validation == ("ep03",) and fold.test == ("ep06", "ep07")
    assert split.unit == "episode" and split.shared() == {"session": [], "participant": []}


def test_a_shared_session_is_named() -> None:
    split = make_split(refs(), SplitConfig(train="0", test="1"), SPEC)
    assert split.shared()["session"] == ["s0"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (SplitConfig(train="0-3", test="3"), ("split.train", "split.test", "ep03")),
        (SplitConfig(train="0-30", test="3"), ("split.train=0-30", "8")),
        (SplitConfig(train="0", test="epo3"), ("epo3", "ep03")),
        (SplitConfig(train="0-3"), ("test",)),
        (SplitConfig(kind="held_out_sesion"), ("held_out_session",)),
        (SplitConfig(kind="chronological", test_share=0.9, validation_share=0.3), ("test_share",)),
    ],
)
def test_bad_splits_say_what_is_wrong(config: SplitConfig, words: tuple[str, ...]) -> None:
    with pytest.raises(BadInput) as error:
        make_split(refs(), config, SPEC)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_held_out_session_keeps_sessions_together() -> None:
    split = make_split(refs(), SplitConfig(kind="held_out_session"), SPEC)
    fold = split.folds[0]
    sides = [{split.sessions[e] for e in fold.episodes(role)} for role in ROLES]
    assert not sides[0] & sides[2] and not sides[1] & sides[2] and all(sides)


def test_leave_one_session_out_tests_every_episode_once() -> None:
    split = make_split(refs(), SplitConfig(kind="leave_one_session_out"), SPEC)
    assert len(split.folds) == 4
    assert sorted(e for fold in split.folds for e in fold.test) == [r.id for r in refs()]
    for fold in split.folds:
        assert not set(fold.test) & {*fold.train, *fold.validation}


def test_sessions_that_do_not_exist_are_asked_for() -> None:
    nameless = [replace(ref, session=None) for ref in refs()]
    with pytest.raises(BadInput, match="session_pattern"):
        make_split(nameless, SplitConfig(kind="leave_one_session_out"), SPEC)
    assert make_split(nameless, SplitConfig(), SPEC).kind == "held_out_episode"


def test_chronological_parts_do_not_touch() -> None:
    split = make_split(refs(1), SplitConfig(kind="chronological", test_share=0.3, validation_share=0.1), SPEC)
    samples = make_samples("window", "ep00", np.arange(1000) / 20, SPEC)
    parts = {role: samples.starts[split.folds[0].select(role, samples, 1000, SPEC, 0), 0] for role in ROLES}
    assert parts["train"].max() + 20 <= 600
    assert parts["validation"].min() >= 620 and parts["validation"].max() + 20 <= 700
    assert parts["test"].min() >= 720
    assert split.unit == "interval"


def test_no_target_looks_over_a_chronological_border() -> None:
    [fold] = make_split(refs(1), SplitConfig(kind="chronological", test_share=0.3, validation_share=0.1), SPEC).folds
    samples = make_samples("window", "ep00", np.arange(1000) / 20, SPEC)
    train = samples.last[fold.select("train", samples, 1000, SPEC, reach=50), 0]
    assert 545 <= train.max() < 550  # the target's last sample is train.max() + 50, the border is at 600
    test = samples.last[fold.select("test", samples, 1000, SPEC, reach=50), 0]
    assert test.max() > 990  # at the recording's own end the task says which targets are valid
    wide = replace(SPEC, context=60)
    assert samples.last[fold.select("test", samples, 1000, wide, reach=0), 0].min() - 59 >= 720


def test_a_frozen_split_that_was_edited_is_refused(tmp_path: Path) -> None:
    split = make_split(refs(), SplitConfig(train="0-3", test="6-7"), SPEC)
    path = tmp_path / "split.json"
    split.save(path)
    assert Split.load(path) == split and Split.load(path).hash == split.hash
    path.write_text(path.read_text().replace("ep03", "ep05"))
    with pytest.raises(BadInput, match="frozen"):
        Split.load(path)


def test_a_participant_on_both_sides_of_sessions_caps_the_evidence() -> None:
    people = [replace(ref, participant="p0" if ref.session in ("s0", "s1") else "p1") for ref in refs()]
    split = make_split(people, SplitConfig(train="0-1,4-5", test="2-3"), SPEC)
    assert split.shared() == {"session": [], "participant": ["p0"]}
    assert evidence_grade(simulated=False, limited=False, split=split) == "dry_run"


def test_an_episode_that_takes_no_part_does_not_change_the_hash() -> None:
    config = SplitConfig(train="0-3", test="6-7")
    assert make_split(refs(8), config, SPEC).hash == make_split(refs(10), config, SPEC).hash


def test_only_the_numbers_of_unlisted_episodes_may_be_absent() -> None:
    robots = [EpisodeRef(f"episode_{i:06d}", (), i) for i in (0, 1, 3)]
    fold = make_split(robots, SplitConfig(train="0-2", test="3"), SPEC, {"episode_000002"}).folds[0]
    assert fold.train == ("episode_000000", "episode_000001")
    with pytest.raises(BadInput, match=r"split.test=3,77: no episode number 77|split.test=77: no episode number 77"):
        make_split(robots, SplitConfig(train="0-1", test="3,77"), SPEC, {"episode_000002"})


@pytest.mark.parametrize(("words", "said"), [({"validation": "9-8"}, "an empty range"), ({"validation": []}, "names no episode")])
def test_a_role_that_names_nothing_is_refused(words: dict, said: str) -> None:
    with pytest.raises(BadInput, match=f"split.validation.*{said}"):
        make_split(refs(), SplitConfig(train="0-3", test="6-7", **words), SPEC)


def test_leave_one_session_out_without_validation_trains_on_all_others() -> None:
    split = make_split(refs(), SplitConfig(kind="leave_one_session_out", validation_share=0.0), SPEC)
    assert all(len(fold.train) == 6 and not fold.validation for fold in split.folds)


@pytest.mark.parametrize("kind", ["held_out_episode", "held_out_session"])
def test_where_none_is_to_validate_none_does(kind: str) -> None:
    [fold] = make_split(refs(), SplitConfig(kind=kind, validation_share=0.0), SPEC).folds
    assert not fold.validation and len(fold.train) + len(fold.test) == len(refs())
    [fold] = make_split(refs(), SplitConfig(kind=kind, validation_share=1e-3), SPEC).folds
    assert fold.validation


@pytest.mark.parametrize("kind", ["leave_one_episode_out", "leave_one_session_out", "leave_one_participant_out"])
def test_of_two_units_each_is_left_out_where_none_validates(kind: str) -> None:
    two = [EpisodeRef(name, (), rank, session=name, participant=name) for rank, name in enumerate("ab")]
    folds = make_split(two, SplitConfig(kind=kind, validation_share=0.0), SPEC).folds
    assert [(fold.train, fold.validation, fold.test) for fold in folds] == [(("b",), (), ("a",)), (("a",), (), ("b",))]
    with pytest.raises(BadInput, match="needs 3"):
        make_split(two, SplitConfig(kind=kind), SPEC)
    with pytest.raises(BadInput, match="needs 2"):
        make_split(two[:1], SplitConfig(kind=kind, validation_share=0.0), SPEC)


def test_a_range_over_ids_that_are_numbers_means_the_ids() -> None:
    labs = [EpisodeRef(str(number), (), rank) for rank, number in enumerate((10, 11, 12, 20))]
    fold = make_split(labs, SplitConfig(train="10-12", test="20"), SPEC).folds[0]
    assert fold.train == ("10", "11", "12") and fold.test == ("20",)


def test_the_hash_tells_windows_and_roles_apart() -> None:
    one = make_split(refs(), SplitConfig(train="0-3", test="6-7"), SPEC)
    other = make_split(refs(), SplitConfig(train="0-3", test="6"), SPEC)
    strided = make_split(refs(), SplitConfig(train="0-3", test="6-7"), WindowSpec(stride=10))
    assert len({one.hash, other.hash, strided.hash}) == 3


def worn(n: int = 6) -> list[EpisodeRef]:
    """Two sessions a participant."""
    return [EpisodeRef(f"ep{i:02d}", (), i, session=f"s{i}", participant=f"p{i // 2}") for i in range(n)]


@pytest.mark.parametrize(("kind", "folds"), [("held_out_participant", 1), ("leave_one_participant_out", 3)])
def test_participants_are_kept_apart(kind: str, folds: int) -> None:
    split = make_split(worn(), SplitConfig(kind=kind), SPEC)
    assert split.unit == "participant" and len(split.folds) == folds and not any(split.shared().values())
    for fold in split.folds:
        sides = [{split.participants[e] for e in fold.episodes(role)} for role in ROLES]
        assert not sides[0] & sides[2] and not sides[1] & sides[2] and sides[2]


def test_a_shared_participant_is_named_and_split_by_sessions_it_caps_the_evidence() -> None:
    split = make_split(worn(), SplitConfig(train="0,2", test="1"), SPEC)
    assert split.shared() == {"session": [], "participant": ["p0"]}
    assert evidence_grade(simulated=False, limited=False, split=split) == "dry_run"


def test_roles_may_promise_a_unit_and_must_keep_it(tmp_path: Path) -> None:
    split = make_split(worn(), SplitConfig(train="0-1", test="2-3", unit="participant"), SPEC)
    assert split.unit == "participant"
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split
    assert split.hash != make_split(worn(), SplitConfig(train="0-1", test="2-3"), SPEC).hash
    for config, words in (
        (SplitConfig(train="0,2", test="1", unit="participant"), "ep00 and ep01, which is tested, share participant p0"),
        (SplitConfig(train="0", test="1", unit="sesion"), "session"),
        (SplitConfig(kind="held_out_episode", unit="session"), "split.unit=session goes with roles that are named"),
    ):
        with pytest.raises(BadInput, match=words):
            make_split(worn(), config, SPEC)
    with pytest.raises(BadInput, match="the split needs participants and 8 episodes have none"):
        make_split(refs(), SplitConfig(kind="held_out_participant"), SPEC)
