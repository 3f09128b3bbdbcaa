"""A VAE that starts as a PCA autoencoder: the components of the training crops in its linear layers."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vaegan.errors import UserError
from vaegan.networks import SLOPE, VAE
from vaegan.pca import fit_pca, mirrored_rows

REMEDY = "widen model.networks, or start at random with model.pca_start=false"


@torch.no_grad()
def start_from_pca(vae: VAE, crops: np.ndarray, noise: float) -> None:
    """Write the PCA of half-size crops into the linear layers of `vae`: it then starts as a PCA autoencoder.

    The picture reaches the linear layers unchanged along the shortcuts. A hidden pair (a, -a) passes a number
    through a leaky ReLU exactly: lrelu(a) - lrelu(-a) = (1 + slope) a. Convolutions keep their random start, scaled
    down and silent on the picture's own channels.

    Args:
        crops: uint8 (N, S, S, 3) to fit on, mirror images are added.
        noise: variance a pixel's code noise starts from (the KL weight / 4: BCE's curvature at mid-grey is 4).
    Raises:
        UserError: hidden layers narrower than 2 * latent, feature maps too narrow for the half-size picture, or fewer
            pictures than numbers of the code.
    """
    encoder, decoder, k = vae.encoder, vae.decoder, vae.config["latent"]
    size, half = vae.config["size"], vae.config["size"] // 2
    if encoder.shared.out_features < 2 * k:
        raise UserError(f"a PCA start needs hidden >= {2 * k}: {REMEDY}")
    if len(crops) < k:
        raise UserError(f"a start from a PCA needs {k} training pictures, not {len(crops)}: {REMEDY}")
    rows = mirrored_rows(crops).view(-1, 3, size, size) - 0.5
    small = F.avg_pool2d(rows, 2).flatten(1)
    pca = fit_pca(small, k)

    side = decoder.side
    fold = half // side
    if vae.config["encoder_widths"][-1] < 3 * fold**2 or vae.config["decoder_widths"][0] < 3 * fold**2:
        raise UserError(f"a PCA start needs at least {3 * fold**2} channels at {side} x {side}: {REMEDY}")

    def to_features(pictures: Tensor, channels: int) -> Tensor:
        """(N, 3, half, half) -> (N, channels * side * side) as the shortcuts lay the picture out."""
        x = F.pixel_unshuffle(pictures, fold)
        return F.pad(x, (0, 0, 0, 0, 0, channels - x.shape[1])).flatten(1)

    for conv, picture in _picture_channels(vae):
        conv.weight.mul_(0.5)
        out = conv.weight.transpose(0, 1) if isinstance(conv, torch.nn.ConvTranspose2d) else conv.weight
        out[:picture] = 0
        conv.bias[:picture] = 0

    whiten = to_features((pca.components / pca.std[:, None]).view(k, 3, half, half), vae.config["encoder_widths"][-1])
    offset = -(pca.components / pca.std[:, None]) @ pca.mean
    encoder.shared.weight[: 2 * k] = torch.cat([whiten, -whiten])
    encoder.shared.bias[: 2 * k] = torch.cat([offset, -offset])
    eye = torch.eye(k) / (1 + SLOPE)
    for layer in (encoder.mu, encoder.logvar):
        layer.weight.zero_()
        layer.bias.zero_()
    encoder.mu.weight[:, : 2 * k] = torch.cat([eye, -eye], 1)
    encoder.logvar.bias.copy_((noise / (4 * pca.std.square() + noise)).log())

    z = (small - pca.mean) @ (pca.components / pca.std[:, None]).T
    target = (z.T @ (rows.flatten(1) - rows.flatten(1).mean(0)) / len(z)).view(k, 3, size, size)
    grow = F.interpolate(torch.eye(half)[None, None], size=(size, half), mode="bilinear")[0, 0]
    shrink = torch.linalg.pinv(grow)
    draw = shrink @ target @ shrink.T
    mean = shrink @ rows.mean(0) @ shrink.T
    gain = _logit_gain(z[:512], target, rows)
    width = vae.config["decoder_widths"][0]
    first, second, third = decoder.linears
    first.weight[: 2 * k] = torch.cat([torch.eye(k), -torch.eye(k)])
    first.bias[: 2 * k] = 0
    second.weight[: 2 * k] = 0
    second.weight[: 2 * k, : 2 * k] = torch.cat([torch.cat([eye, -eye], 1), torch.cat([-eye, eye], 1)])
    second.bias[: 2 * k] = 0
    basis = to_features(gain * draw, width).T / (1 + SLOPE)
    third.weight[:, : 2 * k] = torch.cat([basis, -basis], 1)
    third.bias.copy_(to_features(gain * mean[None], width)[0])
    picture = to_features(torch.ones(1, 3, half, half), width)[0] > 0
    third.weight[:, 2 * k :] *= torch.where(picture, 0.0, 1.0)[:, None]


def _picture_channels(vae: VAE) -> list[tuple[torch.nn.Module, int]]:
    """Every convolution with the number of its output channels that the shortcut fills with the picture."""
    pairs = []
    channels = 3 * (vae.encoder.strides[0] // 2) ** 2
    for i, conv in enumerate(vae.encoder.convs):
        channels = channels if i == 0 else channels * vae.encoder.strides[i] ** 2
        pairs.append((conv, channels))
    for conv, stride in zip(vae.decoder.convs[:-1], vae.decoder.strides[:-1], strict=True):
        channels //= stride**2
        pairs.append((conv, channels))
    pairs.append((vae.decoder.convs[-1], vae.decoder.convs[-1].out_channels))
    return pairs


def _logit_gain(z: Tensor, target: Tensor, rows: Tensor) -> float:
    """The factor on u = x - 1/2 whose sigmoid comes nearest to x (4 at mid-grey, more for strong contrast)."""
    x = rows[: len(z)]
    u = (z @ target.flatten(1)).view_as(x) + rows.mean(0)
    gains = torch.arange(4.0, 6.6, 0.25)
    errors = torch.stack([(torch.sigmoid(g * u) - 0.5 - x).square().mean() for g in gains])
    return float(gains[errors.argmin()])
