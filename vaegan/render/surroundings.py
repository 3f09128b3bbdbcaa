"""What a face that moves takes its picture from: the photo, and what stands in for it beyond its edges."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vaegan.faces.geometry import CropTransform
from vaegan.render.field import HEAD_RADIUS

AROUND = 2.0
"""Views that a copy of the photo holds that is made for one size of its view: a head that moves finds its surroundings
in it."""

YIELD = 0.6
"""Of the way to the photo's edge, how much a movement may take in from there: the edge stays, what lies before it is
stretched by at most 1 / (1 - YIELD)."""

SOFT, GONE = 0.1, 0.3
"""Distances above the photo, in sides of the mesh box, by which its first row is soft and the head in it is gone."""


@dataclass(frozen=True)
class Surroundings:
    """A picture, uint8 (H, W, 3), and where that is shown lies in it.

    origin: x, y of its top left corner, px; edges: (2, 2), corners of what is the photo's own, in px of what is shown.
    """

    image: np.ndarray
    origin: np.ndarray
    edges: np.ndarray

    @classmethod
    def of_photo(cls, photo: np.ndarray, region: CropTransform) -> Surroundings:
        """Of the whole photo. region: the view of its face, upright."""
        image, rows = _with_sky(photo, region)
        return cls(image, np.array([0, rows]), np.array([[0, -rows], photo.shape[1::-1]]))

    @classmethod
    def of_view(cls, photo: np.ndarray, region: CropTransform, size: int) -> Surroundings:
        """Of the view alone, (size, size); what lies beyond the photo is its mirror image."""
        photo, rows = _with_sky(photo, region)
        corner = np.array([region.cx, region.cy + rows]) - AROUND * region.side / 2
        wide = CropTransform(region.cx, region.cy + rows, AROUND * region.side)
        image = wide.crop(photo, round(AROUND * size))
        side, scale = len(image), size / region.side
        low = np.clip(np.ceil(-corner * scale), 0, side - 1).astype(int)
        high = np.floor((np.array(photo.shape[1::-1]) - corner) * scale)
        high = np.clip(high, low + 1, side).astype(int)
        beyond = (low[1], side - high[1], low[0], side - high[0])
        image = cv2.copyMakeBorder(image[low[1] : high[1], low[0] : high[0]], *beyond, cv2.BORDER_REFLECT_101)
        origin = np.full(2, (side - size) // 2)
        return cls(image, origin, np.stack([low, high]) - origin)

    def yielding(self, movement: np.ndarray, px: np.ndarray) -> np.ndarray:
        """Movements (..., 2) in px of places (..., 2) that come to rest at the photo's edges where they would take in
        what lies beyond."""
        low, high = self.edges
        return np.clip(movement, -YIELD * np.maximum(px - low, 0), YIELD * np.maximum(high - px, 0))


def _with_sky(photo: np.ndarray, region: CropTransform) -> tuple[np.ndarray, int]:
    """The photo, continued upwards for a head that sinks, and by how many rows.

    Its first row is repeated, ever softer, and a head that it cuts gives way to what is beside it.
    """
    rows = round(region.side - region.cy)
    if rows <= 0:
        return photo, 0
    width, box = photo.shape[1], region.side / 2
    top = photo[: max(1, round(0.01 * box))].mean(0, dtype=np.float32)[None]  # (1, W, 3)
    near, far = (cv2.blur(top, (max(1, round(x * box)), 1), borderType=cv2.BORDER_REPLICATE) for x in (0.05, 0.4))
    left, right = (int(np.clip(region.cx + side * HEAD_RADIUS * box, 0, width - 1)) for side in (-1, 1))
    left, right = (right, right) if left == 0 else (left, left if right == width - 1 else right)
    inside = np.clip((np.arange(width) - left) / max(1, right - left), 0, 1)[:, None]
    beside = np.where((inside > 0) & (inside < 1), far[0, left] + inside * (far[0, right] - far[0, left]), far[0])
    distance = (np.arange(rows, 0, -1) / box)[:, None, None]
    soft, gone = (np.clip(distance / reach, 0, 1) ** 2 for reach in (SOFT, GONE))
    sky = (top + soft * (near - top)) * (1 - gone) + gone * beside
    return np.concatenate([np.rint(sky).astype(np.uint8), photo]), rows
