"""A Qwen3-Omni thinker in memory: windows and questions in, tensors or answers out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList, Qwen3OmniMoeProcessor, Qwen3OmniMoeThinkerForConditionalGeneration

from branches.pretrained import load_pretrained, quiet
from branches.qwen_omni.clips import SAMPLING_RATE, Clips
from branches.qwen_omni.grammar import Grammar, OptionsOnly, Vocabulary
from branches.qwen_omni.prompt import Field, answer_text, messages, without_truth
from harness.card import first_line
from harness.errors import BadInput

IGNORED = -100
SPARE = 16  # tokens that a free answer may have beyond the longest right one


@dataclass(frozen=True, eq=False)
class Shots:
    """Training windows that are shown with their answers.

    Attributes:
        clips: Their frames and sound.
        answers: Their answers.
    """

    clips: Clips
    answers: tuple[str, ...]


class Omni:
    """Model and processor.

    Args:
        model: The thinker, with or without LoRA.
        processor: Of the same directory.
    """

    def __init__(self, model: Any, processor: Qwen3OmniMoeProcessor) -> None:
        self.model, self.processor = model, processor
        self.tokenizer = processor.tokenizer
        self.device = next(model.parameters()).device
        found = model.generation_config.eos_token_id
        self.ends: list[int] = [found] if isinstance(found, int) else list(found or [self.tokenizer.eos_token_id])

    def prompts(self, fields: Sequence[Field], clips: Clips | None, rows: int, shots: Shots | None = None) -> dict[str, Any]:
        """Model inputs of `rows` questions, padded on the left.

        Args:
            fields: What is asked.
            clips: One window per question; None asks with text only.
            rows: Questions.
            shots: Shown before each of them.
        """
        said = shots.answers if shots else ()
        turns = messages(fields, said, sees=clips is not None)
        text = self.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        if clips is None:
            return dict(self.tokenizer([text] * rows, padding=True, padding_side="left", return_tensors="pt").to(self.device))
        listens, shown = clips.sound.shape[1] > 0, [shots.clips] if shots else []
        videos, sounds = [], []
        for i in range(rows):
            for part, index in [*((s, k) for s in shown for k in range(len(s))), (clips, i)]:
                videos.append(torch.from_numpy(part.frames[index]).permute(0, 3, 1, 2))
                sounds.append(part.sound[index])
        kwargs = self.media_kwargs(clips, listens=listens)
        found = self.processor(
            text=[text] * rows, videos=videos, audio=sounds if listens else None, padding=True, return_tensors="pt", **kwargs
        )
        tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
        # Depending on the version the processor leaves this one a list.
        tensors["video_second_per_grid"] = torch.as_tensor(found["video_second_per_grid"])
        for name in tensors.keys() & {"pixel_values_videos", "input_features"}:
            tensors[name] = tensors[name].to(self.model.dtype)
        return {name: value.to(self.device) for name, value in tensors.items()} | {"use_audio_in_video": listens}

    def media_kwargs(self, clips: Clips, *, listens: bool) -> dict[str, Any]:
        """What the processor must be told so that it leaves frames as they are: its defaults would blow small ones up.

        Template, processor and model must agree on whether the sound is that of the video, and on the positions of a second.
        """
        pixels = int(clips.frames.shape[2] * clips.frames.shape[3])
        return {
            "videos_kwargs": {
                "size": {"shortest_edge": pixels, "longest_edge": pixels},
                "fps": clips.fps,
                "do_sample_frames": False,
                "use_audio_in_video": listens,
                "position_id_per_seconds": self.model.config.position_id_per_seconds,
            },
            "audio_kwargs": {"sampling_rate": SAMPLING_RATE, "truncation": False},
        }

    def lessons(
        self, fields: Sequence[Field], clips: Clips | None, answers: Sequence[str], unknown: Sequence[Sequence[str]]
    ) -> tuple[dict[str, Any], Tensor]:
        """Questions with their answers: model inputs, and (rows, L) labels that are `IGNORED` everywhere else.

        Args:
            fields: What is asked.
            clips: One window per answer; None asks with text only.
            answers: As `answer_text` writes them.
            unknown: Per answer the fields without a truth: they carry no loss.
        """
        inputs = self.prompts(fields, clips, len(answers))
        written = [self._taught(fields, text, none) for text, none in zip(answers, unknown, strict=True)]
        longest = max(len(ids) for ids, _ in written)
        shape = (len(answers), longest)
        ids = torch.full(shape, self.tokenizer.pad_token_id)
        labels, mask = torch.full(shape, IGNORED), torch.zeros(shape, dtype=torch.long)
        for row, (tokens, taught) in enumerate(written):
            ids[row, : len(tokens)], labels[row, : len(tokens)], mask[row, : len(tokens)] = tokens, taught, 1
        before = torch.full_like(inputs["input_ids"], IGNORED)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], ids.to(self.device)], dim=1)
        inputs["attention_mask"] = torch.cat([inputs["attention_mask"], mask.to(self.device)], dim=1)
        return inputs, torch.cat([before, labels.to(self.device)], dim=1)

    def _taught(self, fields: Sequence[Field], text: str, unknown: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens of an answer with its end, and the same with `IGNORED` where there is no truth."""
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        hidden = without_truth(fields, text, unknown)
        inside = [any(a < stop and start < b for a, b in hidden) for start, stop in found["offset_mapping"]]
        ids = torch.tensor([*found["input_ids"], self.ends[0]])
        return ids, torch.where(torch.tensor([*inside, False]), IGNORED, ids)

    def room(self, fields: Sequence[Field]) -> int:
        """Tokens that a free answer may take."""
        longest = {
            f.name: list(f.options)
            if f.many
            else max(f.options, key=lambda word: len(self.tokenizer(word)["input_ids"]), default="")
            for f in fields
        }
        return len(self.tokenizer(answer_text(fields, longest))["input_ids"]) + SPARE

    def vocabulary(self, fields: Sequence[Field]) -> Vocabulary:
        """What constrained decoding needs, for `answers`."""
        return Vocabulary(self.tokenizer, Grammar(fields), self.ends[0], self.model.config.get_text_config().vocab_size)

    def answers(
        self, fields: Sequence[Field], clips: Clips | None, rows: int, shots: Shots | None = None, only: Vocabulary | None = None
    ) -> list[str]:
        """What the model writes, greedily, up to the end of its turn.

        Args:
            fields: What is asked.
            clips: One window per row; None asks with text only.
            rows: Questions.
            shots: Shown before each of them.
            only: Of `vocabulary`: constrained decoding.
        """
        inputs = self.prompts(fields, clips, rows, shots)
        prompt = inputs["input_ids"].shape[1]
        limits = LogitsProcessorList([OptionsOnly(only, prompt)] if only else [])
        room = only.grammar.longest + 1 if only else self.room(fields)
        found = self.model.generate(
            **inputs, max_new_tokens=room, do_sample=False, logits_processor=limits, pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self.ends,
        )  # fmt: skip
        return [self._text(row) for row in found[:, prompt:].tolist()]

    def _text(self, tokens: list[int]) -> str:
        stops = [i for i, token in enumerate(tokens) if token in self.ends]
        kept = tokens[: stops[0]] if stops else tokens
        return str(self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def load(folder: Path, branch: str, dtype: str) -> Omni:
    """The thinker of a directory, on a GPU where there is one.

    Raises:
        BadInput: The directory cannot be read, or its weights are not those of its config: transformers would draw what is
            missing at random.
    """
    where = f"branch.{branch}.model={folder}"
    model = load_pretrained(Qwen3OmniMoeThinkerForConditionalGeneration, folder, where, dtype=getattr(torch, dtype))
    try:
        with quiet():
            processor = Qwen3OmniMoeProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{where}: its processor cannot be loaded ({first_line(error)}); copy it again") from error
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    return Omni(model, processor)
