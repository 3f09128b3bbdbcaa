"""Triangles in pixels: which of them covers one, and what it interpolates there from its corners."""

import torch
from torch import Tensor

BOXES = 2
"""With fixed work, how often the triangles' boxes may cover the views, all together."""


def rasterise(
    corners: Tensor, values: Tensor, triangles: Tensor, region: Tensor, size: int, fixed_work: bool
) -> tuple[Tensor, Tensor]:
    """Triangles interpolate, for each pixel of (size, size), what stands at their corners.

    Args:
        corners: (N, ALL, 2) in px. values: (N, ALL, 2). region: uint8 (T,).

    Returns:
        region: uint8 (N, size, size), of the triangle that covers a pixel; values: (N, size, size, 2). Both are zero
        where there is none.
    """
    n, count = len(corners), len(triangles)
    p = corners[:, triangles]  # (N, T, 3, 2)
    q, r = p.roll(-1, 2), p.roll(-2, 2)
    a, b = q[..., 1] - r[..., 1], r[..., 0] - q[..., 0]
    area = a[..., 0] * p[..., 0, 0] + b[..., 0] * p[..., 0, 1] - a[..., 0] * q[..., 0, 0] - b[..., 0] * q[..., 0, 1]
    c = -(a * q[..., 0] + b * q[..., 1])
    edges = torch.stack([a, b, c], -1) / torch.where(area > 0, area, torch.inf)[..., None, None]  # (N, T, 3, 3)
    linear = torch.einsum("ntkj,ntkv->ntvj", edges, values[:, triangles]).reshape(n, count, 6)

    # Every pixel of every triangle's box, one after another: whose it is, and which of the box's.
    low = (p.amin(2) - 0.5).ceil().clamp(0, size)
    high = (p.amax(2) - 0.5).floor().clamp(-1, size - 1)
    extent = (high - low + 1).clamp_min(0)
    cells = torch.where(area > 0, extent[..., 0] * extent[..., 1], 0).long().flatten()
    ends = cells.cumsum(0)
    if not fixed_work:
        owner = torch.repeat_interleave(torch.arange(n * count, device=corners.device), cells)
    else:
        most = torch.arange(BOXES * n * size * size, device=corners.device)
        owner = torch.searchsorted(ends, most, right=True).clamp_max(n * count - 1)
    # Two barycentric coordinates are enough, the third is what they lack to 1.
    table = torch.cat([edges[:, :, :2].flatten(2), low, extent], 2).flatten(0, 1)
    a, b, c, d, e, f, left, top, width, height = table.T.contiguous().index_select(1, owner).unbind(0)
    place = (torch.arange(len(owner), device=corners.device) - (ends - cells).index_select(0, owner)).float()
    row = ((place + 0.5) / width).floor()
    x, y = torch.addcmul(left + place, row, width, value=-1), top + row
    fx, fy = x + 0.5, y + 0.5
    first = torch.addcmul(torch.addcmul(c, a, fx), b, fy)
    second = torch.addcmul(torch.addcmul(f, d, fx), e, fy)
    covers = torch.minimum(torch.minimum(first, second), 1 - first - second) > -1e-4
    pixel = torch.add(x, y, alpha=size).long()
    if n > 1:
        pixel += torch.div(owner, count, rounding_mode="floor") * (size * size)
    linear = torch.cat([linear, linear.new_zeros(n, 1, 6)], 1)
    if not fixed_work:
        pixel, owner, x, y = pixel[covers], owner[covers], fx[covers], fy[covers]
        of_image = torch.div(owner, count, rounding_mode="floor") if n > 1 else 0
        labels = region.new_zeros(n * size * size).index_copy_(0, pixel, region[owner - of_image * count])
        shown = values.new_zeros(n * size * size, 2)
        shown.index_copy_(0, pixel, _affine(linear, owner + of_image, x, y))
        return labels.view(n, size, size), shown.view(n, size, size, 2)
    pixel = torch.where(covers & (row < height), pixel, n * size * size)
    number = torch.full((n * size * size + 1,), -1, dtype=torch.int64, device=corners.device)
    number[pixel] = owner
    number = number[:-1].view(n, size, size)
    image = torch.arange(n, device=corners.device)[:, None, None]
    number = torch.where(number < 0, count, number - image * count)
    steps = torch.arange(size, device=corners.device) + 0.5
    shown = _affine(
        linear,
        (number + image * (count + 1)).flatten(),
        steps.repeat(n * size),
        steps.repeat_interleave(size).repeat(n),
    )
    return torch.cat([region, region.new_zeros(1)])[number], shown.view(n, size, size, 2)


def _affine(linear: Tensor, index: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Two functions of x, y and 1 each, (K, 2); linear: their coefficients (N, T + 1, 6), index: which of them (K,)."""
    a, b, c, d, e, f = linear.flatten(0, 1).T.contiguous().index_select(1, index).unbind(0)
    return torch.stack([torch.addcmul(torch.addcmul(c, a, x), b, y), torch.addcmul(torch.addcmul(f, d, x), e, y)], -1)
