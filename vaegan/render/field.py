"""The dense field of a mesh displacement: where every place of the moved picture comes from.

The head moves as a whole, by the similarity that fits its rigid points, and this fades out beyond it: hair, neck and
shoulders go along, the far background stays. What the landmarks move besides is interpolated on a fixed triangulation
of the mesh and a ring around it, so that the field passes through the landmarks and lips and lids move apart freely.
Triangles that a motion would turn over are flattened instead (position-based dynamics, Mueller et al. 2007, with the
signed area as the constraint), so that the picture never folds.

All coordinates are in one unit, the photo's view: (0, 0) its top left corner, (1, 1) its bottom right one.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vaegan.faces.geometry import FACE_POINTS, LEFT_EYE, RIGHT_EYE, RIGID_HEAD, RIGID_POINTS
from vaegan.faces.regions import INNER_LIPS, IRISES, LEFT_LIDS, RIGHT_LIDS
from vaegan.render.raster import rasterise
from vaegan.tensors import index

POINTS = 478
RING = 32
"""Points of the ring around the face, numbered after the mesh; there the landmarks' own movement has come to rest. As
many follow that lie half way between it and the face's oval."""

ALL = POINTS + 2 * RING

RING_RADIUS = (0.72, 0.79)
"""Half axes of the ring in sides of the photo's mesh box."""

HEAD_RADIUS, FADE = 0.76, 0.5
"""In sides of the mesh box: the rigid head reaches as far as the ring, and fades out over this much more, or over
`FADE_SLOPE` times its displacement where that is longer: a short edge would fold."""

FADE_SLOPE = 2.5
HEAD_CENTRE = (0.0, 0.2, 0.5)
"""Between the ears, in the coordinates of `RIGID_HEAD`."""

SQUEEZE = 0.85
"""Heights count this much in the distance from the face's middle: heads are taller than wide."""

SMALLEST_AREA = 2e-5
"""Twice the area, in squared sides of the mesh box, below which a triangle is flattened no further."""

OUTSIDE, FACE, MOUTH, EYE = range(4)
"""Regions: outside the oval, skin, between the inner lips, between the lids."""


@cache
def triangulation(device: torch.device) -> tuple[Tensor, Tensor]:
    """Triangles int64 (T, 3), all turned alike in a frontal face, and the region (T,) of each.

    Delaunay triangles of the mean mesh of frontal faces with open mouth and eyes, so that no edge crosses an opening.
    """
    triangles = mesh_data()["triangles"].astype(np.int64)
    region = np.where((triangles < POINTS).all(1), FACE, OUTSIDE)
    openings = ((INNER_LIPS, MOUTH), (RIGHT_LIDS + IRISES[:5], EYE), (LEFT_LIDS + IRISES[5:], EYE))
    for points, name in openings:
        region[np.isin(triangles, points).all(1)] = name
    return torch.from_numpy(triangles).to(device), torch.from_numpy(region).to(device)


@cache
def _oval(device: torch.device) -> tuple[Tensor, Tensor]:
    """For each point of the ring the two oval points (RING, 2) inward of it, and the share (RING, 1) of the second."""
    mesh = mesh_data()
    oval, share = mesh["oval"].astype(np.int64), mesh["share"][:, None]
    return torch.from_numpy(oval).to(device), torch.from_numpy(share).to(device)


@cache
def mesh_data() -> dict[str, np.ndarray]:
    """triangles int16 (T, 3); oval int16 (RING, 2), share float32 (RING,), see `_oval`; reach float32 (478,): in sides
    of the mesh box, how far the expression takes a landmark, 99.9th percentile over pairs of frames of 440 clips."""
    with np.load(Path(__file__).parent / "mesh.npz", allow_pickle=False) as file:
        return dict(file)


def _with_ring(mesh: Tensor, ring: Tensor) -> Tensor:
    """mesh (N, 478, 2) and ring (N, RING, 2) -> all points (N, ALL, 2)."""
    oval, share = _oval(mesh.device)
    inward = torch.lerp(mesh[:, oval[:, 0]], mesh[:, oval[:, 1]], share)
    return torch.cat([mesh, ring, (ring + inward) / 2], 1)


@dataclass
class Rest:
    """The photos' meshes, ready to be moved.

    points: (N, ALL, 2), mesh and rings, none of its triangles turned over. mesh: (N, 478, 2), as it was given.
    centre: (N, 1, 2); size: (N, 1, 1), longer side of the mesh box.
    """

    points: Tensor
    mesh: Tensor
    centre: Tensor
    size: Tensor


@dataclass
class Rigid:
    """The head's movement as a whole: q = turn p + shift takes moved places p back into the photo.

    turn: (N, 2, 2), transposed, and its inverse; shift: (N, 1, 2); rest: the photo's mesh. fade: (N, 1), width of the
    soft edge.
    """

    turn: Tensor
    inverse: Tensor
    shift: Tensor
    rest: Rest
    fade: Tensor

    def back(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Places of the moved picture -> where they come from, were there no expression. x, y: of shapes (N, H or 1, W
        or 1)."""
        there = self._there(x, y)
        weight = torch.addcmul(
            (HEAD_RADIUS / self.fade + 1)[..., None], self._radius(*there), -1 / self.fade[..., None]
        )
        weight = weight.clamp_(0, 1)
        weight = weight.square() * (3 - 2 * weight)
        return tuple(torch.lerp(own, its, weight) for own, its in zip((x, y), there, strict=True))

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Places of the moved picture, as in `back` -> how far they are from the moved face, in its sizes."""
        return self._radius(*self._there(x, y))

    def _there(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        turn, shift = self.turn[..., None, None], self.shift[..., None]
        return tuple(x * turn[:, 0, i] + (y * turn[:, 1, i] + shift[:, :, i]) for i in (0, 1))

    def _radius(self, x: Tensor, y: Tensor) -> Tensor:
        centre, size = self.rest.centre[..., None], self.rest.size
        x, y = (x - centre[:, :, 0]) / size, (y - centre[:, :, 1]) * (SQUEEZE / size)
        return torch.addcmul(x.square_(), y, y).sqrt_()


@dataclass
class Field:
    """Where each place of a view of the moved picture comes from.

    position: (N, S, S, 2), in the photo. region: uint8 (N, S, S). rigid: the head's own movement.
    inner: (N, S, S, 2), what the landmarks' own movement adds to it; zero beyond the ring.
    moved: (N, ALL, 2), where the points of `Rest` are for a head that keeps still; corners: where they are, px.
    """

    position: Tensor
    region: Tensor
    rigid: Rigid
    inner: Tensor
    moved: Tensor
    corners: Tensor


def at_rest(mesh: Tensor, iterations: int = 64, fixed_work: bool = False) -> Rest:
    """mesh: (N, 478, 2 or 3) in the photos; iterations, fixed_work: as in `dense_field`."""
    mesh = mesh[..., :2].float()
    low, high = mesh[:, :FACE_POINTS].amin(1), mesh[:, :FACE_POINTS].amax(1)
    centre, size = ((low + high) / 2)[:, None], (high - low).amax(1)[:, None, None]
    angle = torch.arange(RING, device=mesh.device) * (2 * torch.pi / RING)
    circle = torch.stack([RING_RADIUS[0] * angle.cos(), RING_RADIUS[1] * angle.sin()], 1)
    left, right = index(LEFT_EYE, mesh.device), index(RIGHT_EYE, mesh.device)
    across = mesh[:, left].mean(1) - mesh[:, right].mean(1)
    across = across / across.norm(dim=1, keepdim=True).clamp_min(1e-9)
    upright = torch.stack([across, torch.stack([-across[:, 1], across[:, 0]], 1)], 1)
    points = _with_ring((mesh - centre) / size, circle @ upright)
    return Rest(_flatten_turned(points, iterations, fixed_work) * size + centre, mesh, centre, size)


def rigid_motion(rest: Rest, mesh: Tensor) -> Rigid:
    """The similarity that takes the moved heads, of meshes (N, 478, 2), back to the photos'.

    It holds on to the middle of the head between the ears (`HEAD_CENTRE`), around which a head turns: the face slides
    over the head, whose outline stays. Its angle is that of the rigid points (Umeyama 1991), its size that of the
    solid head fitted to them.
    """
    rigid = index(RIGID_POINTS, mesh.device)
    moved, still = mesh[:, rigid], rest.mesh[:, rigid]
    p, q = moved - moved.mean(1, keepdim=True), still - still.mean(1, keepdim=True)
    c, s = (p * q).sum((1, 2)), (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(1)
    length = (c.square() + s.square()).sqrt().clamp_min(1e-12)
    fit, centre = _head_fit(mesh.device)
    heads = fit @ torch.stack([moved, still])  # (2, N, 4, 2)
    grown, middle = heads[:, :, :3].square().sum((2, 3)).clamp_min(1e-12).sqrt(), centre @ heads
    c, s = (x / length * grown[1] / grown[0] for x in (c, s))
    turn = torch.stack([torch.stack([c, s], 1), torch.stack([-s, c], 1)], 1)
    shift = middle[1] - middle[0] @ turn
    # How far the head's outline goes: its centre's way, and what turning and growing add at one side of the box.
    inverse = turn.mT / (c.square() + s.square()).clamp_min(1e-12)[:, None, None]
    outline = (rest.centre - shift) @ inverse - rest.centre
    spin = (inverse - torch.eye(2, device=mesh.device)).square().sum((1, 2)).sqrt()
    far = outline.norm(dim=-1) / rest.size[..., 0] + spin[:, None]
    return Rigid(turn, inverse, shift, rest, (FADE**2 + (FADE_SLOPE * far).square()).sqrt())


@cache
def _head_fit(device: torch.device) -> tuple[Tensor, Tensor]:
    """Projection of a solid head, least squares over its rigid points: (4, R) @ points (R, 2) gives (4, 2), to be
    multiplied by (1, 4), a place x, y, z of the head and 1; that of `HEAD_CENTRE` comes with it."""
    head = np.concatenate([RIGID_HEAD, np.ones((len(RIGID_HEAD), 1))], 1)
    centre = np.array([[*HEAD_CENTRE, 1.0]])
    return tuple(torch.from_numpy(a.astype(np.float32)).to(device) for a in (np.linalg.pinv(head), centre))


def dense_field(
    rest: Rest, mesh: Tensor, size: int, view: Tensor | None = None, iterations: int = 12, fixed_work: bool = False
) -> Field:
    """The field that moves the photos' meshes to `mesh`.

    Args:
        rest: of N photos. mesh: float (N, 478, 2 or 3), where the landmarks shall be.
        size: side of the field in px.
        view: (N, 3), centre x, y and side of the square that the field covers; None: the photo's view, (.5, .5, 1).
        iterations: of the flattening of turned triangles, at most.
        fixed_work: do as much whatever the mesh, so that a GPU never waits to be told how much there is to do.
    """
    n, device = len(mesh), mesh.device
    rigid = rigid_motion(rest, mesh[..., :2].float())
    # In sides of the photo's mesh box, the head's own movement taken away, what the photo's flattening moved put on.
    back = torch.baddbmm(rigid.shift, mesh[..., :2].float(), rigid.turn)
    moved = rest.points + _with_ring(back - rest.mesh, torch.zeros(n, RING, 2, device=device))
    moved = _flatten_turned((moved - rest.centre) / rest.size, iterations, fixed_work) * rest.size
    moved = moved + rest.centre
    own = rest.points - moved  # (N, ALL, 2)
    corners = (moved - rigid.shift) @ rigid.inverse

    if view is None:
        view = torch.cat([torch.full((n, 2), 0.5, device=device), torch.ones(n, 1, device=device)], 1)
    origin, side = view[:, None, :2] - view[:, None, 2:] / 2, view[:, None, 2:]
    triangles, region = triangulation(device)
    corners = (corners - origin) * (size / side)
    labels, movement = rasterise(corners, own, triangles, region.to(torch.uint8), size, fixed_work)
    steps = (torch.arange(size, device=device) + 0.5) * (side / size)  # (N, 1, S)
    x, y = steps + origin[:, :, :1], (steps + origin[:, :, 1:]).mT
    position = movement + torch.stack(rigid.back(x, y), -1)
    return Field(position, labels, rigid, movement, moved, corners)


def _flatten_turned(points: Tensor, iterations: int, fixed_work: bool) -> Tensor:
    """points (N, ALL, 2) in sides of the mesh box -> moved as little as needed that no triangle is turned over.

    Irises give way four times as easily as the rest, the outer ring does not.
    """
    triangles, _ = triangulation(points.device)
    ease = torch.ones(ALL, device=points.device)
    ease[FACE_POINTS:POINTS], ease[POINTS : POINTS + RING] = 4.0, 0.0
    for _ in range(iterations):
        a, b, c = points[:, triangles].unbind(2)
        u, v = b - a, c - a
        lacking = (SMALLEST_AREA - (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])).clamp_min(0)
        if not fixed_work:
            photo, chosen = lacking.nonzero(as_tuple=True)
            if not len(chosen):
                break
            u, v, lacking, corner = u[photo, chosen], v[photo, chosen], lacking[photo, chosen], triangles[chosen]
            slot = corner + photo[:, None] * ALL
        else:
            corner = triangles
            slot = corner + torch.arange(len(points), device=points.device)[:, None, None] * ALL
        of_b = torch.stack([v[..., 1], -v[..., 0]], -1)
        of_c = torch.stack([-u[..., 1], u[..., 0]], -1)
        gradient = torch.stack([-of_b - of_c, of_b, of_c], -2)  # of twice the area, by each corner
        weight = ease[corner]
        total = (gradient.square().sum(-1) * weight).sum(-1) + 1e-6
        step = 1.5 * (lacking / total)[..., None, None] * weight[..., None] * gradient
        count = (lacking > 0)[..., None].expand(step.shape[:-1]).float()
        moves = torch.cat([step, count[..., None]], -1).reshape(-1, 3)
        summed = torch.zeros(points.shape[0] * ALL, 3, device=points.device)
        summed.index_add_(0, slot.reshape(-1), moves)
        points = points + (summed[:, :2] / summed[:, 2:].clamp_min(1)).view_as(points)
    return points


class MeshField:
    """Mesh displacement -> dense field, for one photo.

    Args:
        mesh: the photo's landmarks (478, 3) in px. size: side of the square photo in px.
    """

    def __init__(self, mesh: np.ndarray, size: int):
        self.size = size
        self.rest = at_rest(torch.from_numpy(np.asarray(mesh, np.float32))[None] / size)

    def __call__(self, displacement: np.ndarray) -> np.ndarray:
        """displacement: (478, 3) in px. Returns float32 (size, size, 2): x, y in the photo, counted from pixel centres,
        of each pixel of the moved picture."""
        moved = self.rest.mesh + torch.from_numpy(np.asarray(displacement[:, :2], np.float32)) / self.size
        return dense_field(self.rest, moved, self.size, iterations=64).position[0].numpy() * self.size - 0.5


def sample(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The picture (S, S, 3) pulled through a field (H, W, 2) of `MeshField`: (H, W, 3)."""
    x, y = (np.ascontiguousarray(field[..., axis]) for axis in (0, 1))
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
