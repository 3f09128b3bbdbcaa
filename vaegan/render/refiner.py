"""The refiner: a small U-Net that mends the warped photo, and what it is given and gives back.

A warp cannot show what the photo does not: teeth behind closed lips, lids over open eyes, what a turning head
uncovers. At half of `SIZE` the network sees the warped photo, the decoded faces of the motion model in their place,
and where the field opens or stretches; it answers with a soft mask and a colour. Both are for mouth and eyes alone: a
network that may paint and bend the whole picture costs identity and pose and adds no expression (docs/rendering.md).
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaegan.render.field import Field
from vaegan.render.triangles import EYE, MOUTH, OUTSIDE

SIZE = 256
"""Side in px of the view that the refiner works on."""

VIEW = 2.0
"""Side of the view / side of the photo's mesh box."""

INPUTS = 24
"""Channels: warped photo 12 (2 x 2 px each), moved and still decoded face 3 each, mouth, eyes and oval 3, what of mouth
and eyes the photo shows 2, logarithm of the field's determinant 1."""

OUTPUTS = 16
"""Channels: colour 12 and mask 4 (2 x 2 px each)."""

CELL = 4
"""px of the view."""

REACH, EDGE = 3, 2
"""Cells: how far around mouth and eyes colour may go, lips and lids and all, and how softly it
ends."""

SLOPE = 0.2


class _Conv(nn.Module):
    """3 x 3 convolution, or 4 x 4 that halves the map; leaky ReLU."""

    def __init__(self, channels: int, width: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3 if stride == 1 else 4, stride, 1)
        nn.init.kaiming_normal_(self.conv.weight, SLOPE)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(x), SLOPE)


class _Residual(nn.Module):
    """Two 3 x 3 convolutions around which the input is added (He et al. 2016); at first they add nothing."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = _Conv(width, width), nn.Conv2d(width, width, 3, 1, 1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class Refiner(nn.Module):
    """Warped photo to its corrections: a U-Net (Ronneberger et al. 2015) of four scales.

    Args:
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of `SIZE`; 24, 48, 96, 128 make 1.6 G multiply-adds.
    """

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        if len(widths) != 4:
            raise ValueError(f"the refiner has four scales: give four widths, not {len(widths)}")
        self.config = {"widths": list(widths)}
        steps = list(pairwise(widths))
        self.stem = _Conv(INPUTS, widths[0])
        self.down = nn.ModuleList(_Conv(fine, coarse, 2) for fine, coarse in steps)
        self.blocks = nn.ModuleList(_Residual(coarse) for _, coarse in steps)
        self.middle = nn.Sequential(_Residual(widths[-1]), _Residual(widths[-1]))
        self.up = nn.ModuleList(_Conv(coarse + fine, fine) for fine, coarse in reversed(steps))
        self.head = nn.Conv2d(widths[0], OUTPUTS, 3, 1, 1)
        nn.init.normal_(self.head.weight, std=1e-3)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.bias[12:16] = -2  # nearly all of the picture is the photo's

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, INPUTS, S / 2, S / 2) -> (N, OUTPUTS, S / 2, S / 2)."""
        x = self.stem(x)
        skips = []
        for down, block in zip(self.down, self.blocks, strict=True):
            skips.append(x)
            x = block(down(x))
        x = self.middle(x)
        for up in self.up:
            x = up(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skips.pop()], 1))
        return self.head(x)


def refiner_inputs(warped: Tensor, field: Field, moved: Tensor, still: Tensor) -> Tensor:
    """What the refiner sees.

    Args:
        warped: (N, 3, S, S) in [0, 1], the photo pulled through the field. field: of the same size.
        moved, still: D(z_p + delta) and D(z_p) in their place (`in_place`), (N, 3, S / 2, S / 2).
    """
    region = field.region[:, None]
    labels = torch.cat([region == MOUTH, region == EYE, region != OUTSIDE], 1)
    regions = _halved(labels.to(warped.dtype))
    determinant = field_determinant(field.position)
    shown = regions[:, :2] * determinant.clamp(0, 1)
    stretch = determinant.clamp_min(0.02).log().clamp_max(4)
    return torch.cat([F.pixel_unshuffle(warped, 2), moved, still, regions, shown, stretch], 1)


def field_determinant(position: Tensor) -> Tensor:
    """Area in the photo / area in the moved picture, (N, 1, S / 2, S / 2), of a field (N, S, S, 2): 1 where nothing is
    stretched, towards 0 where the photo has nothing to show."""
    size = position.shape[1]
    p = F.pad(_halved(position.permute(0, 3, 1, 2)), (1, 1, 1, 1), mode="replicate")
    along, down = (p[:, :, 1:-1, 2:] - p[:, :, 1:-1, :-2]), (p[:, :, 2:, 1:-1] - p[:, :, :-2, 1:-1])
    area = along[:, :1] * down[:, 1:] - along[:, 1:] * down[:, :1]
    return area * (size / 4) ** 2


def _halved(x: Tensor) -> Tensor:
    """Means of 2 x 2 px, (N, C, H / 2, W / 2), of whatever memory format."""
    x = x[..., ::2, :] + x[..., 1::2, :]
    return (x[..., ::2] + x[..., 1::2]) / 4


def compose(warped: Tensor, region: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """The refined picture (N, 3, H, W) and the mask (N, 1, H, W).

    Args:
        warped: (N, 3, H, W) in [0, 1], the photo pulled through the field. region: (N, H, W), `Field.region`.
        outputs: of the refiner, (N, OUTPUTS, H / 2, W / 2).
    """
    eyes = _most((region == EYE).float()[:, None])
    openings = torch.maximum(eyes, _most((region == MOUTH).float()[:, None]))
    colour = _in_tint(torch.sigmoid(3 * F.pixel_shuffle(outputs[:, :12], 2)), warped, eyes)
    colour = _within(colour, warped, openings)
    mask = torch.sigmoid(F.pixel_shuffle(outputs[:, 12:16], 2)) * _window(region, openings)
    return torch.lerp(warped, colour, mask), mask


def where_painted(region: Tensor) -> tuple[slice, slice]:
    """Rows and columns of a region map (S, S), whole cells, on which all depends that `compose` changes."""
    opening = ((region == MOUTH) | (region == EYE)).numpy()
    far = 2 * REACH + EDGE + 2  # the window's reach, and as far as `_in_tint` looks from there, enlarged both
    ends = []
    for size, axis in zip(opening.shape, (1, 0), strict=True):
        cells = np.flatnonzero(opening.any(axis)) // CELL
        low, high = (cells[0] - far, cells[-1] + 1 + far) if len(cells) else (0, 0)
        ends.append(slice(CELL * max(0, int(low)), min(size, CELL * int(high))))
    return ends[0], ends[1]


def _in_tint(colour: Tensor, warped: Tensor, eyes: Tensor) -> Tensor:
    """Colours whose green and blue exceed their red no further than somewhere near in the photo: teeth, lips and lids
    are never green or blue, and a critic that looks for eyes is pleased by blue ones. Likewise for the red of eyes."""
    coarse = F.avg_pool2d(warped, CELL)
    excess = torch.cat([coarse[:, 1:] - coarse[:, :1], coarse[:, :1] - coarse[:, 1:2], eyes], 1)
    near = _around(excess)
    near = torch.cat([near[:, :2].clamp_min(0), near[:, 2:3].clamp_min(0) + 1 - near[:, 3:]], 1)
    near = F.interpolate(near, size=colour.shape[2:], mode="bilinear", align_corners=False)
    red = torch.minimum(colour[:, :1], colour[:, 1:2] + near[:, 2:])
    return torch.cat([red, torch.minimum(colour[:, 1:], red + near[:, :2])], 1)


def _within(colour: Tensor, warped: Tensor, openings: Tensor) -> Tensor:
    """Colours that, beside the openings of mouth and eyes, are no darker and no brighter than the photo thereabouts:
    lips, lids and beards take on no teeth."""
    free = F.avg_pool2d(openings, 3, 1, 1)
    high, low = (F.max_pool2d(_most(x), 3, 1, 1) for x in (warped, -warped))
    low, high = -low - 2 * free, high + 2 * free
    low, high = (F.interpolate(x, size=colour.shape[2:], mode="bilinear", align_corners=False) for x in (low, high))
    return torch.minimum(torch.maximum(colour, low), high)


def _window(region: Tensor, openings: Tensor) -> Tensor:
    """(N, 1, H, W), 1 on and around mouth and eyes, fading to 0, within the face alone."""
    soft = F.avg_pool2d(_around(openings), 2 * EDGE + 1, 1, EDGE)
    beyond = F.max_pool2d(_most((region == OUTSIDE).float()[:, None]), 3, 1, 1)
    soft = soft * (1 - F.avg_pool2d(beyond, 3, 1, 1, count_include_pad=False))
    return F.interpolate(soft, size=region.shape[1:], mode="bilinear", align_corners=False)


def _most(x: Tensor) -> Tensor:
    """The largest of each cell, (N, C, H / CELL, W / CELL)."""
    return x.unflatten(2, (-1, CELL)).amax(3).unflatten(3, (-1, CELL)).amax(4)


def _around(cells: Tensor) -> Tensor:
    """The largest within `REACH` cells; rows, then columns."""
    wide = 2 * REACH + 1
    return F.max_pool2d(F.max_pool2d(cells, (wide, 1), 1, (REACH, 0)), (1, wide), 1, (0, REACH))


def pull(photo: Tensor, position: Tensor) -> Tensor:
    """The photo (N, 3, H, W) at the places (N, S, S, 2) of a field; beyond its edge the border is repeated."""
    return F.grid_sample(photo, position * 2 - 1, "bilinear", "border", False)


def in_place(crops: Tensor, placement: Tensor, size: int) -> Tensor:
    """Decoded crops (N, 3, s, s) where they belong in the view, (N, 3, size, size), grey around them.

    placement: (N, 4), centre x, y and side in sides of the view, roll in radians.
    """
    steps = (torch.arange(size, device=crops.device) + 0.5) / size
    u = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1) - placement[:, None, None, :2]
    c, s = placement[:, 3].cos()[:, None, None], placement[:, 3].sin()[:, None, None]
    v = torch.stack([c * u[..., 0] + s * u[..., 1], c * u[..., 1] - s * u[..., 0]], -1)
    grid = 2 * v / placement[:, 2, None, None, None]
    return F.grid_sample(crops - 0.5, grid, "bilinear", "zeros", False) + 0.5


def mesh_in_place(mesh: Tensor, placement: Tensor) -> Tensor:
    """Mesh (N, 478, 2 or 3) in sides of the crop -> (N, 478, 2) in sides of the view; placement as in `in_place`."""
    c, s = placement[:, 3].cos()[:, None], placement[:, 3].sin()[:, None]
    u = (mesh[..., :2] - 0.5) * placement[:, 2, None, None]
    x, y = c * u[..., 0] - s * u[..., 1], s * u[..., 0] + c * u[..., 1]
    return torch.stack([x, y], -1) + placement[:, None, :2]


def moved_placement(still: Tensor, change: Tensor) -> Tensor:
    """Placement (N, 4) of the moved face.

    still: of the photo. change: shift x, y in sides of the crop, log scale, roll.
    """
    shift = still[:, :2] + change[:, :2] * still[:, 2:3]
    return torch.cat([shift, still[:, 2:3] * change[:, 2:3].exp(), still[:, 3:] + change[:, 3:]], 1)
