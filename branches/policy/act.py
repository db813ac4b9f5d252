"""Action Chunking with Transformers (Zhao et al. 2023), as lerobot has it."""

import numpy as np
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE
from numpy.typing import NDArray
from torch import Tensor, nn

from branches.policy.config import ACTOptions
from branches.policy.training import Batch, masked_mean

# Of ImageNet, as torchvision's ResNets expect.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


SMALL = "small"


class SmallBackbone(nn.Module):
    """Stands where lerobot puts a ResNet: (B, 3, h, w) -> (B, 64, h / 16, w / 16) under the name that ACT reads."""

    channels = 64

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, size in ((3, 16, 5), (16, 32, 3), (32, 64, 3), (64, self.channels, 3)):
            layers += [nn.Conv2d(before, after, size, stride=2, padding=size // 2), nn.GroupNorm(8, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """As torchvision's `IntermediateLayerGetter`."""
        return {"feature_map": self.layers(frames)}


class ACTNetwork:
    """The policy and its loss: absolute error of the measured numbers, and the divergence of the latent.

    Args:
        options: Shape.
        cameras: Frames a window has.
        state: Numbers of one state.
        action: Numbers of an action.
        horizon: Actions of a chunk.
    """

    def __init__(self, options: ACTOptions, cameras: int, state: int, action: int, horizon: int) -> None:
        self.keys = [f"{OBS_IMAGES}.{i}" for i in range(cameras)]
        image = PolicyFeature(FeatureType.VISUAL, (3, options.image_size, options.image_size))
        config = ACTConfig(
            input_features=dict.fromkeys(self.keys, image)
            | {OBS_STATE: PolicyFeature(FeatureType.STATE, (state * options.state_steps,))},
            output_features={ACTION: PolicyFeature(FeatureType.ACTION, (action,))},
            chunk_size=horizon,
            n_action_steps=horizon,
            pretrained_backbone_weights=None,
            vision_backbone="resnet18" if options.backbone == SMALL else options.backbone,
            dim_model=options.width,
            n_heads=options.heads,
            dim_feedforward=options.feedforward,
            n_encoder_layers=options.encoder_layers,
            n_vae_encoder_layers=options.encoder_layers,
            n_decoder_layers=options.decoder_layers,
            dropout=options.dropout,
            latent_dim=options.latent,
            kl_weight=options.kl_weight,
            device="cpu",
        )
        self.module = ACTPolicy(config)
        if options.backbone == SMALL:
            self.module.model.backbone = SmallBackbone()
            self.module.model.encoder_img_feat_input_proj = nn.Conv2d(SmallBackbone.channels, options.width, kernel_size=1)
        self.kl_weight = options.kl_weight

    def loss(self, batch: Batch, draw: torch.Generator) -> Tensor:
        """In evaluation mode the latent is zero, as in use, and the divergence is left out."""
        found, (mean, log_variance) = self.module.model(self._inputs(batch))
        error = masked_mean((found - batch.actions).abs(), batch.masks)
        if mean is None:
            return error
        divergence = (-0.5 * (1 + log_variance - mean.square() - log_variance.exp())).sum(-1).mean()
        return error + self.kl_weight * divergence

    def chunk(self, batch: Batch, seeds: NDArray[np.uint64]) -> Tensor:
        """Nothing is drawn: the latent is zero."""
        self.module.eval()
        with torch.no_grad():
            return torch.as_tensor(self.module.model(self._inputs(batch))[0])

    def _inputs(self, batch: Batch) -> dict[str, Tensor | list[Tensor]]:
        mean, std = (batch.frames.new_tensor(values)[:, None, None] for values in (MEAN, STD))
        inputs: dict[str, Tensor | list[Tensor]] = {
            OBS_STATE: batch.states,
            OBS_IMAGES: [(batch.frames[:, i] - mean) / std for i in range(len(self.keys))],
        }
        if batch.actions.numel():
            inputs[ACTION] = batch.actions
            inputs["action_is_pad"] = ~batch.masks.any(dim=2)
        return inputs
