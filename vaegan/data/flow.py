"""Dense optical flow between the frames of a clip, with OpenCV's methods."""

import itertools

import cv2
import numpy as np
import torch
from torch import Tensor

from vaegan.errors import UserError

METHODS = ("none", "dis", "farneback")


def dense_flow(clip: Tensor, method: str) -> Tensor:
    """Where each pixel goes until the next frame.

    Args:
        clip: float (T, 3, H, W) in [0, 1].
        method: "dis" (Kroeger et al. 2016, OpenCV's medium preset) or "farneback" (Farnebäck 2003).
    Returns:
        float (T, 2, H, W): dx to the right and dy down, in px of the clip a frame; the last frame's is 0.
    Raises:
        UserError: no such method.
    """
    if method not in METHODS[1:]:
        raise UserError(f"flow {method}: choose one of {', '.join(METHODS)}")
    grey = (clip.detach() * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)
    grey = grey.mul(255).round_().clamp_(0, 255).byte().numpy()
    out = np.zeros((len(grey), *grey.shape[1:], 2), np.float32)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM) if method == "dis" else None
    for t, (here, there) in enumerate(itertools.pairwise(grey)):
        if dis is not None:
            out[t] = dis.calc(here, there, None)
        else:
            out[t] = cv2.calcOpticalFlowFarneback(here, there, None, 0.5, 3, 9, 3, 5, 1.1, 0)
    return torch.from_numpy(out).permute(0, 3, 1, 2)
