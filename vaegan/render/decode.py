"""The paper's renderer: the photo's latent, moved by the driver's delta, is decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from vaegan.render.renderer import Rendered, Renderer
from vaegan.render.view import View, resize

if TYPE_CHECKING:
    from vaegan.model import FaceModel
    from vaegan.portrait import Portrait


class Decode(Renderer):
    """D(z_p + delta_t), section 1 of the paper.

    size: side of the crops in px; view: what of them is shown
    """

    def __init__(self, model: FaceModel, portrait: Portrait, size: int, view: View) -> None:
        self.model, self.z, self.size, self.view = model, portrait.z, size, view
        self.shown = portrait.crop

    def move(self, deltas: np.ndarray, placement: np.ndarray) -> list[Drawn]:
        """As `Renderer.move`."""
        z = torch.from_numpy(np.asarray(self.z + deltas, np.float32)).to(self.model.device)
        with torch.inference_mode():
            decoded = self.model.decode(z).permute(0, 2, 3, 1).float().cpu().numpy()
        crops = [resize(np.ascontiguousarray(crop), self.size) for crop in decoded]
        return [Drawn(crop, self.view, where) for crop, where in zip(crops, placement, strict=True)]

    def show(self, faces: list[Drawn]) -> Rendered:
        """As `Renderer.show`."""
        image = None
        for face in faces:
            image = face.view.show(face.crop, face.placement, image)
        return Rendered(faces[0].crop, image)


@dataclass(frozen=True)
class Drawn:
    """A face, drawn anew, uint8 (S, S, 3), and where its view shows it, see `View.show`."""

    crop: np.ndarray = field(repr=False)
    view: View
    placement: np.ndarray
