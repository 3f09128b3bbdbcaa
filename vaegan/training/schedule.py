"""How far a run is, and the one learning rate schedule that follows from it."""

import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from vaegan.errors import UserError


class Progress:
    """How far a run is, by its steps, its clock, or whichever of the two is further.

    Every training module has one (`TrainingModule.progress`, made by run.py) and calls `advance()` at the end of each
    step; schedules read `value`, and the run ends as soon as `done`. The clock is looked at once a step, so that
    everything within a step, and the validation after it, sees the same value. Seconds are those of training with its
    validations; they go on where they were when a run is resumed.

    Args:
        total_steps: of the run, at most. max_seconds: of training, or None for no limit.
        clock: seconds, never going back.
    """

    def __init__(self, total_steps: int, max_seconds: float | None = None, clock: Callable[[], float] = time.monotonic):
        self.total_steps, self.max_seconds, self.clock = max(1, total_steps), max_seconds, clock
        self.step = 0
        self.seconds = 0.0
        self._since: float | None = None

    @property
    def value(self) -> float:
        """In [0, 1]: max(steps done / all steps, seconds trained / all seconds)."""
        by_clock = self.seconds / self.max_seconds if self.max_seconds else 0.0
        return min(1.0, max(self.step / self.total_steps, by_clock))

    @property
    def done(self) -> bool:
        return self.value >= 1.0

    def start(self) -> None:
        """The clock runs from here."""
        self._since = self.clock()

    def advance(self) -> None:
        """One more step is done."""
        self.step += 1
        self.look()

    def look(self) -> None:
        """Add the seconds that have passed since the last look; none where the clock does not run yet."""
        if self._since is not None:
            now = self.clock()
            self.seconds, self._since = self.seconds + now - self._since, now

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.seconds = state["step"], state["seconds"]


def seconds_of(duration: str | None) -> float | None:
    """`trainer.max_time`, "DD:HH:MM:SS", in seconds; None stays None. Raises UserError for another form."""
    if duration is None:
        return None
    try:
        days, hours, minutes, seconds = (int(part) for part in str(duration).split(":"))
        length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    except (ValueError, OverflowError) as error:
        raise UserError(f'trainer.max_time={duration}: write "DD:HH:MM:SS", for example "00:00:20:00"') from error
    if length <= 0:
        raise UserError(f"trainer.max_time={duration} is no time: give a second or more")
    return length


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
