"""SmolVLA (Shukor et al. 2025), as lerobot has it: a frozen SmolVLM and an action expert trained by flow matching."""

from pathlib import Path

import numpy as np
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from branches.policy.config import SmolVLAOptions
from branches.policy.training import Batch, masked_mean
from branches.pretrained import quiet

LOOKS = 4  # draws of noise and time per validation window: the loss of a single one says little


class SmolVLANetwork:
    """The policy and its loss: squared error of the velocity, of the measured numbers.

    Every observed state is a token of its own; they, not the images or the text, see the whole prefix.

    Args:
        options: Shape.
        folder: Of a SmolVLM.
        cameras: Frames a window has.
        state: Numbers of one state.
        action: Numbers of an action.
        horizon: Actions of a chunk.
        weights: False builds the shape alone, from a directory without weights.
    """

    def __init__(
        self, options: SmolVLAOptions, folder: Path, cameras: int, state: int, action: int, horizon: int, *, weights: bool = True
    ) -> None:
        image = PolicyFeature(FeatureType.VISUAL, (3, options.image_size, options.image_size))
        config = SmolVLAConfig(
            input_features={f"{OBS_IMAGES}.{i}": image for i in range(cameras)}
            | {OBS_STATE: PolicyFeature(FeatureType.STATE, (state,))},
            output_features={ACTION: PolicyFeature(FeatureType.ACTION, (action,))},
            chunk_size=horizon,
            n_action_steps=horizon,
            max_state_dim=options.max_state_dim,
            max_action_dim=options.max_action_dim,
            resize_imgs_with_padding=None,
            tokenizer_max_length=options.text_tokens,
            num_steps=options.flow_steps,
            vlm_model_name=str(folder),
            load_vlm_weights=weights,
            num_vlm_layers=options.vlm_layers,
            expert_width_multiplier=options.expert_width,
            device="cpu",
        )
        with quiet():
            self.module = SmolVLAPolicy(config).float()
        self.model, self.options = self.module.model, options
        self.action, self.horizon = action, horizon
        self.tokenizer = self.model.vlm_with_expert.processor.tokenizer
        self.known: dict[str, tuple[list[int], list[int]]] = {}

    def loss(self, batch: Batch, draw: torch.Generator) -> Tensor:
        """Noise and time are drawn from `draw`; time as published, Beta(1.5, 1) on (0.001, 1]."""
        looks = 1 if self.module.training else LOOKS
        found = []
        for _ in range(looks):
            shape, device = (len(batch.states), self.horizon, self.options.max_action_dim), batch.states.device
            noise = torch.randn(shape, generator=draw, device=device)
            time = torch.rand(len(batch.states), generator=draw, device=device) ** (1 / 1.5) * 0.999 + 0.001
            actions = pad(batch.actions, (0, self.options.max_action_dim - self.action))
            losses = self.model.forward(*self._prefix(batch), actions, noise, time)
            found.append(masked_mean(losses[..., : self.action], batch.masks))
        return torch.stack(found).mean()

    def chunk(self, batch: Batch, seeds: NDArray[np.uint64]) -> Tensor:
        """The mean of `draws` chunks, each from noise of the row's own seed."""
        self.module.eval()
        draws, shape = self.options.draws, (self.horizon, self.options.max_action_dim)
        noise = np.stack([np.random.Generator(np.random.Philox(key=int(s))).standard_normal((draws, *shape)) for s in seeds])
        with torch.no_grad():
            prefix = [part.repeat_interleave(draws, dim=0) if isinstance(part, Tensor) else
                      [p.repeat_interleave(draws, dim=0) for p in part] for part in self._prefix(batch)]  # fmt: skip
            start = torch.from_numpy(noise.astype(np.float32)).reshape(-1, *shape).to(batch.states.device)
            found = self.model.sample_actions(*prefix, noise=start)
        return torch.as_tensor(found[..., : self.action].reshape(len(seeds), draws, self.horizon, self.action).mean(dim=1))

    def _prefix(self, batch: Batch) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor, Tensor]:
        """Images in [-1, 1] and their masks, tokens and their mask, states."""
        images = [batch.frames[:, i] * 2 - 1 for i in range(batch.frames.shape[1])]
        there = torch.ones(len(batch.states), dtype=torch.bool, device=batch.states.device)
        tokens, mask = zip(*(self._tokens(text) for text in batch.texts), strict=True)
        states = batch.states.reshape(len(batch.states), self.options.state_steps, -1)
        states = pad(states, (0, self.options.max_state_dim - states.shape[-1])).flip(1)  # the one at t0 comes last
        device = batch.states.device
        return images, [there] * len(images), torch.tensor(tokens, device=device), torch.tensor(mask, device=device) > 0, states

    def _tokens(self, text: str) -> tuple[list[int], list[int]]:
        """Always of the same length: a row must not depend on how long its neighbours' texts are."""
        if text not in self.known:
            length = self.options.text_tokens
            found = self.tokenizer(text + "\n", padding="max_length", max_length=length, truncation=True, padding_side="right")
            self.known[text] = (found["input_ids"], found["attention_mask"])
        return self.known[text]
