"""The dense field of a mesh displacement: where every pixel of the moved picture comes from.

Every landmark of the photo moves by what the driver's landmark has moved since the reference frame; between the
landmarks the picture follows triangle by triangle (piecewise affine). Nothing new is drawn: a closed mouth has no
teeth to show.
"""

import cv2
import numpy as np
from scipy.spatial import Delaunay

from vaegan.faces.geometry import FACE_POINTS

BORDER_POINTS = 5
"""Fixed points on each side of the picture, so that the background stays in place."""


class MeshField:
    """Mesh displacement -> dense field, for one photo.

    Args:
        mesh: the photo's landmarks (478, 3) in px. size: side of the square photo in px.
    """

    def __init__(self, mesh: np.ndarray, size: int):
        self.size = size
        line = np.linspace(0, size, BORDER_POINTS)[:-1]
        zero, full = np.zeros_like(line), np.full_like(line, size)
        border = np.concatenate(
            [np.stack(pair, 1) for pair in ((line, zero), (full, line), (size - line, full), (zero, size - line))]
        )
        self.rest = np.concatenate([mesh[:FACE_POINTS, :2], border]).astype(np.float64)
        self.depth = np.concatenate([mesh[:FACE_POINTS, 2], np.full(len(border), np.inf)])
        self.triangles = Delaunay(self.rest).simplices

    def __call__(self, displacement: np.ndarray) -> np.ndarray:
        """displacement: (478, 3) in px. Returns float32 (size, size, 2): x, y in the photo, counted from pixel centres,
        of each pixel of the moved picture."""
        moved = self.rest.copy()
        moved[:FACE_POINTS] += displacement[:FACE_POINTS, :2]
        depth = self.depth.copy()
        depth[:FACE_POINTS] += displacement[:FACE_POINTS, 2]
        # Far triangles first: where the turning head folds the mesh, the near side covers the far one.
        order = np.argsort(-depth[self.triangles].max(1), kind="stable")
        owner = np.zeros((self.size, self.size), np.int32)
        corners = np.rint((moved[self.triangles] - 0.5) * 256).astype(np.int32)
        for number in order:
            cv2.fillConvexPoly(owner, corners[number], int(number), cv2.LINE_8, 8)
        back = _affine_maps(moved[self.triangles], self.rest[self.triangles])[owner.ravel()]
        y, x = np.divmod(np.arange(self.size**2), self.size)
        centre = np.stack([x + 0.5, y + 0.5, np.ones_like(x, np.float64)], 1)
        source = np.einsum("nij,nj->ni", back, centre).astype(np.float32) - 0.5
        return source.reshape(self.size, self.size, 2)


def sample(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The picture (S, S, 3) pulled through a field (H, W, 2) of `MeshField`: (H, W, 3)."""
    x, y = (np.ascontiguousarray(field[..., axis]) for axis in (0, 1))
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _affine_maps(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Affine maps (M, 2, 3) from triangles source (M, 3, 2) to target (M, 3, 2); a flat source goes to one point."""
    p, q = (np.moveaxis(t[:, 1:] - t[:, :1], 1, 2) for t in (source, target))
    determinant = p[:, 0, 0] * p[:, 1, 1] - p[:, 0, 1] * p[:, 1, 0]
    flat = np.abs(determinant) < 1e-6
    adjugate = np.stack([p[:, 1, 1], -p[:, 0, 1], -p[:, 1, 0], p[:, 0, 0]], 1).reshape(-1, 2, 2)
    linear = q @ adjugate / np.where(flat, np.inf, determinant)[:, None, None]
    return np.concatenate([linear, (target[:, 0] - np.einsum("mij,mj->mi", linear, source[:, 0]))[..., None]], 2)
