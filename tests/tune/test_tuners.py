"""Arms side by side: what an interrupt leaves in the journal."""

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from tune import tuners
from tune.halving import halving
from tune.journal import Journal
from tune.tuners import Arm, outcome_of, run_arms


def test_ctrl_c_while_an_arm_waits_for_its_turn_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two arms one runs on the only CPU; its actor dies of the interrupt, which is no result."""
    journal, died = Journal(tmp_path / "journal.jsonl"), threading.Event()
    arms = [Arm(name, [{}, {}], halving(2, in_part=False), None, {}, journal, lambda *_: None) for name in ("one", "two")]
    for arm in arms:
        arm.advance()

    def interrupted(plan: Any, arm: Arm, folder: Path, begun: threading.Event) -> None:
        begun.set()
        time.sleep(0.1)  # the main thread goes on to the next arm
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        for _ in range(100):
            if not arm.stopped:
                time.sleep(0.05)
        arm.ended(outcome_of(None))
        died.set()

    monkeypatch.setattr(ray, "put", lambda plan: plan)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 1.0})
    monkeypatch.setattr(tuners, "_tune", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_arms(None, arms, tmp_path / "tune")  # type: ignore[arg-type]
    assert died.wait(10.0) and not journal.trials and all(arm.stopped for arm in arms)
