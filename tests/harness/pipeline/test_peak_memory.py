"""The peak of one piece of work does not carry over to the next."""

import sys
from pathlib import Path

import numpy as np
import pytest

from harness.pipeline import memory
from harness.pipeline.memory import peak_gib, reset_peak

GIB = 2**30


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can only be reset on Linux")
def test_a_peak_is_forgotten() -> None:
    reset_peak()
    before = peak_gib()
    assert np.ones(GIB // 4, np.uint8).sum() and peak_gib() > before + 0.2
    reset_peak()
    assert peak_gib() < before + 0.1


def test_without_proc_it_is_the_peak_of_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "PROC", tmp_path / "none")
    reset_peak()
    assert peak_gib() > 0
