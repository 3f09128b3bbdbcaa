"""Field and colour, computed at 256 px, applied to the photo's own pixels at whatever resolution it has."""

import cv2
import numpy as np
import torch

from vaegan.faces.geometry import CropTransform
from vaegan.render.field import HEAD_RADIUS, SQUEEZE, Field, Rigid

COARSE = 96
"""Samples along either side of the head's surroundings, where the movement is smooth."""


class Canvas:
    """A photo that is moved in place.

    Args:
        image: uint8 (H, W, 3). region: the photo's view in it, upright.
    """

    def __init__(self, image: np.ndarray, region: CropTransform):
        self.image = np.ascontiguousarray(image)
        self.side = region.side  # px a view
        self.origin = np.array([region.cx, region.cy]) - region.side / 2

    def view(self, centre: np.ndarray, scale: float) -> tuple[np.ndarray, int, np.ndarray]:
        """The square of whole px nearest to `scale` views around `centre` (2,): its corner (2,) and side in px, and
        the same square as the field takes it, (3,)."""
        side = max(1, round(scale * self.side))
        corner = np.rint(self.origin + np.asarray(centre) * self.side - side / 2).astype(int)
        middle = (corner + side / 2 - self.origin) / self.side
        return corner, side, np.array([*middle, side / self.side], np.float32)

    def show(self, rigid: Rigid, field: Field, corner: np.ndarray, side: int, colour: np.ndarray | None) -> np.ndarray:
        """The image with the head moved: uint8 (H, W, 3).

        rigid, field: of one photo; corner, side: the square of the field, from `view`.
        colour: float32 (S, S, 3), to be added in it, in 0..255; at this size the photo keeps its grain. None: nothing.
        """
        out = self.image.copy()
        low, high = self._reach(rigid, corner, side)
        width, height = (high - low).tolist()
        if width <= 0 or height <= 0:
            return out
        places = self._coarse(low, high)
        own = torch.from_numpy(places).view(1, -1, 2)
        around = (rigid.back(own) - own).view(*places.shape).numpy()
        offset = cv2.resize(around, (width, height), interpolation=cv2.INTER_LINEAR)
        # Within the field's square only what it adds to the head's own movement.
        size = field.inner.shape[1]
        inner = field.inner[0].numpy()
        a, b = np.maximum(low, corner), np.minimum(high, corner + side)
        if (b > a).all():
            part = np.s_[a[1] - low[1] : b[1] - low[1], a[0] - low[0] : b[0] - low[0]]
            own_part = np.s_[a[1] - corner[1] : b[1] - corner[1], a[0] - corner[0] : b[0] - corner[0]]
            method = cv2.INTER_LINEAR if side >= size else cv2.INTER_AREA
            offset[part] += cv2.resize(inner, (side, side), interpolation=method)[own_part]
        offset *= self.side
        offset[..., 0] += np.arange(low[0], high[0], dtype=np.float32)
        offset[..., 1] += np.arange(low[1], high[1], dtype=np.float32)[:, None]
        moved = cv2.remap(self.image, offset, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        if colour is not None and (b > a).all():
            added = cv2.resize(colour, (side, side), interpolation=method)[own_part]
            moved[part] = cv2.add(moved[part], added, dtype=cv2.CV_8U)
        out[low[1] : high[1], low[0] : high[0]] = moved
        return out

    def _reach(self, rigid: Rigid, corner: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Corners, in px, of the part of the image that anything moves in."""
        scale = float(rigid.inverse[0].det().sqrt())
        radius = (HEAD_RADIUS + float(rigid.fade)) / SQUEEZE * scale * float(rigid.rest.size)
        centre = ((rigid.rest.centre - rigid.shift) @ rigid.inverse)[0, 0].numpy()
        limit = np.array(self.image.shape[1::-1])
        low = np.floor(self.origin + (centre - radius) * self.side).astype(int)
        high = np.ceil(self.origin + (centre + radius) * self.side).astype(int)
        return np.clip(np.minimum(low, corner), 0, limit), np.clip(np.maximum(high, corner + side), 0, limit)

    def _coarse(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Places (COARSE, COARSE, 2) in views, where `cv2.resize` to the part of the image puts its samples."""
        step = (high - low) / COARSE
        x, y = ((low[i] + (np.arange(COARSE) + 0.5) * step[i] - self.origin[i]) / self.side for i in (0, 1))
        return np.stack(np.meshgrid(x, y), -1).astype(np.float32)
