"""Words without a meaning, and lessons in repeating them.

What a model answers stands in the option list, in words that it has never written: whoever learnt to answer in a small pool of
words would write those. So lists of random words are repeated until every token has been part of an answer, and dialects
(`lessons.py`) often speak in such words, which nothing but copying gets right.
"""

import json
import re
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerBase, Qwen3OmniMoeThinkerForConditionalGeneration

REPEAT = "Repeat this list."
SHARP = 3
"""Pairs of numbers that find the token before: the fastest ones."""
LEARNING_RATE, ROWS, SHORT, LONGEST, STAY, FARTHEST = 3e-3, 16, (4, 15), 120, 0.6, 600
"""Of the rows that are repeated: how many at once, their tokens at first and in the end, the share of the steps before they grow
(long rows alone teach nothing), and up to which position they start."""
JOINED = (" ", " ", " ", " ", "", "_")
"""What may stand between two pieces of a phrase."""


class StrangeWords:
    """Phrases made of random pieces of a tokenizer's words.

    Args:
        tokenizer: Its tokens that are spelt in small letters.

    Attributes:
        pieces: How they are spelt.
        tokens: Their numbers.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        spelt = {number: tokenizer.decode([number]).strip() for number in tokenizer.get_vocab().values()}
        self.tokens = np.array(sorted(number for number, text in spelt.items() if re.fullmatch("[a-z]+", text)))
        self.pieces = sorted({spelt[number] for number in self.tokens.tolist()})

    def phrase(self, rng: np.random.Generator, most: int = 3) -> str:
        """One to `most` pieces; one alone has two letters or more."""
        text = ""
        for i in range(int(rng.integers(1, most + 1))):
            joint = JOINED[rng.integers(len(JOINED))] if i else ""
            text += joint + self.pieces[rng.integers(len(self.pieces))]
        return text if len(text) > 1 else self.phrase(rng, most)

    def phrases(self, count: int, rng: np.random.Generator, most: int = 3) -> list[str]:
        """So many different ones."""
        found: dict[str, None] = {}
        while len(found) < count:
            found[self.phrase(rng, most)] = None
        return list(found)

    def lesson(self, rng: np.random.Generator) -> tuple[str, str]:
        """A system turn with a list, and the answer that repeats it."""
        words = json.dumps(self.phrases(int(rng.integers(4, 13)), rng))
        return f"{REPEAT}\n{words}", words


def look_back(model: Qwen3OmniMoeThinkerForConditionalGeneration) -> None:
    """Let the first heads of the first layer start as those that see the tokens before their own.

    Who copies looks for the token that came after the one it has just written; a layer can do so where every token says which one
    came before it. Left alone, this model had not found that after 2000 steps: so queries and keys start as biases that rotary
    positions bring together one token back (for the second head: two).
    """
    attention: Any = model.model.layers[0].self_attn
    size, rope = attention.head_dim, model.config.get_text_config().rope_parameters
    turns = rope["rope_theta"] ** (-torch.arange(SHARP) * 2.0 / size)  # radians per token of the fastest pairs of numbers
    with torch.no_grad():
        attention.k_proj.weight[:size] = 0.0
        attention.k_proj.bias[:SHARP] = 1.0
        for head in range(attention.num_key_value_groups):
            first, back = head * size, turns * (head + 1)
            attention.q_proj.weight[first : first + size] = 0.0
            attention.q_proj.bias[first : first + SHARP] = torch.cos(back)
            attention.q_proj.bias[first + size // 2 : first + size // 2 + SHARP] = -torch.sin(back)
        attention.q_norm.weight.fill_(2.0)
        attention.k_norm.weight.fill_(2.0)


def train_copying(
    model: Qwen3OmniMoeThinkerForConditionalGeneration, strange: StrangeWords, steps: int, seed: int
) -> list[float]:
    """Rows of random tokens, repeated: next-token loss from the second time on; returns its mean over each tenth of the steps.

    Args:
        model: The thinker.
        strange: Says which tokens.
        steps: Optimiser steps; rows grow from `SHORT` to `LONGEST` tokens.
        seed: Of the rows.
    """
    look_back(model)
    rng, losses = np.random.default_rng(seed), []
    parameters = [*model.model.parameters(), *model.lm_head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 50)
        grown = max(0.0, (step / steps - STAY) / (1 - STAY))
        length = int(rng.integers(SHORT[0], SHORT[1] + round(grown * (LONGEST - SHORT[1])) + 1))
        row = torch.from_numpy(strange.tokens[rng.integers(len(strange.tokens), size=(ROWS, length))])
        tokens = torch.cat([row, row, row, row[:, :1]], dim=1)
        places = (torch.arange(tokens.shape[1]) + int(rng.integers(FARTHEST))).expand(3, ROWS, -1)
        embedded, mask = model.get_input_embeddings()(tokens), torch.ones_like(tokens)
        hidden = model.model(inputs_embeds=embedded, attention_mask=mask, position_ids=places, use_cache=False).last_hidden_state
        loss = cross_entropy(model.lm_head(hidden[:, length:-1]).flatten(0, 1), tokens[:, length + 1 :].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if (step + 1) % max(1, steps // 20) == 0:
            print(f"copying: step {step + 1} of {steps}: loss {np.mean(losses[-max(1, steps // 20) :]):.3f}", flush=True)
    return [round(float(part.mean()), 4) for part in np.array_split(np.array(losses), 10)]
