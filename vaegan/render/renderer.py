"""What every renderer satisfies: a photo and how it moves in, frames out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from vaegan.faces.geometry import CropTransform

Face = TypeVar("Face")
"""One face in one frame, moved: each renderer has its own kind."""


@dataclass(frozen=True)
class Rendered:
    """One frame: `crop`, uint8 (S, S, 3), is measured; `image`, uint8 (H, W, 3), is written.

    photo: the crop of a photo that is a video before it was moved, uint8 (S, S, 3)
    """

    crop: np.ndarray = field(repr=False)
    image: np.ndarray = field(repr=False)
    photo: np.ndarray | None = field(default=None, repr=False)


class Renderer(Protocol[Face]):
    """Draws one face of a photo in motion; made once for it. shown: what of the photo the crops show."""

    shown: CropTransform

    def move(self, deltas: np.ndarray, placement: np.ndarray) -> list[Face]:
        """The face, moved, frame by frame.

        deltas: float32 (N, D), z_t - z_ref
        placement: float32 (N, 4): shift x, y in face sizes, log scale and roll in radians, against the reference
        """
        ...

    def show(self, faces: list[Face]) -> Rendered:
        """One frame: the photo with its own face and those of renderers like it, the own one first."""
        ...

    def render(self, deltas: np.ndarray, placement: np.ndarray) -> list[Rendered]:
        """Frames of the photo in which this face alone is moved; see `move`."""
        return [self.show([face]) for face in self.move(deltas, placement)]


class Group:
    """Draws several faces of one photo, each in its own place, in one picture; see `Renderer`."""

    def __init__(self, renderers: list[Renderer]) -> None:
        self.renderers, self.shown = renderers, renderers[0].shown

    def render(self, deltas: np.ndarray, placement: np.ndarray) -> list[Rendered]:
        """deltas: (F, N, D), placement: (F, N, 4), of each face, see `Renderer.move`."""
        moved = [one.move(*its) for one, *its in zip(self.renderers, deltas, placement, strict=True)]
        return [self.renderers[0].show(list(faces)) for faces in zip(*moved, strict=True)]
