"""Which samples train, which validate, which test: folds over episodes, the unit they promise, and a hash of it all."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.card import suggest
from harness.episode import EpisodeRef
from harness.errors import BadInput
from harness.window import Samples, WindowSpec

Role = Literal["train", "validation", "test"]
ROLES: tuple[Role, ...] = ("train", "validation", "test")
_NUMBERED = re.compile(r"episode_(\d+)")
KINDS = (
    "held_out_episode",
    "held_out_session",
    "held_out_participant",
    "leave_one_episode_out",
    "leave_one_session_out",
    "leave_one_participant_out",
    "chronological",
    "explicit",
)
UNITS = ("interval", "episode", "session", "participant")
"""What a split can promise to keep apart, from the smallest to the largest."""


@dataclass
class SplitConfig:
    """How to split.

    Attributes:
        kind: One of `KINDS`; null takes the card's frozen split, else `held_out_session` where there are three sessions or
            more, else `held_out_episode`. Naming roles below makes it `explicit`.
        episodes: Only these take part: ranges over the episode index, or ids. Null = all.
        train: Explicit: ranges over the episode index (`0-49,52`), or ids.
        validation: As `train`.
        test: As `train`.
        unit: Explicit: what the roles promise to keep apart, `episode` (the default), `session` or `participant`.
        test_share: Share of the units (or of each episode's time) held out for testing.
        validation_share: Share of the units (or of each episode's time) for validation; 0 = none. A table's default.
        seed: Order in which units are drawn.
        allow_copies: Pairs `a=b` of episodes that the near-duplicate gate takes for one recording and that are two, whatever
            stands where. They are printed, and nothing of the run counts for more than `dry_run`.
    """

    kind: str | None = None
    episodes: Any = None
    train: Any = None
    validation: Any = None
    test: Any = None
    unit: str | None = None
    test_share: float = 0.3
    validation_share: float = 0.1
    seed: int = 0
    allow_copies: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fold:
    """One partition.

    Attributes:
        id: From 0.
        train: Episode ids, sorted.
        validation: Episode ids, sorted.
        test: Episode ids, sorted.
        borders: Chronological only: the shares of an episode's reference samples at which training and validation end.
    """

    id: int
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    borders: tuple[float, float] | None = None

    def episodes(self, role: Role) -> tuple[str, ...]:
        """Ids of one role."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[role]

    def first(self, role: Role, n_reference: int, spec: WindowSpec) -> int:
        """The first reference sample that a view of a role may show, in an episode of `n_reference` samples of that role."""
        part = ROLES.index(role)
        if self.borders is None or part == 0:
            return 0
        return round(self.borders[part - 1] * n_reference) + spec.length

    def select(self, role: Role, samples: Samples, n_reference: int, spec: WindowSpec, reach: int) -> NDArray[np.bool_]:
        """(n,) True for the samples of a role in an episode of that role.

        At a chronological border one window is left out: what a view shows and what its target looks at lie wholly in its part,
        and the later part begins one window after the border.

        Args:
            role: Which part.
            samples: All of one kind in the episode.
            n_reference: Reference samples of the episode.
            spec: Windows.
            reach: Reference samples past t0 that the target may look at, see `Task.reach`.
        """
        if self.borders is None:
            return np.ones(len(samples), bool)
        ends = [0, *(round(share * n_reference) for share in self.borders), n_reference]
        part = ROLES.index(role)
        low, high = ends[part], ends[part + 1]
        inside = np.ones(samples.starts.shape, bool)
        if low > 0:
            inside &= samples.last + 1 - spec.observed >= low + spec.length
        if high < n_reference:
            inside &= samples.last + reach < high
        return np.asarray(inside.all(axis=1))


@dataclass(frozen=True)
class Split:
    """The folds of a run.

    Attributes:
        kind: As in `SplitConfig`.
        unit: What the split promises to keep apart, of `UNITS`.
        clusters: Episode -> unit of inference (participant, else session, else the episode).
        sessions: Episode -> session, where known.
        folds: One for a plain split.
        windows: The window spec; part of the hash.
        participants: Episode -> participant, where known.
        allow_copies: As in `SplitConfig`, sorted.
    """

    kind: str
    unit: str
    clusters: dict[str, str]
    sessions: dict[str, str | None]
    folds: tuple[Fold, ...]
    windows: dict[str, Any] = field(default_factory=dict)
    participants: dict[str, str | None] = field(default_factory=dict)
    allow_copies: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """Of everything that decides which samples are in which role."""
        body, there = asdict(self), set(self.episodes)
        for name in ("clusters", "sessions", "participants"):  # an episode that takes no part decides nothing
            body[name] = {episode: unit for episode, unit in body[name].items() if episode in there}
        if not self.allow_copies:
            del body["allow_copies"]
        return sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def test_hash(self) -> str:
        """Of the held-out set alone: the episodes that any fold tests, and what a table or imported rows say of their content."""
        content = {name: value for name, value in self.windows.items() if name not in WindowSpec.__dataclass_fields__}
        body = {"test": sorted({e for fold in self.folds for e in fold.test}), **content}
        return sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def episodes(self) -> tuple[str, ...]:
        """Every episode of any role, sorted."""
        return tuple(sorted({e for fold in self.folds for role in ROLES for e in fold.episodes(role)}))

    @property
    def refit_ratio(self) -> float:
        """Test clusters per training cluster of a fold, where there are several; see `harness.stats.estimate`."""
        if len(self.folds) < 2:
            return 0.0
        sizes = [({self.clusters[e] for e in f.test}, {self.clusters[e] for e in f.train}) for f in self.folds]
        return sum(len(test) / len(train) for test, train in sizes) / len(sizes)

    def shared(self) -> dict[str, list[str]]:
        """`session` and `participant` -> those on both sides of a fold: above the split's unit they cap the evidence."""
        above = {"session": self._on_both_sides(self.sessions), "participant": self._on_both_sides(self.participants)}
        return {**above, **({"copy": list(self.allow_copies)} if self.allow_copies else {})}

    def allows(self, one: str, other: str) -> bool:
        """Whether two episodes that are taken for one recording may stand on both sides."""
        return bool({f"{one}={other}", f"{other}={one}"} & set(self.allow_copies))

    def _on_both_sides(self, unit_of: Mapping[str, str | None]) -> list[str]:
        shared: set[str] = set()
        for fold in self.folds:
            fitted = {unit_of.get(e) for e in (*fold.train, *fold.validation)} - {None}
            shared |= {unit for e in fold.test if (unit := unit_of.get(e)) in fitted and unit is not None}
        return sorted(shared)

    def save(self, path: Path) -> None:
        """Write `split.json`."""
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(json.dumps({**asdict(self), "hash": self.hash}, indent=1, sort_keys=True))
        partial.replace(path)

    @staticmethod
    def load(path: Path) -> "Split":
        """Read `split.json`.

        Raises:
            BadInput: Its content does not give the hash it states.
        """
        body = json.loads(path.read_text())
        stated = body.pop("hash")
        body["folds"] = tuple(_fold(f) for f in body["folds"])
        body["allow_copies"] = tuple(body["allow_copies"])
        split = Split(**body)
        if split.hash != stated:
            raise BadInput(f"{path}: the split was changed after it was frozen (hash {stated}, content {split.hash})")
        return split


def _fold(body: dict[str, Any]) -> Fold:
    borders = tuple(body["borders"]) if body["borders"] else None
    return Fold(body["id"], tuple(body["train"]), tuple(body["validation"]), tuple(body["test"]), borders)


def make_split(refs: list[EpisodeRef], config: SplitConfig, spec: WindowSpec, unlisted: Collection[str] = ()) -> Split:
    """The split of these episodes.

    Args:
        refs: Every episode that can be listed.
        config: How to split.
        spec: Windows.
        unlisted: Ids of episodes that are there and cannot be listed: a role may name them, and goes on without.

    Raises:
        BadInput: Unknown kind, empty role, an episode in two roles, or too few sessions.
    """
    if config.episodes is not None:
        chosen = set(resolve_episodes(refs, config.episodes, "split.episodes", unlisted))
        refs = [ref for ref in refs if ref.id in chosen]
    kind = "explicit" if is_explicit(config) else config.kind or _default_kind(refs)
    if kind not in KINDS:
        raise BadInput(f"split.kind={kind!r} is not known{suggest(kind, list(KINDS))}")
    if config.unit is not None and kind != "explicit":
        raise BadInput(f"split.unit={config.unit} goes with roles that are named; split.kind={kind} has a unit of its own")
    if kind == "explicit":
        folds, unit = _explicit(refs, config, unlisted)
    else:
        folds, unit = {
            "held_out_episode": _held_out_episode,
            "held_out_session": _held_out_session,
            "held_out_participant": _held_out_participant,
            "leave_one_episode_out": _leave_one_episode_out,
            "leave_one_session_out": _leave_one_session_out,
            "leave_one_participant_out": _leave_one_participant_out,
            "chronological": _chronological,
        }[kind](refs, config)
    for fold in folds:
        for role in ("train", "test"):
            if not fold.episodes(role):
                raise BadInput(f"split.kind={kind}: no episode to {role} on in fold {fold.id}; give split.{role}=...")
    units = [{ref.id: getattr(ref, name) for ref in refs} for name in ("cluster", "session", "participant")]
    for pair in config.allow_copies:
        strangers = sorted({pair} if pair.count("=") != 1 else set(pair.split("=")) - set(units[0]))
        if strangers:
            raise BadInput(f"split.allow_copies: {strangers[0]!r} is no episode of the split; give pairs of ids, [a=b]")
    allowed = tuple(sorted(set(config.allow_copies)))
    return Split(kind, unit, units[0], units[1], tuple(folds), asdict(spec), units[2], allowed)


def _default_kind(refs: list[EpisodeRef]) -> str:
    return "held_out_session" if len({r.session for r in refs if r.session}) >= 3 else "held_out_episode"


def _ids(refs: list[EpisodeRef]) -> tuple[str, ...]:
    return tuple(sorted(ref.id for ref in refs))


def is_explicit(config: SplitConfig) -> bool:
    """True where roles are named."""
    return any(getattr(config, role) is not None for role in ROLES)


def _explicit(refs: list[EpisodeRef], config: SplitConfig, unlisted: Collection[str]) -> tuple[list[Fold], str]:
    roles = {role: resolve_episodes(refs, getattr(config, role), f"split.{role}", unlisted) for role in ROLES}
    for i, one in enumerate(ROLES):
        for other in ROLES[i + 1 :]:
            both = sorted(set(roles[one]) & set(roles[other]))
            if both:
                raise BadInput(f"split.{one} and split.{other} share episodes {', '.join(both[:5])}: take them out of one")
    unit = config.unit or "episode"
    if unit not in UNITS[1:]:
        raise BadInput(f"split.unit={unit!r} is not known{suggest(unit, list(UNITS[1:]))}")
    if unit != "episode":
        _check_apart(roles, _units(refs, unit, 1), unit)
    return [Fold(0, roles["train"], roles["validation"], roles["test"])], unit


def _check_apart(roles: Mapping[Role, tuple[str, ...]], unit_of: Mapping[str, str], unit: str) -> None:
    fitted = {unit_of[e]: e for e in (*roles["train"], *roles["validation"])}
    for episode in roles["test"]:
        if other := fitted.get(unit_of[episode]):
            raise BadInput(f"split.unit={unit}: {other} and {episode}, which is tested, share {unit} {unit_of[episode]}")


def resolve_episodes(refs: list[EpisodeRef], wanted: Any, key: str, unlisted: Collection[str] = ()) -> tuple[str, ...]:
    """Episode ids of `0-49,52`, of a list of numbers, or of ids; sorted.

    `unlisted` ids, and the numbers that are theirs, are left out.

    Raises:
        BadInput: An id or a number that the data set does not have.
    """
    if wanted is None:
        return ()
    parts = [str(p).strip() for p in (wanted if isinstance(wanted, (list, tuple)) else str(wanted).split(","))]
    ids = {ref.id for ref in refs}
    # Where every id is a number (groups of a table), a range means these and not the ranks of their episodes.
    numbered = all(ref.id.isdecimal() for ref in refs)
    by_index = {int(ref.id) if numbered else ref.index: ref.id for ref in refs}
    excused = _numbers_of(unlisted, by_index)
    out: set[str] = set()
    for part in filter(None, parts):
        low, dash, high = part.partition("-")
        if part in ids:
            out.add(part)
        elif low.isdigit() and (not dash or high.isdigit()):
            numbers = range(int(low), int(high if dash else low) + 1)
            if not numbers:
                raise BadInput(f"{key}={part}: an empty range; write the smaller number first")
            missing = [n for n in numbers if n not in by_index and n not in excused]
            if missing:
                raise BadInput(
                    f"{key}={part}: no episode number {missing[0]}; the data set has {len(refs)} from {min(by_index)} "
                    f"to {max(by_index)}"
                )
            out.update(by_index[n] for n in numbers if n in by_index)
        elif part not in unlisted:
            raise BadInput(f"{key}={part}: no such episode{suggest(part, sorted(ids)[:50])}")
    if not out and not excused:
        raise BadInput(f"{key}={wanted}: names no episode; leave it out or name one")
    return tuple(sorted(out))


def _numbers_of(unlisted: Collection[str], by_index: Mapping[int, str]) -> set[int]:
    """The numbers of episodes that cannot be listed: those in LeRobot's names; else the ranks that no listed episode has."""
    named = {int(match[1]) for name in unlisted if (match := _NUMBERED.fullmatch(name))}
    ranked = sum(not _NUMBERED.fullmatch(name) for name in unlisted)
    return named | (set(range(len(by_index) + ranked)) - set(by_index) if ranked else set())


def _shares(units: list[str], config: SplitConfig) -> tuple[set[str], set[str]]:
    """Units of test and validation, drawn in a seeded order; at least one each while two remain, and none where none is asked."""
    order = [units[i] for i in np.random.default_rng(config.seed).permutation(len(units))]
    n_test = max(1, round(config.test_share * len(units)))
    validates = config.validation_share > 0 and len(units) - n_test > 1
    n_validation = max(1, round(config.validation_share * len(units))) if validates else 0
    return set(order[:n_test]), set(order[n_test : n_test + n_validation])


def _by_unit(refs: list[EpisodeRef], unit: dict[str, str], config: SplitConfig) -> list[Fold]:
    test, validation = _shares(sorted(set(unit.values())), config)
    parts = {
        "test": [r for r in refs if unit[r.id] in test],
        "validation": [r for r in refs if unit[r.id] in validation],
        "train": [r for r in refs if unit[r.id] not in test | validation],
    }
    return [Fold(0, _ids(parts["train"]), _ids(parts["validation"]), _ids(parts["test"]))]


def _held_out_episode(refs: list[EpisodeRef], config: SplitConfig) -> tuple[list[Fold], str]:
    return _by_unit(refs, {ref.id: ref.id for ref in refs}, config), "episode"


def _units(refs: list[EpisodeRef], unit: str, least: int) -> dict[str, str]:
    """Episode -> session or participant.

    Raises:
        BadInput: An episode has none, or there are too few.
    """
    found = {ref.id: getattr(ref, unit) for ref in refs}
    without = [episode for episode, name in found.items() if name is None]
    if without:
        cure = "set session_pattern in the card or " if unit == "session" else ""
        raise BadInput(
            f"the split needs {unit}s and {len(without)} episodes have none ({without[0]}, ...): {cure}use "
            "split.kind=held_out_episode"
        )
    if len(set(found.values())) < least:
        raise BadInput(f"the split needs {least} {unit}s, the data set has {len(set(found.values()))}")
    return {episode: str(name) for episode, name in found.items()}


def _held_out_session(refs: list[EpisodeRef], config: SplitConfig) -> tuple[list[Fold], str]:
    return _by_unit(refs, _units(refs, "session", 2), config), "session"


def _held_out_participant(refs: list[EpisodeRef], config: SplitConfig) -> tuple[list[Fold], str]:
    return _by_unit(refs, _units(refs, "participant", 2), config), "participant"


def _leave_one_session_out(refs: list[EpisodeRef], config: SplitConfig) -> tuple[list[Fold], str]:
    return _leave_one_out(refs, _units(refs, "session", _fewest(config)), config), "session"


def _leave_one_participant_out(refs: list[EpisodeRef], config: SplitConfig) -> tuple[list[Fold], str]:
    return _leave_one_out(refs, _units(refs, "participant", _fewest(config)), config), "participant"


def _leave_one_episode_out(refs: list[EpisodeRef], config: SplitConfig) -> tuple[list[Fold], str]:
    if len(refs) < _fewest(config):
        raise BadInput(f"split.kind=leave_one_episode_out needs {_fewest(config)} episodes, there are {len(refs)}")
    return _leave_one_out(refs, {ref.id: ref.id for ref in refs}, config), "episode"


def _fewest(config: SplitConfig) -> int:
    """Units of which each can be left out: one tests, one trains, and one validates unless none is to."""
    return 3 if config.validation_share > 0 else 2


def _leave_one_out(refs: list[EpisodeRef], unit: dict[str, str], config: SplitConfig) -> list[Fold]:
    """Each unit is tested once; the next one (cyclically) validates, so early stopping never sees the test unit.

    With `validation_share=0` none validates, and all others train.
    """
    names = sorted(set(unit.values()))
    folds = []
    for i, held_out in enumerate(names):
        checker = names[(i + 1) % len(names)] if config.validation_share > 0 else None
        parts = {
            "test": [r for r in refs if unit[r.id] == held_out],
            "validation": [r for r in refs if unit[r.id] == checker],
            "train": [r for r in refs if unit[r.id] not in (held_out, checker)],
        }
        folds.append(Fold(i, _ids(parts["train"]), _ids(parts["validation"]), _ids(parts["test"])))
    return folds


def _chronological(refs: list[EpisodeRef], config: SplitConfig) -> tuple[list[Fold], str]:
    everyone = _ids(refs)
    train_end = 1.0 - config.test_share - config.validation_share
    if not 0 < train_end < 1:
        raise BadInput("split.test_share + split.validation_share must be below 1")
    validation = everyone if config.validation_share > 0 else ()
    return [Fold(0, everyone, validation, everyone, (train_end, 1.0 - config.test_share))], "interval"
