"""Pictures as numpy and torch hold them, uint8 (N, H, W, 3) and float (N, 3, H, W); points that are an index."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor


def index(points: Sequence[int], device: torch.device) -> Tensor:
    """int64 (N,) on `device`, made once: a list that is an index goes there at each use, and a graphics card waits."""
    return _index(tuple(np.asarray(points).tolist()), device)


@cache
def _index(points: tuple[int, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # what is made in inference mode cannot be trained with later
        return torch.tensor(points, device=device)


def to_float(pictures: np.ndarray | Tensor, device: torch.device | str | None = None) -> Tensor:
    """uint8 (..., H, W, 3) -> float32 (..., 3, H, W) in [0, 1], on `device`."""
    return torch.as_tensor(pictures).to(device).movedim(-1, -3).float().div_(255)


def to_uint8(pictures: Tensor) -> np.ndarray:
    """float (..., 3, H, W) in [0, 1] -> uint8 (..., H, W, 3), rounded."""
    return pictures.detach().float().clamp(0, 1).mul(255).round().byte().movedim(-3, -1).cpu().numpy()
