"""A data set with an episode that kills whoever reads it."""

import os
import signal
from pathlib import Path

from harness.card import Card
from harness.dataset import Dataset
from harness.episode import Episode, EpisodeRef


class Deadly(Dataset):
    """Episodes in the Xperience layout; `s1__ep1` cannot be survived."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, Card(name="deadly", format="xperience10m"))

    def read(self, ref: EpisodeRef) -> Episode:
        if ref.id == "s1__ep1":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(ref)
