"""A mouth that opens further than the photo's: its upper teeth keep their height, below them it is dark.

Between the lips a field that interpolates linearly draws teeth out to the length of the opening. Here the lower lip
weighs as many times more as the gap has grown, a projective map: at the upper lip nothing is stretched, at the lower
one most. Below the teeth neither the photo nor what is drawn shows anything that belongs there: that is the dark of an
open mouth, in the lips' own tint, lighter where the tongue lies.
"""

from dataclasses import replace

import cv2
import torch
from torch import Tensor

from vaegan.faces.regions import INNER_CORNERS
from vaegan.render.field import Field
from vaegan.render.triangles import MOUTH, triangulation
from vaegan.tensors import index

UPPER = (80, 81, 82, 13, 312, 311, 310)
LOWER = (88, 178, 87, 14, 317, 402, 318)
"""Points of the inner lips, one below the other."""

SIDES = (191, 415, 95, 324)
"""Next to the corners: one above, one below the other, twice."""

MOST = 4.0
"""The gap counts as grown by no more than this."""

TEETH = 0.045
"""Height of the upper teeth that an open mouth shows, in sides of the mesh box, where the photo's gap is smaller."""

STARTS, FULL, MOST_DARK = 0.85, 1.4, 0.94
"""In heights of the teeth below the upper lip: where the dark begins, and where its share is `MOST_DARK`."""

DEEP, TONGUE = 0.1, (0.72, 0.55, 0.57)
"""The lips' light times this: the dark behind the teeth, and red, green, blue of the tongue at the lower lip."""

TONGUE_FROM, TONGUE_WIDTH = 0.5, 0.8
"""Where the tongue begins, 0 at the upper lip and 1 at the lower one, and its width, in widths of the mouth."""

ROW = 0.5
"""Teeth that the photo does not show reach so far to either side, in halves of the mouth's width, before it darkens."""


def teeth_kept(field: Field, lips: Tensor) -> tuple[Field, Tensor, Tensor]:
    """The field of one photo, changed between the lips, and the dark there: (1, 3, S, S), and its share (1, 1, S, S).

    lips: (3,), their colour in [0, 1].
    """
    size = field.region.shape[1]
    dark, share_of_dark = torch.zeros(1, 3, size, size), torch.zeros(1, 1, size, size)
    rest = field.rigid.rest.points[0]
    upper, lower = index(UPPER, rest.device), index(LOWER, rest.device)
    gaps = [float((p[lower] - p[upper]).square().sum(1).sqrt().mean()) for p in (rest, field.moved[0])]
    grown = min(max(gaps[1] / max(gaps[0], 1e-6), 1.0), MOST)
    rows, columns = (field.region[0] == MOUTH).nonzero(as_tuple=True)
    if grown < 1.05 or not len(rows):
        return field, dark, share_of_dark
    triangles, region = triangulation(rest.device)
    triangles = triangles[region == MOUTH]
    corners = field.corners[0, triangles]  # (M, 3, 2) in px
    places = torch.stack([columns, rows], 1) + 0.5
    a, b, c = corners.unbind(1)
    matrix, _ = torch.linalg.inv_ex(torch.stack([b - a, c - a], 2))
    share = torch.einsum("mij,kmj->kmi", matrix, places[:, None] - a).nan_to_num(-1, -1, -1)  # of flattened triangles
    share = torch.cat([1 - share.sum(2, keepdim=True), share], 2)  # (K, M, 3)
    best = share.amin(2).argmax(1)
    share = share[torch.arange(len(best)), best].clamp(0, 1)
    chosen = triangles[best]
    lower = torch.isin(chosen, torch.tensor((*LOWER, *SIDES[2:]))).float()
    weight = share * (1 + (grown - 1) * lower)
    total = weight.sum(1, keepdim=True)
    down = (share * lower).sum(1)  # 0 at the upper lip, 1 at the lower one
    height = max(gaps[0], TEETH * float(field.rigid.rest.size))
    start, end = field.corners[0, list(INNER_CORNERS)]
    aside = 2 * ((places - (start + end) / 2) @ (end - start)) / (end - start).square().sum()  # -1 to 1
    hidden = max(0.0, 1 - gaps[0] / height) * min(1.0, gaps[1] / height)
    below = _smooth((down * gaps[1] / height - STARTS) / (FULL - STARTS))
    beside = hidden * _smooth((aside.abs() - ROW) / (1 - ROW))
    share_of_dark[0, 0, rows, columns] = MOST_DARK * torch.maximum(below, beside)
    tongue = ((down - TONGUE_FROM) / (1 - TONGUE_FROM)).clamp(0, 1).sqrt()
    tongue = tongue * (1 - (aside / TONGUE_WIDTH).square()).clamp(0, 1)
    dark[0, :, rows, columns] = lips[:, None] * (DEEP + (torch.tensor(TONGUE)[:, None] - DEEP) * tongue)
    position = (weight[..., None] * rest[chosen]).sum(1) / total
    change = position - field.position[0, rows, columns]
    inner, whole = field.inner.clone(), field.position.clone()
    inner[0, rows, columns] += change
    whole[0, rows, columns] += change
    soft = cv2.blur(share_of_dark[0, 0].numpy(), (3, 3), borderType=cv2.BORDER_CONSTANT)
    return replace(field, position=whole, inner=inner), dark, torch.from_numpy(soft)[None, None]


def _smooth(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return x.square() * (3 - 2 * x)
