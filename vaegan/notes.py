"""What a user may want to mend although the transfer goes on."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from vaegan.media.timing import VARIABLE
from vaegan.media.writer import QUALITY, WITH_SOUND

if TYPE_CHECKING:
    from vaegan.portrait import DriverFrame
    from vaegan.sources import Source

POSE_DEGREES = 15
"""Head pose may differ by this much between photo and reference frame before it is worth a word."""

EXPRESSIONS = ((1.3, "another"), (0.7, "a similar"), (0.0, "nearly the same"))
"""Norm of a difference of blendshapes from which on these words fit: faces of two people in a row differ by 1 to 2."""


@dataclass(frozen=True)
class Note:
    """What is worth a line.

    kind: "faces" (photo or driver shows several) | "cut" (in the driver)
        | "size" (of the result) | "sound" (left out) | "quality" (not heeded)
        | "hdr" (photo or driver) | "rate" (of the driver)
        | "reference" (the driver's frame that was chosen) | "pose" (photo and driver look different ways)
    text: one line
    """

    kind: str
    text: str


def faces_notes(photo: str, faces: int) -> tuple[Note, ...]:
    """A note where the photo of that name shows more than one face."""
    text = f"{photo} shows {faces} faces; the largest is used: --face all, a number or X,Y says otherwise"
    return (Note("faces", text),) if faces > 1 else ()


def driver_notes(source: Source | None, fps: Fraction | None) -> tuple[Note, ...]:
    """Notes on a driver of a high dynamic range, or of frames that come much faster while it moves than on average."""
    notes = []
    if source is not None:
        notes += hdr_notes(source.name, source.hdr)
    if source is not None and fps is None and source.mean_rate < VARIABLE * source.rate:
        rates = f"{float(source.rate):.4g} frames/s, as while it moves, not its mean of {float(source.mean_rate):.3g}"
        text = f"{source.name} has a variable frame rate; the result has {rates}: --fps sets another"
        notes.append(Note("rate", text))
    return tuple(notes)


def hdr_notes(name: str, hdr: str) -> tuple[Note, ...]:
    """A note where a photo or driver of that name is of a high dynamic range, "PQ" or "HLG"."""
    text = f"{name} is HDR ({hdr}); its colours are mapped to those of ordinary pictures"
    return (Note("hdr", text),) if hdr else ()


def size_notes(photo: np.ndarray, width: int, height: int) -> tuple[Note, ...]:
    """A note where a photo (H, W, 3) is larger than what is made of it, of so many px."""
    given = f"{photo.shape[1]}x{photo.shape[0]}"
    return (Note("size", f"the photo has {given} px, the result {width}x{height}: --size sets another, up to 4096"),)


def sound_notes(suffix: str, speed: float, asked: str | None, sound: str) -> tuple[Note, ...]:
    """A note where sound is left out: there is none, the file holds none, or it would be too fast or too slow.

    asked: whose is asked for, None: whoever has some; sound: whose there is, "driver", "photo" or "none"
    """
    if sound == "none":
        silent = asked not in (None, "none")
        return (Note("sound", f"the {asked} has no sound, so the result has none"),) if silent else ()
    if suffix not in WITH_SOUND:
        what = f"{suffix} holds no sound" if suffix else "a folder of frames holds no sound"
        return (Note("sound", f"{what}: the {sound}'s is left out; .mp4 has it"),)
    if sound == "driver" and not 0.5 <= speed <= 2:
        return (Note("sound", f"sound at {speed:g} times its speed is not understood, and left out"),)
    return ()


def quality_notes(suffix: str, quality: int) -> tuple[Note, ...]:
    """A note where a file of that kind has but one quality, and another is asked for."""
    if quality == QUALITY or suffix not in ("", ".gif"):
        return ()
    what = "PNG files have" if not suffix else "a GIF has"
    return (Note("quality", f"{what} but one quality: --quality changes nothing"),)


def reference_notes(frame: int, seconds: float, degrees: float, expression: float) -> tuple[Note, ...]:
    """A note on the driver's frame that shows the photo as it is.

    degrees, expression: between the head poses, and between the blendshapes (norm), of frame and photo
    """
    words = next(words for least, words in EXPRESSIONS if expression >= least)
    text = (
        f"the reference is frame {frame} of the driver ({seconds:.2f} s), the most like the photo: "
        f"head {_degrees(degrees)} off, {words} expression"
    )
    return (Note("reference", text),)


def _degrees(angle: float) -> str:
    return f"{angle:.0f} {'degree' if f'{angle:.0f}' == '1' else 'degrees'}"


def pose_notes(gap: np.ndarray, follow: bool, motion: str, reference: str | int) -> tuple[Note, ...]:
    """A note where photo and reference frame look different ways. gap, follow: see `pose_words`."""
    off = pose_words(gap, follow)
    if off is None:
        return ()
    best = "--reference best, " if motion == "relative" and reference != "best" else ""
    text = (
        f"photo and driver look different ways ({off}), which distorts the result: "
        f"try {best}--start, --end, or another photo"
    )
    return (Note("pose", text),)


def pose_words(gap: np.ndarray, follow: bool) -> str | None:
    """How far photo and reference frame look different ways, where it is worth a word.

    gap: yaw, pitch, roll in degrees, photo - reference frame; follow: whether the crop turns with the head
    """
    axes = ("yaw", "pitch") if follow else ("yaw", "pitch", "roll")
    told = ", ".join(f"{axis} {off:+.0f}" for axis, off in zip(axes, gap, strict=False) if abs(off) > POSE_DEGREES)
    return f"{told} degrees" if told else None


class Noticed:
    """What the frames of a driver bring to light while they are watched.

    source: of the frames; face: which one was asked for
    """

    def __init__(self, source: Source, face: int | None) -> None:
        self._name, self._live, self._face = source.name, source.live, face
        self._notes: list[Note] = []
        self._faces_told = self._cut_told = False

    def see(self, frames: list[DriverFrame]) -> None:
        """The next frames."""
        for frame in frames:
            if frame.faces and not self._faces_told:
                self._faces_told = True
                if frame.faces > 1 and self._face is None:
                    text = (
                        f"{self._name} shows {frame.faces} faces; the largest is followed: --driver-face 2 is another"
                    )
                    self._notes.append(Note("faces", text))
            if frame.shot and not self._cut_told and not self._live:
                self._cut_told, at = True, f"{frame.time:.2f}"
                text = (
                    f"{self._name} cuts to another picture or person at {at} s, from where its motion begins anew; "
                    f"--end {at} keeps to what comes before"
                )
                self._notes.append(Note("cut", text))

    def take(self) -> tuple[Note, ...]:
        """What has not been taken yet."""
        notes, self._notes = tuple(self._notes), []
        return notes
