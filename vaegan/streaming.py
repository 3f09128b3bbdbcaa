"""A driver in one pass: its reference is chosen among its first frames, and every frame is drawn as it comes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from vaegan.motion import Motion, MotionRecorder, Steps
from vaegan.portrait import parts
from vaegan.smoothing import gaussian

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


def smoothed(passages: Iterable[Passage], widths: dict[str, float]) -> Iterator[tuple[Passage, Steps]]:
    """Passages, and their steps as `Motion.smooth` has them; a passage waits for the frames that weigh in.

    widths: see `vaegan.smoothing.sigmas`
    """
    if not widths:
        yield from ((passage, passage.steps) for passage in passages)
        return
    radius = math.ceil(3 * max(widths.values()))
    chosen, held, given, zero, waiting = None, None, 0, None, []
    for passage in chain(passages, [None]):
        if passage is not None:
            chosen = chosen or passage.chosen
            if chosen is None:
                yield passage, passage.steps
                continue
            held = passage.steps if held is None else _joined(held, passage.steps)
            waiting.append(passage)
        if held is None:
            return
        calm = replace(held, **{name: gaussian(getattr(held, name), sigma) for name, sigma in widths.items()})
        known = len(held.times) - (radius if passage is not None else 0)
        if zero is None:
            at = int(np.searchsorted(held.times, chosen.times[chosen.reference]))
            zero = _part(calm, slice(at, at + 1)) if at < known else None
        while zero is not None and waiting and given + len(waiting[0].pictures) <= known:
            first = waiting.pop(0)
            steps = _part(calm, slice(given, given + len(first.pictures)))
            given += len(first.pictures)
            yield first, _measured_from(zero, steps, chosen)
        done = max(0, given - radius)
        held, given = _part(held, slice(done, None)), given - done


def _measured_from(zero: Steps, steps: Steps, motion: Motion) -> Steps:
    rows = {**vars(_joined(zero, steps)), "times": np.arange(len(steps.times) + 1), "reference": 0}
    return replace(_part(replace(motion, **rows).relative_to(0).steps(slice(None)), slice(1, None)), times=steps.times)


def _joined(first: Steps, then: Steps) -> Steps:
    return Steps(*(np.concatenate([getattr(first, name), value]) for name, value in vars(then).items()))


def _part(steps: Steps, part: slice) -> Steps:
    return Steps(*(value[part] for value in vars(steps).values()))


def begun(motion: Motion, since: float | None = None, seconds: float = BEST_SECONDS) -> Motion:
    """A motion of which only these seconds count as found: what `--reference best` chooses among.

    since: None: from the first frame with a face on
    """
    past = motion.times - (motion.times[np.argmax(motion.found)] if since is None else since)
    return replace(motion, found=motion.found & (past >= 0) & (past <= seconds))


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
            motion = begun(motion, self._since, self.seconds)
        index = self.choose(motion)
        self.recorder.refer_to(index)
        self.known = True
        chosen, whole = motion.relative_to(index), self.recorder.motion()
        before = len(whole) - len(waiting)
        for part in parts(len(waiting)):
            steps = whole.steps(slice(before + part.start, before + part.stop))
            yield Passage(steps, waiting[part], chosen=chosen)
            chosen = None
