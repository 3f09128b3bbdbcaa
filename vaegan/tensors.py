"""Pictures as numpy and torch hold them: the one place where uint8 (N, H, W, 3) becomes float (N, 3, H, W)."""

import numpy as np
import torch
from torch import Tensor


def to_float(pictures: np.ndarray | Tensor, device: torch.device | str | None = None) -> Tensor:
    """uint8 (..., H, W, 3) -> float32 (..., 3, H, W) in [0, 1], on `device`."""
    return torch.as_tensor(pictures).to(device).movedim(-1, -3).float().div_(255)


def to_uint8(pictures: Tensor) -> np.ndarray:
    """float (..., 3, H, W) in [0, 1] -> uint8 (..., H, W, 3), rounded."""
    return pictures.detach().float().clamp(0, 1).mul(255).round().byte().movedim(-3, -1).cpu().numpy()
