"""The dense field of a mesh displacement: where every place of the moved picture comes from.

The head moves as a whole, by the similarity that fits its rigid points, and this fades out beyond it: hair, neck and
shoulders go along, the far background stays. What the landmarks move besides is interpolated on a fixed triangulation
of the mesh and a ring around it, so that the field passes through the landmarks and lips and lids move apart freely.

All coordinates are in one unit, the photo's view: (0, 0) its top left corner, (1, 1) its bottom right one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from vaegan.faces.geometry import FACE_POINTS, LEFT_EYE, RIGHT_EYE, RIGID_HEAD, RIGID_POINTS
from vaegan.render.raster import rasterise
from vaegan.render.triangles import RING, flatten_turned, triangulation, with_ring
from vaegan.tensors import index

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

COARSE = 3
"""On a CPU, px between the places at which the head's own movement, which is smooth, is computed: right to 0.02 px."""


@dataclass
class Rest:
    """The photos' meshes, ready to be moved.

    points: (N, ALL, 2), mesh and rings, none of its triangles turned over. mesh: (N, 478, 2), as it was given.
    centre: (N, 1, 2); size: (N, 1, 1), longer side of the mesh box. spread: (N, R, 2), the rigid points about their
    middle; head: (N, 4, 2), the solid head fitted to them, `_head_fit`.
    """

    points: Tensor
    mesh: Tensor
    centre: Tensor
    size: Tensor
    spread: Tensor
    head: Tensor


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
    """Where each place of a view of the moved picture comes from; `field[i:j]` is that of some meshes of one photo.

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

    def __getitem__(self, own: slice) -> Field:
        moving = {name: getattr(self.rigid, name)[own] for name in ("turn", "inverse", "shift", "fade")}
        parts = {name: getattr(self, name)[own] for name in ("position", "region", "inner", "moved", "corners")}
        return Field(rigid=replace(self.rigid, **moving), **parts)


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
    points = with_ring((mesh - centre) / size, circle @ upright)
    rigid = mesh[:, index(RIGID_POINTS, mesh.device)]
    spread, head = rigid - rigid.mean(1, keepdim=True), _head_fit(mesh.device)[0] @ rigid
    return Rest(flatten_turned(points, iterations, fixed_work) * size + centre, mesh, centre, size, spread, head)


def rigid_motion(rest: Rest, mesh: Tensor) -> Rigid:
    """The similarity that takes the moved heads, of meshes (N, 478, 2), back to the photos'.

    It holds on to the middle of the head between the ears (`HEAD_CENTRE`), around which a head turns: the face slides
    over the head, whose outline stays. Its angle is that of the rigid points (Umeyama 1991), its size that of the
    solid head fitted to them.
    """
    moved = mesh[:, index(RIGID_POINTS, mesh.device)]
    together = (moved.mT @ rest.spread).flatten(1)
    c, s = together[:, 0] + together[:, 3], together[:, 1] - together[:, 2]
    fit, centre = _head_fit(mesh.device)
    head = fit @ moved
    still, grown = (x[:, :3].square().sum((1, 2)).sqrt() for x in (rest.head, head))
    turn = torch.stack([c, s, -s, c], 1) * (still / (grown * torch.hypot(c, s)).clamp_min(1e-12))[:, None]
    # Divided by the square of its size and transposed, it is its own inverse.
    inverse = turn / turn[:, :2].square().sum(1, keepdim=True).clamp_min(1e-12)
    turn, inverse = turn.view(-1, 2, 2), inverse.view(-1, 2, 2).mT
    shift = centre @ rest.head - centre @ head @ turn
    # How far the head's outline goes: its centre's way, and what turning and growing add at one side of the box.
    outline = (rest.centre - shift) @ inverse - rest.centre
    spin = inverse - torch.eye(2, device=mesh.device)
    far = outline.square().sum(2).sqrt() / rest.size[..., 0] + spin.square().sum((1, 2)).sqrt()[:, None]
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
        rest: of N photos, or of one. mesh: float (N, 478, 2 or 3), where the landmarks shall be.
        size: side of the field in px.
        view: (N, 3), centre x, y and side of the square that the field covers; None: the photo's view, (.5, .5, 1).
        iterations: of the flattening of turned triangles, at most.
        fixed_work: do as much whatever the mesh, so that a GPU never waits to be told how much there is to do; without
            it, on a CPU alone, only what there is to do.
    """
    n, device = len(mesh), mesh.device
    rigid = rigid_motion(rest, mesh[..., :2].float())
    # In sides of the photo's mesh box, the head's own movement taken away, what the photo's flattening moved put on.
    back = torch.baddbmm(rigid.shift, mesh[..., :2].float(), rigid.turn)
    moved = rest.points + with_ring(back - rest.mesh, torch.zeros(n, RING, 2, device=device))
    moved = flatten_turned((moved - rest.centre) / rest.size, iterations, fixed_work) * rest.size
    moved = moved + rest.centre
    own = rest.points - moved  # (N, ALL, 2)
    corners = (moved - rigid.shift) @ rigid.inverse

    if view is None:
        view = torch.cat([torch.full((n, 2), 0.5, device=device), torch.ones(n, 1, device=device)], 1)
    origin, side = view[:, None, :2] - view[:, None, 2:] / 2, view[:, None, 2:]
    triangles, region = triangulation(device)
    corners = (corners - origin) * (size / side)
    labels, movement = rasterise(corners, own, triangles, region, size, fixed_work)
    position = _all_back(rigid, origin, side, size, 1 if fixed_work else COARSE).add_(movement)
    return Field(position, labels, rigid, movement, moved, corners)


def _all_back(rigid: Rigid, origin: Tensor, side: Tensor, size: int, every: int) -> Tensor:
    """`Rigid.back` of every px of a view, (N, S, S, 2), computed at `every` so many of them and between them linear."""
    beyond = int(every > 1)
    steps = (torch.arange(-beyond, -(-size // every) + beyond, device=side.device) + 0.5) * (every * side / size)
    x, y = steps + origin[:, :, :1], (steps + origin[:, :, 1:]).mT  # (N, 1, C), (N, C, 1)
    back = torch.stack(rigid.back(x, y), -1)
    if every == 1:
        return back
    larger = (cv2.resize(of_one, None, fx=every, fy=every, interpolation=cv2.INTER_LINEAR) for of_one in back.numpy())
    return torch.from_numpy(np.stack([of_one[every : every + size, every : every + size] for of_one in larger]))


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
