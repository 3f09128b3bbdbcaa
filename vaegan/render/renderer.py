"""What every renderer satisfies: a photo and how it moves in, frames out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from vaegan.faces.geometry import CropTransform


@dataclass(frozen=True)
class Rendered:
    """One frame: `crop`, uint8 (S, S, 3), is measured; `image`, uint8 (H, W, 3), is written."""

    crop: np.ndarray = field(repr=False)
    image: np.ndarray = field(repr=False)


class Renderer(Protocol):
    """Draws one photo in motion; made once for the photo. shown: what of the photo the crops show."""

    shown: CropTransform

    def render(self, deltas: np.ndarray, placement: np.ndarray) -> list[Rendered]:
        """Frames of the photo, moved.

        deltas: float32 (N, D), z_t - z_ref
        placement: float32 (N, 4): shift x, y in face sizes, log scale and roll in radians, against the reference
        """
        ...
