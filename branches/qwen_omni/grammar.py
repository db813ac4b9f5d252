"""Grammar-constrained decoding: a model may only write tokens that keep its answer one of the valid ones.

Valid is what `prompt.answer_text` can write from options alone: every field with one of its options; a list with some of them,
each at most once and in the order of the options. That is a regular language, so its automaton and the masks over a tokenizer's
vocabulary are a few lines here; general grammar engines take seconds to start.
"""

import json
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from branches.qwen_omni.prompt import Field
from harness.errors import BadInput

State = tuple[int, int, int, bytes]
"""Place of the automaton: field, first option that may still come, what is being written (see below), its text so far."""
LITERAL, OPTION, LIST_START, LIST_NEXT = range(4)


class Grammar:
    """The automaton over bytes; states are made as they are met.

    Args:
        fields: What is asked.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self.options = [[json.dumps(word, ensure_ascii=False).encode() for word in field.options] for field in fields]
        keys = [json.dumps(field.name, ensure_ascii=False).encode() + b": " for field in fields]
        opened = [b"[" if field.many else b"" for field in fields]
        self.literals = [(b"{" if i == 0 else b", ") + key + mark for i, (key, mark) in enumerate(zip(keys, opened, strict=True))]
        self.literals.append(b"}")
        self.start: State = (0, 0, LITERAL, b"")

    @property
    def longest(self) -> int:
        """Bytes of the longest answer."""
        total = sum(map(len, self.literals))
        for field, options in zip(self.fields, self.options, strict=True):
            sizes = [len(option) + 2 for option in options]
            total += (sum(sizes) if field.many else max(sizes, default=0)) + 2
        return total

    def ends(self, state: State) -> bool:
        """True where the answer is complete."""
        return state[0] > len(self.fields)

    def step(self, state: State, byte: int) -> State | None:
        """The state after one more byte; None where it cannot follow."""
        field, first, part, text = state
        text += bytes([byte])
        if self.ends(state):
            return None
        if part == LITERAL:
            return self._literal(field, text)
        if part in (LIST_START, LIST_NEXT) and text == b"]":
            return field + 1, 0, LITERAL, b""
        if part != LIST_NEXT:
            return self._option(field, first, text)
        more = first < len(self.options[field]) and b", ".startswith(text)
        return (field, first, OPTION if text == b", " else part, b"" if text == b", " else text) if more else None

    def _literal(self, field: int, text: bytes) -> State | None:
        """Between two values."""
        literal = self.literals[field]
        if text != literal:
            return (field, 0, LITERAL, text) if literal.startswith(text) else None
        if field == len(self.fields):
            return field + 1, 0, LITERAL, b""
        return field, 0, LIST_START if self.fields[field].many else OPTION, b""

    def _option(self, field: int, first: int, text: bytes) -> State | None:
        """Inside an option: quotes close it, so that no option is the beginning of another."""
        options = self.options[field]
        for i in range(first, len(options)):
            if options[i] == text:
                return (field, i + 1, LIST_NEXT, b"") if self.fields[field].many else (field + 1, 0, LITERAL, b"")
        return (field, first, OPTION, text) if any(option.startswith(text) for option in options[first:]) else None


class Vocabulary:
    """The tokens of a byte-level tokenizer, and which of them may follow a state.

    Args:
        tokenizer: Of the model.
        grammar: Of the answers.
        end: Token that ends an answer.
        size: Of the model's logits.

    Raises:
        BadInput: The tokenizer is no byte-level one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, grammar: Grammar, end: int, size: int) -> None:
        self.grammar, self.end, self.size = grammar, end, size
        byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
        special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        self.tokens: dict[int, bytes] = {}
        self.by_first: dict[int, list[int]] = defaultdict(list)
        for token, number in tokenizer.get_vocab().items():
            if number in special or number >= size or not all(character in byte_of for character in token):
                continue
            self.tokens[number] = bytes(byte_of[character] for character in token)
            self.by_first[self.tokens[number][0]].append(number)
        if len(self.by_first) < 256:
            raise BadInput("constrained decoding needs a byte-level tokenizer; set constrained=false")
        self.masks: dict[State, Tensor] = {}

    def after(self, state: State, token: int) -> State:
        """The state after a token that its mask allows."""
        if token == self.end or self.grammar.ends(state):
            return state
        for byte in self.tokens[token]:
            following = self.grammar.step(state, byte)
            assert following is not None, f"token {token} was not allowed"
            state = following
        return state

    def mask(self, state: State) -> Tensor:
        """(size,) 0 for the tokens that may follow, -inf for all others."""
        if state not in self.masks:
            found = torch.full((self.size,), float("-inf"))
            found[self._allowed(state)] = 0.0
            self.masks[state] = found
        return self.masks[state]

    def _allowed(self, state: State) -> list[int]:
        if self.grammar.ends(state):
            return [self.end]
        firsts = [byte for byte in self.by_first if self.grammar.step(state, byte) is not None]
        return [token for byte in firsts for token in self.by_first[byte] if self._fits(state, self.tokens[token])]

    def _fits(self, state: State, text: bytes) -> bool:
        following: State | None = state
        for byte in text:
            following = self.grammar.step(following, byte) if following is not None else None
            if following is None:
                return False
        return True


class OptionsOnly(LogitsProcessor):
    """Masks the logits of a generation, row by row.

    Args:
        vocabulary: Tokens and grammar.
        prompt: Tokens of the prompt, padding included.
    """

    def __init__(self, vocabulary: Vocabulary, prompt: int) -> None:
        self.vocabulary, self.prompt = vocabulary, prompt
        self.states: list[State] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits (rows, size) with everything that may not follow at -inf."""
        if input_ids.shape[1] == self.prompt:
            self.states = [self.vocabulary.grammar.start] * len(input_ids)
        else:
            written = input_ids[:, -1].tolist()
            self.states = [self.vocabulary.after(s, t) for s, t in zip(self.states, written, strict=True)]
        masks = torch.stack([self.vocabulary.mask(state) for state in self.states])
        return scores + masks.to(scores.device, scores.dtype)
