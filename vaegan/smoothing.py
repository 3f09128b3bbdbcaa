"""Values over time, made smoother, and how much they shake."""

import math

import numpy as np


def gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    """Convolve (T, K) along T with a Gaussian of `sigma` frames, the ends mirrored."""
    radius = math.ceil(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    padded = np.pad(values, ((radius, radius), (0, 0)), mode="reflect")
    return sum(w * padded[k : k + len(values)] for k, w in enumerate(weights))


def jitter(values: np.ndarray) -> float:
    """Mean length of the second differences of values (T, P, 2) or (T, P, 3) along T; NaN for fewer than three."""
    return float(np.linalg.norm(np.diff(values, 2, axis=0), axis=-1).mean()) if len(values) > 2 else float("nan")
