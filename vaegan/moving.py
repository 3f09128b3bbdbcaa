"""A video as photo: each of its frames is drawn on, with the motion that the person in it makes, or without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaegan.adjust import QUICKEST_SECONDS, Bounds, smoothstep
from vaegan.errors import UserError
from vaegan.faces.choice import choose_faces
from vaegan.media.files import VIDEO_ENDINGS
from vaegan.media.images import picture_frames
from vaegan.motion import Motion, Steps, delta
from vaegan.portrait import FaceCropper, Portrait, encode_crops, parts
from vaegan.reference import OPENINGS, SHAPES, read_heads
from vaegan.render import Rendered
from vaegan.sources import VideoSource
from vaegan.stage import Stage
from vaegan.streaming import BEST_SECONDS

if TYPE_CHECKING:
    from vaegan.directions import Directions
    from vaegan.faces.tracker import FaceTracker
    from vaegan.model import FaceModel
    from vaegan.settings import TransferSettings


def is_video(photo: str | Path | np.ndarray) -> bool:
    """Whether a photo is a video, a folder of frames or an animated picture."""
    from vaegan.media import VideoReader

    if isinstance(photo, np.ndarray) or Path(photo).is_dir():
        return not isinstance(photo, np.ndarray)
    try:
        count = picture_frames(photo)
        return (VideoReader(photo).expected_frames or 2) > 1 if count is None else count > 1
    except UserError:
        if Path(photo).suffix.lower() in VIDEO_ENDINGS:
            raise
        return False  # whoever reads it as a photo says why


def check_video(video: VideoPhoto | None, settings: TransferSettings) -> None:
    """Raise UserError for settings that do not go with the photo that was given."""
    s = settings
    if video is None:
        _check_still(s)
    if video is not None and s.motion == "absolute" and s.keep == "all":
        raise UserError("absolute motion takes the place of what the video does: add --keep pose or --keep none")


def check_live(settings: TransferSettings, photo: str | Path | np.ndarray, has_heads: bool) -> None:
    """Raise UserError for what does not go with a driver that comes in its own time, before it is opened."""
    s = settings
    if is_video(photo):
        raise UserError("a live driver moves a still photo: name a picture with --photo")
    _check_still(s)
    left_out = {
        "--smooth": s.smooth,
        "--steady": s.steady,
        "--speed": s.speed != 1,
        f"--reference {s.reference}": s.reference == "whole" or isinstance(s.reference, int),
        "--motion absolute, with a model without heads,": s.motion == "absolute" and not has_heads,
    }
    for option, given in left_out.items():
        if given:
            raise UserError(f"{option} does not go with a live driver, which is drawn as it comes: leave it out")


def _check_still(settings: TransferSettings) -> None:
    given = {"--loop": settings.loop, f"--keep {settings.keep}": settings.keep != "all"}
    for option in (name for name, there in given.items() if there):
        raise UserError(f"{option} is for a video as --photo, and this one is a still picture: leave it out")


@dataclass(frozen=True)
class PhotoFrame:
    """One frame of such a photo.

    image: uint8 (H, W, 3); faces: those that move, None where one is not seen
    shots: of each, counting up where it is another face or another shot, see `vaegan.faces.people.People`
    """

    image: np.ndarray = field(repr=False)
    faces: list[Portrait | None]
    shots: list[int]


class VideoPhoto:
    """A video whose faces are moved.

    Args:
        face: which of them, as `vaegan.faces.choice.check_choice` says, in the first frame with any.
        fps: at which it is read; None: its own rate.
        at_rest: count from the frame of the first seconds in which the faces do the least, else from the first.

    Attributes:
        count: how many faces that frame shows; portraits: those that move, as they are where motion is counted from.

    Raises:
        UserError: it cannot be read, or shows no such face.
    """

    def __init__(
        self,
        path: Path,
        model: FaceModel,
        tracker: FaceTracker,
        face: str = "largest",
        fps: Fraction | None = None,
        at_rest: bool = False,
    ) -> None:
        self.source, self.model, self.tracker = VideoSource(path, fps=fps), model, tracker
        found = self._first_faces()
        chosen = choose_faces(found, face, str(path))
        self.count = len(found)
        self.numbers = [number for number, one in enumerate(found, 1) if any(one is other for other in chosen)]
        self.portraits = self._counted_from(BEST_SECONDS if at_rest else 0.0)

    def expected(self, driver: int | None, loop: bool) -> int | None:
        """About how many frames a result has; driver: likewise of the driver; None where not known."""
        mine = self.source.expected
        return None if None in (mine, driver) else max(mine, driver) if loop else min(mine, driver)

    def _first_faces(self) -> list:
        count = 0
        with closing(self.source.frames()) as frames:
            for frame in frames:
                if found := self.tracker.detect(frame.image, tiled=not count):
                    return found
                count += 1
        raise UserError(
            f"{self.source.name}: no face found in its {count} frames; use a video that shows one, well lit"
        )

    def _counted_from(self, seconds: float) -> list[Portrait]:
        best, least, since = None, np.inf, 0
        with closing(self.frames()) as frames:
            for frame in frames:
                if best is None and None in frame.faces:
                    continue
                since += 1
                if None not in frame.faces:
                    read = read_heads(self.model, np.stack([face.z for face in frame.faces]))
                    moved = float(np.square(read[:, SHAPES]).sum() + np.square(read[:, OPENINGS] / 0.05).sum())
                    if moved < least:
                        best, least = frame.faces, moved
                if since >= seconds * self.source.rate:
                    break
        return best

    def frames(self) -> Iterator[PhotoFrame]:
        """Its frames in order; close it to stop early."""
        framing, size = self.model.framing, self.model.size
        croppers = [FaceCropper(self.tracker, framing, size, index=number) for number in self.numbers]
        with closing(self.source.frames()) as frames:
            for frame in frames:
                seen = [(*cropper.cut(frame.image), cropper.crop) for cropper in croppers]
                crops = [crop for face, crop, _ in seen if face is not None]
                z = iter(encode_crops(self.model, np.stack(crops)) if crops else ())
                faces = [
                    None if face is None else Portrait(face, region, next(z), frame.image, self.count)
                    for face, _, region in seen
                ]
                yield PhotoFrame(frame.image, faces, [cropper.people.shot for cropper in croppers])


class MovingStage:
    """A `Stage` that draws on the next frame of a video each time; what it lacks is that of the video at rest.

    keep: what stays of the video's own motion: "all", "pose" or "none", to which the driver's is added
    again: whether the video begins anew where it ends; ended: whether it has, and does not; passed: whether it has
    """

    def __init__(
        self,
        photo: VideoPhoto,
        model: FaceModel,
        settings: TransferSettings,
        crop_size: int | None,
        directions: Directions | None,
    ) -> None:
        self._still = Stage(photo.portraits, model, settings, crop_size)
        self._video, self._directions = photo, directions
        self.keep, self._loop = settings.keep, settings.loop
        self._frames: Iterator[PhotoFrame] | None = None
        self.rewind()

    def __getattr__(self, name: str):
        return getattr(self._still, name)

    def close(self) -> None:
        """Close the video."""
        if self._frames is not None:
            self._frames.close()
            self._frames = None

    def rewind(self) -> None:
        """Begin again, as if nothing had been drawn."""
        self.close()
        self._time = 0.0
        self.ended = self.passed = False
        self.again = self._loop

    def _start(self) -> None:
        self._frames = self._video.frames()
        self._own = list(self._video.portraits)
        self._shots: list[int] | None = None
        self._since = [-np.inf] * len(self._own)
        self._lost = [False] * len(self._own)

    def draw(self, deltas: np.ndarray, placement: np.ndarray) -> Iterator[Rendered]:
        """As `Stage.draw`, but fewer where the video ends."""
        deltas, placement = (v if v.ndim == 3 else v[None] for v in (deltas, placement))
        for i in range(deltas.shape[1]):
            frame = self._next()
            if frame is None:
                return
            yield self._drawn(frame, deltas[:, i], placement[:, i])

    def _next(self) -> PhotoFrame | None:
        if self._frames is None:
            self._start()
        frame = next(self._frames, None)
        if frame is None:
            self.passed = True
            if not self.again:
                self.ended = True
                return None
            self._start()
            frame = next(self._frames)
        self._time += float(1 / self._video.source.rate)
        return frame

    def _drawn(self, frame: PhotoFrame, deltas: np.ndarray, placement: np.ndarray) -> Rendered:
        """deltas: (F, D), placement: (F, 4), of each face."""
        if self._shots is not None:
            self._own = [
                now if shot != before and now is not None else own
                for own, now, shot, before in zip(self._own, frame.faces, frame.shots, self._shots, strict=True)
            ]
        self._shots = frame.shots
        seen, changes = [], []
        for k, face in enumerate(frame.faces):
            if face is None:
                self._lost[k] = True
                continue
            if self._lost[k]:
                self._lost[k], self._since[k] = False, self._time
            share = np.float32(smoothstep((self._time - self._since[k]) / QUICKEST_SECONDS))
            seen.append(face)
            changes.append([share * part for part in self._change(face, self._own[k], deltas[k], placement[k])])
        if not seen:
            return self._still.at_rest(frame.image)
        stage = self._still.with_photos(seen)
        change = [np.stack(values)[:, None] for values in zip(*changes, strict=True)]
        drawn = next(stage.draw(*(change if len(seen) > 1 else (part[0] for part in change))))
        return replace(drawn, photo=stage.photo_picture)

    def _change(
        self, face: Portrait, own: Portrait, deltas: np.ndarray, placement: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What moves one frame: the driver's motion, less what of the video's is not kept."""
        if self.keep != "all":
            deltas = deltas - delta(face.z, own.z)
            placement = placement - np.float32([0, 0, 0, face.crop.roll - own.crop.roll])
        if self.keep == "pose":
            deltas, placement = self._directions.part(deltas[None], "expression")[0], np.zeros_like(placement)
        if self._directions is not None:
            read = read_heads(self._video.model, face.z[None])[0]
            deltas = Bounds(self._directions, read)(deltas[None])[0]
        return deltas, placement


def rounds(motion: Motion, moved: Motion, stage: Stage | MovingStage, loop: bool) -> Iterator[tuple[Steps, Steps]]:
    """Parts of a driver's motion and of what is made of it, until one of driver and photo ends; with loop, both."""
    shift = 0.0
    while True:
        for part in parts(len(motion)):
            yield tuple(_later(one.steps(part), shift) for one in (motion, moved))
            if stage.ended:
                return
        if not loop or stage.passed:
            return
        stage.again, shift = False, shift + len(motion) / float(motion.fps)


def _later(steps: Steps, seconds: float) -> Steps:
    return replace(steps, times=steps.times + seconds) if seconds else steps
