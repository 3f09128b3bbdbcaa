"""Triangles in pixels: which of them covers one, and what it interpolates there from its corners."""

import numpy as np
import torch
from torch import Tensor

BOXES = 2
"""How often the triangles' boxes may cover the views of a batch, all together."""

SLACK = 1e-4
"""A pixel belongs to a triangle whose barycentric coordinates there are no further below zero: no cracks."""


def rasterise(
    corners: Tensor, values: Tensor, triangles: Tensor, region: Tensor, size: int, fixed_work: bool
) -> tuple[Tensor, Tensor]:
    """Triangles interpolate, for each pixel of (size, size), what stands at their corners.

    Args:
        corners: (N, ALL, 2) in px. values: (N, ALL, 2). triangles: (T, 3). region: uint8 (T,).
        fixed_work: as in `dense_field`.

    Returns:
        region: uint8 (N, size, size), of the triangle that covers a pixel; values: (N, size, size, 2). Both are zero
        where there is none.
    """
    if fixed_work:
        return _boxes(corners, values, triangles, region, size)
    labels, shown = np.zeros((len(corners), size, size), np.uint8), np.zeros((len(corners), size, size), np.complex64)
    triangles, region = triangles.T.contiguous().numpy(), region.numpy()
    corners, values = (torch.view_as_complex(x.double()).numpy() for x in (corners, values))
    for of_one in zip(corners, values, labels, shown, strict=True):
        _draw(*of_one, triangles, region)
    return torch.from_numpy(labels), torch.view_as_real(torch.from_numpy(shown))


def _draw(
    corners: np.ndarray,
    values: np.ndarray,
    labels: np.ndarray,
    shown: np.ndarray,
    triangles: np.ndarray,
    region: np.ndarray,
) -> None:
    """One face, triangle by triangle, row by row, from the first pixel to the last, into `labels` and `shown` (S, S).

    corners, values: x + iy of places and of what stands there, (ALL,). triangles: (3, T).
    """
    size = len(shown)
    p = corners[triangles]  # (3, T)
    q, r = p[[1, 2, 0]], p[[2, 0, 1]]
    # Barycentric coordinate k is 0 on the line through q[k] and r[k] and grows by (along, down) / area from there.
    along, down = q.imag - r.imag, r.real - q.real
    area = along[0] * (p[0] - q[0]).real + down[0] * (p[0] - q[0]).imag
    first = np.maximum(np.ceil(p.imag.min(0) - 0.5), 0)
    rows = np.minimum(np.floor(p.imag.max(0) - 0.5), size - 1) - first + 1
    rows = np.where(area > 0, np.maximum(rows, 0), 0).astype(np.int64)
    area = np.where(area > 0, area, np.inf)

    along = np.where(along == 0, 1e-12, along)
    slope = -down / along
    ends = q.real + (first + 0.5 - q.imag) * slope - SLACK * area / along  # where the coordinate is -SLACK
    step = _counted(rows)
    left, right = (
        np.repeat(np.where(of_side, ends, beyond), rows, 1) + np.repeat(np.where(of_side, slope, 0), rows, 1) * step
        for of_side, beyond in ((along > 0, 0.0), (along < 0, size))
    )
    left, right = np.ceil(left.max(0) - 0.5), np.floor(right.min(0) - 0.5)
    left, right = np.maximum(left, 0), np.minimum(right, size - 1)
    length = np.maximum(right - left + 1, 0).astype(np.int64)
    row = np.repeat(first, rows) + step

    corner = values[triangles]
    to_right, below = ((corner * grows).sum(0) / area for grows in (along, down))
    start = np.repeat(corner[0] - to_right * p[0].real - below * p[0].imag, rows)
    to_right = np.repeat(to_right, rows)
    start += to_right * (left + 0.5) + np.repeat(below, rows) * (row + 0.5)

    step = _counted(length)
    pixel = np.repeat((row * size + left).astype(np.int64), length) + step
    start, to_right = (np.repeat(of_span.astype(np.complex64), length) for of_span in (start, to_right))
    labels.reshape(-1)[pixel] = np.repeat(np.repeat(region, rows), length)
    shown.reshape(-1)[pixel] = start + to_right * step.astype(np.float32)


def _counted(counts: np.ndarray) -> np.ndarray:
    """0, 1, ... up to each of the counts, one after another."""
    return np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)


def _boxes(corners: Tensor, values: Tensor, triangles: Tensor, region: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Of a batch, every pixel of every triangle's box, as many as there is room for."""
    n, count = len(corners), len(triangles)
    p = corners[:, triangles]  # (N, T, 3, 2)
    q, r = p.roll(-1, 2), p.roll(-2, 2)
    a, b = q[..., 1] - r[..., 1], r[..., 0] - q[..., 0]
    area = a[..., 0] * p[..., 0, 0] + b[..., 0] * p[..., 0, 1] - a[..., 0] * q[..., 0, 0] - b[..., 0] * q[..., 0, 1]
    c = -(a * q[..., 0] + b * q[..., 1])
    edges = torch.stack([a, b, c], -1) / torch.where(area > 0, area, torch.inf)[..., None, None]  # (N, T, 3, 3)
    linear = torch.einsum("ntkj,ntkv->ntvj", edges, values[:, triangles]).reshape(n, count, 6)

    # One after another: whose it is, and which of the box's.
    low = (p.amin(2) - 0.5).ceil().clamp(0, size)
    high = (p.amax(2) - 0.5).floor().clamp(-1, size - 1)
    extent = (high - low + 1).clamp_min(0)
    cells = torch.where(area > 0, extent[..., 0] * extent[..., 1], 0).long().flatten()
    ends = cells.cumsum(0)
    most = torch.arange(BOXES * n * size * size, device=corners.device)
    owner = torch.searchsorted(ends, most, right=True).clamp_max(n * count - 1)
    # Two barycentric coordinates are enough, the third is what they lack to 1.
    table = torch.cat([edges[:, :, :2].flatten(2), low, extent], 2).flatten(0, 1)
    a, b, c, d, e, f, left, top, width, height = table.T.contiguous().index_select(1, owner).unbind(0)
    place = (most - (ends - cells).index_select(0, owner)).float()
    row = ((place + 0.5) / width).floor()
    x, y = torch.addcmul(left + place, row, width, value=-1), top + row
    fx, fy = x + 0.5, y + 0.5
    first = torch.addcmul(torch.addcmul(c, a, fx), b, fy)
    second = torch.addcmul(torch.addcmul(f, d, fx), e, fy)
    covers = torch.minimum(torch.minimum(first, second), 1 - first - second) > -SLACK
    pixel = torch.add(x, y, alpha=size).long()
    if n > 1:
        pixel += torch.div(owner, count, rounding_mode="floor") * (size * size)
    linear = torch.cat([linear, linear.new_zeros(n, 1, 6)], 1)
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
