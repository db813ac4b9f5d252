"""Where the pretraining of the tiny VAE starts: as an average over squares of 4 x 4 pixels and pairs of frames, and back.

A fresh network of this kind spends its first thousand steps on learning the mean colour, because a norm stands before the last
layer of encoder and decoder. Here every residual branch begins at zero, so that what is left is linear: averages go in, and the
decoder repeats them. Beside the colours one channel is large and constant; the norm then hardly depends on the picture, and the
activation after it is nearly linear.
"""

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanAttentionBlock, WanResample, WanResidualBlock
from torch import nn

COLOURS = 3
LARGE = 8.0  # the constant channel; colours lie in [-1, 1]
SMALL = 0.25  # what the colours are after the norm, so that SiLU(x) is x / 2 + x^2 / 4
QUIET = -6.0  # log variance of the posterior: with that of a fresh layer there is nothing to see but noise


def start_as_average(model: AutoencoderKLWan) -> None:
    """Set the weights of a model of the shape `VAE_TINY`."""
    with torch.no_grad():
        _silence(model)
        _set(model)


def _set(model: AutoencoderKLWan) -> None:
    encoder, decoder, latent = model.encoder, model.decoder, model.config.z_dim
    _copy(encoder.conv_in, COLOURS)
    # The first frame of a clip is alone. The shortcuts average it with nothing, so it gets its other half from the convolutions.
    first, second = (block.downsampler.resample[1].weight for block in encoder.down_blocks[:2])
    for colour in range(COLOURS):
        first[colour, colour, :2, :2] = 0.5 / 4
        second[2 * colour, colour, :2, :2] = 1 / 4
    # A latent holds, for each colour, the averages of the first and of the second pair of frames.
    pairs = 2 * COLOURS
    _constant(encoder, SMALL / 2)  # the shortcut over the last block doubles what passes
    _copy(encoder.conv_out, pairs, 2 / SMALL)
    _copy(model.quant_conv, latent)
    model.quant_conv.weight[latent:].zero_()
    model.quant_conv.bias[latent:].fill_(QUIET)
    _copy(model.post_quant_conv, latent)
    decoder.conv_in.weight[:pairs].zero_()
    decoder.conv_in.bias[:pairs].zero_()
    for colour in range(COLOURS):
        for pair, sign in ((0, -1), (1, 1)):
            decoder.conv_in.weight[colour, 2 * colour + pair, -1, 1, 1] = 0.5
            decoder.conv_in.weight[COLOURS + colour, 2 * colour + pair, -1, 1, 1] = 0.5 * sign
    _constant(decoder, SMALL)
    _copy(decoder.conv_out, COLOURS, 2 / SMALL)


def _silence(model: AutoencoderKLWan) -> None:
    """Residual branches, attention and resampling give nothing; what changes the number of channels copies the first ones."""
    for module in model.modules():
        quiet: list[nn.Module] = []
        if isinstance(module, WanResidualBlock):
            quiet = [module.conv2]
            if not isinstance(module.conv_shortcut, nn.Identity):
                _copy(module.conv_shortcut, min(module.conv_shortcut.weight.shape[:2]))
        elif isinstance(module, WanAttentionBlock):
            quiet = [module.proj]
        elif isinstance(module, WanResample):
            quiet = [module.time_conv, module.resample[1]]
        for layer in quiet:
            for parameter in layer.parameters():
                parameter.zero_()


def _copy(layer: nn.Module, channels: int, scale: float = 1.0) -> None:
    """The first channels become those that come in, times a scale."""
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]
    weight[:channels].zero_()
    layer.bias[:channels].zero_()  # type: ignore[index]
    for channel in range(channels):
        weight[channel, channel, -1, weight.shape[3] // 2, weight.shape[4] // 2] = scale


def _constant(part: nn.Module, after: float) -> None:
    """The last channel before the norm becomes large, and a 1 in another one `after` after it."""
    last = [module for module in part.modules() if isinstance(module, WanResidualBlock)][-1]
    last.conv2.bias[-1] = LARGE
    part.norm_out.gamma.fill_(after * LARGE / part.norm_out.gamma.numel() ** 0.5)  # type: ignore[union-attr]
