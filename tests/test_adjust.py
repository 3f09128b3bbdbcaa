"""What options make of a motion: numbers in, numbers out."""

import numpy as np
import pytest

from vaegan.adjust import QUICKEST_SECONDS, REST_SECONDS, Adjustment, Ease
from vaegan.motion import Steps
from vaegan.settings import TransferSettings

FPS = 25


def eased(found, values=None, batch=None):
    """One value over time, 1 by default."""
    found, ease = np.asarray(found, bool), Ease()
    values = np.ones((len(found), 1), np.float32) if values is None else values
    times, step = np.arange(len(found)) / FPS, batch or len(found)
    parts = [slice(at, at + step) for at in range(0, len(found), step)]
    return np.concatenate([ease(times[part], values[part], found[part]) for part in parts])[:, 0]


def gap(before, lost, after):
    return [True] * before + [False] * lost + [True] * after


@pytest.mark.parametrize("lost", [1, 3, 10, 24, 25, 26, 100])
def test_a_lost_face_brings_the_motion_to_rest_and_back_without_a_jump(lost):
    moved = eased(gap(10, lost, 60))
    assert (moved[:10] == 1).all() and (moved[-60 + FPS + 1 :] == 1).all()
    assert np.abs(np.diff(moved)).max() <= 1.6 / REST_SECONDS / FPS
    if lost > REST_SECONDS * FPS:
        assert moved[10 + FPS] == 0


def test_a_driver_who_comes_back_elsewhere_is_met_without_a_jump():
    values = np.where(np.arange(80)[:, None] < 20, 1, -1).astype(np.float32)
    moved = eased(gap(10, 10, 60), values)
    assert np.abs(np.diff(moved)).max() <= 1.5 * 2 / 0.4 / FPS + 1e-6
    assert (moved[-60 + FPS + 1 :] == -1).all()


def test_a_face_that_flickers_makes_no_jumps():
    found = np.random.default_rng(0).random(200) > 0.4
    assert np.abs(np.diff(eased(found))).max() <= 1.5 / QUICKEST_SECONDS / FPS + 1e-6


def test_a_driver_who_comes_late_is_met_from_rest():
    moved = eased(gap(0, 40, 40))
    assert (moved[:40] == 0).all() and np.diff(moved).max() <= 1.5 / REST_SECONDS / FPS + 1e-6 and moved[-1] == 1


def test_batches_make_no_difference():
    found = np.random.default_rng(1).random(90) > 0.5
    values = np.random.default_rng(2).normal(size=(90, 1)).astype(np.float32)
    assert np.array_equal(eased(found, values), eased(found, values, batch=7))


def steps(count=20, lost=slice(0), **values):
    found = np.ones(count, bool)
    found[lost] = False
    given = {"deltas": np.ones((count, 6), np.float32), "placement": np.ones((count, 4), np.float32)} | values
    rest = {
        "times": np.arange(count) / FPS,
        "found": found,
        "pose": np.zeros((count, 3)),
        "heads": np.zeros((count, 0)),
    }
    return Steps(**given, **rest)


def test_strength_is_a_factor_of_all_that_moves():
    deltas, placement = Adjustment(TransferSettings(strength=1.5))(steps())
    assert (deltas == 1.5).all() and (placement == 1.5).all() and deltas.shape == (20, 6)
