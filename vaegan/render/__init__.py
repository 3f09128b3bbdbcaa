"""How a frame of the result is made: one protocol, one file for each renderer, and what of it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vaegan.errors import UserError
from vaegan.render.renderer import Group, Rendered, Renderer
from vaegan.render.view import CropView, View, build_view

if TYPE_CHECKING:
    from vaegan.model import FaceModel
    from vaegan.portrait import Portrait
    from vaegan.render.refiner import Refiner

__all__ = ["RENDERERS", "Group", "Rendered", "Renderer", "build_group", "build_renderer"]

RENDERERS = ("warp", "decode")


def build_renderer(
    name: str,
    model: FaceModel,
    portrait: Portrait,
    size: int,
    view: View | None = None,
    refiner: str | Refiner | None = "warp",
) -> Renderer:
    """The renderer of that name for a photo. Raises UserError.

    size: side of the crops in px; view: what of them is shown, None: the crop alone
    refiner: of `warp`, loaded, a shipped name or a folder; None: the warp as it is
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
        refiner = load_refiner(refiner)[0] if isinstance(refiner, (str, Path)) else refiner
        return Warp(model, portrait, refiner, size, view)
    raise UserError(f"renderer {name!r} is not known: use {' or '.join(RENDERERS)}")


def build_group(
    name: str, model: FaceModel, portraits: list[Portrait], size: int, view: str, refiner: str | Refiner | None = "warp"
) -> tuple[View, Renderer | Group]:
    """The view of that name, and the renderer of one face of a photo, or of several at once; see `build_renderer`."""
    if len(portraits) > 1 and view != "full":
        raise UserError("several faces move in the whole photo only: use --view full, or choose one with --face")
    views = [build_view(view, size, portrait, model.framing.scale) for portrait in portraits]
    made = [
        build_renderer(name, model, face, size, its, refiner=refiner)
        for face, its in zip(portraits, views, strict=True)
    ]
    return views[0], made[0] if len(made) == 1 else Group(made)
