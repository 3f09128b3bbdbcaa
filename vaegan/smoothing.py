"""Values over time, made smoother."""

import math

import numpy as np


def gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    """Convolve (T, K) along T with a Gaussian of `sigma` frames, the ends mirrored."""
    radius = math.ceil(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    padded = np.pad(values, ((radius, radius), (0, 0)), mode="reflect")
    return sum(w * padded[k : k + len(values)] for k, w in enumerate(weights))
