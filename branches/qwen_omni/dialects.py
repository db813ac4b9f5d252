"""Other people's words for what the demo's labels say, drawn anew for every conversation.

No answer of an evaluation is in it: actions, subtasks, contacts and transitions go by other names here, and the option list is
the only place where they can be read. Half of these names mean something; the others are made of random pieces (`copying.py`).
"""

import numpy as np
from numpy.typing import NDArray

from branches.qwen_omni.copying import StrangeWords
from branches.qwen_omni.prompt import FIELDS, Field, answer_text, field_name, make_field
from branches.qwen_omni.windows import Windows
from harness.demo.script import CHORES
from harness.tasks import get_task

TAKE = ("take the {}", "grab the {}", "lift the {}", "fetch the {}", "get the {}", "reach for the {}")
LEAVE = ("leave the {}", "return the {}", "set back the {}", "drop the {}", "release the {}", "park the {}")
USE: tuple[tuple[str, ...], ...] = (
    ("tip the bottle", "fill the cup", "serve water", "empty the bottle"),
    ("mix the drink", "swirl the spoon", "turn the spoon", "blend the drink"),
    ("scrub the plate", "clean the plate", "rub the plate", "dry the plate"),
    ("salt the soup", "spice the bowl", "tap the shaker", "sprinkle salt"),
)
CHORE_NAMES: tuple[tuple[str, ...], ...] = (
    ("make a drink", "drinks", "bottle work", "serve"),
    ("mixing", "sweeten", "spoon work", "prepare the cup"),
    ("cleaning", "plate work", "tidy up", "dishes"),
    ("cooking", "soup work", "taste", "salt work"),
)
CONTACT = (("no", "yes"), ("free", "touching"), ("empty", "holding"), ("apart", "joined"))
CHANGE = (("no", "yes"), ("same", "change"), ("stays", "switches"), ("calm", "new"))
STRANGE = 0.5
"""Share of the conversations in which a verb, the subtasks, contact or transition are called by words without a meaning."""
OTHER_NAMES = (("table", "tray"), ("cup", "mug"), ("bowl", "pot"), ("plate", "dish"))


class Dialect:
    """Other words for everything that is asked, for one conversation.

    Args:
        windows: The truth in the words of the recording.
        chores: (4,) bool: chores whose actions are options.
        rng: Draws the words and their order.
        strange: Words without a meaning; None leaves them out.
    """

    def __init__(
        self, windows: Windows, chores: NDArray[np.bool_], rng: np.random.Generator, strange: StrangeWords | None = None
    ) -> None:
        self.windows = windows
        actions = _actions(rng, strange)
        things = dict(zip(windows.words["objects"], windows.words["objects"], strict=True))
        for old, new in OTHER_NAMES:
            if old in things and rng.random() < 0.3:
                things[old] = new
        self.names: dict[str, list[str]] = {
            "action": actions,
            "next_action": actions,
            "subtask": _subtasks(rng, strange),
            "objects": list(things.values()),
            "contact": _flag(CONTACT, rng, strange),
            "transition": _flag(CHANGE, rng, strange),
        }
        offered: dict[str, NDArray] = {name: np.arange(len(words)) for name, words in self.names.items()}
        offered["action"] = offered["next_action"] = np.flatnonzero(np.repeat(chores, 3))
        offered["subtask"] = np.flatnonzero(chores)
        self.fields: list[Field] = []
        shuffled = {name: rng.permutation(index) for name, index in offered.items()}
        shuffled["next_action"] = shuffled["action"]
        for task_id, name in FIELDS.items():
            self.fields.append(make_field(get_task(task_id), [self.names[name][k] for k in shuffled[name]]))

    def answer(self, i: int) -> str:
        """The right answer for window `i`, in this dialect; where the recording ends too early the action goes on."""
        truth = self.windows.truth
        found: dict[str, str | list[str]] = {}
        for field in self.fields:
            name = field_name(field.task)
            assert name is not None
            if field.many:
                true = {self.names[name][k] for k in np.flatnonzero(truth[name][i])}
                found[name] = [word for word in field.options if word in true]
            else:
                code = int(truth[name][i])
                found[name] = self.names[name][code if code >= 0 else int(truth["action"][i])]
        return answer_text(self.fields, found)


def _actions(rng: np.random.Generator, strange: StrangeWords | None) -> list[str]:
    """(12,) different names of the actions; what is held or worked on stands in most of them."""
    found: list[str] = []
    alike = rng.random() < 0.7  # the same verb for whatever is taken, and for whatever is left
    forms = [_forms(pool, len(CHORES), rng, strange) for pool in (TAKE, LEAVE)]
    for i, chore in enumerate(CHORES):
        first, last = (pool[0 if alike else i].format(chore.tool) for pool in forms)
        using = USE[i][rng.integers(len(USE[i]))]
        if strange and rng.random() < STRANGE:
            using = strange.phrase(rng) + ("", f" the {chore.tool}", f" the {chore.target}")[rng.integers(3)]
        found += [first, using, last]
    return found if len(set(found)) == len(found) else _actions(rng, strange)


def _forms(pool: tuple[str, ...], count: int, rng: np.random.Generator, strange: StrangeWords | None) -> list[str]:
    if strange and rng.random() < STRANGE:
        return [f"{verb} the {{}}" for verb in strange.phrases(count, rng)]
    return [pool[k] for k in rng.integers(len(pool), size=count)]


def _subtasks(rng: np.random.Generator, strange: StrangeWords | None) -> list[str]:
    if not strange or rng.random() >= STRANGE:
        return [names[rng.integers(len(names))] for names in CHORE_NAMES]
    words = strange.phrases(len(CHORES), rng)
    return [f"{word} the {(c.tool, c.target)[rng.integers(2)]}" for word, c in zip(words, CHORES, strict=True)]


def _flag(pool: tuple[tuple[str, str], ...], rng: np.random.Generator, strange: StrangeWords | None) -> list[str]:
    return strange.phrases(2, rng, most=2) if strange and rng.random() < STRANGE else list(pool[rng.integers(len(pool))])
