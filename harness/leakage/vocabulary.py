"""Option lists and prompts: a label that only test windows carry must not stand in what a branch was told."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.bundle import Bundle
from harness.errors import BadInput
from harness.leakage.words import some

if TYPE_CHECKING:
    from harness.held import Held

VOCABULARY = "test-only labels"


def check_vocabulary(bundle: Bundle, held: "Held") -> None:
    """Refuse option lists (`Bundle.classes`) and prompts (`Bundle.prompts`) with labels that only test windows carry.

    A label that any training or validation window carries, whatever the task, can be known.

    Raises:
        BadInput: Names the branch, the part and the labels; also where an imported bundle does not say what it chose from.
    """
    spoken = [task for task in held.tasks if task.answer in ("label", "label_set") and task.id in bundle.routes]
    if not spoken or not 0 <= bundle.fold < len(held.split.folds):
        return
    tested, known = held.words[bundle.fold, "test"], _known(held, bundle.fold)
    only_test = {task.id: tested.get(task.id, frozenset()) - known for task in spoken}
    for task in spoken:
        options = bundle.classes.get(task.id)
        if options is None and bundle.imported:
            raise BadInput(f"bundle {bundle.folder}: {bundle.branch} does not say what it chose from in {task.id}")
        if leaked := sorted(only_test[task.id] & set(options or ())):
            raise BadInput(
                f"bundle {bundle.folder}: the options of {bundle.branch} for {task.id} hold {_quoted(leaked)}, which only test "
                f"windows of fold {bundle.fold} carry; make option lists from the training episodes"
            )
    unknowable = frozenset().union(*only_test.values())
    ours = (task.title for task in held.tasks)
    for number, prompt in enumerate(bundle.prompts):
        if leaked := labels_in(prompt, unknowable, [*known, *ours]):
            raise BadInput(
                f"bundle {bundle.folder}: prompt {number} of {bundle.branch} says {_quoted(leaked)}, which only test windows of "
                f"fold {bundle.fold} carry; make prompts from the training episodes"
            )


def labels_in(text: str, labels: Iterable[str], known: Iterable[str]) -> list[str]:
    """The labels that a text says as whole words, sorted, in any case.

    Args:
        text: A prompt.
        labels: Sought.
        known: What it may say. Where such a phrase contains a label (`pour water`: `pour`), the label is not said there.
    """
    wanted = {label.casefold(): label for label in labels if label.strip()}
    if not wanted:
        return []
    phrases = {phrase.casefold() for phrase in known if phrase.strip()} | set(wanted)
    longest_first = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
    return sorted({wanted[found] for found in pattern.findall(text.casefold()) if found in wanted})


def _known(held: "Held", fold: int) -> frozenset[str]:
    """Every label of any training or validation window."""
    roles = [held.words[fold, "train"], held.words[fold, "validation"]]
    return frozenset().union(*(words for role in roles for words in role.values()), *held.seen.values())


def _quoted(labels: list[str]) -> str:
    return some([repr(label) for label in labels])
