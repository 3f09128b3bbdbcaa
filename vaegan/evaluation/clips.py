"""What a protocol runs on: driving clips, photos, and each way to make a frame of one with the other."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vaegan.errors import UserError
from vaegan.evaluation.observer import ANALYSIS_PX, Observed, Observer
from vaegan.faces.tracker import FaceTracker
from vaegan.media import VideoReader
from vaegan.model import FaceModel
from vaegan.motion import MotionRecorder, Steps
from vaegan.notes import faces_notes
from vaegan.portrait import Portrait, read_portrait, watch
from vaegan.render import build_renderer
from vaegan.render.field import MeshField, sample
from vaegan.render.view import resize
from vaegan.sources import VideoSource

log = logging.getLogger(__name__)

PHOTO, DRIVER, WARP, MODEL = "static photo", "driver itself", "mesh warp", "model"
SYSTEMS = (PHOTO, DRIVER, WARP, MODEL)


@dataclass(frozen=True)
class Subject:
    """A photo in the model's framing.

    portrait: the crop alone, uint8 (256, 256, 3); small: the same at the model's size
    seen, seen_small: what is seen in either, one frame
    """

    name: str
    portrait: Portrait
    small: np.ndarray
    seen: Observed
    seen_small: Observed


@dataclass(frozen=True)
class DrivingClip:
    """A driver of T frames in the model's framing, from its first frame with a face on.

    steps: how it moves from that frame; first: that frame as a photo; small: all frames at the model's size
    (T, S, S, 3); seen: at 256 px, what results are compared with; seen_small: what is left of it at the model's size
    """

    name: str
    steps: Steps
    first: Subject
    small: np.ndarray
    seen: Observed
    seen_small: Observed

    def displacements(self) -> np.ndarray:
        """m_t - m_0 (T, 478, 3) in px of the 256 px crop; a lost mesh stays where it was."""
        frames = np.where(self.seen.found, np.arange(len(self.seen.found)), 0)
        return self.seen.mesh[np.maximum.accumulate(frames)] - self.seen.mesh[0]


def read_clip(path: Path, model: FaceModel, tracker: FaceTracker, observer: Observer, max_frames: int) -> DrivingClip:
    """Track, crop and encode the first `max_frames` frames of a clip, as `transfer` does, and look at them.

    Raises UserError when the clip cannot be read or shows no face.
    """
    rate = VideoReader(path).rate
    source = VideoSource(path, end=float(max_frames / rate), fps=rate)
    recorder, frames = MotionRecorder(model, rate), []
    for batch in watch(source, model, tracker, picture_size=ANALYSIS_PX):
        recorder.add(batch)
        frames += [frame for frame in batch if frame.portrait is not None]
    pictures = [frame.picture for frame in frames]
    seen = observer.watch(pictures)
    if not seen.found[0]:
        raise UserError(f"{path}: the landmarker sees no face in its first frame with one; cut the clip to begin later")
    motion = recorder.motion()
    steps = motion.steps(slice(motion.reference, None))
    steps = replace(steps, times=steps.times - steps.times[0])
    small = reduced(pictures, model.size)
    seen_small = observer.watch(small)
    name, portrait = Path(path).stem, frames[0].portrait.within(pictures[0])
    first = Subject(name, portrait, small[0], seen.first_frame(), seen_small.first_frame())
    return DrivingClip(name, steps, first, small, seen, seen_small)


def read_subject(path: Path, model: FaceModel, tracker: FaceTracker, observer: Observer) -> Subject:
    """A photo as `transfer` reads it. Raises UserError when it cannot be read or shows no face."""
    photo = read_portrait(path, model, tracker)
    for note in faces_notes(str(path), photo.faces):
        log.warning(note.text)
    portrait = photo.within(photo.picture(ANALYSIS_PX))
    small = reduced([portrait.image], model.size)[0]
    seen = observer.look([portrait.image])
    if not seen.found[0]:
        raise UserError(f"{path}: the landmarker sees no face in the crop; use a photo that shows one from the front")
    return Subject(Path(path).stem, portrait, small, seen, observer.look([small]))


def reduced(pictures: Iterable[np.ndarray], size: int) -> np.ndarray:
    """Pictures uint8 (256, 256, 3) -> (N, size, size, 3)."""
    return np.stack([resize(picture, size) for picture in pictures])


def frames_of(system: str, photo: Subject, clip: DrivingClip, model: FaceModel) -> np.ndarray:
    """The photo moved by the clip in one of the ways of SYSTEMS: uint8 (T, S, S, 3), all at the model's size."""
    if system == MODEL:
        renderer = build_renderer("decode", model, photo.portrait, model.size)
        return np.stack([drawn.crop for drawn in renderer.render(clip.steps.deltas, clip.steps.placement)])
    if system == WARP:
        field = MeshField(photo.seen.mesh[0], ANALYSIS_PX)
        return reduced((sample(photo.portrait.image, field(moved)) for moved in clip.displacements()), model.size)
    if system == PHOTO:
        return np.repeat(photo.small[None], len(clip.small), 0)
    return clip.small


def seen_of(system: str, frames: np.ndarray, photo: Subject, clip: DrivingClip, observer: Observer) -> Observed:
    """What is seen in `frames_of`; photo and driver have been looked at already."""
    if system == PHOTO:
        return photo.seen_small.repeated(len(frames))
    if system == DRIVER:
        return clip.seen_small
    return observer.watch(frames)
