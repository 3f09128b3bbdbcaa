"""How far a run is, and the learning rate that follows."""

import pytest

from vaegan.errors import UserError
from vaegan.training.schedule import Progress, learning_rate_factor, seconds_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_progress_is_that_of_the_steps_where_there_is_no_limit_of_time():
    progress = Progress(4)
    progress.start()
    seen = [progress.value]
    while not progress.done:
        progress.advance()
        seen.append(progress.value)
    assert seen == [0, 0.25, 0.5, 0.75, 1]


def test_progress_follows_the_clock_and_keeps_its_seconds_over_a_resume():
    clock = Clock()
    first = Progress(1000, 60, clock)
    first.start()
    clock.now += 15
    first.advance()
    assert first.value == 0.25
    clock.now += 1000  # the machine was switched off
    resumed = Progress(1000, 60, clock)
    resumed.load_state_dict(first.state_dict())
    resumed.start()
    clock.now += 15
    resumed.advance()
    assert (resumed.step, resumed.seconds, resumed.value) == (2, 30, 0.5)
    clock.now += 31
    assert not resumed.done  # until it is looked at: a step and its validation see one value
    resumed.advance()
    assert resumed.done and learning_rate_factor(resumed.step, resumed.value, 1) == 0


def test_a_duration_is_read_or_refused_in_one_line():
    assert seconds_of(None) is None
    assert seconds_of("01:02:03:04") == 93784
    with pytest.raises(UserError, match="DD:HH:MM:SS"):
        seconds_of("20 minutes")
