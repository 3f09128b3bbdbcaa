"""A photo that moves while its driver is being filmed: a frame in, a frame out, and none that waits in a queue."""

from __future__ import annotations

import time as clock
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Thread
from typing import TYPE_CHECKING

import numpy as np

from vaegan.pipeline import Transfer, choose_device
from vaegan.settings import TransferSettings
from vaegan.sources import LiveSource

if TYPE_CHECKING:
    from vaegan.faces.tracker import FaceTracker
    from vaegan.frames import Frame
    from vaegan.model import FaceModel
    from vaegan.notes import Note

RECENT = 50
"""Results over which rate and latency are told."""


@dataclass(frozen=True)
class LiveFrame:
    """A frame of the result.

    frame: as of a transfer; time: of the driver's frame, as it was handed in
    latency: seconds from the moment it was handed in until the result was ready
    calibrated: whether the reference is known; until then the photo rests
    """

    frame: Frame = field(repr=False)
    time: float
    latency: float
    calibrated: bool

    @property
    def image(self) -> np.ndarray:
        """What is shown, uint8 (H, W, 3)."""
        return self.frame.image


@dataclass(frozen=True)
class Figures:
    """How a live session keeps up.

    fps: results a second; latency: seconds, median of the last results; done, dropped: driver frames drawn, and left
    out because a newer one was there
    """

    fps: float = 0.0
    latency: float = 0.0
    done: int = 0
    dropped: int = 0

    def __str__(self) -> str:
        all_frames = self.done + self.dropped
        return f"{self.fps:.0f} frames/s, {1000 * self.latency:.0f} ms, {self.dropped} of {all_frames} dropped"


class LiveSession:
    """A photo that follows whoever is filmed now; `close` it, or use it in `with`.

        with LiveSession("me.jpg") as session:
            for image in camera:            # uint8 (H, W, 3), RGB
                shown = session(image)      # uint8 (H, W, 3) of the photo

    Motion, bounds and easing are those of `transfer`. The photo rests for the first second that shows a face; the frame
    of it that is most like the photo is the reference. `notes` says what the user may want to mend.
    """

    def __init__(
        self,
        photo: str | Path | np.ndarray,
        model: FaceModel | str | Path = "motion64",
        tracker: FaceTracker | None = None,
        device: str = "auto",
        source: LiveSource | None = None,
        **options,
    ) -> None:
        """photo: file, shipped name, or uint8 (H, W, 3); model: a loaded one, a shipped name or a folder
        source: where frames come from, where they are not handed in
        options: the fields of `vaegan.settings.TransferSettings` but those that need frames to come

        Raises UserError.
        """
        if isinstance(model, (str, Path)):
            from vaegan.model import load_model

            model = load_model(model, device=choose_device(device))
        self.source = source or LiveSource()
        self.run = Transfer(photo, self.source, model, TransferSettings(**options), tracker, keep_motion=False)
        self.notes: list[Note] = list(self.run.notes)
        self._newest: LiveFrame | None = None
        self._untaken, self._error, self._ended = False, None, False
        self._ready: deque[tuple[float, float]] = deque(maxlen=RECENT)
        self._done, self._changed = 0, Condition()
        self._worker = Thread(target=self._work, daemon=True, name="live")
        self._worker.start()

    @property
    def width(self) -> int:
        """Of the result, px."""
        return self.run.width

    @property
    def height(self) -> int:
        """Of the result, px."""
        return self.run.height

    def __call__(self, image: np.ndarray, time: float | None = None) -> np.ndarray:
        """The photo as this frame of the driver, or one that came since, has it: uint8 (H, W, 3).

        image: uint8 (H, W, 3); time: seconds, rising; by default those of the clock. May be called from several
        threads: a call that is overtaken by a newer one gets what that gets.
        Raises UserError; ValueError after `close`.
        """
        given = self.put(image, time)
        with self._changed:
            self._changed.wait_for(lambda: self._over or (self._newest is not None and self._newest.time >= given))
            self._raise()
            self._untaken = False
            return self._newest.image

    def put(self, image: np.ndarray, time: float | None = None) -> float:
        """Hand in a frame and return at once, with its time; see `vaegan.sources.LiveSource.put`."""
        return self.source.put(image, time)

    def get(self, timeout: float | None = None) -> LiveFrame | None:
        """The newest result that `get` has not given yet; waits for it, at most `timeout` seconds, then None.

        Raises UserError; None as well once the session is over.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._untaken, timeout)
            if not self._untaken:
                if self._error is not None:
                    raise self._error
                return None
            self._untaken = False
            return self._newest

    def calibrate(self) -> None:
        """Take the reference anew from the coming second: the photo rests until then."""
        self.run.calibrate()

    @property
    def figures(self) -> Figures:
        with self._changed:
            ready = list(self._ready)
        if not ready:
            return Figures(dropped=self.source.dropped)
        span = ready[-1][0] - ready[0][0]
        fps = (len(ready) - 1) / span if span > 0 else 0.0
        return Figures(fps, float(np.median([latency for _, latency in ready])), self._done, self.source.dropped)

    @property
    def over(self) -> bool:
        """Whether no result will come any more."""
        with self._changed:
            return self._over

    def close(self) -> None:
        """End; waits for the frame that is being drawn."""
        self.source.end()
        self._worker.join()

    def __enter__(self) -> LiveSession:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()

    @property
    def _over(self) -> bool:
        return self._ended or self._error is not None

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
        if self._ended:
            raise ValueError("the live session is closed")

    def _work(self) -> None:
        error = None
        try:
            with closing(self.run.frames()) as frames:
                for frame in frames:
                    self._show(frame)
        except BaseException as caught:
            error = caught
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def _show(self, frame: Frame) -> None:
        taken, handed_in = self.source.last_taken
        now = clock.monotonic()
        with self._changed:
            self.notes += frame.notes
            self._newest = LiveFrame(frame, taken, now - handed_in, self.run.calibrated)
            self._untaken = True
            self._done += 1
            self._ready.append((now, now - handed_in))
            self._changed.notify_all()
