"""How a frame of the result is made: one protocol, one file for each renderer, and what of it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vaegan.errors import UserError
from vaegan.render.view import CropView, View

if TYPE_CHECKING:
    from vaegan.faces.geometry import CropTransform
    from vaegan.model import FaceModel
    from vaegan.portrait import Portrait

RENDERERS = ("warp", "decode")


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


def build_renderer(
    name: str, model: FaceModel, portrait: Portrait, size: int, view: View | None = None, refiner: str | None = "warp"
) -> Renderer:
    """The renderer of that name for a photo. Raises UserError.

    size: side of the crops in px; view: what of them is shown, None: the crop alone
    refiner: of `warp`, a shipped name or a folder; None: the warp as it is
    """
    view = view or CropView(size)
    if name == "decode":
        from vaegan.render.decode import Decode

        return Decode(model, portrait, size, view)
    if name == "warp":
        from vaegan.render.refiner_folder import load_refiner
        from vaegan.render.warp import Warp

        if not model.has_heads:
            raise UserError(f"model {model.name} cannot move a mesh: use motion64, or --renderer decode")
        return Warp(model, portrait, None if refiner is None else load_refiner(refiner)[0], size, view)
    raise UserError(f"renderer {name!r} is not known: use {' or '.join(RENDERERS)}")
