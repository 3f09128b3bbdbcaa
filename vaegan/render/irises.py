"""Irises that stay round: where an eye looks elsewhere, its iris goes there whole, under lids that cover it.

Interpolated on triangles between lids and iris, a field squeezes the iris on the side where it nears the corner of the
eye. Here the field between the lids follows the lids alone and the iris is moved on it as a disc. Of the white beside
it one side goes under the lids, and the other is drawn out towards the corner.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vaegan.faces.regions import IRISES, LEFT_LIDS, RIGHT_LIDS
from vaegan.render.field import Field
from vaegan.render.openings import LOWER_LIDS, UPPER_LIDS
from vaegan.render.triangles import EYE

EYES = (
    (RIGHT_LIDS, IRISES[:5], UPPER_LIDS[:7], LOWER_LIDS[:7], (33, 133)),
    (LEFT_LIDS, IRISES[5:], UPPER_LIDS[7:], LOWER_LIDS[7:], (362, 263)),
)
"""Of each eye the lids, the iris with its middle first, upper and lower lid and the corners from left to right."""

LIMBUS = 1.1
"""The disc reaches this many radii of the iris's points."""

WHITE = 0.5
"""In radii: so much of the iris stays between the corners, at least."""

SHUT = 0.6
"""In radii: an eye whose lids are not that far apart shows no iris to be moved."""

BEYOND = 2
"""Px beyond the lids for which the movement is said, so that it can be enlarged."""


def carried_by_lids(rest: Tensor, meshes: Tensor) -> Tensor:
    """Meshes (N, 478, 2) of one photo (1, 478, 2) with irises that lie still between their lids."""
    carried = meshes.clone()
    for lids, iris, *_ in EYES:
        lids, iris = list(lids), list(iris)
        still = torch.cat([rest[:, lids], torch.ones_like(rest[:, lids, :1])], 2)
        place = torch.cat([rest[:, iris], torch.ones_like(rest[:, iris, :1])], 2)
        carried[:, iris] = place @ (torch.linalg.pinv(still) @ meshes[:, lids])
    return carried


@dataclass(frozen=True)
class EyeMoved:
    """What moves between the lids of one eye, beside them.

    corner: x, y of a box in px of the field. change: float32 (H, W, 3), what is to be added there to where px come
    from, x, y in sides of the photo's view, and 1 between the lids, 0 beyond them.
    """

    corner: tuple[int, int]
    change: np.ndarray


def irises_kept(fields: Field, meshes: Tensor) -> tuple[Field, list[list[EyeMoved]]]:
    """The fields of meshes of `carried_by_lids`, `position` changed between the lids; and for their enlargement the
    eyes of each that are open.

    meshes: (N, 478, 2), as they were asked for, in sides of the photo's view.
    """
    asked = torch.baddbmm(fields.rigid.shift, meshes[:, list(IRISES)], fields.rigid.turn).numpy()
    rest, moved = fields.rigid.rest.points[0].numpy(), fields.moved.numpy()
    corners, regions, inner = fields.corners.numpy(), fields.region.numpy(), fields.inner.numpy()
    position = fields.position.clone()
    sources, eyes = position.numpy(), []
    for i, points in enumerate(corners):
        eyes.append([])
        for number, eye in enumerate(EYES):
            lids = points[list(eye[0])]
            low = np.clip(np.floor(lids.min(0)).astype(int) - BEYOND, 0, regions.shape[2])
            high = np.clip(np.ceil(lids.max(0)).astype(int) + BEYOND, 0, regions.shape[2])
            box = slice(low[1], high[1]), slice(low[0], high[0])
            source = sources[i][box]
            change = _iris_moved(eye, rest, moved[i], asked[i, 5 * number], source - inner[i][box], source)
            if change is None or not source.size:
                continue
            between = (regions[i][box] == EYE)[..., None].astype(np.float32)
            eyes[-1].append(EyeMoved((low[0], low[1]), np.concatenate([change, between], 2, dtype=np.float32)))
            source += change * between
    return replace(fields, position=position), eyes


def _iris_moved(
    eye: tuple[tuple[int, ...], ...],
    rest: np.ndarray,
    moved: np.ndarray,
    middle: np.ndarray,
    place: np.ndarray,
    source: np.ndarray,
) -> np.ndarray | None:
    """What is to be added to where places (H, W, 2) come from, `source` (H, W, 2), for an iris whose middle (2,) is
    there; None: the photo's eye is shut.

    rest, moved: points of the photo, and of its face moved, all for a head that keeps still.
    """
    _, iris, upper, lower, corners = eye
    centre = rest[iris[0]]
    radius = LIMBUS * np.linalg.norm(rest[list(iris[1:])] - centre, axis=1).mean()
    along = rest[corners[1]] - rest[corners[0]]
    along = along / max(np.linalg.norm(along), 1e-9)
    across = np.array([-along[1], along[0]])
    left, right = (moved[list(corners)] - middle) @ along
    inward = np.clip(0, left + WHITE * radius, max(right - WHITE * radius, left + WHITE * radius))
    middle, left, right = middle + inward * along, left - inward, right - inward
    gap_before = _gap(rest, upper, lower, centre, along, across)
    gap_now = _gap(moved, upper, lower, middle, along, across)
    if gap_before < SHUT * radius:
        return None
    u, v = (place - middle) @ along, (place - middle) @ across
    chord = np.sqrt(np.maximum(radius**2 - v**2, 0))
    before = np.abs((rest[list(corners)] - centre) @ along)
    way = np.where(u < 0, max(-left, before[0]), max(right, before[1]))
    share = np.clip((way - np.abs(u)) / np.maximum(way - chord, 0.2 * radius), 0, 1)[..., None]
    height = min(1.0, gap_before / max(gap_now, 1e-9))
    return share * (centre + u[..., None] * along + height * v[..., None] * across - source)


def _gap(
    points: np.ndarray,
    upper: tuple[int, ...],
    lower: tuple[int, ...],
    place: np.ndarray,
    along: np.ndarray,
    across: np.ndarray,
) -> float:
    """How far the lids are apart at a place along the eye."""
    heights = []
    for lid in (upper, lower):
        s, t = points[list(lid)] @ along, points[list(lid)] @ across
        order = np.argsort(s)
        heights.append(np.interp(place @ along, s[order], t[order]))
    return abs(heights[1] - heights[0])
