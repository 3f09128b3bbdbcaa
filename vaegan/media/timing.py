"""Frames with their times, and frame rates as exact fractions."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vaegan.errors import UserError

MAX_RATE = 1000

VARIABLE = 0.8
"""Where the mean rate falls below this share of the rate at which frames follow each other while something moves, the
mean says nothing: recordings of a screen keep no frames while it stands still."""

MOVING_RATE = 60
"""The fastest rate, in frames/s, that is taken from the times of a few frames: clocks of recordings stutter."""

_STRIDE, _MOVING_SHARE = 4, 0.25


@dataclass(frozen=True)
class TimedPicture:
    """One picture of a video. `time`: s from the first frame of the file; `image`: uint8 (H, W, 3) RGB, upright."""

    time: float
    image: np.ndarray


def exact_rate(rate: Fraction | float | str) -> Fraction:
    """The exact frame rate that `rate` stands for: 29.97 -> 30000/1001, 25.0 -> 25, 12.5 -> 25/2.

    A value within .01 % of a whole number, or of one divided by 1.001 (NTSC), is taken for it.

    Raises:
        UserError: it is not a number above 0 and at most 1000 frames/s.
    """
    try:
        value = Fraction(rate)
    except (ValueError, OverflowError, ZeroDivisionError, TypeError) as error:
        raise UserError(f"frame rate {rate} is not a number; use e.g. 25 or 30000/1001") from error
    if not 0 < value <= MAX_RATE:
        raise UserError(f"frame rate {rate} is not between 0 and {MAX_RATE} frames/s")
    for nominal in (Fraction(round(value)), Fraction(round(value * Fraction(1001, 1000)) * 1000, 1001)):
        if nominal and abs(value / nominal - 1) < Fraction(1, 10_000):
            return nominal
    return value.limit_denominator(1001)


def moving_rate(times: Sequence[float], mean: Fraction) -> Fraction:
    """The rate that keeps the motion of a video: `mean`, or that of its fastest quarter where that is much faster.

    Args:
        times: s of its frames, or of the first few hundred, in any order.
        mean: frames/s of the whole.
    """
    rising = np.unique(np.round(np.asarray(times, np.float64), 6))
    if len(rising) < 2:
        return mean
    stride = min(_STRIDE, 1 + len(rising) // 8)
    steps = (rising[stride:] - rising[:-stride]) / stride
    fast = steps[steps <= np.quantile(steps, _MOVING_SHARE) * 1.05]
    rate = min(MOVING_RATE, float(1 / fast.mean()))
    return mean if mean >= VARIABLE * rate else _near_whole(rate)


def _near_whole(rate: float) -> Fraction:
    """The rate as a whole number, or one divided by 1.001, where it is within 1 % of it: clocks of 1 ms round."""
    nearest = round(rate)
    for nominal in (Fraction(nearest), Fraction(nearest * 1000, 1001)):
        if nearest and abs(rate / float(nominal) - 1) < 0.0005:
            return nominal
    return Fraction(nearest) if nearest and abs(rate / nearest - 1) < 0.01 else exact_rate(rate)
