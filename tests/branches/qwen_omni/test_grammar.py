"""Constrained decoding writes right answers and nothing else."""

from functools import lru_cache

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from branches.qwen_omni.directory import TINY
from branches.qwen_omni.grammar import Grammar, OptionsOnly, State, Vocabulary
from branches.qwen_omni.prompt import Field, answer_text, parse
from harness.answers import Status

words = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True)


def fields_of(labels: list[str], things: list[str]) -> tuple[Field, ...]:
    return (
        Field("timeline_action", "action", "?", tuple(labels), False),
        Field("object_relevance", "objects", "?", tuple(things), True),
    )


def walk(grammar: Grammar, text: str) -> State | None:
    state: State | None = grammar.start
    for byte in text.encode():
        state = grammar.step(state, byte) if state is not None else None
    return state


@given(words, words, st.data())
def test_every_answer_of_options_is_accepted_and_no_other(labels: list[str], things: list[str], data: st.DataObject) -> None:
    fields = fields_of(labels, things)
    grammar = Grammar(fields)
    chosen = [thing for thing in things if data.draw(st.booleans())]
    text = answer_text(fields, {"action": data.draw(st.sampled_from(labels)), "objects": chosen})
    end = walk(grammar, text)
    assert end is not None and grammar.ends(end) and len(text.encode()) <= grammar.longest
    assert walk(grammar, text + " ") is None
    assert walk(grammar, answer_text(fields, {"action": "".join(labels) + "x", "objects": []})) is None
    assert walk(grammar, answer_text(fields, {"action": labels[0], "objects": [things[0], things[0]]})) is None
    half = walk(grammar, text[: len(text) // 2])
    assert half is not None and not grammar.ends(half)


@lru_cache(maxsize=1)
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(TINY, local_files_only=True)


@settings(max_examples=25, deadline=None)
@given(words, words, st.integers(0, 2**31))
def test_the_wildest_logits_give_a_right_answer(labels: list[str], things: list[str], seed: int) -> None:
    """Greedy over random logits, two rows at a time, as a model without any training would do."""
    fields, tokens = fields_of(labels, things), tokenizer()
    vocabulary = Vocabulary(tokens, Grammar(fields), tokens.eos_token_id, len(tokens))
    limit, rng = OptionsOnly(vocabulary, 1), np.random.default_rng(seed)
    ids = torch.zeros((2, 1), dtype=torch.long)
    for _ in range(vocabulary.grammar.longest + 1):
        logits = torch.from_numpy(rng.normal(size=(2, len(tokens))))
        ids = torch.cat([ids, limit(ids, logits).argmax(dim=1, keepdim=True)], dim=1)
    for row in ids[:, 1:].tolist():
        text = tokens.decode(row[: row.index(tokens.eos_token_id)], clean_up_tokenization_spaces=False)
        status, found = parse(text, fields)
        assert status is Status.OK and found["action"][0] in labels
        assert set(found["objects"]) <= set(things) and len(set(found["objects"])) == len(found["objects"])
