"""Motions made from words: "smile, then turn left", as named targets with times, eased from one to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from vaegan.directions import POSE, Directions, check_name
from vaegan.errors import UserError
from vaegan.motion import Motion

EASES = {
    "smooth": lambda s: s**3 * (10 - 15 * s + 6 * s**2),  # least jerk from rest to rest (Flash & Hogan, 1985)
    "linear": lambda s: s,
}
"""Share of the time from one key to the next, 0 to 1 -> share of the way."""


MOST = {"yaw": 34.0, "pitch": 28.0}
"""Degrees by which a head is shown turned away from the photo at most; of all else 1 is the whole movement."""


@dataclass(frozen=True)
class Key:
    """At `time` seconds the named things have these values; what is not named keeps that of the key before."""

    time: float
    values: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.time, *self.values.values()))):
            raise UserError(f"a key at {self.time:g} s is not possible: times and values are finite numbers")

    @classmethod
    def parse(cls, text: str) -> Key:
        """`TIME:NAME=VALUE,NAME=VALUE`, such as `1.5:smile=1,yaw=-20`. Raises UserError for anything else."""
        time, colon, rest = text.partition(":")
        values = {}
        try:
            if not colon:
                raise ValueError
            for part in filter(None, (part.strip() for part in rest.split(","))):
                name, _, value = part.partition("=")
                values[name.strip()] = float(value)
            seconds = float(time)
        except ValueError:
            raise UserError(
                f"{text!r} is no key: write TIME:NAME=VALUE,NAME=VALUE, such as 1.5:smile=1,yaw=-20"
            ) from None
        if seconds <= 0:
            raise UserError(f"{text!r}: times are above 0, where a motion starts at rest")
        for name in values:
            check_name(name)
        return cls(seconds, values)


def beyond(keys: Sequence[Key]) -> str:
    """The values that no photo can show in full, such as `smile=9, yaw=60`; "" where there is none."""
    values = [(name, value) for key in keys for name, value in key.values.items()]
    return ", ".join(f"{name}={value:g}" for name, value in values if abs(value) > MOST.get(name, 1.0))


def make_motion(
    directions: Directions,
    keys: Sequence[Key],
    seconds: float | None = None,
    fps: Fraction = Fraction(25),
    ease: str = "smooth",
) -> Motion:
    """A motion from rest through all keys.

    keys: in any order, at different times; seconds: length, after the last key its values are held (None: until it)
    ease: one of EASES
    Raises UserError for keys at one time, or after the end.
    """
    keys = sorted(keys, key=lambda key: key.time)
    end = seconds if seconds is not None else keys[-1].time if keys else 0.0
    if not keys or not 0 < end < math.inf:
        raise UserError("a motion needs a target, and a length above 0 s: such as --smile 1 --seconds 2")
    if keys[-1].time > end:
        raise UserError(f"the last key, at {keys[-1].time:g} s, is after the end at {end:g} s: give more --seconds")
    if (np.diff([key.time for key in keys]) <= 0).any():
        raise UserError("two keys have the same time: put their values into one")
    names = sorted({name for key in keys for name in key.values})
    states = [np.zeros(len(names))]
    for key in keys:
        states.append(np.array([key.values.get(name, last) for name, last in zip(names, states[-1], strict=True)]))
    moments = np.array([0.0, *(key.time for key in keys)])
    times = np.arange(math.ceil(end * fps) + 1) / float(fps)
    place = np.interp(times, moments, np.arange(len(moments)))
    left = np.minimum(place.astype(int), len(moments) - 1)
    share = EASES[ease](place - left)[:, None]
    right = np.minimum(left + 1, len(moments) - 1)
    values = np.array(states)[left] * (1 - share) + np.array(states)[right] * share
    columns = dict(zip(names, values.T, strict=True))
    pose = np.column_stack([columns.get(name, np.zeros(len(times))) for name in POSE])
    return Motion(
        times=times,
        deltas=values @ directions.steps(names),
        placement=np.zeros((len(times), 4)),
        pose=pose,
        found=np.ones(len(times), bool),
        model_id=directions.model_id,
        framing=directions.framing,
        fps=fps,
    )
