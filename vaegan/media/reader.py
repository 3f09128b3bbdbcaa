"""Videos and folders of frames, read as a stream of upright RGB pictures with their times."""

import os
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vaegan.errors import UserError
from vaegan.media.container import MAX_SECONDS, clock, decode, from_time, open_media, video_stream
from vaegan.media.images import frame_files, image_size, read_image
from vaegan.media.timing import TimedPicture, exact_rate

# Formats whose header says how long they last; of the others (MPEG) the duration is a guess.
_TIMED = {"mov", "matroska", "avi", "gif", "asf"}
# Containers round times (Matroska to 1 ms): so much before `start` still counts as `start`.
_SLACK = 6e-4


class VideoReader:
    """A video file or a folder of frames, decoded as it is read, in memory that does not grow with its length.

    Iterating gives `TimedPicture`s of times start <= t < end; it can be done again. Rotation and mirroring of the
    file, and pixels that are not square, are undone. A damaged file gives what can be decoded, with one warning, and
    `truncated` is True then.

    Attributes:
        width, height: of the frames, px.
        rate: frames/s as an exact fraction: `fps` where given, else the (mean) rate of the file; of a folder, 25.
        duration: s from the first frame to the end of the last one, of the whole file; a guess where the format does
            not say (MPEG), None where there is none.
        expected_frames: how many frames iterating is likely to give; None where unknown.
        has_audio: whether there is a stream of sound.
        truncated: whether the last reading found the file damaged.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        start: float = 0.0,
        end: float | None = None,
        fps: Fraction | float | None = None,
        folder_rate: Fraction | float = 25,
    ):
        """Look into the file.

        Args:
            path: a video file, or a folder of pictures that are read in natural order.
            start, end: s from the first frame.
            fps: resample to this steady rate, counted from the first frame at or after `start`: each frame is shown
                from the tick nearest to its time until the next one is, so that sound and picture keep step; at
                the rate of the file every frame comes once.
            folder_rate: frames/s that a folder of frames is taken to have.

        Raises:
            UserError: it is missing, not a video, empty, too large or too long, or start and end leave nothing.
        """
        self.path = Path(path)
        if not (np.isfinite(start) and start >= 0):
            raise UserError(f"start {start} s is not a time in the clip; use 0 or more")
        if end is not None and not end > start:
            raise UserError(f"end {end:g} s is not after start {start:g} s")
        self.start, self.end = float(start), None if end is None else float(end)
        folder = self.path.is_dir()
        self._source = _Folder(self.path, exact_rate(folder_rate)) if folder else _File(self.path)
        self._fps = None if fps is None else exact_rate(fps)
        self.width, self.height = self._source.size
        self.rate = self._fps or self._source.rate
        self.duration: float | None = self._source.duration
        self.has_audio: bool = self._source.has_audio
        self.truncated = False
        # Refused at once only when clearly outside: with variable rates headers are off by some frames.
        if self._source.timed and start >= self.duration + 1:
            raise UserError(f"{path} lasts {self.duration:.2f} s, so nothing is left from {start:g} s on")

    @property
    def expected_frames(self) -> int | None:
        if self.duration is None:
            return None
        end = self.duration if self.end is None else min(self.end, self.duration)
        return max(1, round((end - self.start) * float(self.rate)))

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *exception) -> None:
        """Nothing stays open between frames but what the iterator holds, and that goes with the iterator."""

    def __iter__(self) -> Iterator[TimedPicture]:
        self.truncated = False
        frames = self._as_recorded() if self._fps is None else self._resampled(self._fps)
        count = 0
        for frame in frames:
            count += 1
            yield frame
        if self._source.damage:
            self.truncated = True
            warnings.warn(f"{self.path} is damaged: {self._source.damage}; {count} frames were read", stacklevel=2)
        if not count:
            raise UserError(f"{self.path} has no frame from {self.start:g} s on; choose an earlier start")

    def _as_recorded(self) -> Iterator[TimedPicture]:
        for time, _, picture in self._source.pictures(self.start):
            if self.end is not None and time >= self.end - _SLACK:
                return
            if time >= self.start - _SLACK:
                yield TimedPicture(time, self._source.rgb(picture))

    def _resampled(self, fps: Fraction) -> Iterator[TimedPicture]:
        end = float("inf") if self.end is None else self.end
        origin, count = None, 0
        for time, following, border, picture in _shown(self._source.pictures(self.start), float(1 / fps)):
            if origin is None:
                if time >= self.start - _SLACK:
                    origin = time
                elif following - self.start > 1 / self._source.rate:
                    origin = self.start  # this picture began before `start` and stands for long after it
                else:
                    continue
            image = None
            while (tick := origin + float(count / fps)) < min(border, end) - _SLACK:
                image = self._source.rgb(picture) if image is None else image
                yield TimedPicture(tick, image)
                count += 1
            if tick >= end - _SLACK:
                return


def _shown(pictures: Iterator[tuple[float, float, Any]], step: float) -> Iterator[tuple[float, float, float, Any]]:
    """Each picture with its time, the time of the next, and the border before which ticks `step` s apart show it."""
    last = None
    for time, until, picture in pictures:
        if last is not None:
            yield last[0], time, time - min(time - last[0], step) / 2, last[2]
        last = time, until, picture
    if last is not None:
        yield last[0], last[1], last[1], last[2]


class _File:
    """What a video file holds. `pictures` gives (time, end of its showing, undecoded colours); `rgb` the colours."""

    def __init__(self, path: Path):
        self.path = path
        self.damage = ""
        self._converter = av.video.reformatter.VideoReformatter()
        with open_media(path) as container:
            stream = video_stream(container, path)
            first = next(decode(container, stream, []), None)
            if first is None:
                raise UserError(f"{path} holds no picture that can be decoded; copy it again or convert it")
            self.rate = _stream_rate(stream)
            self._origin = clock(first) or 0.0
            aspect = float(stream.sample_aspect_ratio or 1)
            aspect = aspect if 0.25 <= aspect <= 4 else 1.0
            self._stored = max(1, round(first.width * aspect)), first.height
            turned = _upright(np.empty((self._stored[1], self._stored[0], 1), np.uint8), first)
            self.size = turned.shape[1], turned.shape[0]
            self.has_audio = any(s.codec_context is not None for s in container.streams.audio)
            self.duration = None
            if stream.duration:
                self.duration = float(stream.duration * stream.time_base)
            elif container.duration:
                self.duration = container.duration / av.time_base
            self.timed = self.duration is not None and container.format.name.split(",")[0] in _TIMED

    def pictures(self, start: float) -> Iterator[tuple[float, float, av.VideoFrame]]:
        reasons: list[str] = []
        self.damage = ""

        def read(container):
            stream = video_stream(container, self.path)
            return stream, decode(container, stream, reasons)

        step = float(1 / self.rate)
        last, until = -step, 0.0
        begin = self._origin + start if start else None
        for frame in from_time(self.path, begin, read, reasons):
            at = clock(frame)
            time = last + step if at is None else at - self._origin
            if time <= last:
                time = last + step  # a clock that stands still or jumps back, as in joined recordings
            if time > MAX_SECONDS:
                raise UserError(f"{self.path} lasts more than {MAX_SECONDS // 3600} hours; cut it first")
            until = time + (float(frame.duration * frame.time_base) if frame.duration else step)
            yield time, until, frame
            last = time
        if reasons:
            self.damage = f"{len(reasons)} of its packets cannot be decoded ({reasons[0]})"
        elif self.timed and until < self.duration - max(0.5, 2 * step):
            self.damage = f"it ends after {until:.2f} of {self.duration:.2f} s"

    def rgb(self, frame: av.VideoFrame) -> np.ndarray:
        width, height = self._stored
        converted = self._converter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
        return np.ascontiguousarray(_upright(converted.to_ndarray(), frame))


class _Folder:
    """The pictures of a folder as a video of a steady rate."""

    has_audio = False
    timed = True
    damage = ""

    def __init__(self, path: Path, rate: Fraction):
        self.rate = rate
        self.files = frame_files(path)
        self.size = image_size(self.files[0])
        self.duration = float(len(self.files) / rate)

    def pictures(self, start: float) -> Iterator[tuple[float, float, Path]]:
        first = max(0, int(start * self.rate) - 1)
        for number in range(first, len(self.files)):
            yield float(number / self.rate), float((number + 1) / self.rate), self.files[number]

    def rgb(self, file: Path) -> np.ndarray:
        image = read_image(file)
        if image.shape[1::-1] != self.size:
            sizes = "{}x{} px, the first frame is {}x{}".format(*image.shape[1::-1], *self.size)
            raise UserError(f"{file} is {sizes}; give all frames of the folder one size")
        return image


def _stream_rate(stream: av.VideoStream) -> Fraction:
    """The mean rate of a stream; 25 where the file does not say."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= 240:
            return exact_rate(rate)
    return Fraction(25)


def _upright(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """A view of `image` (H, W, C), turned and mirrored by whole quarters as the frame's display matrix says.

    The matrix takes stored to shown coordinates: x' = a x + c y, y' = b x + d y (rows a b u, c d v, x y w).
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    a, b, _, c, d = np.frombuffer(matrix, dtype=np.int32)[:5].astype(np.int64)
    if abs(b) + abs(c) > abs(a) + abs(d):
        image = image.swapaxes(0, 1)
        across, down = c, b
    else:
        across, down = a, d
    return image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
