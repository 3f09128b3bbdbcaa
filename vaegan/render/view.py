"""What of a rendered crop is shown, and at what size."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from vaegan.errors import UserError

VIEWS = ("crop",)


class View(Protocol):
    """Puts a rendered crop into the image that is written. width, height: of that image in px."""

    width: int
    height: int

    def show(self, crop: np.ndarray, placement: np.ndarray) -> np.ndarray:
        """crop: uint8 (S, S, 3); placement: float32 (4,), see `Renderer.render`. Returns uint8 (height, width, 3)."""
        ...


class CropView:
    """The crop alone."""

    def __init__(self, size: int) -> None:
        self.width = self.height = size

    def show(self, crop: np.ndarray, placement: np.ndarray) -> np.ndarray:
        return crop


def build_view(name: str, size: int) -> View:
    """The view of that name, of crops (size, size, 3). Raises UserError."""
    if name == "crop":
        return CropView(size)
    raise UserError(f"view {name!r} is not known: use {' or '.join(VIEWS)}")


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """A picture (S, S, 3), uint8 or float in [0, 1], as uint8 (size, size, 3): Lanczos up, area average down."""
    if image.dtype == np.uint8:
        if image.shape[0] == size:
            return image
        image = image.astype(np.float32) / 255
    if image.shape[0] != size:
        method = cv2.INTER_LANCZOS4 if size > image.shape[0] else cv2.INTER_AREA
        image = cv2.resize(image, (size, size), interpolation=method)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
