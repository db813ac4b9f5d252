"""The data-set card: everything about a data set that is not in its files, and what is uncertain about the format.

A new data set is a card; only a new on-disk format is code. Cards bundled with Espalier stand in `datasets/<name>/card.yaml`.
"""

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from harness.errors import BadInput


@dataclass
class ActionGroup:
    """Dimensions of the command that belong together and share a unit.

    Attributes:
        dims: Half-open ranges `a:b` or single dimensions, e.g. ["0:7", "13"].
        unit: Physical unit of these dimensions.
    """

    dims: list[str] = field(default_factory=list)
    unit: str = ""

    def indices(self) -> list[int]:
        """The dimensions as a list of integers."""
        out: list[int] = []
        for part in self.dims:
            low, _, high = str(part).partition(":")
            out.extend(range(int(low), int(high)) if high else [int(low)])
        return out


@dataclass
class XperienceOptions:
    """What public documents leave open about the Xperience-10M files.

    Attributes:
        world_to_body: True: `slam/quat_wxyz, trans_xyz` are the world->body transform; False: body in world.
        depth_to_metres: Multiplies stored depth; null takes floating-point depth as metres and multiplies integer depth by
            `depth/scale` (in the public loader that number is the size of the maps relative to the image).
        accelerometer_to_si: Multiplies the stored acceleration to give m/s^2.
        gyroscope_to_si: Multiplies the stored angular velocity to give rad/s.
        body_root: What joint 0 of the body is, which features are relative to: `keypoint0` as it stands in the joints, or the
            place of `Ts_world_root`.
        frame_numbers_from: First frame number in caption references of the form `frame_000123` and small integers.
        timestamps_from: Integers from here up are device timestamps, below they are frame numbers.
    """

    world_to_body: bool = True
    depth_to_metres: float | None = None
    accelerometer_to_si: float = 1.0
    gyroscope_to_si: float = 1.0
    body_root: str = "keypoint0"
    frame_numbers_from: int = 1
    timestamps_from: int = 100_000_000


@dataclass
class TableOptions:
    """Which columns of a plain table are what.

    Attributes:
        group: Column whose values name the episodes (clusters).
        target: Numeric column to predict.
        features: Numeric input columns.
        content: Column of what a row is about (a clip, a scene): groups with equal values share content. Never a feature.
    """

    group: str | None = None
    target: str | None = None
    features: list[str] = field(default_factory=list)
    content: str | None = None


@dataclass
class Card:
    """One data set.

    Attributes:
        name: Short name, as typed on the command line.
        format: `xperience10m`, `lerobot` or `table`.
        root: Where the data stand; null where the path is given on the command line or generated (`demo`).
        title: One line for tables.
        licence: Licence of the recordings.
        source: Where the recordings come from.
        simulated: True caps every result at the evidence grade `mock`.
        reference: Name of the reference track; null takes the video (or the only clock) the reader finds.
        modalities: What an episode should have; what it lacks is reported as coverage. Empty takes what the metadata declare.
        action_groups: Named parts of the command, for per-group errors.
        fingerprint: What recognises this data set when a bare folder is given: metadata key -> value.
        ignore: Declared tracks that exist in no file (metadata known to be wrong); they are not reported as lacking.
        session_pattern: Regular expression over the episode id whose first group is the session; null: as the format has it.
        split: Frozen split of this data set: the keys of `split.*` on the command line.
        tasks: Tasks that run when none is named; empty takes all that the data can answer.
        xperience: Options of the Xperience-10M format.
        table: Options of the table format.
    """

    name: str = "unnamed"
    format: str = ""
    root: str | None = None
    title: str = ""
    licence: str = "unknown"
    source: str = ""
    simulated: bool = False
    reference: str | None = None
    modalities: list[str] = field(default_factory=list)
    action_groups: dict[str, ActionGroup] = field(default_factory=dict)
    fingerprint: dict[str, Any] = field(default_factory=dict)
    ignore: list[str] = field(default_factory=list)
    session_pattern: str | None = None
    split: dict[str, Any] = field(default_factory=dict)
    tasks: list[str] = field(default_factory=list)
    xperience: XperienceOptions = field(default_factory=XperienceOptions)
    table: TableOptions = field(default_factory=TableOptions)


def bundled_cards() -> dict[str, Path]:
    """Name -> card file of every card that comes with Espalier.

    In a wheel the cards are data of `harness`; in a checkout they stand in the top-level folder `datasets/`.
    """
    here = Path(__file__).resolve().parent
    for root in (here / "_cards", here.parent / "datasets"):
        if root.is_dir():
            return {path.parent.name: path for path in sorted(root.glob("*/card.yaml"))}
    return {}


def load_card(path: Path) -> Card:
    """Read and check one card file.

    Raises:
        BadInput: The file is not YAML, or has a key or a type that a card does not have.
    """
    try:
        loaded = OmegaConf.load(path)
        card = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Card), loaded))
    except (OmegaConfBaseException, OSError, ValueError, YAMLError) as error:
        raise BadInput(f"card {path}: {first_line(error)}; see the attributes of harness.card.Card") from error
    assert isinstance(card, Card)
    return card


def first_line(error: BaseException) -> str:
    """The first line of an exception's message: messages of libraries run over many."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def suggest(word: str, known: list[str]) -> str:
    """`; did you mean X?` for the nearest known word, else the list of known words."""
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
