"""The strongest thing one can do without a generative model: the photo, bent by the driver's own mesh.

Every landmark of the photo is moved by what the driver's landmark has moved since the reference frame; between the
landmarks the picture follows triangle by triangle (piecewise affine). Nothing new is drawn: a closed mouth has no
teeth to show.
"""

import cv2
import numpy as np
from scipy.spatial import Delaunay

from vaegan.faces.geometry import FACE_POINTS

BORDER_POINTS = 5
"""Fixed points on each side of the picture, so that the background stays in place."""


class MeshWarp:
    """A photo, ready to be bent.

    Args:
        photo: uint8 (S, S, 3). mesh: its landmarks (478, 3) in px of it.
    """

    def __init__(self, photo: np.ndarray, mesh: np.ndarray):
        self.photo = photo
        size = photo.shape[0]
        line = np.linspace(0, size, BORDER_POINTS)[:-1]
        zero, full = np.zeros_like(line), np.full_like(line, size)
        border = np.concatenate(
            [np.stack(pair, 1) for pair in ((line, zero), (full, line), (size - line, full), (zero, size - line))]
        )
        self.rest = np.concatenate([mesh[:FACE_POINTS, :2], border]).astype(np.float64)
        self.depth = np.concatenate([mesh[:FACE_POINTS, 2], np.full(len(border), np.inf)])
        self.triangles = Delaunay(self.rest).simplices

    def __call__(self, displacement: np.ndarray) -> np.ndarray:
        """The photo (S, S, 3) with its landmarks moved by displacement (478, 3), in px of it."""
        moved = self.rest.copy()
        moved[:FACE_POINTS] += displacement[:FACE_POINTS, :2]
        depth = self.depth.copy()
        depth[:FACE_POINTS] += displacement[:FACE_POINTS, 2]
        size = self.photo.shape[0]
        # Far triangles first: where the turning head folds the mesh, the near side covers the far one.
        order = np.argsort(-depth[self.triangles].max(1), kind="stable")
        owner = np.zeros((size, size), np.int32)
        corners = np.rint((moved[self.triangles] - 0.5) * 256).astype(np.int32)
        for number in order:
            cv2.fillConvexPoly(owner, corners[number], int(number), cv2.LINE_8, 8)
        back = _affine_maps(moved[self.triangles], self.rest[self.triangles])[owner.ravel()]
        y, x = np.divmod(np.arange(size * size), size)
        centre = np.stack([x + 0.5, y + 0.5, np.ones_like(x, np.float64)], 1)
        source = np.einsum("nij,nj->ni", back, centre).astype(np.float32) - 0.5
        x_map, y_map = source.reshape(size, size, 2).transpose(2, 0, 1)
        return cv2.remap(
            self.photo,
            np.ascontiguousarray(x_map),
            np.ascontiguousarray(y_map),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )


def _affine_maps(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Affine maps (M, 2, 3) from triangles source (M, 3, 2) to target (M, 3, 2); a flat source goes to one point."""
    p, q = (np.moveaxis(t[:, 1:] - t[:, :1], 1, 2) for t in (source, target))
    determinant = p[:, 0, 0] * p[:, 1, 1] - p[:, 0, 1] * p[:, 1, 0]
    flat = np.abs(determinant) < 1e-6
    adjugate = np.stack([p[:, 1, 1], -p[:, 0, 1], -p[:, 1, 0], p[:, 0, 0]], 1).reshape(-1, 2, 2)
    linear = q @ adjugate / np.where(flat, np.inf, determinant)[:, None, None]
    return np.concatenate([linear, (target[:, 0] - np.einsum("mij,mj->mi", linear, source[:, 0]))[..., None]], 2)
