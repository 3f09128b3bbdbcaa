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
        image, origin = _continued(photo, region)
        return cls(image, origin, np.stack([-origin, np.array(image.shape[1::-1]) - origin]))

    @classmethod
    def of_square(cls, photo: np.ndarray, region: CropTransform, shown: CropTransform, size: int) -> Surroundings:
        """Of a square of it alone, (size, size); what lies below the photo is its last row."""
        photo, origin = _continued(photo, region)
        wide = CropTransform(shown.cx + origin[0], shown.cy + origin[1], AROUND * shown.side)
        image = wide.crop(photo, round(AROUND * size))
        corner, scale = np.array([wide.cx, wide.cy]) - wide.side / 2, size / shown.side
        low = np.clip(np.ceil(-corner * scale), 0, len(image) - 1).astype(int)
        high = np.floor((np.array(photo.shape[1::-1]) - corner) * scale)
        high = np.clip(high, low + 1, len(image)).astype(int)
        origin = np.full(2, (len(image) - size) // 2)
        return cls(image, origin, np.stack([low, high]) - origin)

    def yielding(self, movement: np.ndarray, px: np.ndarray) -> np.ndarray:
        """Movements (..., 2) in px of places (..., 2) that come to rest at the photo's edges where they would take in
        what lies beyond."""
        low, high = self.edges
        return np.clip(movement, -YIELD * np.maximum(px - low, 0), YIELD * np.maximum(high - px, 0))


def _continued(photo: np.ndarray, region: CropTransform) -> tuple[np.ndarray, np.ndarray]:
    """The photo, continued beyond its upper edge and its sides as far as a head may take it in, and its origin in that.

    Not below: there the body is cut, and stays where it is.
    """
    x, y, far, width = region.cx, region.cy, region.side, photo.shape[1]
    left, right, top = (max(0, round(far - distance)) for distance in (x, width - x, y))
    photo = _above(photo, top, region.side / 2, x)
    sides = photo.swapaxes(0, 1)
    sides = _above(_above(sides, left, region.side / 2)[::-1], right, region.side / 2)[::-1]
    return np.ascontiguousarray(sides.swapaxes(0, 1)), np.array([left, top])


def _above(photo: np.ndarray, rows: int, box: float, head: float | None = None) -> np.ndarray:
    """The photo with `rows` more above it: its first row, ever softer.

    box: side of the mesh box; head: x of a head that gives way to what is beside it, should that row cut it
    """
    if not rows:
        return photo
    width = photo.shape[1]
    row = photo[: max(1, round(0.01 * box))].mean(0, dtype=np.float32)[None]  # (1, W, 3)
    near, far = (cv2.blur(row, (max(1, round(x * box)), 1), borderType=cv2.BORDER_REPLICATE) for x in (0.05, 0.4))
    if head is not None:
        left, right = (int(np.clip(head + side * HEAD_RADIUS * box, 0, width - 1)) for side in (-1, 1))
        left, right = (right, right) if left == 0 else (left, left if right == width - 1 else right)
        inside = np.clip((np.arange(width) - left) / max(1, right - left), 0, 1)[:, None]
        beside = far[0, left] + inside * (far[0, right] - far[0, left])
        far = np.where((inside > 0) & (inside < 1), beside, far)
    distance = (np.arange(rows, 0, -1) / box)[:, None, None]
    soft, gone = (np.clip(distance / reach, 0, 1) ** 2 for reach in (SOFT, GONE))
    more = (row + soft * (near - row)) * (1 - gone) + gone * far
    return np.concatenate([np.rint(more).astype(np.uint8), photo])
