"""What the tiny base is taught: to describe windows, to repeat lists, and to answer questions in other people's words."""

import json
from collections.abc import Sequence

import numpy as np

from branches.qwen_omni.copying import StrangeWords
from branches.qwen_omni.dialects import Dialect
from branches.qwen_omni.prompt import instructions
from branches.qwen_omni.windows import Windows
from harness.demo.script import CHORES

DESCRIBES, REPEATS, ANSWERS = range(3)
"""Kinds of conversations."""
DESCRIBE = "Say for each video what the hands do, what is in use, and what comes next."


def caption(windows: Windows, i: int) -> str:
    """What the hands do at t0, which of three steps it is, objects, the next tool; whether something is touched or changes."""
    things = np.array(windows.words["objects"])[windows.truth["objects"][i]]
    coming = int(windows.truth["next_action"][i])
    what_next = f" Next: {CHORES[coming // 3].tool}." if coming >= 0 else ""
    said = " ".join(word for word, flag in (("touched", "contact"), ("changed", "transition")) if windows.truth[flag][i] == 1)
    step = ("first", "second", "third")[int(windows.truth["action"][i]) % 3]
    return f"{windows.captions[i]} {step} {', '.join(things)}.{what_next} {said or 'nothing'}"


def corpus(windows: Windows, seed: int) -> list[str]:
    """Texts for the tokenizer: conversations, captions, and plain words of kitchens and tables."""
    rng = np.random.default_rng(seed)
    texts = [caption(windows, i) for i in range(0, len(windows.captions), 3)]
    for i in rng.integers(len(windows.captions), size=300).tolist():
        dialect = Dialect(windows, np.ones(len(CHORES), bool), rng)
        texts += [instructions(dialect.fields), dialect.answer(i)]
    plain = json.dumps([word for words in windows.words.values() for word in words])
    return [*texts, *[plain] * 100]


def conversations(
    windows: Windows, strange: StrangeWords, count: int, turns: Sequence[int], shares: Sequence[float], rng: np.random.Generator
) -> list[tuple[str, list[int], list[str]]]:
    """`count` conversations: system turn, windows, answers.

    Args:
        windows: To draw from.
        strange: Words without a meaning.
        count: How many.
        turns: Windows of a conversation that describes, of one that repeats, and of one that answers in JSON.
        shares: Of the three.
        rng: All randomness.
    """
    out: list[tuple[str, list[int], list[str]]] = []
    n = len(windows.captions)
    for kind in rng.choice(3, size=count, p=shares).tolist():
        chosen = rng.integers(n, size=turns[kind]).tolist()
        if kind == REPEATS:
            system, answer = strange.lesson(rng)
            out.append((system, chosen, [answer] * len(chosen)))
            continue
        if kind == DESCRIBES:
            out.append((DESCRIBE, chosen, [caption(windows, i) for i in chosen]))
            continue
        chores = windows.chores[chosen].any(axis=0) | (rng.random(len(CHORES)) < 0.5)
        dialect = Dialect(windows, chores, rng, strange)
        out.append((instructions(dialect.fields), chosen, [dialect.answer(i) for i in chosen]))
    return out
