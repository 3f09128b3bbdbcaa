"""What of a rendered crop is shown, and at what size."""

import cv2
import numpy as np


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """A float picture (S, S, 3) in [0, 1] as uint8 (size, size, 3): Lanczos up, area average down, before rounding."""
    if image.shape[0] != size:
        method = cv2.INTER_LANCZOS4 if size > image.shape[0] else cv2.INTER_AREA
        image = cv2.resize(image, (size, size), interpolation=method)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
