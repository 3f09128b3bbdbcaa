"""Videos and folders of frames, read as a stream of upright RGB pictures with their times."""

import os
import re
import warnings
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from vaegan.errors import UserError
from vaegan.media.container import MAX_SECONDS, clock, decode, from_time, last_time, look, open_media, video_stream
from vaegan.media.frames import Converter, deinterlaced, hdr_kind, upright
from vaegan.media.images import (
    frame_files,
    image_size,
    opened_picture,
    picture_array,
    picture_frames,
    read_image,
)
from vaegan.media.timing import VARIABLE, TimedPicture, exact_rate, moving_rate

# Formats whose header says how long they last; of the others (MPEG) the duration is a guess.
_TIMED = {"mov", "matroska", "avi", "gif", "asf"}
# Formats whose header counts the frames.
_COUNTED = {"mov", "avi"}
_MAX_RATE = 240
_LOOKED_AT = 64
# Containers round times (Matroska to 1 ms): so much before `start` still counts as `start`.
_SLACK = 6e-4


class VideoReader:
    """A video file or a folder of frames, decoded as it is read, in memory that does not grow with its length.

    Iterating gives `TimedPicture`s of times start <= t < end; it can be done again. Rotation and mirroring of the
    file, pixels that are not square and interlacing are undone, HDR is tone-mapped. A damaged file gives what can be
    decoded, with one warning, and `truncated` is True then.

    Attributes:
        width, height: of the frames, px.
        rate: frames/s as an exact fraction: `fps` where given, else that of the file while something moves in it (see
            `moving_rate`); of a folder, 25.
        mean_rate: frames/s of the file on average: less than `rate` where it keeps no frames while nothing moves.
        hdr: "PQ" or "HLG" where the file is of a high dynamic range, which is tone-mapped; else "".
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
            path: a video file, an animated picture, or a folder of pictures that are read in natural order.
            start, end: s from the first frame.
            fps: resample to this steady rate, counted from the first frame at or after `start`: each frame is shown
                from the tick nearest to its time until the next one is, so that sound and picture keep step; at
                the rate of the file every frame comes once.
            folder_rate: frames/s that a folder of frames is taken to have.

        Raises:
            UserError: it is missing, not a video, a picture that does not move, empty, too large or too long, or start
                and end leave nothing.
        """
        self.path = Path(path)
        if not (np.isfinite(start) and start >= 0):
            raise UserError(f"start {start} s is not a time in the clip; use 0 or more")
        if end is not None and not end > start:
            raise UserError(f"end {end:g} s is not after start {start:g} s")
        self.start, self.end = float(start), None if end is None else float(end)
        self._source = _source(self.path, folder_rate)
        self._fps = None if fps is None else exact_rate(fps)
        self.width, self.height = self._source.size
        self.rate = self._fps or self._source.rate
        self.mean_rate: Fraction = self._source.mean_rate
        self.hdr: str = self._source.hdr
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
        with open_media(path) as container:
            stream = video_stream(container, path)
            form = container.format.name.split(",")[0]
            first, times = look(container, stream, not _steady(stream, form))
            if first is None:
                raise UserError(f"{path} holds no picture that can be decoded; copy it again or convert it")
            self.mean_rate = _mean_rate(stream, times)
            self.rate = moving_rate(times, self.mean_rate)
            self.hdr = hdr_kind(first)
            self._origin = clock(first) or 0.0
            aspect = float(stream.sample_aspect_ratio or 1)
            aspect = aspect if 0.25 <= aspect <= 4 else 1.0
            stored = max(1, round(first.width * aspect)), first.height
            self._converter = Converter(*stored)
            turned = upright(np.empty((stored[1], stored[0], 1), np.uint8), first)
            self.size = turned.shape[1], turned.shape[0]
            self.has_audio = any(s.codec_context is not None for s in container.streams.audio)
            self.duration = _duration(container, stream)
            self.timed = self.duration is not None and form in _TIMED

    def pictures(self, start: float) -> Iterator[tuple[float, float, av.VideoFrame]]:
        reasons: list[str] = []
        self.damage = ""

        def read(container):
            stream = video_stream(container, self.path)
            return stream, decode(container, stream, reasons)

        step = float(1 / self.rate)
        last, until = -step, 0.0
        begin = self._origin + start if start else None
        for frame in deinterlaced(from_time(self.path, begin, read, reasons)):
            at = clock(frame)
            time = last + step if at is None else at - self._origin
            if time <= last:
                time = last + step  # a clock that stands still or jumps back, as in joined recordings
            _check_length(self.path, time)
            until = time + (float(frame.duration * frame.time_base) if frame.duration else step)
            yield time, until, frame
            last = time
        slack = max(0.5, 2 * step)
        if reasons:
            self.damage = f"{len(reasons)} of its packets cannot be decoded ({reasons[0]})"
        elif self.timed and until < self.duration - slack and last_time(self.path) < self.duration - slack:
            # A header may tell how long the longest stream lasts, so that sound longer than the picture is no damage.
            self.damage = f"it ends after {until:.2f} of {self.duration:.2f} s"

    def rgb(self, frame: av.VideoFrame) -> np.ndarray:
        return self._converter.rgb(frame)


class _Animation:
    """An animated picture that FFmpeg does not read (WebP, PNG, AVIF), decoded by Pillow as it is read."""

    has_audio, timed, hdr, damage = False, False, "", ""

    def __init__(self, path: Path, count: int):
        self.path = path
        ends = [until for _, until, _ in islice(self.pictures(0.0), _LOOKED_AT)]
        self.mean_rate = exact_rate(len(ends) / ends[-1])
        self.rate = moving_rate([0.0, *ends], self.mean_rate)
        self.duration = float(count / self.mean_rate)
        self.size = image_size(path)

    def pictures(self, start: float) -> Iterator[tuple[float, float, np.ndarray]]:
        time = 0.0
        with opened_picture(self.path, str(self.path)) as image:
            for number in range(image.n_frames):
                image.seek(number)
                image.load()
                shown = image.info.get("duration", 0) / 1000
                until = time + (shown if shown > 0.01 else 0.1)  # as browsers do
                _check_length(self.path, until)
                yield time, until, picture_array(image)
                time = until

    def rgb(self, picture: np.ndarray) -> np.ndarray:
        return picture


class _Folder:
    """The pictures of a folder as a video of a steady rate."""

    has_audio, timed, hdr, damage = False, True, "", ""

    def __init__(self, path: Path, rate: Fraction):
        self.rate = self.mean_rate = rate
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


def _source(path: Path, folder_rate: Fraction | float):
    if path.is_dir():
        return _Folder(path, exact_rate(folder_rate))
    count = picture_frames(path)
    if count == 1:
        raise UserError(
            f"{path} is a picture, which does not move; name a video, an animation, a folder of frames or a motion"
        )
    return _Animation(path, count) if count else _File(path)


def _check_length(path: Path, seconds: float) -> None:
    if seconds > MAX_SECONDS:
        raise UserError(f"{path} lasts more than {MAX_SECONDS // 3600} hours; cut it first")


def _steady(stream: av.VideoStream, form: str) -> bool:
    """Whether the header knows the mean rate of the whole file, and the frames follow each other at it."""
    mean, usual = stream.average_rate, stream.guessed_rate
    return form in _COUNTED and bool(mean and usual) and 0 < usual <= _MAX_RATE and mean >= VARIABLE * usual


def _mean_rate(stream: av.VideoStream, times: list[float]) -> Fraction:
    """The mean rate of a stream, from its first packets' `times` where the file does not say; else 25."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= _MAX_RATE:
            return exact_rate(rate)
    seconds = max(times, default=0.0) - min(times, default=0.0)
    rate = (len(times) - 1) / seconds if seconds > 0 else 25
    return exact_rate(rate) if 0.1 <= rate <= _MAX_RATE else Fraction(25)


def _duration(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """s that the pictures last as far as the file says, else all of it."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    said = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))  # in Matroska
    if said:
        return int(said[1]) * 3600 + int(said[2]) * 60 + float(said[3])
    return container.duration / av.time_base if container.duration else None
