"""Text as a bag of hashed words: no vocabulary, so nothing is fitted and no episode is special."""

import re
from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode
from harness.features.base import Block
from harness.features.held import Held
from harness.features.track import StatisticsBlock
from harness.timeline import frame_codes, frame_sets

BUCKETS = 128
TEXT_DIMS = tuple(f"bucket{i}" for i in range(BUCKETS))
_WORD = re.compile(r"\w+")


def bag_of_words(text: str) -> NDArray[np.float32]:
    """(128,) whole numbers: every word adds its sign to its bucket; both come from a hash of the word in lower case."""
    bag = np.zeros(BUCKETS, np.float32)
    for word in _WORD.findall(text.lower()):
        digest = blake2b(word.encode(), digest_size=8).digest()
        bag[int.from_bytes(digest[:4], "little") % BUCKETS] += 1 if digest[4] & 1 else -1
    return bag


@lru_cache(maxsize=256)
def _bags(texts: tuple[str, ...]) -> NDArray[np.float32]:
    """(K + 1, 128) bags of the categories of one track, and a last one of no text, which is that of code -1."""
    bags = np.stack([*map(bag_of_words, texts), np.zeros(BUCKETS, np.float32)])
    bags.flags.writeable = False
    return bags


def unit_length(bags: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (n, 128) scaled to Euclidean length 1; rows of zeros stay."""
    norm = np.sqrt(np.square(bags).sum(axis=1, keepdims=True))
    scaled: NDArray[np.float32] = bags / np.where(norm > 0, norm, np.float32(1))
    return scaled


@dataclass(frozen=True)
class CaptionTextBlock(StatisticsBlock):
    """Statistics of the hashed words of the object names and the interaction sentence of each sample.

    Words of both add up before the bag is scaled to length 1, as in one text. Samples that nothing is said of are not measured.
    """

    def possible(self, tracks: Container[str]) -> bool:
        """True where there is either of the two tracks."""
        return any(name in tracks for name in self.reads)

    def held(self, episode: Episode) -> Held:
        """See `StatisticsBlock`."""
        objects, interaction = (episode.tracks.get(name) for name in self.reads)
        timeline = episode.timeline
        bags = np.zeros((len(timeline), BUCKETS), np.float32)
        said = np.zeros(len(timeline), bool)
        if objects is not None:
            present, known = frame_sets(objects, timeline)
            present &= known[:, None]
            # Sums of whole numbers: exact, in whatever order.
            bags += present.astype(np.float32) @ _bags(objects.names)[:-1]
            said |= present.any(axis=1)
        if interaction is not None:
            codes = frame_codes(interaction, timeline)
            bags += _bags(interaction.categories)[codes]
            said |= codes >= 0
        return Held(unit_length(bags), None if said.all() else np.repeat(said[:, None], BUCKETS, axis=1))


@dataclass(frozen=True)
class InstructionBlock(Block):
    """The hashed words of the instruction in force at t0, the last sample of the window, scaled to length 1."""

    def columns(self, episode: Episode) -> list[str]:
        """See `Block`."""
        return list(TEXT_DIMS)

    def fixed_columns(self) -> list[str] | None:
        """See `Block`."""
        return list(TEXT_DIMS)

    def compute(self, episode: Episode, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.float32], BoolArray]:
        """See `Block`."""
        track = episode.tracks[self.reads[0]]
        codes = frame_codes(track, episode.timeline)[starts + length - 1]
        return unit_length(_bags(track.categories))[codes], codes >= 0
