"""The pipeline: a photo and a driver, or a motion, become frames."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaegan.driver import BATCH, READ_AHEAD, DriverFrame, Recording, crop_picture, encode_crops, encode_driver, prefetch
from vaegan.errors import UserError
from vaegan.faces.geometry import CropTransform, framing, head_pose
from vaegan.media import VideoReader, read_image
from vaegan.media.images import rgb_array
from vaegan.motion import Motion
from vaegan.render import Rendered, build_renderer
from vaegan.samples import find_driver, find_photo

if TYPE_CHECKING:
    from vaegan.faces.tracker import FaceTracker
    from vaegan.model import FaceModel

log = logging.getLogger(__name__)

POSE_DEGREES = 15  # head pose may differ by this much between photo and reference frame before it is worth a word


@dataclass(frozen=True)
class Settings:
    """What the options of `transfer` set.

    motion: "relative": z_p + (z_t - z_ref); "absolute": z_p + (z_t - mean of the clip's z), so that the driver's
        poses and expressions are not measured from one frame's; the latent has no part that is identity alone,
        so the clip's mean stands for it
    reference: "first", "best" or a frame's number, see Motion.choose_reference; only for relative motion
    strength: factor of the deltas; smooth: 0..1, see Motion.smooth
    start, end: seconds of the driver; fps: frames per second of the result (None: the driver's)
    size: side of the result in px
    """

    motion: str = "relative"
    reference: str | int = "first"
    strength: float = 1.0
    smooth: float = 0.0
    start: float = 0.0
    end: float | None = None
    fps: Fraction | None = None
    size: int = 256

    def __post_init__(self) -> None:
        if self.motion not in ("relative", "absolute"):
            raise UserError(f"motion {self.motion!r} is not known: use relative or absolute")
        if not math.isfinite(self.strength) or abs(self.strength) > 10:
            raise UserError(f"strength {self.strength} is out of range: use -10 to 10")
        if not 0 <= self.smooth <= 1:
            raise UserError(f"smooth {self.smooth} is out of range: use 0 to 1")
        if not self.start >= 0 or (self.end is not None and not self.end > self.start):
            raise UserError(f"start {self.start:g} s and end {self.end} s leave nothing: use 0 <= start < end")
        if not 16 <= self.size <= 2048 or self.size % 2:
            raise UserError(f"size {self.size} is not possible: use an even number from 16 to 2048")
        if self.fps is not None and not Fraction(1, 10) <= self.fps <= 240:
            raise UserError(f"{self.fps} frames per second is out of range: use 0.1 to 240")

    @property
    def streams(self) -> bool:
        """Whether a frame of the result depends on no later frame of the driver."""
        return self.motion == "relative" and self.reference == "first" and self.smooth == 0


@dataclass(frozen=True)
class Photo:
    """The photo: its picture uint8 (H, W, 3), crop, latent (D,) and yaw, pitch, roll in degrees."""

    image: np.ndarray = field(repr=False)
    crop: CropTransform
    latent: np.ndarray
    pose: np.ndarray


@dataclass(frozen=True)
class Step:
    """One frame of the result: uint8 (size, size, 3), its time in seconds, whether the driver's face was there;
    driver: what the model saw of the driver, uint8 (size, size, 3), when asked for; pose: the driver's yaw, pitch and
    roll in degrees, None before its first face."""

    time: float
    image: np.ndarray = field(repr=False)
    found: bool
    driver: np.ndarray | None = field(default=None, repr=False)
    pose: np.ndarray | None = None


def read_photo(photo: str | Path | np.ndarray, model: FaceModel, tracker: FaceTracker) -> Photo:
    """Find the largest face of a photo (file, shipped name or uint8 (H, W, 3)) and encode it.

    Raises UserError; ValueError for an array of another kind."""
    name = "the photo" if isinstance(photo, np.ndarray) else str(photo)
    image = rgb_array(photo) if isinstance(photo, np.ndarray) else read_image(find_photo(photo))
    faces = tracker.detect(image)
    if not faces:
        raise UserError(f"{name}: no face found; use a photo that shows one face from the front, well lit")
    if len(faces) > 1:
        log.warning("%s shows %d faces; the largest is used", name, len(faces))
    mesh = faces[0].mesh
    crop = framing(mesh, model.framing.scale, model.framing.follow)
    latent = encode_crops(model, crop.crop(image, model.size)[None])[0]
    return Photo(image, crop, latent, np.asarray(head_pose(mesh), np.float32))


def pose_note(photo: np.ndarray, reference: np.ndarray, follow: bool) -> str | None:
    """How far photo and reference frame, yaw, pitch, roll in degrees, look different ways, where it is worth a word."""
    axes = ("yaw", "pitch") if follow else ("yaw", "pitch", "roll")
    off = {axis: float(p - r) for axis, p, r in zip(axes, photo, reference, strict=False)}
    told = ", ".join(f"{axis} {value:+.0f}" for axis, value in off.items() if abs(value) > POSE_DEGREES)
    return f"{told} degrees" if told else None


class Transfer:
    """One photo and one driver, ready to run; `frames` may be iterated once."""

    def __init__(
        self,
        photo: str | Path | np.ndarray,
        driver: str | Path | Motion,
        model: FaceModel,
        settings: Settings | None = None,
        tracker: FaceTracker | None = None,
        show_driver: bool = False,
    ) -> None:
        """driver: a video, a folder of frames, a motion file, a shipped motion's name, or a Motion.
        show_driver: give Step.driver

        Raises UserError for everything that can be told before the first frame.
        """
        if tracker is None:
            from vaegan.faces.tracker import FaceTracker

            tracker = FaceTracker()
        self.model, self.tracker, self.settings = model, tracker, settings or Settings()
        self.given: Motion | None = None
        self.path: Path | None = None
        self.has_audio = False
        if isinstance(driver, Motion):
            driver.check_model(model.id)
            self._take(driver)
        else:
            path = find_driver(driver, model.name)
            if path.suffix.lower() == ".motion":
                motion = Motion.load(path)
                motion.check_model(model.id, str(path))
                self._take(motion)
            else:
                self._open(path)
        self.show_driver = show_driver and self.path is not None
        self.photo = read_photo(photo, model, tracker)
        self._renderer = build_renderer("decode", model, self.photo.latent, self.settings.size)
        self.motion: Motion | None = None
        """The driver's motion from its reference frame, before strength and smoothing; set once it has been read."""
        self.reference_pose: np.ndarray | None = None
        """Yaw, pitch, roll in degrees of the driver where it shows the photo as it is; set with the first frame."""

    def _take(self, motion: Motion) -> None:
        s = self.settings
        if s.start or s.end is not None:
            motion = motion.slice(s.start, s.end)
        self.rate = s.fps or motion.fps
        self.given = motion.resample(self.rate)
        self.expected: int | None = len(self.given)

    def _open(self, path: Path) -> None:
        reader = VideoReader(path, self.settings.start, self.settings.end, self.settings.fps)
        self.path, self.rate, self.has_audio = path, reader.rate, reader.has_audio
        self.expected = reader.expected_frames

    @property
    def reads_first(self) -> bool:
        """Whether the whole driver is read before the first frame of the result."""
        return self.given is None and not self.settings.streams

    def frames(self, on_read: Callable[[int], None] = lambda frames: None) -> Iterator[Step]:
        """The result, frame by frame, computed in a thread of its own a little ahead of the caller.

        on_read: called with the number of further driver frames read, where `reads_first`
        Raises UserError when the driver shows no face.
        """
        if self.given is None and not self.reads_first:
            steps = self._stream()
        else:
            steps = self._from_motion(*self._read(on_read))
        with closing(prefetch(steps, 2 * BATCH)) as ahead:
            yield from ahead

    def compare(self, step: Step) -> np.ndarray:
        """Photo, driver (where there is one) and result side by side, uint8 (size, 2 or 3 times size, 3)."""
        driver = [] if step.driver is None else [step.driver]
        return np.hstack([self._photo_picture, *driver, step.image])

    @cached_property
    def _photo_picture(self) -> np.ndarray:
        return crop_picture(self.photo.image, self.photo.crop, self.settings.size)

    def _stream(self) -> Iterator[Step]:
        """One pass: every batch of the driver is shown as soon as it is encoded."""
        recording = Recording(self.model.latent_dim)
        reference = None
        for batch in self._encode(self.settings.size if self.show_driver else 0):
            if reference is None and (first := next((f for f in batch if f.found), None)) is not None:
                reference = first.latent
                self._note_pose(first.pose)
            still = np.zeros_like(self.photo.latent)
            deltas = np.stack([still if f.latent is None else f.latent - reference for f in batch])
            rendered = self._render(deltas * np.float32(self.settings.strength))
            for f, r in zip(batch, rendered, strict=True):
                yield Step(f.time - self.settings.start, r.image, f.found, f.picture, f.pose)
            recording.add(batch)
        self.motion = Motion.from_recording(recording, self.model, self.rate)

    def _read(self, on_read: Callable[[int], None]) -> tuple[Motion, np.ndarray]:
        """First of two passes: all latents, and where the driver's crops were, (T, 4) cx, cy, side, roll."""
        if self.given is not None:
            return self.given, np.zeros((0, 4))
        recording = Recording(self.model.latent_dim)
        for batch in self._encode(0):
            recording.add(batch)
            on_read(len(batch))
        return Motion.from_recording(recording, self.model, self.rate), recording.rows()["crop"]

    def _from_motion(self, motion: Motion, crops: np.ndarray) -> Iterator[Step]:
        """Second of two passes: the frames."""
        s = self.settings
        motion = motion.relative_to(motion.choose_reference(s.reference, self.photo.latent))
        self.motion = motion
        self._note_pose(motion.pose[motion.found].mean(0) if s.motion == "absolute" else motion.pose[motion.reference])
        moved = motion.smooth(s.smooth)
        moved = (moved.centred() if s.motion == "absolute" else moved) * s.strength
        with closing(self._pictures(crops)) as pictures:
            for at in range(0, len(moved), BATCH):
                for i, r in enumerate(self._render(moved.deltas[at : at + BATCH]), start=at):
                    yield Step(
                        float(moved.times[i]), r.image, bool(moved.found[i]), next(pictures, None), motion.pose[i]
                    )

    def _encode(self, picture_size: int) -> Iterator[list[DriverFrame]]:
        s = self.settings
        return encode_driver(self.path, self.model, self.tracker, s.start, s.end, self.rate, picture_size)

    def _pictures(self, crops: np.ndarray) -> Iterator[np.ndarray]:
        """The driver once more, for people to look at, cropped as it was before."""
        if not self.show_driver:
            return
        s = self.settings
        with (
            VideoReader(self.path, s.start, s.end, self.rate) as reader,
            closing(prefetch(reader, READ_AHEAD)) as ahead,
        ):
            for frame, crop in zip(ahead, crops, strict=False):
                yield crop_picture(frame.image, CropTransform(*crop) if crop[2] else None, s.size)

    def _render(self, deltas: np.ndarray) -> list[Rendered]:
        return self._renderer.render(deltas, np.zeros((len(deltas), 4), np.float32))

    def _note_pose(self, reference: np.ndarray) -> None:
        self.reference_pose = reference
        off = pose_note(self.photo.pose, reference, self.model.framing.follow)
        if off is None:
            return
        s = self.settings
        frame = "the mean pose" if s.motion == "absolute" else "the reference frame"
        best = "--reference best, " if s.motion == "relative" and s.reference != "best" else ""
        log.warning(
            f"the photo's head is turned from {frame} of the driver by {off}, which distorts the result; "
            f"{best}a part of the driver (--start, --end) that looks the same way or another photo helps"
        )


def animate(
    photo: str | Path | np.ndarray,
    driver: str | Path | Motion,
    model: FaceModel | str | Path = "paper-vaegan",
    tracker: FaceTracker | None = None,
    device: str = "auto",
    **options,
) -> Iterator[np.ndarray]:
    """The photo, moved by the driver: frames uint8 (size, size, 3), made while they are asked for.

    photo: file, shipped name, or uint8 (H, W, 3)
    driver: video, folder of frames, motion file, shipped motion's name, or Motion
    model: a loaded model, a shipped name or a model folder; device: for one that is loaded here
    options: the fields of `Settings`, as the options of `transfer`
    Raises UserError.
    """
    if isinstance(model, (str, Path)):
        from vaegan.model import load_model

        model = load_model(model, device=choose_device(device))
    run = Transfer(photo, driver, model, Settings(**options), tracker)
    return (step.image for step in run.frames())


def choose_device(name: str) -> str:
    """A torch device: "auto" is cuda, else mps, else cpu. Raises UserError for one that is not at hand."""
    import torch

    at_hand = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, there in at_hand.items() if there)
    if not at_hand.get(name):
        raise UserError(
            f"device {name} is not at hand here: use {', '.join(d for d, there in at_hand.items() if there)}"
        )
    return name
