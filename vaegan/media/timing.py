"""Frame rates as exact fractions, and which frame to show when the rate changes."""

from fractions import Fraction

import numpy as np

from vaegan.errors import UserError

MAX_RATE = 1000


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


def nearest_frames(times: np.ndarray, fps: Fraction | float) -> tuple[np.ndarray, np.ndarray]:
    """Resample a clip in memory: which frame is nearest to each tick of a steady clock.

    Args:
        times: (T,) s, rising.
        fps: frames/s wanted.

    Returns:
        Ticks (M,) s from times[0], and the index (M,) of the frame nearest to each (the later one of two). The last
        frame lasts as long as the middle one of the gaps before it.
    """
    times = np.asarray(times, dtype=np.float64)
    rate = float(exact_rate(fps))
    last = float(np.median(np.diff(times))) if len(times) > 1 else 1 / rate
    count = max(1, int(np.ceil((times[-1] + last - times[0]) * rate - 1e-6)))
    ticks = times[0] + np.arange(count) / rate
    borders = (times[1:] + times[:-1]) / 2
    return ticks, np.searchsorted(borders, ticks + 1e-9, side="right")
