"""Where a driver's frames come from: a video, a folder of pictures, or whoever hands frames in."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Generator, Iterable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from queue import Empty, Queue
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from vaegan.media import TimedPicture
from vaegan.media.images import rgb_array

if TYPE_CHECKING:
    from vaegan.media import VideoReader

READ_AHEAD = 4
"""Decoded frames that wait for the tracker; a 4K frame takes 25 MB."""

HANDED_IN_FPS = Fraction(25)
"""Frames per second of frames that are handed in, where nobody says otherwise."""

T = TypeVar("T")


class Source(Protocol):
    """Frames with their times.

    name: for messages; rate: frames per second; expected: about how many frames, None where not known
    path: the file or folder, None where there is none; has_audio: whether it has sound
    repeats: whether `frames` gives the same frames again
    live: whether frames come in their own time, so that each is to be drawn at once
    """

    name: str
    rate: Fraction
    expected: int | None
    path: Path | None
    has_audio: bool
    repeats: bool
    live: bool

    def frames(self) -> Generator[TimedPicture]:
        """The frames, in order; close it to stop early. Raises UserError for what cannot be read."""
        ...


class VideoSource:
    """A video or a folder of pictures, at a steady rate, read ahead in a thread of its own.

    start, end: seconds; fps: frames per second, None: its own
    began: seconds of the first frame that was read, at or after start; sound in step begins there
    Raises UserError when it cannot be read.
    """

    repeats, live = True, False

    def __init__(self, path: str | Path, start: float = 0.0, end: float | None = None, fps: Fraction | None = None):
        reader = _reader(path, start, end, fps)
        self.path, self.name, self.start, self.end = Path(path), str(path), start, end
        self.rate, self.expected, self.has_audio = reader.rate, reader.expected_frames, reader.has_audio
        self.began = self.start

    def frames(self) -> Generator[TimedPicture]:
        with (
            _reader(self.path, self.start, self.end, self.rate) as reader,
            closing(prefetch(reader, READ_AHEAD)) as ahead,
        ):
            for number, frame in enumerate(ahead):
                if not number:
                    self.began = frame.time
                yield frame


def _reader(path: str | Path, start: float, end: float | None, fps: Fraction | None) -> VideoReader:
    from vaegan.media import VideoReader  # needs PyAV, which training on packed parts does without

    return VideoReader(path, start, end, fps)


class FrameSource:
    """Frames handed in: (time in s, uint8 (H, W, 3)), times rising; used once, as they come.

    start, end: seconds, what lies outside is left out; fps: their rate
    """

    path, has_audio, expected, repeats, live = None, False, None, False, False

    def __init__(
        self,
        frames: Iterable[tuple[float, np.ndarray]],
        start: float = 0.0,
        end: float | None = None,
        fps: Fraction | None = None,
    ):
        self._frames, self.name, self.rate = iter(frames), "the frames handed in", fps or HANDED_IN_FPS
        self.start, self.end = start, math.inf if end is None else end

    def frames(self) -> Generator[TimedPicture]:
        for time, image in self._frames:
            if time >= self.end:
                return
            if time >= self.start:
                yield TimedPicture(time, rgb_array(image))


class LiveSource:
    """Frames that are handed in as they happen, from any thread: only the newest waits.

    Who takes them too slowly loses frames, never time. name: for messages; rate: about how many a second
    dropped: how many frames were never taken; last_taken: time of the last that was, and when it was handed in, in
    seconds of `time.monotonic`
    """

    path, has_audio, expected, repeats, live = None, False, None, False, True

    def __init__(self, name: str = "the frames handed in", rate: Fraction = HANDED_IN_FPS) -> None:
        self.name, self.rate = name, rate
        self.dropped, self.last_taken = 0, (-math.inf, -math.inf)
        self._next: TimedPicture | None = None
        self._handed_in = -math.inf
        self._last, self._ended = -math.inf, False
        self._changed = Condition()

    def put(self, image: np.ndarray, time: float | None = None) -> float:
        """Hand in a frame, uint8 (H, W, 3), at once; one that still waits is dropped.

        time: seconds, by default those of `time.monotonic`; one that does not rise is dropped itself. Returns it.
        Raises ValueError for another kind of array.
        """
        now = clock.monotonic()
        picture = TimedPicture(now if time is None else time, rgb_array(image))
        with self._changed:
            if picture.time <= self._last:
                self.dropped += 1
                return picture.time
            self.dropped += self._next is not None
            self._next, self._last, self._handed_in = picture, picture.time, now
            self._changed.notify_all()
        return picture.time

    def end(self) -> None:
        """No frame will come any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def frames(self) -> Generator[TimedPicture]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None or self._ended)
                if self._next is None:
                    return
                picture, self._next = self._next, None
                self.last_taken = picture.time, self._handed_in
            yield picture


def open_source(
    driver: str | Path | LiveSource | Iterable[tuple[float, np.ndarray]],
    start: float = 0.0,
    end: float | None = None,
    fps: Fraction | None = None,
) -> Source:
    """The source of a driver: a video, a folder of pictures or an iterator of (time, image). Raises UserError."""
    if isinstance(driver, LiveSource):
        return driver
    kind = VideoSource if isinstance(driver, (str, Path)) else FrameSource
    return kind(driver, start, end, fps)


def prefetch(items: Iterable[T], depth: int) -> Generator[T]:
    """Run an iterator in a thread of its own, at most `depth` items ahead; its exceptions are raised here.

    What a generator returns at its end is returned. Closing this one stops the thread, and closes `items` if that is
    a generator, before it returns.
    """
    queue: Queue = Queue(depth)
    stop = Event()

    def work() -> None:
        iterator = iter(items)
        try:
            while not stop.is_set():
                queue.put((next(iterator), None))
        except BaseException as error:
            queue.put((None, error))
        finally:
            if isinstance(iterator, Generator):
                iterator.close()

    thread = Thread(target=work, daemon=True, name=f"prefetch {type(items).__name__}")
    thread.start()
    try:
        while True:
            item, error = queue.get()
            if isinstance(error, StopIteration):
                return error.value
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()
        while thread.is_alive():
            try:
                queue.get(timeout=0.02)
            except Empty:
                continue
        thread.join()
