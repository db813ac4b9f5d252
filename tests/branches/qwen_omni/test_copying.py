"""Words without a meaning, and what lets a small model learn to copy them."""

import json

import numpy as np
import torch
from transformers import AutoTokenizer, Qwen3OmniMoeThinkerForConditionalGeneration

from branches.qwen_omni.copying import REPEAT, StrangeWords, look_back, train_copying
from branches.qwen_omni.directory import TINY
from branches.qwen_omni.shape import tiny_config


def test_a_lesson_repeats_its_list_and_in_time_every_word_like_token_is_answered() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY, local_files_only=True)
    strange, rng, written = StrangeWords(tokenizer), np.random.default_rng(0), set()
    for _ in range(1000):
        system, answer = strange.lesson(rng)
        assert system == f"{REPEAT}\n{answer}" and len(set(json.loads(answer))) == len(json.loads(answer)) >= 4
        written |= set(tokenizer(answer)["input_ids"])
    assert len(set(strange.tokens.tolist()) - written) < 0.02 * len(strange.tokens)


def test_two_heads_see_the_tokens_before_and_rows_are_learnt_from() -> None:
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(TINY, local_files_only=True)
    model = Qwen3OmniMoeThinkerForConditionalGeneration(tiny_config(tokenizer))
    look_back(model)
    model.set_attn_implementation("eager")
    tokens = torch.randint(20, len(tokenizer), (1, 60))
    with torch.no_grad():
        found = model.model(inputs_embeds=model.get_input_embeddings()(tokens), output_attentions=True).attentions[0][0]
    for head, back in ((0, 1), (1, 2)):
        assert (found[head].argmax(dim=1)[2:] == torch.arange(2, 60) - back).all()
    losses = train_copying(model, StrangeWords(tokenizer), 20, 0)
    assert len(losses) == 10 and losses[-1] < losses[0]
