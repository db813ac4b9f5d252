"""Between Ray Tune and an arm: asked for a configuration it gives the arm's next job, and it waits while one is running."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from tune.tuners import Arm, outcome_of


class Search(Searcher):
    """Gives the jobs of an arm to Ray Tune.

    Args:
        arm: At its first job.
        begun: Called when Ray Tune asks for the first time.
    """

    def __init__(self, arm: Arm, begun: Callable[[], None]) -> None:
        super().__init__(metric="objective", mode="min")
        self.arm = arm
        self.begun = begun
        self.running = False

    def suggest(self, trial_id: str) -> Any:
        """The next job; None while one runs; `FINISHED` after the last."""
        self.begun()
        if self.running:
            return None
        if self.arm.job is None:
            return Searcher.FINISHED
        self.running = True
        self.arm.tell(self.arm.name, self.arm.job, None)
        return self.arm.key()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Hand the result on; an actor that died leaves none."""
        self.running = False
        self.arm.ended(outcome_of(None if error else result))

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune writes searchers to disk, and the journal is what a resumed selection reads."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing, see `__getstate__`."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see `__getstate__`."""
