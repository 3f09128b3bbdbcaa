"""The one learning rate schedule."""

import math


def learning_rate_factor(step: int, progress: float, warmup_steps: int, schedule: str = "cosine") -> float:
    """The factor on a learning rate: linear warm-up, then a cosine to zero, or constant.

    Args:
        step: number of the step, from 0. progress: share of the run that is done, 0 to 1, by steps or by the clock.
        warmup_steps: steps until the factor reaches 1.
        schedule: "cosine" or "constant".
    """
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    if schedule == "constant":
        return warm
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
