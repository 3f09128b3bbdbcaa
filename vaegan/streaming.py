"""A driver in one pass: its reference is chosen among its first frames, and every frame is drawn as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vaegan.motion import Motion, MotionRecorder, Steps
from vaegan.portrait import parts

if TYPE_CHECKING:
    from vaegan.portrait import DriverFrame

BEST_SECONDS = 2.0
"""`--reference best` chooses among the driver's frames of this time, from the first with a face: so the first frame of
the result waits no longer for a long driver than for a short one."""

LIVE_SECONDS = 1.0
"""Likewise of a driver who is filmed while he drives, for whom the photo rests until then."""


@dataclass(frozen=True)
class Passage:
    """Some frames of a driver.

    steps: how they move; pictures: of each, uint8 (size, size, 3), or None
    rests: whether the photo is to stay at rest, because the reference is not known yet
    chosen: with the first passage that is measured from it, the motion among whose found frames it was chosen
    """

    steps: Steps
    pictures: list[np.ndarray | None]
    rests: bool = False
    chosen: Motion | None = None


class Streaming:
    """Passages of a driver, in its order.

    recorder: empty; reference: see `vaegan.reference.choose_reference`; choose: the choice itself, Motion -> frame
    live: passages come frame by frame and none waits for the reference; a file's wait for it, so that none rests
    """

    def __init__(
        self, recorder: MotionRecorder, reference: str | int, choose: Callable[[Motion], int], live: bool = False
    ) -> None:
        self.recorder, self.reference, self.choose, self.live = recorder, reference, choose, live
        self.lost, self.seconds = 0, LIVE_SECONDS if live else BEST_SECONDS
        self.known, self._since = False, None

    def calibrate(self) -> None:
        """Choose the reference again, among the frames that come now; may be called from any thread."""
        self.known, self._since = False, None
        self.recorder.remember()

    def passages(self, batches: Iterable[list[DriverFrame]]) -> Iterator[Passage]:
        """Raises UserError when the reference that was asked for does not exist."""
        waiting: list[np.ndarray | None] = []
        for batch in batches:
            steps, pictures = self.recorder.add(batch), [frame.picture for frame in batch]
            self.lost += int(np.count_nonzero(~steps.found))
            if self.known:
                yield Passage(steps, pictures)
                continue
            if self._since is None and steps.found.any():
                self._since = float(steps.times[np.argmax(steps.found)])
            if self._since is not None:
                waiting = pictures if self.live else waiting + pictures
            if self._enough(float(steps.times[-1])):
                yield from self._chosen(waiting)
                waiting = []
            elif self._since is None or self.live:
                yield Passage(steps, pictures, rests=True)
        if waiting and not self.live:
            yield from self._chosen(waiting)

    def _enough(self, now: float) -> bool:
        if self._since is None:
            return False
        if isinstance(self.reference, int):
            return len(self.recorder) > self.reference
        return self.reference == "first" or now - self._since >= self.seconds

    def _chosen(self, waiting: list[np.ndarray | None]) -> Iterator[Passage]:
        motion = self.recorder.motion()
        if self.reference == "best":
            since = motion.times - self._since
            motion = replace(motion, found=motion.found & (since >= 0) & (since <= self.seconds))
        index = self.choose(motion)
        self.recorder.refer_to(index)
        self.known = True
        chosen, whole = motion.relative_to(index), self.recorder.motion()
        before = len(whole) - len(waiting)
        for part in parts(len(waiting)):
            steps = whole.steps(slice(before + part.start, before + part.stop))
            yield Passage(steps, waiting[part], chosen=chosen)
            chosen = None
