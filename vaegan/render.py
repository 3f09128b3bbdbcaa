"""Renderers: from the photo's latent and a motion's delta to a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

if TYPE_CHECKING:
    from vaegan.model import FaceModel


def render_decode(model: FaceModel, photo_latent: np.ndarray, deltas: np.ndarray, size: int) -> np.ndarray:
    """The paper's renderer (section 1): decode z_p + delta_t, then bring it to the size wanted.

    photo_latent: float32 (D,); deltas: float32 (N, D); size: side in px
    Returns uint8 (N, size, size, 3).
    """
    latents = torch.from_numpy(np.asarray(photo_latent + deltas, np.float32)).to(model.device)
    with torch.inference_mode():
        crops = model.decode(latents).permute(0, 2, 3, 1).float().cpu().numpy()
    return np.stack([resize(np.ascontiguousarray(crop), size) for crop in crops])


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """A float picture (S, S, 3) in [0, 1] as uint8 (size, size, 3): Lanczos up, area average down, before rounding."""
    if image.shape[0] != size:
        method = cv2.INTER_LANCZOS4 if size > image.shape[0] else cv2.INTER_AREA
        image = cv2.resize(image, (size, size), interpolation=method)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
