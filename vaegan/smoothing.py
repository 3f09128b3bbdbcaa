"""Values over time: made smoother, read between frames, and how much they shake."""

import math

import numpy as np

SMOOTH_SECONDS = 0.2
"""Standard deviation of the Gaussian at strength 1: a nod of half a second nearly vanishes."""

LEAST_SIGMA = 0.1
"""Frames; what is less changes nothing."""


def gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    """Convolve (T, K) along T with a Gaussian of `sigma` frames, the ends mirrored."""
    radius = math.ceil(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    padded = np.pad(values, ((radius, radius), (0, 0)), mode="reflect")
    return sum(w * padded[k : k + len(values)] for k, w in enumerate(weights))


def sigmas(smooth: float, steady: float, fps: float) -> dict[str, float]:
    """Standard deviations in frames of the Gaussians over what of a motion is smoothed.

    smooth, steady: 0..1, of all of it, and of the placement besides
    """
    found = {"placement": math.hypot(smooth, steady), **dict.fromkeys(("deltas", "pose", "heads"), smooth)}
    found = {name: strength * SMOOTH_SECONDS * fps for name, strength in found.items()}
    return {name: sigma for name, sigma in found.items() if sigma >= LEAST_SIGMA}


def between(times: np.ndarray, values: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Values (T, K) of rising times (T,), at other moments (M,): float32 (M, K), held at both ends.

    Cubic, through every value, and never beyond two neighbours (PCHIP: Fritsch & Carlson, 1980): a blink between two
    frames closes no eye further than either of them.
    """
    if len(times) < 2 or not values.shape[1]:
        return np.repeat(values[:1], len(moments), 0).astype(np.float32)
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(times, values)(np.clip(moments, times[0], times[-1])).astype(np.float32)


def jitter(values: np.ndarray) -> float:
    """Mean length of the second differences of values (T, P, 2) or (T, P, 3) along T; NaN for fewer than three."""
    return float(np.linalg.norm(np.diff(values, 2, axis=0), axis=-1).mean()) if len(values) > 2 else float("nan")
