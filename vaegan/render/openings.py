"""Lips and lids that come to a stop where they meet, however far a motion would take them through each other.

A gap g between two lips or lids stays as it is down to a knee k, and from there on nears a floor f that it never
passes: f + (k - f) exp((g - k) / (k - f)), which continues the line g without an edge. The knee is never above the
photo's own gap, so that a photo at rest is the photo.
"""

import torch
from torch import Tensor

from vaegan.faces.geometry import FACE_POINTS, LEFT_EYE, RIGHT_EYE
from vaegan.faces.regions import LOWER_LIP, UPPER_LIP

UPPER_LIDS = (246, 161, 160, 159, 158, 157, 173, 466, 388, 387, 386, 385, 384, 398)
LOWER_LIDS = (7, 163, 144, 145, 153, 154, 155, 249, 390, 373, 374, 380, 381, 382)
"""Points of both eyes' lids, one below the other, the right eye's first."""

KNEE = 0.008
"""In sides of the mesh box; an open eye has about 0.06."""

SOFT = 0.006
"""From the knee down to the floor."""


class Openings:
    """Of one photo. mesh: its landmarks (1, 478, 2), in any unit, which is that of `bound` as well."""

    def __init__(self, mesh: Tensor) -> None:
        face = mesh[0, :FACE_POINTS]
        self.side = float((face.amax(0) - face.amin(0)).max())
        across = mesh[0, LEFT_EYE].mean(0) - mesh[0, RIGHT_EYE].mean(0)
        across = across / across.norm().clamp_min(1e-9)
        self.down = torch.stack([-across[1], across[0]])
        upper, lower = torch.tensor(UPPER_LIP).T, torch.tensor(LOWER_LIP).T  # (4, 9), the inner edge first
        self.upper = torch.cat([upper[0], torch.tensor(UPPER_LIDS)])
        self.lower = torch.cat([lower[0], torch.tensor(LOWER_LIDS)])
        self.knee = self._gaps(mesh).clamp_max(KNEE * self.side)
        moves = torch.zeros(len(self.upper), mesh.shape[1])
        column = torch.arange(len(UPPER_LIP)).expand_as(upper)
        moves[column, upper], moves[column, lower] = -0.5, 0.5
        lids = torch.arange(len(UPPER_LIDS))
        moves[len(UPPER_LIP) + lids, torch.tensor(UPPER_LIDS)] = -1.0  # the upper lid is the one that closes an eye
        self.moves = moves

    def _gaps(self, meshes: Tensor) -> Tensor:
        return (meshes[:, self.lower] - meshes[:, self.upper]) @ self.down

    def bound(self, meshes: Tensor) -> Tensor:
        """meshes (N, 478, 2) -> the same, but for lips and lids that come too near to each other."""
        gaps, soft = self._gaps(meshes), SOFT * self.side
        bounded = self.knee + soft * (((gaps - self.knee) / soft).clamp_max(0).exp() - 1)
        lacking = torch.where(gaps < self.knee, bounded - gaps, 0)
        return meshes + (lacking @ self.moves)[..., None] * self.down
