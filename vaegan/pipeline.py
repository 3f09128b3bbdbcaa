"""The pipeline: a photo and a driver, or a motion, become frames; no files written, nothing printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaegan.adjust import Adjustment, Adjustments, absolute_offset
from vaegan.directions import directions_of, has_directions
from vaegan.errors import UserError
from vaegan.frames import Frame, Frames, Outcome
from vaegan.media.images import image_hdr
from vaegan.motion import Motion, MotionRecorder, Steps
from vaegan.moving import MovingStage, VideoPhoto, check_live, check_video, is_video, rounds
from vaegan.notes import Note, Noticed, driver_notes, faces_notes, hdr_notes, pose_notes, reference_notes
from vaegan.portrait import BATCH, DriverFrame, crop_picture, photo_name, read_portraits, watch
from vaegan.reference import choose_reference, nearest, read_heads, shaken
from vaegan.samples import find_driver, find_photo
from vaegan.settings import TransferSettings
from vaegan.smoothing import sigmas
from vaegan.sources import HANDED_IN_FPS, LiveSource, Source, is_live, open_source, prefetch, webcam_number
from vaegan.stage import Stage
from vaegan.streaming import Streaming, smoothed

if TYPE_CHECKING:
    from vaegan.faces.tracker import FaceTracker
    from vaegan.model import FaceModel

Driver = str | Path | Motion | LiveSource | Iterable[tuple[float, np.ndarray]]
"""A video, a folder of pictures, a motion file, a shipped motion's name, a Motion, or (time in s, uint8 (H, W, 3))s; a
`LiveSource` for those that come in their own time."""


class Transfer:
    """One photo and one driver, ready to run; `notes` is what the photo alone brings to light."""

    def __init__(
        self,
        photo: str | Path | np.ndarray,
        driver: Driver,
        model: FaceModel,
        settings: TransferSettings | None = None,
        tracker: FaceTracker | None = None,
        show_driver: bool = False,
        keep_motion: bool = True,
        crop_size: int | None = None,
    ) -> None:
        """photo: file, shipped name, or uint8 (H, W, 3); show_driver: give Frame.driver
        keep_motion: give Outcome.motion, which takes 1.1 kB a frame
        crop_size: side of Frame.crop in px; None: 256, and in the crop view what is shown

        Raises UserError for everything that can be told before the first frame.
        """
        if tracker is None:
            from vaegan.faces.tracker import FaceTracker

            tracker = FaceTracker()
        s = self.settings = settings or TransferSettings()
        self.model, self.tracker, self.video = model, tracker, None
        if is_live(driver):
            check_live(s, photo, model.has_heads)
        elif is_video(photo):
            timed = isinstance(driver, (str, Path, Motion))  # else its frames come at a rate of their own
            fps = s.fps or (None if timed else HANDED_IN_FPS)
            self.video = VideoPhoto(photo, model, tracker, s.face, fps, s.keep != "all")
            s = self.settings = replace(s, fps=self.video.source.rate)
        check_video(self.video, s)
        needed = s.parts or (s.motion == "absolute" and model.has_heads) or s.keep == "pose"
        self._directions = directions_of(model) if needed or has_directions(model) else None
        opened = self._open(driver)
        if s.reference is None:
            lasts = isinstance(opened, Motion) or opened.repeats or opened.live
            s = self.settings = replace(s, reference="best" if lasts else "first")
        if isinstance(opened, Motion):
            if s.driver_face is not None:
                raise UserError("a motion is of one face already: leave out --driver-face")
            self.given, self.source, self.rate, self.expected = opened, None, opened.fps, len(opened)
        else:
            self.given, self.source, self.rate = None, opened, s.fps or opened.rate
            grown = float(self.rate / opened.rate) / s.speed if self._between else 1.0
            self.expected = None if opened.expected is None else max(1, round(opened.expected * grown))
        self.show_driver = show_driver and self.source is not None and (self.source.repeats or not self.reads_first)
        self.keep_motion, self._streaming, self._noticed = keep_motion, None, None
        self.photos = self.video.portraits if self.video else read_portraits(photo, model, tracker, s.face)
        self.photo = self.photos[0]
        self.notes = faces_notes(photo_name(photo), self.photo.faces) if s.face == "largest" else ()
        if self.video is None and not isinstance(photo, np.ndarray):
            self.notes += hdr_notes(photo_name(photo), image_hdr(find_photo(photo)))
        self.notes += driver_notes(self.source, s.fps)
        if self.video is None:
            self.stage = Stage(self.photos, model, s, crop_size)
        else:
            self.stage = MovingStage(self.video, model, s, crop_size, self._directions)
            self.expected = self.video.expected(self.expected, s.loop)
        self.notes += self.stage.notes
        self.renderer, self.view_name = self.stage.renderer_name, self.stage.view_name

    def _open(self, driver: Driver) -> Motion | Source:
        s = self.settings
        if isinstance(driver, (str, Path)):
            driver = find_driver(driver, self.model.name)
            if webcam_number(driver) is not None:  # which opens but once
                return open_source(driver, s.start, s.end, s.fps)
            if driver.suffix.lower() != ".motion":
                source = open_source(driver, s.start, s.end)
                fewer = s.speed == 1 and s.fps is not None and s.fps < source.rate
                return open_source(driver, s.start, s.end, s.fps) if fewer else source
            motion = Motion.load(driver)
            motion.check_model(self.model.id, str(driver))
        elif isinstance(driver, Motion):
            motion = driver
            motion.check_model(self.model.id)
        else:
            return open_source(driver, s.start, s.end, s.fps)
        if s.start or s.end is not None:
            motion = motion.slice(s.start, s.end)
        return motion.resample(s.fps or motion.fps, s.speed)

    @property
    def width(self) -> int:
        """Of Frame.image, px."""
        return self.stage.width

    @property
    def height(self) -> int:
        """Of Frame.image, px."""
        return self.stage.height

    @property
    def has_audio(self) -> bool:
        return self.source is not None and self.source.has_audio

    @property
    def photo_has_audio(self) -> bool:
        """Whether the photo is a video with sound."""
        return self.video is not None and self.video.source.has_audio

    @property
    def began(self) -> float:
        """Seconds of the driver at its first frame, once that is read."""
        return getattr(self.source, "began", self.settings.start)

    @property
    def live(self) -> bool:
        """Whether the driver's frames come in their own time."""
        return self.source is not None and self.source.live

    @property
    def reads_first(self) -> bool:
        """Whether the whole driver is read before the first frame of the result."""
        s = self.settings
        centred = s.motion == "absolute" and self._directions is None
        return self.given is None and (s.reference == "whole" or centred or self._between or s.loop)

    @property
    def _between(self) -> bool:
        """Whether frames of the result lie between those of the driver."""
        s = self.settings
        faster = self.source is not None and self.source.path is not None and self.rate > self.source.rate
        return self.source is not None and (s.speed != 1 or faster)

    @property
    def steps(self) -> int | None:
        """About how many frames are read and drawn, where known."""
        if self.expected is None or not self.reads_first:
            return self.expected
        return self.expected + self.source.expected

    def calibrate(self) -> None:
        """Choose the reference of a live driver again, among the frames that come now; from any thread."""
        if self._streaming is not None:
            self._streaming.calibrate()

    @property
    def calibrated(self) -> bool:
        """Whether a live driver's reference is known."""
        return self._streaming is not None and self._streaming.known

    def frames(self, on_read: Callable[[int], None] = lambda frames: None) -> Frames:
        """The result, frame by frame.

        on_read: called with the number of further driver frames read, where `reads_first`
        Raises UserError when the driver shows no face.
        """
        return Frames(self._frames(on_read))

    def _frames(self, on_read: Callable[[int], None]) -> Generator[Frame, None, Outcome]:
        if self.given is not None:
            frames = self._from_motion(self.given, None)
        elif self.reads_first:
            recorder = MotionRecorder(self.model, self.source.rate)
            for batch in self._watch(0):
                recorder.add(batch)
                on_read(len(batch))
            frames = self._from_motion(recorder.motion(), recorder)
        else:
            frames = self._as_it_comes()
        self.stage.rewind()
        if self.live:
            return (yield from frames)
        with closing(self.stage), closing(prefetch(frames, 2 * BATCH)) as ahead:
            return (yield from ahead)

    def _as_it_comes(self) -> Generator[Frame, None, Outcome]:
        """One pass: every batch of the driver is drawn as soon as it is encoded, and the reference is known."""
        recorder, adjust = MotionRecorder(self.model, self.source.rate, self.keep_motion), self._adjustments()
        s, pose = self.settings, None
        streaming = self._streaming = Streaming(recorder, s.reference, self._choose, self.source.live)
        widths = sigmas(s.smooth, s.steady, float(self.source.rate))
        passages = streaming.passages(self._watch(self.stage.crop_size if self.show_driver else 0))
        for passage, moved in smoothed(passages, widths):
            steps, notes = passage.steps, ()
            if (motion := passage.chosen) is not None:
                pose = self._reference_pose(motion)
                notes = self._reference_notes(motion) + self._pose_notes(pose)
                self._make_absolute(adjust, motion)
            moved = replace(moved, found=steps.found & (not passage.rests))
            yield from self._draw(steps, *adjust(moved), iter(passage.pictures), notes)
            if self.stage.ended:
                break
        motion = recorder.motion() if self.keep_motion and recorder.reference_pose is not None else None
        pose = recorder.reference_pose if pose is None else pose
        return Outcome(motion, streaming.lost, pose, shaken(self.model, motion, s.smooth, s.steady))

    def _from_motion(self, motion: Motion, recorder: MotionRecorder | None) -> Generator[Frame, None, Outcome]:
        """From a whole motion. recorder: what it was read with, where there are pictures of the driver to show."""
        s = self.settings
        motion = motion.relative_to(self._choose(motion))
        pose = self._reference_pose(motion)
        notes = self._reference_notes(motion) + self._pose_notes(pose)
        shown = np.arange(len(motion))
        if self._between:
            seconds = math.inf if s.end is None else s.end - self.began
            taken, motion = motion, motion.resample(self.rate, s.speed, seconds)
            shown = taken.nearest(motion.times * s.speed)
        moved = motion.smooth(s.smooth, s.steady)
        adjust = self._adjustments()
        self._make_absolute(adjust, moved)
        with closing(self._pictures(recorder, shown)) as pictures:
            for steps, changed in rounds(motion, moved, self.stage, s.loop):
                yield from self._draw(steps, *adjust(changed), pictures, notes)
                notes = ()
        return Outcome(motion, motion.lost, pose, shaken(self.model, motion, s.smooth, s.steady))

    def _choose(self, motion: Motion) -> int:
        return choose_reference(motion, self.settings.reference, self.photo.z, self._read)

    def _reference_pose(self, motion: Motion) -> np.ndarray:
        absolute = self.settings.motion == "absolute"
        return motion.pose[motion.found].mean(0) if absolute else motion.pose[motion.reference]

    def _adjustments(self) -> Adjustments:
        heads = read_heads(self.model, np.stack([photo.z for photo in self.photos]))
        return Adjustments([Adjustment(self.settings, self._directions, read) for read in heads])

    def _make_absolute(self, adjust: Adjustments, motion: Motion) -> None:
        """Let each face take on the driver's own pose and expression, where that is asked for."""
        if self.settings.motion == "absolute":
            for face, photo in zip(adjust.faces, self.photos, strict=True):
                face.offset = absolute_offset(motion, self.model, self._directions, photo)

    @cached_property
    def _read(self) -> np.ndarray:
        """What the model's heads read off the photo, (READINGS,) or (0,)."""
        return read_heads(self.model, self.photo.z[None])[0]

    def _draw(
        self, steps: Steps, deltas: np.ndarray, placement: np.ndarray, pictures: Iterator, notes: tuple[Note, ...]
    ) -> Iterator[Frame]:
        notes += self._noticed.take() if self._noticed is not None else ()
        for i, drawn in enumerate(self.stage.draw(deltas, placement)):
            found = bool(steps.found[i])
            pose = steps.pose[i] if found else None
            seen = next(pictures, None)
            yield Frame(float(steps.times[i]), drawn.crop, drawn.image, found, pose, seen, notes, drawn.photo)
            notes = ()

    def _watch(self, picture_size: int) -> Iterator[list[DriverFrame]]:
        s, self._noticed = self.settings, Noticed(self.source, self.settings.driver_face)
        for batch in watch(self.source, self.model, self.tracker, picture_size, s.driver_face, s.reference):
            self._noticed.see(batch)
            yield batch

    def _pictures(self, recorder: MotionRecorder | None, numbers: np.ndarray) -> Generator[np.ndarray | None]:
        """The driver once more, for people to look at, cropped as it was before. numbers: which frames, rising."""
        if recorder is None or not self.show_driver:
            return
        counts = np.bincount(numbers)
        for _ in count() if self.settings.loop else range(1):
            with closing(self.source.frames()) as frames:
                for times, frame, crop in zip(counts, frames, recorder.crops(), strict=False):
                    if times:
                        yield from [crop_picture(frame.image, crop, self.stage.crop_size)] * int(times)

    def _reference_notes(self, motion: Motion) -> tuple[Note, ...]:
        by_likeness = self.settings.reference in ("best", "whole")
        if self.settings.motion == "absolute" or not by_likeness or not motion.heads.size:
            return ()
        best = nearest(motion.heads, self._read, motion.found)
        return reference_notes(best.frame, motion.times[best.frame], best.degrees, best.expression)

    def _pose_notes(self, reference: np.ndarray | None) -> tuple[Note, ...]:
        if reference is None:
            return ()
        gap, s = self.photo.pose - reference, self.settings
        return pose_notes(gap, self.model.framing.follow, s.motion, s.reference)

    def compare(self, frame: Frame) -> np.ndarray:
        """Crops of photo, driver (where there is one) and result side by side, uint8 (size, 2 or 3 times size, 3)."""
        driver = [] if frame.driver is None else [frame.driver]
        photo = self.stage.photo_picture if frame.photo is None else frame.photo
        return np.hstack([photo, *driver, frame.crop])


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
