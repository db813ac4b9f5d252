"""Opening a data set: from what the user typed to a card, a reader and a list of episodes."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from harness.card import Card, bundled_cards, load_card, suggest
from harness.config import RunConfig
from harness.episode import Episode, EpisodeRef
from harness.errors import BadInput
from harness.manifest import code_version
from harness.readers import Reader, reader_class, recognise

DEMO_EPISODES = 8
DEMO_SEED = 0


def home() -> Path:
    """Where Espalier keeps what it makes for itself: `$ESPALIER_HOME`, else `~/.cache/espalier`."""
    return Path(os.environ.get("ESPALIER_HOME") or Path.home() / ".cache" / "espalier")


@dataclass(frozen=True)
class Dataset:
    """A data set that can be read, here or in a worker.

    Attributes:
        root: Folder or file.
        card: What its files do not say.
        inferred: True where no card was found and one was made from the metadata.
    """

    root: Path
    card: Card
    inferred: bool = False

    def reader(self) -> Reader:
        """A reader; cheap, made anew in every worker."""
        return reader_class(self.card.format)(self.root, self.card)

    def list_episodes(self) -> tuple[list[EpisodeRef], list[tuple[str, str, str]]]:
        """References sorted by id, and (episode, path, reason) of those that cannot be listed."""
        return self.reader().list_episodes()

    def read(self, ref: EpisodeRef) -> Episode:
        """One episode; see `Reader.read`."""
        return self.reader().read(ref)


def open_dataset(name: str, config: RunConfig | None = None, passed: Any = None) -> Dataset:
    """The data set that a card name, a card file, a folder or a table means.

    Args:
        name: As typed.
        config: Its `table.*` and `xperience.*` options override the card's where they were passed.
        passed: What was passed, without defaults.

    Raises:
        BadInput: Neither a card nor a data set.
    """
    cards = bundled_cards()
    if name in cards:
        dataset = _from_card(cards[name])
    else:
        path = Path(name).expanduser()
        if path.suffix in (".yaml", ".yml") and path.is_file():
            dataset = _from_card(path)
        elif path.exists():
            dataset = _from_path(path.resolve(), cards)
        else:
            raise BadInput(f"data set {name!r}: neither a card nor a path that exists{suggest(name, sorted(cards))}")
    return _with_overrides(dataset, config, passed)


def _from_card(path: Path) -> Dataset:
    card = load_card(path)
    if card.root is not None:
        root = (path.parent / Path(card.root).expanduser()).resolve()
        if not root.exists():
            raise BadInput(f"card {path}: root {root} does not exist; correct `root:` or pass the folder itself")
        return Dataset(root, card)
    if card.name != "demo":
        raise BadInput(f"card {card.name!r} has no root: pass the path of your copy instead of the card's name")
    return Dataset(demo_root(), card)


def demo_root() -> Path:
    """The demo episodes, written on first use."""
    from harness.demo import write_demo  # noqa: PLC0415  (the simulator is only needed the first time)

    root = home() / "demo" / f"{code_version('harness.demo')}-{DEMO_EPISODES}-{DEMO_SEED}"
    if not root.is_dir():
        partial = root.with_name(f".{root.name}.{os.getpid()}.partial")
        write_demo(partial, DEMO_EPISODES, DEMO_SEED)
        try:
            partial.rename(root)
        except OSError:  # another process was first: its copy has the same bytes
            if not root.is_dir():
                raise
    return root


def _from_path(path: Path, cards: dict[str, Path]) -> Dataset:
    name = recognise(path)
    cls = reader_class(name)
    found = cls.fingerprint(path)
    for file in cards.values():
        card = load_card(file)
        wanted = {key: str(value) for key, value in card.fingerprint.items()}
        if card.format == name and wanted and all(found.get(key) == value for key, value in wanted.items()):
            return Dataset(path, card)
    return Dataset(path, cls(path, Card(format=name)).infer(), inferred=True)


def _with_overrides(dataset: Dataset, config: RunConfig | None, passed: Any) -> Dataset:
    if config is None or passed is None:
        return dataset
    changes: dict[str, Any] = {}
    for part in ("table", "xperience"):
        if part in passed:
            merged = OmegaConf.merge(OmegaConf.structured(getattr(dataset.card, part)), passed[part])
            changes[part] = OmegaConf.to_object(merged)
    return replace(dataset, card=replace(dataset.card, **changes)) if changes else dataset
