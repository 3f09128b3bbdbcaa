"""How a frame of the result is made: one protocol, one file for each renderer, and what of it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaegan.errors import UserError
from vaegan.render.renderer import Rendered, Renderer
from vaegan.render.view import CropView, View

if TYPE_CHECKING:
    from vaegan.model import FaceModel
    from vaegan.portrait import Portrait

__all__ = ["RENDERERS", "Rendered", "Renderer", "build_renderer"]

RENDERERS = ("warp", "decode")


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
