"""Frames with their times, and frame rates as exact fractions."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vaegan.errors import UserError

MAX_RATE = 1000


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
