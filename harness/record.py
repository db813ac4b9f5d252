"""What ingest found out about one episode: it travels with the episode's targets."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from harness.card import first_line
from harness.errors import BadInput

RECORD = b"espalier.episode"  # key of an episode's record in the metadata of its targets file
# Characters of a file stem. File systems take names of 255 bytes; up to 63 of them stand round a stem while it is written.
LONGEST_STEM = 160


def file_stem(episode: str) -> str:
    """An episode id as part of a file name: ids of tables are whatever stands in a column (`lab/3`, `../x`, nothing).

    Two ids never share a stem: a long one ends in `%~` and a hash of the whole, which no short one contains.
    """
    stem = quote(episode, safe=" ") or "%"
    if len(stem) <= LONGEST_STEM:
        return stem
    mark = f"%~{hashlib.sha256(episode.encode()).hexdigest()[:32]}"
    return stem[: LONGEST_STEM - len(mark)] + mark


FINGERPRINT_VERSION = 3
"""Bumped where `harness.leakage` writes other fingerprints or prints: episodes are ingested again then."""


@dataclass(frozen=True)
class EpisodeRecord:
    """What ingest found out about one episode; it travels with the episode's targets.

    Attributes:
        id: Episode id.
        key: Of the episode in the track store.
        n_reference: Reference samples.
        tracks: Recorded tracks -> rate in Hz (None: untimed).
        lacking: Track -> why it is not there.
        block_widths: Feature block -> columns, for the blocks this episode has.
        shapes: Task -> shape of one vector target.
        tasks: Tasks this episode poses.
        considered: Tasks that were asked about.
        features: Feature blocks that were asked about.
        decoded_frames: Video track -> frames decoded by this ingest (0 where the store had them).
        seconds: Wall time of the ingest.
        sensors: Modalities that the episode measures, sorted; labels and calibration are none.
        fingerprint: Version of the fingerprint beside the targets, which may be empty; 0 where none was made.
    """

    id: str
    key: str
    n_reference: int
    tracks: dict[str, float | None]
    lacking: dict[str, str]
    block_widths: dict[str, int]
    shapes: dict[str, list[int]]
    tasks: list[str]
    considered: list[str] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    decoded_frames: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    sensors: list[str] = field(default_factory=list)
    fingerprint: int = FINGERPRINT_VERSION

    def to_metadata(self) -> dict[bytes, bytes]:
        """As Parquet schema metadata."""
        return {RECORD: json.dumps(asdict(self), sort_keys=True).encode()}

    @staticmethod
    def from_file(path: Path) -> "EpisodeRecord":
        """Of a targets file.

        Raises:
            BadInput: It is damaged.
        """
        try:
            return EpisodeRecord(**{"fingerprint": 0, **json.loads(pq.read_schema(path).metadata[RECORD])})
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{path}: damaged ({first_line(error)}); remove it and run again") from error
