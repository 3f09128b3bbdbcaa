"""The paper's renderer: the photo's latent, moved by the driver's delta, is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from vaegan.render import Rendered
from vaegan.render.view import resize

if TYPE_CHECKING:
    from vaegan.model import FaceModel


class Decode:
    """D(z_p + delta_t), section 1 of the paper.

    z: float32 (D,), the photo's; size: side of the crops in px
    """

    def __init__(self, model: FaceModel, z: np.ndarray, size: int) -> None:
        self.model, self.z, self.size = model, z, size

    def render(self, deltas: np.ndarray, placement: np.ndarray) -> list[Rendered]:
        """As `Renderer.render`; the placement is not read: the model's framing decides what of it z holds."""
        z = torch.from_numpy(np.asarray(self.z + deltas, np.float32)).to(self.model.device)
        with torch.inference_mode():
            decoded = self.model.decode(z).permute(0, 2, 3, 1).float().cpu().numpy()
        crops = (resize(np.ascontiguousarray(crop), self.size) for crop in decoded)
        return [Rendered(crop, crop) for crop in crops]
