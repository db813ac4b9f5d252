"""The shortcuts of the pretraining give what the model itself would give."""

import numpy as np
import pytest
import torch
from transformers import Qwen3OmniMoeThinkerForConditionalGeneration

from branches.qwen_omni.classroom import Classroom, Senses
from branches.qwen_omni.clips import Clips
from branches.qwen_omni.dialects import Dialect
from branches.qwen_omni.lessons import DESCRIBE
from branches.qwen_omni.omni import IGNORED, Omni
from branches.qwen_omni.prompt import messages, parse
from branches.qwen_omni.shape import tiny_config, tiny_processor
from branches.qwen_omni.windows import Windows, vocabulary_of_the_demo
from harness.answers import Status

ROWS = 4


@pytest.fixture(scope="module")
def windows() -> Windows:
    rng, words = np.random.default_rng(0), vocabulary_of_the_demo()
    frames = rng.integers(0, 255, (ROWS, 2, 64, 64, 3)).astype(np.uint8)
    truth = {name: rng.integers(0, len(words[name]), ROWS) for name in words if name != "objects"}
    truth["objects"] = rng.random((ROWS, len(words["objects"]))) < 0.3
    sound = rng.normal(0, 0.1, (ROWS, 15_200)).astype(np.float32)
    return Windows(Clips(frames, sound, 2.0), truth, words, ["The hand pours."] * ROWS, np.ones((ROWS, 4), bool), [], [])


@pytest.fixture(scope="module")
def omni(windows: Windows) -> Omni:
    torch.manual_seed(0)
    processor = tiny_processor(["The hand pours.", DESCRIBE] * 9)
    return Omni(Qwen3OmniMoeThinkerForConditionalGeneration(tiny_config(processor.tokenizer)).eval(), processor)


def test_the_loss_of_a_conversation_is_that_of_the_model(windows: Windows, omni: Omni) -> None:
    senses = Senses(windows.clips, omni)
    room = Classroom(omni.model, omni.processor, windows, senses)
    answers = ["pours", "The hand pours."]
    turns = [
        *messages((), answers[:1], system=DESCRIBE),
        {"role": "assistant", "content": [{"type": "text", "text": answers[1]}]},
    ]
    clips = windows.clips.take(np.array([2, 0]))
    inputs = omni.processor(
        text=[omni.processor.apply_chat_template(turns, tokenize=False)],
        videos=[torch.from_numpy(f).permute(0, 3, 1, 2) for f in clips.frames],
        audio=list(clips.sound),
        return_tensors="pt",
        **omni.media_kwargs(clips, listens=True),
    )
    ids, said = room.tokens(DESCRIBE, answers)
    assert inputs["input_ids"][0].tolist() == ids
    labels = torch.where(torch.tensor([said]), inputs["input_ids"], IGNORED)
    assert omni.tokenizer.decode(labels[labels != IGNORED]) == "pours<|im_end|>The hand pours.<|im_end|>"
    with torch.no_grad():
        whole = omni.model(**inputs, use_audio_in_video=True, labels=labels).loss
        short = room.loss([(DESCRIBE, [2, 0], answers)])
        longer = room.loss([(DESCRIBE, [2, 0], answers), (DESCRIBE, [1], ["The hand pours."])])
    torch.testing.assert_close(short, whole, atol=1e-5, rtol=1e-5)
    assert not torch.isclose(longer, whole)


def test_a_dialect_has_a_right_answer_in_its_own_options(windows: Windows) -> None:
    rng = np.random.default_rng(1)
    for i in range(ROWS):
        for _ in range(20):
            dialect = Dialect(windows, np.ones(4, bool), rng)
            status, found = parse(dialect.answer(i), dialect.fields)
            assert status is Status.OK
            assert all(set(found[f.name]) <= set(f.options) for f in dialect.fields)
            assert len(set(dialect.fields[0].options)) == 12
