"""What a transfer yields: frame by frame, and once the last is made."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from vaegan.motion import Motion
    from vaegan.notes import Note


@dataclass(frozen=True)
class Frame:
    """One frame of the result.

    time: seconds; crop: uint8 (size, size, 3), what is measured; image: uint8 (H, W, 3), what is written
    found: whether the driver's face was there; pose: its yaw, pitch and roll in degrees, None where it was not
    driver: what the model saw of the driver, uint8 (size, size, 3), when asked for
    notes: what this frame brought to light
    photo: where the photo is a video, its frame, cropped alike
    """

    time: float
    crop: np.ndarray = field(repr=False)
    image: np.ndarray = field(repr=False)
    found: bool
    pose: np.ndarray | None = None
    driver: np.ndarray | None = field(default=None, repr=False)
    notes: tuple[Note, ...] = ()
    photo: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Outcome:
    """What is known once the last frame is made.

    motion: the driver's, from its reference frame, before strength and smoothing; None where none was to be kept
    lost: in how many frames the driver's face was not there
    reference_pose: yaw, pitch, roll in degrees of the driver where it shows the photo as it is; None where a
        live driver was never seen
    shaking: of the motion before and after smoothing, in face sizes, see `vaegan.reference.shaking`; None: not smoothed
    """

    motion: Motion | None
    lost: int
    reference_pose: np.ndarray | None
    shaking: tuple[float | None, float | None] | None = None


class Frames(Iterator[Frame]):
    """The frames of a transfer, made in a thread of its own a little ahead of the caller; close it to stop early."""

    def __init__(self, frames: Generator[Frame, None, Outcome]) -> None:
        self._frames = frames
        self._outcome: Outcome | None = None

    def __next__(self) -> Frame:
        try:
            return next(self._frames)
        except StopIteration as end:
            self._outcome = end.value or self._outcome
            raise

    def close(self) -> None:
        self._frames.close()

    def outcome(self) -> Outcome:
        """What all frames came to. Raises ValueError before the last of them has been taken."""
        if self._outcome is None:
            raise ValueError("the last frame has not been taken")
        return self._outcome
