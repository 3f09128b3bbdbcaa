"""What the options make of a driver's motion, frame by frame: how much of which part, how it comes to rest and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaegan.directions import POSE, part_rows
from vaegan.reference import delta_to

if TYPE_CHECKING:
    from vaegan.directions import Directions
    from vaegan.model import FaceModel
    from vaegan.motion import Motion, Steps
    from vaegan.portrait import Portrait
    from vaegan.settings import TransferSettings

REST_SECONDS = 1.0
"""In this time a motion comes to rest once the driver's face is lost, and at the latest so it comes back."""

QUICKEST_SECONDS = 0.2
"""A motion comes back in the time that the face was lost, but no quicker than this."""

BEGIN_SECONDS = 0.5
"""In this time a photo takes on the driver's own pose and expression."""

KNEES, WIDTHS = (40.0, 25.0, 25.0), (12.0, 10.0, 10.0)
"""Degrees of yaw, pitch and roll up to which a head turns as it is told, and how far it turns beyond that."""

TURNS = (22.0, 18.0, 25.0)
"""The same, counted from the photo: what a head shows that turns further, a photo does not hold."""

SHAPE_KNEES, SHAPE_WIDTH = (-0.1, 0.85), 0.2
"""Likewise of the blendshapes, of which 0 to 1 is the whole movement; heads read about 0.1 too little or too much."""


FAR, FARTHER = (0.5, 0.5, 0.35, np.radians(25.0)), (0.25, 0.25, 0.15, np.radians(12.0))
"""Placement (shift x, y in face sizes, log scale, roll in radians) that may be made of a smaller one by a factor, and
how much more at most; what the driver does itself is never less."""


class Adjustment:
    """From a driver's steps to what moves the photo; takes them in their order, once.

    offset: deltas (D,) and placement (4,) that are added first, see `absolute_offset`
    """

    offset: tuple[np.ndarray, np.ndarray] | None = None

    def __init__(
        self, settings: TransferSettings, directions: Directions | None = None, photo_heads: np.ndarray | None = None
    ) -> None:
        """directions: of the model, where `settings.parts` are set; with photo_heads (READINGS,) motion is bounded."""
        bounded = directions is not None and photo_heads is not None
        self.bounds = Bounds(directions, photo_heads) if bounded else None
        self.strength = np.float32(settings.strength)
        self.directions = directions if settings.parts else None
        self.ease = Ease(BEGIN_SECONDS if settings.motion == "absolute" else 0.0)
        if settings.parts:
            self.factors = np.ones(len(directions.readings), np.float32)
            for part, factor in settings.parts.items():
                self.factors[part_rows(part)] = factor

    def __call__(self, steps: Steps) -> tuple[np.ndarray, np.ndarray]:
        """Deltas float32 (N, D) and placement (N, 4) for the photo."""
        deltas, placement = steps.deltas, steps.placement
        if self.offset is not None:
            deltas, placement = deltas + self.offset[0], placement + self.offset[1]
        own = placement
        if self.directions is not None:
            deltas = self.directions.scaled(deltas, self.factors)
            placement = placement * self.factors[part_rows("pose")[0]]
        deltas, placement = deltas * self.strength, _not_too_far(own, placement * self.strength)
        if self.bounds is not None:
            deltas = self.bounds(deltas)
        values = np.hstack([deltas, placement])
        eased = self.ease(steps.times, values, steps.found)
        return eased[:, :-4], eased[:, -4:]


def _not_too_far(own: np.ndarray, placement: np.ndarray) -> np.ndarray:
    """Placements (N, 4), grown from the driver's own ones, bounded by `FAR` and `FARTHER`."""
    size, width = np.abs(placement), np.float32(FARTHER)
    knee = np.maximum(np.float32(FAR), np.abs(own))
    beyond = ((size - knee) / width).clip(0)
    return np.where(beyond > 0, np.sign(placement) * (knee + width * (1 - np.exp(-beyond))), placement)


class Adjustments:
    """`Adjustment` of each face of a photo; of several, deltas are (F, N, D) and placement (F, N, 4)."""

    def __init__(self, faces: list[Adjustment]) -> None:
        self.faces = faces

    def __call__(self, steps: Steps) -> tuple[np.ndarray, np.ndarray]:
        if len(self.faces) == 1:
            return self.faces[0](steps)
        deltas, placement = zip(*(adjust(steps) for adjust in self.faces), strict=True)
        return np.stack(deltas), np.stack(placement)


def absolute_offset(
    motion: Motion, model: FaceModel, directions: Directions | None, photo: Portrait
) -> tuple[np.ndarray, np.ndarray]:
    """What, added to a motion, makes a photo look as the driver does: deltas (D,) and placement (4,).

    Where no heads can tell, it moves no more than about the driver's mean.
    """
    placement = np.zeros(4, np.float32)
    if not motion.heads.size or directions is None:
        return motion.centred().deltas[motion.reference] - motion.deltas[motion.reference], placement
    at = motion.reference
    if model.framing.follow:
        placement[3] = np.radians(motion.pose[at, 2] - photo.pose[2])
    return delta_to(model, directions, photo.z, motion.heads[at]), placement


class Bounds:
    """Keeps photo and motion together within what faces do: a smile on a smile is no smile and a half.

    What the heads read is left as it is up to a knee, and nears a limit from there on; a photo that is beyond the knee
    itself has its own reading for one.
    """

    def __init__(self, directions: Directions, photo_heads: np.ndarray) -> None:
        self.directions = directions
        self.photo = photo_heads[: len(directions.readings)]
        shapes = len(self.photo) - len(POSE)
        low, high = SHAPE_KNEES
        pose = self.photo[: len(POSE)]
        low = np.hstack([np.maximum(np.negative(KNEES), pose - TURNS), [low] * shapes])
        high = np.hstack([np.minimum(KNEES, pose + TURNS), [high] * shapes])
        self.low, self.high = np.minimum(np.float32(low), self.photo), np.maximum(np.float32(high), self.photo)
        self.width = np.float32([*WIDTHS, *[SHAPE_WIDTH] * shapes])

    def __call__(self, deltas: np.ndarray) -> np.ndarray:
        """deltas: float32 (T, D) -> the same, bounded."""
        read = self.photo + deltas @ self.directions.readings.T
        above, below = ((read - self.high) / self.width).clip(0), ((self.low - read) / self.width).clip(0)
        inward = self.width * ((1 - np.exp(-above) - above) - (1 - np.exp(-below) - below))
        return (deltas + inward @ self.directions.answers.T).astype(np.float32)


class Ease:
    """Lets values come to rest at zero where nothing is found, and come back, without a jump.

    begin: seconds from rest to the first values
    """

    def __init__(self, begin: float = 0.0) -> None:
        self.found, self.begin = True, begin
        self.time = self.since = -np.inf
        self.span = QUICKEST_SECONDS
        self.start = self.last = np.float32(0)

    def __call__(self, times: np.ndarray, values: np.ndarray, found: np.ndarray) -> np.ndarray:
        """The next values. times: seconds, rising; values: float32 (N, K); found: bool (N,)."""
        eased = np.empty_like(values)
        if self.begin:
            self.since, self.span, self.begin = times[0], self.begin, 0.0
        for i, (time, seen) in enumerate(zip(times, found, strict=True)):
            if seen != self.found:
                lost = self.time - self.since
                self.span = REST_SECONDS if self.found else float(np.clip(lost, QUICKEST_SECONDS, REST_SECONDS))
                self.found, self.since, self.start = seen, self.time, self.last
            share = np.float32(smoothstep((time - self.since) / self.span))
            target = values[i] if seen else np.zeros_like(values[i])
            eased[i] = target if share == 1 else self.start + share * (target - self.start)
            self.time, self.last = time, eased[i]
        return eased


def smoothstep(x: float) -> float:
    """0 up to 0, 1 from 1 on, no edge in between."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)
