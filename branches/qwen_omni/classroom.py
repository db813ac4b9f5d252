"""Conversations about windows as tensors, for the pretraining of the tiny base.

Its towers are trained first and frozen then, so what they make of a window is computed once and kept: a step of the text path
costs a step of the text path alone.
"""

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad
from transformers import Qwen3OmniMoeProcessor, Qwen3OmniMoeThinkerForConditionalGeneration

from branches.qwen_omni.clips import Clips
from branches.qwen_omni.omni import Omni
from branches.qwen_omni.prompt import messages
from branches.qwen_omni.shape import END
from branches.qwen_omni.windows import Windows

VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"
AT_ONCE = 64
Conversation = tuple[str, list[int], list[str]]
"""System turn, windows, answers."""


class Senses:
    """Frames and sound of n windows as the processor gives them to the towers.

    Args:
        clips: Of one layout.
        omni: Model and processor.

    Attributes:
        pixels: (n, patches, numbers).
        grid: (1, 3) of one window.
        mels: (n, bands, T).
        mel_masks: (n, T).
        ids: Tokens that stand for one window.
        positions: (3, len(ids)) of these tokens, from 0.
    """

    def __init__(self, clips: Clips, omni: Omni) -> None:
        parts = []
        for start in range(0, len(clips), AT_ONCE):
            part = clips.take(np.arange(start, min(start + AT_ONCE, len(clips))))
            videos = [torch.from_numpy(frames).permute(0, 3, 1, 2) for frames in part.frames]
            kwargs = omni.media_kwargs(part, listens=True)
            parts.append(
                omni.processor(text=[VIDEO] * len(part), videos=videos, audio=list(part.sound), return_tensors="pt", **kwargs)
            )
        first = parts[0]
        patches = int(first["video_grid_thw"][0].prod())
        self.pixels = torch.cat([p["pixel_values_videos"].unflatten(0, (-1, patches)) for p in parts])
        self.mels = torch.cat([p["input_features"] for p in parts])
        self.mel_masks = torch.cat([p["feature_attention_mask"] for p in parts])
        self.grid = first["video_grid_thw"][:1]
        self.ids: list[int] = first["input_ids"][0].tolist()
        seconds = torch.as_tensor(first["video_second_per_grid"])[:1]
        lengths = self.mel_masks[:1].sum(dim=1)
        ids, mask = first["input_ids"][:1], torch.ones_like(first["input_ids"][:1])
        self.positions: Tensor = omni.model.get_rope_index(ids, None, self.grid, mask, True, lengths, seconds)[0][:, 0]

    def tokens(self, model: Any, index: Tensor, pixels: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """What the towers make of some windows.

        Args:
            model: The thinker.
            index: (m,) windows.
            pixels: (m, patches, numbers) of them.

        Returns:
            (m, V, width) seen, the same per layer that deep-stacks it, (m, A, width) heard.
        """
        seen = model.get_video_features(pixels.flatten(0, 1), self.grid.expand(len(index), -1), return_dict=True)
        heard = model.get_audio_features(self.mels[index], self.mel_masks[index], return_dict=True).last_hidden_state
        rows = (len(index), -1)
        return (
            seen.pooler_output.unflatten(0, rows),
            [d.unflatten(0, rows) for d in seen.deepstack_features],
            heard.unflatten(0, rows),
        )


class Classroom:
    """The loss of conversations.

    Args:
        model: The thinker, its towers trained.
        processor: Of the tiny base.
        windows: What the conversations are about.
        senses: Of the same windows.
    """

    def __init__(
        self,
        model: Qwen3OmniMoeThinkerForConditionalGeneration,
        processor: Qwen3OmniMoeProcessor,
        windows: Windows,
        senses: Senses,
    ) -> None:
        self.model, self.processor, self.windows, self.senses = model, processor, windows, senses
        self.media = processor.tokenizer.decode(senses.ids)
        config = model.config
        self.video, self.audio, self.start = config.video_token_id, config.audio_token_id, config.vision_start_token_id
        parts = []
        with torch.no_grad():
            for start in range(0, len(senses.pixels), AT_ONCE):
                index = torch.arange(start, min(start + AT_ONCE, len(senses.pixels)))
                parts.append(senses.tokens(model, index, senses.pixels[index]))
        self.seen, self.heard = (torch.cat([p[i] for p in parts]) for i in (0, 2))  # type: ignore[misc]
        self.deep = [torch.cat(layers) for layers in zip(*(p[1] for p in parts), strict=True)]

    def loss(self, conversations: list[Conversation]) -> Tensor:
        """Mean next-token loss over the tokens of the answers."""
        found = [self.tokens(system, answers) for system, _, answers in conversations]
        longest = max(len(ids) for ids, _ in found)
        ids, said, mask, places = [], [], [], []
        for row, taught in found:
            after = (0, longest - len(row))
            ids.append(pad(torch.tensor(row), after, value=self.processor.tokenizer.pad_token_id))
            said.append(pad(torch.tensor(taught, dtype=torch.long), after))
            mask.append(pad(torch.ones(len(row), dtype=torch.long), after))
            places.append(pad(self.positions(row), after))
        tokens, attention = torch.stack(ids), torch.stack(mask)
        shown = torch.tensor([i for _, chosen, _ in conversations for i in chosen])
        embedded, seeing = self.model.get_input_embeddings()(tokens), tokens == self.video
        embedded = embedded.masked_scatter(seeing[..., None], self.seen[shown])
        embedded = embedded.masked_scatter((tokens == self.audio)[..., None], self.heard[shown])
        hidden = self.model.model(
            inputs_embeds=embedded,
            attention_mask=attention,
            position_ids=torch.stack(places, dim=1),
            deepstack_visual_embeds=[layer[shown].flatten(0, 1) for layer in self.deep],
            visual_pos_masks=seeing,
            use_cache=False,
        ).last_hidden_state
        answered = torch.stack(said)[:, 1:].bool()
        return cross_entropy(self.model.lm_head(hidden[:, :-1][answered]), tokens[:, 1:][answered])

    def tokens(self, system: str, answers: list[str]) -> tuple[list[int], list[bool]]:
        """Tokens of a conversation, and which of them are an answer's."""
        turns = [
            *messages((), answers[:-1], system=system),
            {"role": "assistant", "content": [{"type": "text", "text": answers[-1]}]},
        ]
        text = self.processor.apply_chat_template(turns, tokenize=False).replace(VIDEO, self.media)
        spans = [m.span(1) for m in re.finditer(rf"assistant\n(.*?{re.escape(END)})", text, re.DOTALL)]
        found = self.processor.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        return found["input_ids"], [any(a <= start < b for a, b in spans) for start, _ in found["offset_mapping"]]

    def positions(self, ids: list[int]) -> Tensor:
        """(3, len(ids)) position ids, as the model would number the tokens itself."""
        parts, at, following = [], 0, torch.tensor(0.0)
        size = len(self.senses.ids)
        for start in [*(i for i, token in enumerate(ids) if token == self.start), len(ids)]:
            parts.append((torch.arange(start - at) + following).expand(3, -1))
            following = following + (start - at)
            if start < len(ids):
                parts.append(self.senses.positions + following)
                following, at = parts[-1].max() + 1, start + size
        return torch.cat(parts, dim=1)
