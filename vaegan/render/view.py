"""What is shown of a photo that moves: the crop alone, or the whole photo around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from vaegan.errors import UserError
from vaegan.faces.geometry import CropTransform

if TYPE_CHECKING:
    from vaegan.portrait import Portrait

VIEWS = ("full", "crop")

LEAST = 0.65
"""Of the view of a face, twice its mesh box, what is shown at least of a photo that ends below the chin, or before."""


class View(Protocol):
    """Puts a rendered crop into the image that is written. width, height: of that image in px."""

    width: int
    height: int

    def show(self, crop: np.ndarray, placement: np.ndarray, under: np.ndarray | None = None) -> np.ndarray:
        """crop: uint8 (S, S, 3); placement: float32 (4,), see `Renderer.move`; under: None: the photo, else what was
        shown before. Returns uint8 (height, width, 3)."""
        ...


class CropView:
    """The crop alone."""

    def __init__(self, size: int) -> None:
        self.width = self.height = size

    def show(self, crop: np.ndarray, placement: np.ndarray, under: np.ndarray | None = None) -> np.ndarray:
        return crop


class FullView:
    """The whole photo at its own resolution, its sides even as videos need them.

    image: uint8 (height, width, 3). crop: what the model sees of it. scale: side of that / size of the face.
    """

    def __init__(self, image: np.ndarray, crop: CropTransform, scale: float) -> None:
        self.height, self.width = (side // 2 * 2 for side in image.shape[:2])
        self.image = np.ascontiguousarray(image[: self.height, : self.width])
        self.crop, self.scale = crop, scale

    def show(self, crop: np.ndarray, placement: np.ndarray, under: np.ndarray | None = None) -> np.ndarray:
        """The photo with the crop where the face has moved to, its edge softened."""
        shift = np.asarray(placement[:2], float) * self.crop.side / self.scale
        grown = float(np.exp(placement[2]))
        where = CropTransform(
            self.crop.cx + shift[0], self.crop.cy + shift[1], self.crop.side * grown, self.crop.roll + placement[3]
        )
        return where.paste(self.image if under is None else under, crop, feather(crop.shape[0], crop.shape[0] // 8))


def feather(size: int, margin: int) -> np.ndarray:
    """A window float32 (size, size): 1 inside, 0 at the edge, `margin` px in between."""
    ramp = np.clip((np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5) / max(1, margin), 0, 1)
    ramp = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    return np.outer(ramp, ramp)


def above_the_edge(region: CropTransform, photo: np.ndarray) -> CropTransform:
    """The view of a face, without what would lie below the photo (H, W, 3): a smaller square, its top where it was."""
    lacking = np.clip(region.cy + region.side / 2 - photo.shape[0], 0, (1 - LEAST) * region.side)
    return CropTransform(region.cx, region.cy - lacking / 2, region.side - lacking)


def build_view(name: str, size: int, photo: Portrait, scale: float) -> View:
    """The view of that name, of crops (size, size, 3) of a photo; scale: of the model's framing. Raises UserError."""
    if name == "crop":
        return CropView(size)
    if name == "full":
        return FullView(photo.image, photo.crop, scale)
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
