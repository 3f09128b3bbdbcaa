"""However strong a motion, a face stays one: no landmark goes much further than real faces take it.

A mesh is taken apart into what the head does as a whole, the affine map that fits its rigid points, and what each
landmark does besides. The first may stretch the head, the second move a landmark, up to a knee as they are told, and
nears a limit from there on. Of one half of the face, upper or lower, all landmarks give way by the same factor, so that
an expression keeps its kind.
"""

import torch
from torch import Tensor

from vaegan.faces.geometry import FACE_POINTS, RIGID_POINTS
from vaegan.faces.regions import INNER_LIPS, LEFT_LIDS, RIGHT_LIDS
from vaegan.render.triangles import mesh_data

BEYOND = 0.2
"""Of a landmark's reach, how far beyond it goes at most."""

STRETCH, STRETCH_BEYOND = 0.2, 0.08
"""Logarithm of the factor by which a head grows or shrinks along an axis: 99.9 % of real ones stay below the first."""

FROM, TO = 0.25, 0.75
"""Of the way from the eyes to the mouth, where the upper half of a face ends, and where the lower one begins."""


class Reach:
    """Of one photo. mesh: its landmarks (1, 478, 3), in any unit, which is that of `bound` as well."""

    def __init__(self, mesh: Tensor) -> None:
        face = mesh[0, :FACE_POINTS, :2]
        self.reach = torch.from_numpy(mesh_data()["reach"]) * (face.amax(0) - face.amin(0)).max()
        self.still = torch.cat([mesh, torch.ones_like(mesh[..., :1])], 2)
        self.fit = torch.linalg.pinv(self.still[:, RIGID_POINTS])
        self.centre = self.still[:, RIGID_POINTS].mean(1, keepdim=True)[..., :3]
        eyes, mouth = (mesh[0, list(points), :2].mean(0) for points in (LEFT_LIDS + RIGHT_LIDS, INNER_LIPS))
        down = (mouth - eyes) / (mouth - eyes).square().sum().clamp_min(1e-12)
        share = (((mesh[0, :, :2] - eyes) @ down - FROM) / (TO - FROM)).clamp(0, 1)
        lower = share * share * (3 - 2 * share)
        self.halves = torch.stack([1 - lower, lower])  # (2, 478)

    def bound(self, meshes: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Meshes (N, 478, 3), what each landmark does besides the head times its gain (478, 1).

        Returns the meshes (N, 478, 2), bounded, and how much is left of the motion (N,), 1 where it is not.
        """
        fitted = self.fit @ meshes[:, RIGID_POINTS]
        head, kept = self._shaped(fitted)
        own = (gain * (meshes - self.still @ fitted))[..., :2]
        far = (own.norm(dim=-1) / self.reach)[:, None] * (self.halves > 0.5)  # (N, 2, 478)
        far = far.amax(2).clamp_min(1e-9)
        left = _bounded(far, 1.0, BEYOND) / far  # (N, 2)
        return (self.still @ head)[..., :2] + own * (left @ self.halves)[..., None], torch.minimum(left.amin(1), kept)

    def _shaped(self, head: Tensor) -> tuple[Tensor, Tensor]:
        """Affine maps (N, 4, 3), in place, whose stretching is bounded, and how much is left of it (N,)."""
        u, stretch, v = torch.linalg.svd(head[:, :3])
        stretch = stretch.clamp_min(1e-6).log()
        bounded = stretch.sign() * _bounded(stretch.abs(), STRETCH, STRETCH_BEYOND)
        shape = u @ torch.diag_embed(bounded.exp()) @ v
        shift = head[:, 3:] + self.centre @ (head[:, :3] - shape)
        left = (bounded.abs() / stretch.abs().clamp_min(1e-9)).where(stretch.abs() > STRETCH, 1.0).amin(1)
        return torch.cat([shape, shift], 1), left


def _bounded(values: Tensor, knee: float, width: float) -> Tensor:
    """Values from 0 on: the same up to the knee, and nearing knee + width from there on, without an edge."""
    return torch.where(values > knee, knee + width * (1 - (-(values - knee) / width).exp()), values)
