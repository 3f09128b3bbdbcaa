"""A live driver's result on the screen, as it is made."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import cv2
import numpy as np

from vaegan.notes import Note
from vaegan.sources import LiveSource, prefetch

if TYPE_CHECKING:
    from vaegan.frames import Frame, Frames
    from vaegan.pipeline import Transfer

LONGEST_PX = 800
"""Of the window's sides; what is written has the photo's own."""

RECENT = 30
"""Frames over which the window's title tells rate and latency."""


class Window:
    """Shows pictures; `key` is called with every key that is pressed, and with "q" when the window is closed.

    Raises RuntimeError with the reason where no window can be shown.
    """

    def __init__(self, title: str, key: Callable[[str], None]) -> None:
        try:
            import tkinter
        except ImportError as error:  # Linux distributions ship it apart from Python
            raise RuntimeError("this Python has no tkinter") from error
        self._lost = tkinter.TclError
        try:
            self._root = tkinter.Tk()
        except self._lost as error:
            raise RuntimeError(str(error)) from error
        self._title = title
        self._picture = tkinter.PhotoImage(master=self._root)
        tkinter.Label(self._root, image=self._picture, borderwidth=0).pack()
        self._root.title(title)
        self._root.resizable(False, False)
        self._root.bind("<Key>", lambda event: key(event.char))
        self._root.protocol("WM_DELETE_WINDOW", lambda: key("q"))

    def show(self, image: np.ndarray, words: str = "") -> None:
        """image: uint8 (H, W, 3); on the screen when this returns. Raises RuntimeError when the display is gone."""
        scale = min(1.0, LONGEST_PX / max(image.shape))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = image.shape[:2]
        try:
            self._picture.configure(data=b"P6 %d %d 255 " % (width, height) + image.tobytes())
            self._root.title(f"{self._title}  {words}")
            self._root.update()
        except self._lost as error:
            raise RuntimeError(str(error)) from error

    def close(self) -> None:
        with contextlib.suppress(self._lost):  # the display may be gone
            self._root.destroy()


def on_screen(
    frames: Frames, run: Transfer, on_note: Callable[[Note], None], window: Callable[..., Window] = Window
) -> Iterator[Frame]:
    """The frames of a live driver, each on the screen before it is given, until q or Ctrl-C is pressed.

    c chooses the reference anew. Says through on_note how to end, and at the end how fast it was.
    """
    source: LiveSource = run.source

    def key(pressed: str) -> None:
        if pressed in ("q", "\x1b"):
            source.end()
        elif pressed == "c":
            run.calibrate()

    with _interrupt_ends(source):
        try:
            screen = window(f"{source.name}: q ends, c calibrates", key)
            on_note(Note("live", "look into the camera for a second; q in the window, or Ctrl-C, ends and writes"))
        except RuntimeError as error:
            screen = None
            on_note(Note("live", f"no preview, there is no display ({error}); Ctrl-C, or --end, ends and writes"))
        late, ends, count = deque(maxlen=10_000), deque(maxlen=RECENT), 0
        try:
            with closing(prefetch(frames, 1)) as ahead:
                for frame in ahead:
                    if screen is not None:
                        try:
                            screen.show(frame.image, _words(ends, late))
                        except RuntimeError as error:
                            screen = None
                            on_note(Note("live", f"the preview is gone ({error}); Ctrl-C ends and writes"))
                    ends.append(time.monotonic())
                    late.append(ends[-1] - source.began - frame.time)
                    count += 1
                    yield frame
        finally:
            source.end()
            if screen is not None:
                screen.close()
    if getattr(source, "gone", False):
        on_note(Note("live", f"{source.name} stopped by itself: what was recorded until then is written"))
    if count:
        on_note(Note("live", _summary(late, count, frame.time, source.dropped, screen is not None)))


def _words(ends: deque[float], late: deque[float]) -> str:
    if len(ends) < 2:
        return ""
    latency = np.median(list(late)[-RECENT:])
    return f"{(len(ends) - 1) / (ends[-1] - ends[0]):.0f} frames/s, {1000 * latency:.0f} ms"


def _summary(late: deque[float], count: int, seconds: float, dropped: int, shown: bool) -> str:
    median, most = (1000 * np.percentile(late, share) for share in (50, 95))
    return (
        f"from the camera to {'the screen' if shown else 'the result'} in {median:.0f} ms (95 % within {most:.0f} ms), "
        f"{(count - 1) / max(seconds, 1e-6):.0f} frames/s; "
        f"{dropped} of {count + dropped} frames of the camera came too fast and were left out"
    )


@contextlib.contextmanager
def _interrupt_ends(source: LiveSource) -> Iterator[None]:
    """Ctrl-C ends the source, so that all is written; pressed again, it interrupts."""

    def end(number: int, stack) -> None:
        source.end()
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT) or signal.default_int_handler
    try:
        signal.signal(signal.SIGINT, end)
    except ValueError:  # not the main thread, to which Ctrl-C never comes
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
