"""Option lists and prompts: a label that only test windows carry must not stand in what a branch was told.

Both are compared without what formatting changes: case, accents in two code points, camelCase, and whatever stands between words.
Words that any instruction may use (`COMMON`) are said only where they stand apart: in quotes, between separators or
alone on a line.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.bundle import Bundle
from harness.errors import BadInput
from harness.leakage.words import some

if TYPE_CHECKING:
    from harness.held import Held

VOCABULARY = "test-only labels"
_INSTRUCTIONS = (
    "a action all and answer apply at be by camera can cannot choose do each else find follow following for frame frames "
    "from give go head image in is it json keep label later list look make no none nothing object objects of on one option "
    "options or other person picture point question read recording return run same say see select set show sound start step "
    "stop tell that the these think this those to use video wait watch what which window with words work worn write you "
    "your"
)
COMMON = frozenset(_INSTRUCTIONS.split())
_BEFORE = r"(?:^|[\n\"'`,;:|\[({])\s*(?:[-*\u2022]\s*|\d+[.)]\s*)?"
_AFTER = r"\s*(?:$|[\n\"'`,;|\])}.])"


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
    plain_known = {_plain(word) for word in known}
    only_test = {
        task.id: frozenset(word for word in tested.get(task.id, ()) if word not in known and _plain(word) not in plain_known)
        for task in spoken
    }
    for task in spoken:
        options = bundle.classes.get(task.id)
        if options is None and bundle.imported:
            raise BadInput(f"bundle {bundle.folder}: {bundle.branch} does not say what it chose from in {task.id}")
        if leaked := _options_that_are(only_test[task.id], options or ()):
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


def _options_that_are(labels: Iterable[str], options: Iterable[str]) -> list[str]:
    sought = {form for label in labels for form in _forms(label)}
    return sorted({option for option in options if _forms(option) & sought})


def labels_in(text: str, labels: Iterable[str], known: Iterable[str]) -> list[str]:
    """The labels that a text says as whole words, sorted, however it is formatted; JSON escapes are read, too.

    Args:
        text: A prompt.
        labels: Sought.
        known: What it may say. Where such a phrase contains a label (`pour water`: `pour`), the label is not said there.
    """
    wanted: dict[str, set[str]] = {}
    for label in labels:
        for form in _forms(label):
            wanted.setdefault(form, set()).add(label)
    if not wanted:
        return []
    phrases = {form for phrase in known for form in _forms(phrase)} | set(wanted)
    longest_first = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
    found: set[str] = set()  # labels
    for way in {text, _unescaped(text)}:
        words = {said for form in (_plain(way), _plain(_split(way))) for said in pattern.findall(form)}
        signs = {said for said in pattern.findall(way.casefold()) if not _plain(said)}  # labels of signs alone
        for said in (words | signs) & set(wanted):
            found |= {label for label in wanted[said] if label.casefold() not in COMMON or _apart(said, way)}
    return sorted(found)


def _apart(word: str, text: str) -> bool:
    return re.search(_BEFORE + re.escape(word) + _AFTER, unicodedata.normalize("NFKC", text).casefold()) is not None


def _forms(label: str) -> set[str]:
    """A label as texts may say it; one of signs alone as it is."""
    forms = {_plain(label), _plain(_split(label))} - {""}
    return forms or {label.casefold()} - {"", *" \n"} if label.strip() else set()


def _plain(text: str) -> str:
    """Words, one space between them."""
    return re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _split(text: str) -> str:
    """camelCase as two words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)


def _unescaped(text: str) -> str:
    """What JSON escapes in a text stand for."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    return re.sub(r"\\[ntr]", " ", text).replace('\\"', '"').replace("\\/", "/").replace("\\\\", "\\")


def _known(held: "Held", fold: int) -> frozenset[str]:
    """Every label of any training or validation window."""
    roles = [held.words[fold, "train"], held.words[fold, "validation"]]
    return frozenset().union(*(words for role in roles for words in role.values()), *held.seen.values())


def _quoted(labels: list[str]) -> str:
    return some([repr(label) for label in labels])
