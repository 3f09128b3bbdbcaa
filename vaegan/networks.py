"""The paper's three networks: encoder (7 convolutions, 3 linear), its mirror image the decoder, discriminator (4, 3).

Layer counts are the paper's (section 2); widths and strides are configuration. Around the convolutions run
shortcuts without parameters (space-to-channel, as in the DC-AE of Chen et al. 2024, arXiv:2410.10733): the first
channels of every layer carry the picture at half size, the convolutions add to it. So a linear code such as PCA
can be written into the linear layers at the start (vaegan.training.pca_start), and training goes on from there.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def _fit(x: Tensor, channels: int) -> Tensor:
    """Cut or zero-pad the channels of x (N, C, H, W) to `channels`."""
    if x.shape[1] >= channels:
        return x[:, :channels]
    return F.pad(x, (0, 0, 0, 0, 0, channels - x.shape[1]))


def _check(size: int, widths: list[int], strides: list[int]) -> int:
    """Return the side of the smallest feature map; raise ValueError where the configuration cannot work."""
    if len(widths) != 7 or len(strides) != 7:
        raise ValueError(
            f"the paper has 7 convolutions: give 7 widths and 7 strides, not {len(widths)}, {len(strides)}"
        )
    total = 1
    for stride in strides:
        total *= stride
    if size % total:
        raise ValueError(f"strides {strides} multiply to {total}, which does not divide the size {size}")
    return size // total


class Encoder(nn.Module):
    """Crops -> mean and log-variance of the posterior. 7 convolutions, 3 linear layers (one shared, mu, logvar).

    Args:
        size: side S of the crops in px.
        widths, strides: of the 7 convolutions; the first stride is even. Kernels are 3 at stride 1, else 2 * stride.
        hidden: width of the shared linear layer.
        latent: numbers in the code.
    """

    def __init__(self, size: int, widths: list[int], strides: list[int], hidden: int, latent: int):
        super().__init__()
        side = _check(size, widths, strides)
        if strides[0] % 2:
            raise ValueError(f"the first stride must be even, not {strides[0]}")
        self.strides = list(strides)
        inputs = [3, *widths[:-1]]
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 3, 1, 1) if s == 1 else nn.Conv2d(i, o, 2 * s, s, s // 2)
            for i, o, s in zip(inputs, widths, strides, strict=True)
        )
        self.shared = nn.Linear(widths[-1] * side * side, hidden)
        self.mu = nn.Linear(hidden, latent)
        self.logvar = nn.Linear(hidden, latent)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """crops: float (N, 3, S, S) in [0, 1] -> mu (N, latent), logvar (N, latent) in [-14, 6]."""
        x = crops - 0.5
        shortcut = F.pixel_unshuffle(F.avg_pool2d(x, 2), self.strides[0] // 2)
        x = _fit(shortcut, self.convs[0].out_channels) + self.convs[0](x)
        for conv, stride in zip(self.convs[1:], self.strides[1:], strict=True):
            shortcut = x if stride == 1 else F.pixel_unshuffle(x, stride)
            x = _fit(shortcut, conv.out_channels) + conv(_activate(x))
        h = _activate(self.shared(x.flatten(1)))
        return self.mu(h), self.logvar(h).clamp(-14, 6)


class Decoder(nn.Module):
    """Latents -> logits of the crop. The encoder's mirror image: 3 linear layers, then 7 convolutions.

    Args:
        size: side S of the crops in px.
        widths: input widths of the 7 convolutions. strides: their enlargements; the last is even and is a sub-pixel
            convolution (Shi et al. 2016, arXiv:1609.05158), the others with stride > 1 are transposed convolutions.
        hidden: width of the two inner linear layers.
        latent: numbers in the code.
    """

    def __init__(self, size: int, widths: list[int], strides: list[int], hidden: int, latent: int):
        super().__init__()
        self.side = _check(size, widths, strides)
        if strides[-1] % 2:
            raise ValueError(f"the last stride must be even, not {strides[-1]}")
        self.strides = list(strides)
        self.linears = nn.ModuleList(
            (nn.Linear(latent, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, widths[0] * self.side**2))
        )
        convs = [
            nn.Conv2d(i, o, 3, 1, 1) if s == 1 else nn.ConvTranspose2d(i, o, 2 * s, s, s // 2)
            for i, o, s in zip(widths[:-1], widths[1:], strides[:-1], strict=True)
        ]
        self.convs = nn.ModuleList([*convs, nn.Conv2d(widths[-1], 3 * strides[-1] ** 2, 3, 1, 1)])

    def forward(self, z: Tensor) -> Tensor:
        """z: float (N, latent) -> logits (N, 3, S, S); the sigmoid of the logits is the crop in [0, 1]."""
        h = _activate(self.linears[0](z))
        h = _activate(self.linears[1](h))
        x = self.linears[2](h).view(len(z), -1, self.side, self.side)
        x = x.contiguous(memory_format=torch.channels_last)
        for conv, stride in zip(self.convs[:-1], self.strides[:-1], strict=True):
            shortcut = x if stride == 1 else F.pixel_shuffle(x[:, : x.shape[1] // stride**2 * stride**2], stride)
            x = _fit(shortcut, conv.out_channels) + conv(_activate(x))
        stride = self.strides[-1]
        thumbnail = F.pixel_shuffle(x[:, : 3 * (stride // 2) ** 2], stride // 2)
        shortcut = F.interpolate(thumbnail, scale_factor=2, mode="bilinear", align_corners=False)
        return shortcut + F.pixel_shuffle(self.convs[-1](_activate(x)), stride)


class Discriminator(nn.Module):
    """Crops -> one logit, positive for "real". 4 convolutions, 3 linear layers.

    Args:
        size: side S of the crops in px. widths, strides: of the 4 convolutions. hidden: widths of the two inner
        linear layers.
    """

    def __init__(self, size: int, widths: list[int], strides: list[int], hidden: list[int]):
        super().__init__()
        if len(widths) != 4 or len(strides) != 4:
            raise ValueError(f"the paper has 4 convolutions here: 4 widths and strides, not {len(widths)}")
        side = size
        for stride in strides:
            side //= stride
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 2 * s, s, s // 2) for i, o, s in zip([3, *widths[:-1]], widths, strides, strict=True)
        )
        self.linears = nn.ModuleList(
            (nn.Linear(widths[-1] * side**2, hidden[0]), nn.Linear(hidden[0], hidden[1]), nn.Linear(hidden[1], 1))
        )

    def forward(self, crops: Tensor) -> tuple[Tensor, list[Tensor]]:
        """crops: float (N, 3, S, S) in [0, 1] -> logits (N,), features: the 4 activated maps, finest first."""
        x = 2 * crops - 1
        features = []
        for conv in self.convs:
            x = _activate(conv(x))
            features.append(x)
        h = x.flatten(1)
        for linear in self.linears[:-1]:
            h = _activate(linear(h))
        return self.linears[-1](h).squeeze(1), features


class VAE(nn.Module):
    """Encoder and decoder of one configuration: `VAE(**config)` rebuilds what `config` describes."""

    def __init__(
        self,
        size: int,
        latent: int,
        hidden: int,
        encoder_widths: list[int],
        encoder_strides: list[int],
        decoder_widths: list[int],
        decoder_strides: list[int],
    ):
        super().__init__()
        self.config = {
            "size": size,
            "latent": latent,
            "hidden": hidden,
            "encoder_widths": list(encoder_widths),
            "encoder_strides": list(encoder_strides),
            "decoder_widths": list(decoder_widths),
            "decoder_strides": list(decoder_strides),
        }
        self.encoder = Encoder(size, encoder_widths, encoder_strides, hidden, latent)
        self.decoder = Decoder(size, decoder_widths, decoder_strides, hidden, latent)

    def forward(
        self, crops: Tensor, noise: Callable[[Tensor], Tensor] = torch.randn_like
    ) -> tuple[Tensor, Tensor, Tensor]:
        """crops: (N, 3, S, S) in [0, 1] -> logits of the crop drawn from z ~ N(mu, exp(logvar)), mu, logvar.

        noise: gives normal noise of the shape of mu.
        """
        mu, logvar = self.encoder(crops)
        z = mu + noise(mu) * (0.5 * logvar).exp()
        return self.decoder(z), mu, logvar


class Heads(nn.Module):
    """Two linear maps of a latent: mesh and blendshapes.

    Linear on purpose: what they read off a difference z_t - z_ref does not depend on whose latent it is added to.

    Args:
        latent: numbers in the code.
    """

    POINTS, BLENDSHAPES = 478, 52

    def __init__(self, latent: int):
        super().__init__()
        self.mesh = nn.Linear(latent, self.POINTS * 3)
        self.blendshapes = nn.Linear(latent, self.BLENDSHAPES)
        for layer in (self.mesh, self.blendshapes):
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(layer.bias)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z: float (N, latent) -> mesh (N, 478, 3) in sides of the crop, blendshapes (N, 52) in [0, 1], not clipped."""
        with torch.autocast(z.device.type, enabled=False):  # half precision moves points by a tenth of a pixel
            z = z.float()
            return self.mesh(z).view(-1, self.POINTS, 3), self.blendshapes(z)
