"""Ray Tune at work: one Tuner per branch, several side by side where the machine holds them, one reused actor in each."""

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.card import first_line
from harness.errors import WorkFailed
from harness.pipeline.plan import Plan
from tune.halving import Job, Jobs
from tune.journal import Journal

QUIET = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_DISABLE_SIGINT_HANDLER": "1", "RAY_AIR_NEW_OUTPUT": "0"}
DIED = "its worker died (out of memory, or a crash in a library)"
Tell = Callable[[str, Job, dict[str, Any] | None], None]


@dataclass(eq=False)
class Arm:
    """One branch on its way through its jobs; what the journal holds is not run again.

    Attributes:
        name: Branch id.
        options: By number of the configuration: all options of the branch but those that say how long it trains.
        jobs: See `halving`.
        steps: Option for its length, and its full value; None where every job is in full.
        resources: Of its actor, for Ray.
        journal: Shared by all arms.
        tell: Called with the arm's name, a job and, when it has ended, its journal entry.
        chosen: Number of the chosen configuration, once it is known.
        stopped: True once the user has stopped the selection: what Ray then reports of its dying actors is no result.
    """

    name: str
    options: list[dict[str, Any]]
    jobs: Jobs
    steps: tuple[str, int] | None
    resources: dict[str, float]
    journal: Journal
    tell: Tell
    chosen: int | None = None
    job: Job | None = None
    stopped: bool = False

    def advance(self, objective: float | None = None) -> None:
        """Go to the next job that has not been done."""
        try:
            self.job = self.jobs.send(objective)
            while done := self.journal.find(self.key()):
                self.tell(self.name, self.job, done)
                self.job = self.jobs.send(done["objective"])
        except StopIteration as stop:
            self.job, self.chosen = None, stop.value

    def key(self) -> dict[str, Any]:
        """What names the current job in the journal, and all that its trial needs to know."""
        assert self.job is not None
        options = dict(self.options[self.job.number])
        if self.steps and self.job.share < 1:
            options[self.steps[0]] = max(1, round(self.steps[1] * self.job.share))
        return {
            "branch": self.name,
            "number": self.job.number,
            "rung": self.job.rung,
            "refit": self.job.refit,
            "options": options,
        }

    def ended(self, found: dict[str, Any]) -> None:
        """Keep how the current job ended, and go on."""
        if self.stopped:
            self.job = None
            return
        assert self.job is not None
        entry = self.key() | {"share": self.job.share} | found
        self.journal.add(entry)
        self.tell(self.name, self.job, entry)
        self.advance(found["objective"])


def run_arms(plan: Plan, arms: list[Arm], folder: Path) -> None:
    """Run the jobs of all arms, in the Ray that is there.

    Args:
        plan: The run.
        arms: Each at its first job.
        folder: For Ray Tune's own files, which are removed at the end.

    Raises:
        WorkFailed: Ray Tune itself gave way; the journal holds what is done.
    """
    import ray  # noqa: PLC0415

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what a trial throws stands in the journal
    shared, faults = ray.put(plan), []
    free = threading.Semaphore(max(1, int(ray.cluster_resources().get("CPU", 1.0))))
    threads = []
    shutil.rmtree(folder, ignore_errors=True)

    def work(arm: Arm, begun: threading.Event) -> None:
        try:
            _tune(shared, arm, folder, begun)
        except Exception as error:  # a thread has nobody to raise to
            faults.append(f"Ray Tune on {arm.name}: {type(error).__name__}: {first_line(error)}")
        finally:
            begun.set()
            free.release()

    try:  # whatever stops the selection, Ctrl-C above all, mostly comes while an arm waits for its turn
        for arm in [arm for arm in arms if arm.job is not None]:
            free.acquire()
            begun = threading.Event()
            threads.append(threading.Thread(target=work, args=(arm, begun), daemon=True))
            threads[-1].start()
            begun.wait()  # Ray Tune's registry is not made for two Tuners that start at once
        for thread in threads:
            thread.join()
    except BaseException:
        for arm in arms:
            arm.stopped = True
        raise
    shutil.rmtree(folder, ignore_errors=True)
    if faults:
        raise WorkFailed(f"{faults[0]}; run again with --resume, finished trials are kept")


def _tune(plan: Any, arm: Arm, folder: Path, begun: threading.Event) -> None:
    from ray import tune  # noqa: PLC0415

    from tune.search import Search  # noqa: PLC0415
    from tune.trial import Trial  # noqa: PLC0415

    trainable = tune.with_resources(tune.with_parameters(Trial, plan=plan), arm.resources)
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=Search(arm, begun.set), num_samples=-1, max_concurrent_trials=1, reuse_actors=True
        ),
        run_config=tune.RunConfig(name=arm.name.replace(":", "_"), storage_path=str(folder.absolute()), verbose=0),
    ).fit()


def outcome_of(result: dict[str, Any] | None) -> dict[str, Any]:
    """A trial's last result as the journal keeps it: `objective`, `failed` (one line or None), `seconds`."""
    if result is None or "found" not in result:
        return {"objective": None, "failed": DIED, "seconds": None}
    found: dict[str, Any] = json.loads(result["found"])
    return found
