"""Where a driver's frames come from: a video, a folder of pictures, or whoever hands frames in."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
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
    """

    name: str
    rate: Fraction
    expected: int | None
    path: Path | None
    has_audio: bool
    repeats: bool

    def frames(self) -> Generator[TimedPicture]:
        """The frames, in order; close it to stop early. Raises UserError for what cannot be read."""
        ...


class VideoSource:
    """A video or a folder of pictures, at a steady rate, read ahead in a thread of its own.

    start, end: seconds; fps: frames per second, None: its own
    Raises UserError when it cannot be read.
    """

    repeats = True

    def __init__(self, path: str | Path, start: float = 0.0, end: float | None = None, fps: Fraction | None = None):
        reader = _reader(path, start, end, fps)
        self.path, self.name, self.start, self.end = Path(path), str(path), start, end
        self.rate, self.expected, self.has_audio = reader.rate, reader.expected_frames, reader.has_audio

    def frames(self) -> Generator[TimedPicture]:
        with (
            _reader(self.path, self.start, self.end, self.rate) as reader,
            closing(prefetch(reader, READ_AHEAD)) as ahead,
        ):
            yield from ahead


def _reader(path: str | Path, start: float, end: float | None, fps: Fraction | None) -> VideoReader:
    from vaegan.media import VideoReader  # needs PyAV, which training on packed parts does without

    return VideoReader(path, start, end, fps)


class FrameSource:
    """Frames handed in: (time in s, uint8 (H, W, 3)), times rising; used once, as they come.

    start, end: seconds, what lies outside is left out; fps: their rate
    """

    path, has_audio, expected, repeats = None, False, None, False

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


def open_source(
    driver: str | Path | Iterable[tuple[float, np.ndarray]],
    start: float = 0.0,
    end: float | None = None,
    fps: Fraction | None = None,
) -> Source:
    """The source of a driver: a video, a folder of pictures or an iterator of (time, image). Raises UserError."""
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
