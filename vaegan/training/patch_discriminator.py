"""Whether a picture looks real, place by place: the discriminator of the refiner's training."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PatchDiscriminator(nn.Module):
    """Strided convolutions to a map of logits (Isola et al. 2017, PatchGAN).

    Args:
        widths: channels of the 4 x 4 convolutions, each of which halves the picture.
    """

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        channels = [3, *widths]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 4, 2, 1) for i, o in pairwise(channels))
        self.head = nn.Conv2d(widths[-1], 1, 3, 1, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """pictures: (N, 3, S, S) in [0, 1] -> logits (N, 1, s, s), positive for "real"; the activated maps."""
        x = (2 * pictures - 1).contiguous(memory_format=torch.channels_last)
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
            features.append(x)
        return self.head(x), features
