"""Where a driver's frames come from: a video, a folder of pictures, or whoever hands frames in."""

from __future__ import annotations

import math
import re
import time as clock
from collections.abc import Generator, Iterable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from queue import Empty, Queue
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from vaegan.errors import UserError
from vaegan.media import TimedPicture
from vaegan.media.images import rgb_array

if TYPE_CHECKING:
    from vaegan.media import VideoReader

READ_AHEAD = 4
"""Decoded frames that wait for the tracker; a 4K frame takes 25 MB."""

WEBCAM_FPS = Fraction(30)
"""Frames per second of a camera that does not say."""

HANDED_IN_FPS = Fraction(25)
"""Frames per second of frames that are handed in, where nobody says otherwise."""

T = TypeVar("T")


class Source(Protocol):
    """Frames with their times.

    name: for messages; rate: frames per second; expected: about how many frames, None where not known
    path: the file or folder, None where there is none; has_audio: whether it has sound
    hdr, mean_rate: see `vaegan.media.VideoReader`
    repeats: whether `frames` gives the same frames again
    live: whether frames come in their own time, so that each is to be drawn at once
    """

    name: str
    rate: Fraction
    expected: int | None
    path: Path | None
    has_audio: bool
    hdr: str
    mean_rate: Fraction
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
        self.hdr, self.mean_rate = reader.hdr, reader.mean_rate

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

    path, has_audio, expected, hdr, repeats, live = None, False, None, "", False, False

    def __init__(
        self,
        frames: Iterable[tuple[float, np.ndarray]],
        start: float = 0.0,
        end: float | None = None,
        fps: Fraction | None = None,
    ):
        self._frames, self.name, self.rate = iter(frames), "the frames handed in", fps or HANDED_IN_FPS
        self.mean_rate = self.rate
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
    dropped: how many frames were never taken; began: time of the first that was
    last_taken: time of the last that was, and when it was handed in, in seconds of `time.monotonic`
    """

    path, has_audio, expected, hdr, repeats, live = None, False, None, "", False, True

    def __init__(self, name: str = "the frames handed in", rate: Fraction = HANDED_IN_FPS) -> None:
        self.name, self.rate, self.mean_rate = name, rate, rate
        self.dropped, self.began, self.last_taken = 0, math.nan, (-math.inf, -math.inf)
        self._next: TimedPicture | None = None
        self._handed_in = -math.inf
        self._last, self.ended = -math.inf, False
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
            self.ended = True
            self._changed.notify_all()

    def frames(self) -> Generator[TimedPicture]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None or self.ended)
                if self._next is None:
                    return
                picture, self._next = self._next, None
                self.last_taken = picture.time, self._handed_in
                self.began = picture.time if math.isnan(self.began) else self.began
            yield picture


class WebcamSource(LiveSource):
    """A camera, from `frames` on: the newest of its frames.

    number: as the system counts cameras; start, end: seconds from its first frame; fps: what it is asked for
    gone: whether it stopped by itself
    Raises UserError when it is not there or gives no picture.
    """

    def __init__(self, number: int, start: float = 0.0, end: float | None = None, fps: Fraction | None = None) -> None:
        import cv2

        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it would say comes with the error here
        name, self.start, self.end_at, self.gone = f"webcam {number}", start, math.inf if end is None else end, False
        self._camera = cv2.VideoCapture(number)
        if fps is not None:
            self._camera.set(cv2.CAP_PROP_FPS, float(fps))
        self._camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if not self._camera.isOpened() or not self._camera.read()[0]:
            self._camera.release()
            raise UserError(
                f"{name} gives no picture: connect it, allow access to it, close what else uses it, or name another one"
                f" (--driver webcam:{number + 1})"
            )
        rate = self._camera.get(cv2.CAP_PROP_FPS)
        super().__init__(name, Fraction(rate).limit_denominator(1001) if 1 <= rate <= 240 else WEBCAM_FPS)

    def frames(self) -> Generator[TimedPicture]:
        camera = Thread(target=self._film, daemon=True, name=self.name)
        camera.start()
        try:
            for frame in super().frames():
                yield frame
                if frame.time - self.began >= self.end_at:
                    return
        finally:
            self.end()
            camera.join()

    def _film(self) -> None:
        began = None
        while not self.ended:
            there, image = self._camera.read()
            if not there:
                self.gone = not self.ended
                break
            now = clock.monotonic()
            began = now if began is None else began
            if now - began >= self.start:
                self.put(image[..., ::-1], now)
        self._camera.release()
        self.end()


def webcam_number(driver: str | Path) -> int | None:
    """The camera that `webcam` or `webcam:N` means; None where a driver is something else."""
    meant = re.fullmatch(r"webcam(?::(\d{1,3}))?", str(driver))
    return int(meant[1] or 0) if meant and not Path(driver).exists() else None


def is_live(driver: object) -> bool:
    """Whether a driver's frames come in their own time: a webcam, or a `LiveSource`."""
    return isinstance(driver, LiveSource) or (isinstance(driver, (str, Path)) and webcam_number(driver) is not None)


def open_source(
    driver: str | Path | LiveSource | Iterable[tuple[float, np.ndarray]],
    start: float = 0.0,
    end: float | None = None,
    fps: Fraction | None = None,
) -> Source:
    """The source of a driver: a video, a folder of pictures, a webcam or (time, image)s. Raises UserError."""
    if isinstance(driver, LiveSource):
        return driver
    if isinstance(driver, (str, Path)) and (number := webcam_number(driver)) is not None:
        return WebcamSource(number, start, end, fps)
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
