"""Videos, animations and folders of frames, written frame by frame and appearing whole or not at all."""

import contextlib
import itertools
import os
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vaegan.errors import UserError
from vaegan.media.container import MAX_SIDE
from vaegan.media.files import atomic_path, check_output
from vaegan.media.images import encode_image, rgb_array
from vaegan.media.sound import Sound
from vaegan.media.statement import picture_options
from vaegan.media.timing import exact_rate

_MUXED = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_ANIMATED = {".gif", ".webp"}
WITH_SOUND = set(_MUXED)
# "" stands for a folder of PNG files.
VIDEO_SUFFIXES = {*_MUXED, *_ANIMATED, ""}
_MAX_ANIMATION_PIXELS = 512 * 1024 * 1024
_BT709 = 1
_LIMITED_RANGE = 1
QUALITY = 80
"""Of 1 to 100: what nobody sees a difference to."""
MAX_GIF_RATE = 50
"""Frames/s: browsers slow down a GIF whose pictures stand for less than 20 ms."""


class VideoWriter:
    """Writes pictures as a video; a context manager: `path` is there when the block has succeeded, else untouched.

    .mp4, .m4v, .mov and .mkv become H.264, .webm VP9 (yuv420p, BT.709, playable while it loads), with the sound of a
    file beside it; .gif and .webp a looping animation without sound; a name without an ending a folder of PNG files.
    The same pictures give the same bytes.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        width: int,
        height: int,
        rate: Fraction | float,
        audio_from: str | os.PathLike | None = None,
        audio_start: float = 0.0,
        audio_end: float | None = None,
        audio_speed: float = 1.0,
        quality: int = QUALITY,
        comment: str | None = None,
        sign: Callable[[Path], None] | None = None,
    ):
        """Say what will be written; nothing is opened before `with`.

        Args:
            path: the output; an existing file is replaced, a folder must be new or empty.
            width, height: of the pictures, px. H.264 needs even sides: an odd picture gets its last column or row
                twice.
            rate: frames/s, kept exactly in H.264 files.
            audio_from: a file whose sound is used, if it has any; a folder of frames has none.
            audio_start, audio_end: which part of it, s from the first picture of that file; the sound ends with the
                pictures in any case.
            audio_speed: 0.5 to 2, how much faster than it is, at the same pitch.
            quality: 1 to 100; a GIF or PNG has but one.
            comment: what the file, or each file of a folder, says of itself, see `vaegan.media.statement`.
            sign: called with the finished file or folder before it gets its name.

        Raises:
            UserError: the ending is not known, the size cannot be written, or nothing can be written there.
        """
        self.path = Path(path)
        self.width, self.height, self.rate = width, height, exact_rate(rate)
        self._suffix = "" if self.path.is_dir() else self.path.suffix.lower()
        self.audio_start = audio_start
        self._sound = (audio_from, audio_end, audio_speed)
        self._quality, self._comment, self._sign = quality, comment, sign
        if self._suffix == ".gif" and self.rate > MAX_GIF_RATE:
            raise UserError(f"{path}: a GIF shows at most {MAX_GIF_RATE} frames/s; use --fps {MAX_GIF_RATE}, or .webp")
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise UserError(f"{path}: cannot write {width}x{height} px; use 1 to {MAX_SIDE} px a side")
        inputs = [] if audio_from is None else [audio_from]
        check_output(self.path, *inputs, suffixes=None if self.path.is_dir() else VIDEO_SUFFIXES)
        self.count = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "VideoWriter":
        self._temporary = self._stack.enter_context(atomic_path(self.path, folder=not self._suffix))
        try:
            if self._suffix in _MUXED:
                self._sink = _Muxed(self._temporary, self._suffix, self.width, self.height, self.rate, self._quality)
                self._sink.describe(self._comment)
                self._sink.add_sound(self.audio_start, *self._sound)
            elif self._suffix in _ANIMATED:
                self._sink = _Animation(self._temporary, self.rate, self._quality, self._comment)
            else:
                self._sink = _Folder(self._temporary, self._comment)
        except BaseException:
            self._fail()
            raise
        return self

    def write(self, image: np.ndarray, time: float | None = None) -> None:
        """Add a picture, uint8 (H, W, 3) RGB.

        Args:
            image: of the width and height given to the constructor.
            time: s from the first picture, rising; default: the next tick of the rate. Folders keep no times.

        Raises:
            UserError: the disk is full or gone.
        """
        if image.shape[:2] != (self.height, self.width):
            raise ValueError(f"expected {self.height}x{self.width} (H x W) pictures, got {image.shape[:2]}")
        self._sink.write(rgb_array(image), float(self.count / self.rate) if time is None else time)
        self.count += 1

    def __exit__(self, kind, error, trace) -> None:
        if error is None:
            try:
                if not self.count:
                    raise UserError(f"{self.path}: there was no frame to write")
                self._sink.finish()
                if self._sign is not None:
                    self._sign(self._temporary)
            except BaseException:
                self._fail()
                raise
            self._stack.close()
        else:
            self._sink.abandon()
            self._stack.__exit__(kind, error, trace)

    def _fail(self) -> None:
        """Take the temporary file away because of the exception being handled; a full disk is told as `UserError`."""
        if hasattr(self, "_sink"):
            self._sink.abandon()
        self._stack.__exit__(*sys.exc_info())


def _encoder(suffix: str, quality: int) -> tuple[str, dict[str, str]]:
    """The encoder of a container's pictures, and its options."""
    if suffix == ".webm":
        crf = round(62 - 0.4 * quality)
        return "libvpx-vp9", {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": f"{crf}", "b": "0"}
    return "libx264", {"preset": "veryfast", "crf": f"{round(50 - 0.4 * quality)}"}


class _Muxed:
    """One file of pictures in H.264 or VP9, and perhaps sound."""

    def __init__(self, path: Path, suffix: str, width: int, height: int, rate: Fraction, quality: int):
        self.rate, self.suffix = rate, suffix
        self.padding = ((0, height % 2), (0, width % 2), (0, 0))
        # Matroska numbers its segments and tracks by chance, where it is not told to be exact.
        options = {"fflags": "+bitexact"} | ({"movflags": "+faststart"} if _MUXED[suffix] in ("mp4", "mov") else {})
        self.container = av.open(str(path.absolute()), "w", format=_MUXED[suffix], container_options=options)
        encoder, encoder_options = _encoder(suffix, quality)
        self.stream = self.container.add_stream(encoder, rate=rate)
        context = self.stream.codec_context
        context.width, context.height = width + width % 2, height + height % 2
        context.pix_fmt = "yuv420p"
        context.options = encoder_options
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        # A clock in which every tick of the rate is a whole number, and fine enough for other times.
        self.clock = rate.numerator
        while self.clock < 10_000:
            self.clock *= 2
        context.time_base = Fraction(1, self.clock)
        self.converter = av.video.reformatter.VideoReformatter()
        self.last = -1
        self.sound = None

    def describe(self, comment: str | None) -> None:
        """What the file says of itself."""
        if comment is not None:
            self.container.metadata["comment"] = comment

    def add_sound(self, start: float, path: str | os.PathLike | None, end: float | None, speed: float) -> None:
        """Sound, before the first picture."""
        if path is not None and not Path(path).is_dir():
            self.sound = Sound(path, start, end, self.container, self.suffix, speed)

    def write(self, image: np.ndarray, time: float) -> None:
        if self.padding != ((0, 0), (0, 0), (0, 0)):
            image = np.pad(image, self.padding, mode="edge")
        frame = self.converter.reformat(
            av.VideoFrame.from_ndarray(image, format="rgb24"),
            format="yuv420p",
            dst_colorspace="ITU709",
            dst_color_range="MPEG",
            threads=1,
        )
        frame.pts = self.last = max(round(time * self.clock), self.last + 1)
        frame.time_base = Fraction(1, self.clock)
        self._mux(self.stream.encode(frame))
        if self.sound is not None:
            self.sound.feed(time)

    def finish(self) -> None:
        self._mux(self.stream.encode(None))
        if self.sound is not None:
            self.sound.feed(float(self.last / self.clock + 1 / self.rate))
            self.sound.finish()
        self.container.close()

    def abandon(self) -> None:
        if self.sound is not None:
            self.sound.close()
        with contextlib.suppress(av.FFmpegError, OSError):  # the file goes anyway, and its error has been told
            self.container.close()

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            packet.duration = packet.duration or self.clock * self.rate.denominator // self.rate.numerator
            self.container.mux(packet)


class _Animation:
    """A GIF or WebP: Pillow writes it at the end, so all its pictures wait in memory."""

    def __init__(self, path: Path, rate: Fraction, quality: int, comment: str | None):
        self.path, self.gif = path, path.suffix.lower() == ".gif"
        self.rate = rate
        self.options = {"optimize": False, "disposal": 1} if self.gif else {"quality": quality, "method": 2}
        if comment is not None:
            self.options |= picture_options("GIF" if self.gif else "WEBP", comment)
        self.pictures: list[Image.Image] = []
        self.times: list[float] = []

    def write(self, image: np.ndarray, time: float) -> None:
        if (len(self.pictures) + 1) * image.shape[0] * image.shape[1] > _MAX_ANIMATION_PIXELS:
            raise UserError(f"this is too long for a {self.path.suffix} animation; write .mp4, or less or smaller")
        picture = Image.fromarray(image)
        self.pictures.append(picture.quantize(256, method=Image.Quantize.FASTOCTREE) if self.gif else picture.copy())
        self.times.append(time)

    def finish(self) -> None:
        unit = 10 if self.gif else 1  # ms; rounding the borders, not the lengths, keeps the whole in step
        borders = [round(t * 1000 / unit) * unit for t in [*self.times, self.times[-1] + float(1 / self.rate)]]
        lengths = [max(unit, after - before) for before, after in itertools.pairwise(borders)]
        first, *others = self.pictures
        first.save(self.path, save_all=True, append_images=others, duration=lengths, loop=0, **self.options)

    def abandon(self) -> None:
        self.pictures.clear()


class _Folder:
    """PNG files 000001.png, 000002.png, ..."""

    def __init__(self, path: Path, comment: str | None):
        self.path, self.count, self.comment = path, 0, comment

    def write(self, image: np.ndarray, time: float) -> None:
        self.count += 1
        (self.path / f"{self.count:06d}.png").write_bytes(encode_image(image, comment=self.comment))

    def finish(self) -> None:
        pass

    def abandon(self) -> None:
        pass
