"""The questions that published JSON answers are about. Their targets come with the rows of `espalier import`.

They are defined otherwise than the tasks of the suite that sound alike (which window, which share, which horizon), so they have
ids of their own and share no column with them. No recording poses them: only imported rows do.
"""

from typing import ClassVar

import numpy as np

from harness.answers import Targets
from harness.episode import Episode
from harness.tasks.base import Task
from harness.window import Samples, WindowSpec

FROM_ROWS = "rows that were imported"  # matches the name of no track


class QaTask(Task):
    """One field of a JSON answer.

    Attributes:
        field: Key of the answer; empty where the answer as a whole is asked about.
        words: The only answers there are; empty where any text may be one.
    """

    field: ClassVar[str] = ""
    words: ClassVar[tuple[str, ...]] = ()
    requires = (FROM_ROWS,)
    ceiling = 1.0

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """Nothing is valid: a recording does not pose the task."""
        n = len(samples)
        if self.answer == "label":
            return Targets(np.zeros(n, bool), labels=np.full(n, -1, np.int32))
        return Targets(np.zeros(n, bool), label_sets=np.zeros((n, 0), bool))


class QaLabel(QaTask):
    """One label. The rows come without training labels, so the floor is made of the test rows and says so."""

    answer = "label"
    metric = "harness.metrics.macro_f1:MacroF1"
    floor = "majority_of_test"
    open_vocabulary = True


class QaAction(QaLabel):
    """The action of the window, as the published label match read it out of the text."""

    id = "qa_action"
    title = "JSON answer: action of the window"
    field = "action"


class QaSubtask(QaLabel):
    """The subtask of the window."""

    id = "qa_subtask"
    title = "JSON answer: subtask of the window"
    field = "subtask"


class QaTransition(QaLabel):
    """Whether the window has more than one action."""

    id = "qa_transition"
    title = "JSON answer: does the action change in the window?"
    field = "transition"
    words = ("no", "yes")
    open_vocabulary = False


class QaNextAction(QaLabel):
    """The action of the window of equal length that follows."""

    id = "qa_next_action"
    title = "JSON answer: action of the following window"
    field = "next_action"
    copies = "qa_action"


class QaContact(QaLabel):
    """Whether anything is touched in the window."""

    id = "qa_contact"
    title = "JSON answer: is anything touched in the window?"
    field = "contact"
    words = ("no", "yes")
    open_vocabulary = False


class QaObjects(QaTask):
    """The objects of the window, by their exact names."""

    id = "qa_objects"
    title = "JSON answer: objects of the window"
    field = "objects"
    answer = "label_set"
    metric = "harness.metrics.micro_f1:MicroF1"
    floor = "prior_of_test"
    open_vocabulary = True


class QaJson(QaTask):
    """Whether the text is a JSON answer of the strict schema: the seven keys, their types, at most eight objects.

    One valid text given everywhere has it all, and that is the floor: validity is a condition of the other answers, no skill.
    """

    id = "qa_json"
    title = "JSON answer: is it of the schema?"
    answer = "label"
    words = ("valid",)
    metric = "harness.metrics.validity:Validity"
    floor = "fixed_answer"
    asks_for_one_answer = True
