"""A mouth that opens further than the photo's: its upper teeth keep their height, below them it is dark.

Between the lips a field that interpolates linearly draws teeth out to the length of the opening. Here the lower lip
weighs as many times more as the gap has grown, a projective map: at the upper lip nothing is stretched, at the lower
one most. As the photo shows nothing that belongs there, it is taken into the dark of an open mouth.
"""

from dataclasses import replace

import torch
from torch import Tensor

from vaegan.render.field import MOUTH, Field, triangulation

UPPER = (80, 81, 82, 13, 312, 311, 310)
LOWER = (88, 178, 87, 14, 317, 402, 318)
"""Points of the inner lips, one below the other."""

SIDES = (191, 415, 95, 324)
"""Next to the corners: one above, one below the other, twice."""

MOST = 4.0
"""The gap counts as grown by no more than this."""

DARKEST = 0.35
"""Share of its light that what is stretched most keeps."""


def teeth_kept(field: Field) -> tuple[Field, Tensor]:
    """The field of one photo, changed between the lips, and the share of light (1, 1, S, S) to be kept there."""
    size = field.region.shape[1]
    light = torch.ones(1, 1, size, size)
    rest = field.rigid.rest.points[0]
    gaps = [(p[list(LOWER)] - p[list(UPPER)]).norm(dim=1).mean() for p in (rest, field.moved[0])]
    grown = float((gaps[1] / gaps[0].clamp_min(1e-6)).clamp(1, MOST))
    rows, columns = (field.region[0] == MOUTH).nonzero(as_tuple=True)
    if grown < 1.05 or not len(rows):
        return field, light
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
    position = (weight[..., None] * rest[chosen]).sum(1) / total
    change = position - field.position[0, rows, columns]
    inner = field.inner.clone()
    inner[0, rows, columns] += change
    whole = field.position.clone()
    whole[0, rows, columns] += change
    light[0, 0, rows, columns] = DARKEST + (1 - DARKEST) * total[:, 0].pow(-1.0)
    return replace(field, position=whole, inner=inner), light
