"""What a protocol runs on: driving clips, photos, and each way to make a frame of one with the other."""

import logging
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from vaegan.errors import UserError
from vaegan.evaluation.metrics import Observed
from vaegan.evaluation.observer import ANALYSIS_PX, Observer
from vaegan.faces.geometry import CropTransform, mesh_box
from vaegan.faces.tracker import FaceTracker
from vaegan.media import VideoReader
from vaegan.model import FaceModel
from vaegan.motion import MotionRecorder, Steps
from vaegan.notes import faces_notes
from vaegan.portrait import Portrait, read_portrait, watch
from vaegan.render import build_renderer
from vaegan.render.field import MeshField, sample
from vaegan.render.refiner import VIEW
from vaegan.render.view import resize
from vaegan.sources import VideoSource

log = logging.getLogger(__name__)

PHOTO, DRIVER, WARP, MODEL = "static photo", "driver itself", "mesh warp", "model"
SYSTEMS = (PHOTO, DRIVER, WARP, MODEL)


@dataclass(frozen=True)
class Stage:
    """How results are looked at: every picture is a square of `px` px, and shows what the renderer's crop shows.

    in_place: whether that is a view of the photo in which the face moves about: upright, VIEW times the mesh box, where
        the photo (for the driver: its first frame) has it. Else it is the model's crop.
    """

    px: int
    in_place: bool


def stage_of(renderer: str, size: int) -> Stage:
    """The paper's renderer shows the model's crop of this size, the others the photo in place."""
    return Stage(size, False) if renderer == "decode" else Stage(ANALYSIS_PX, True)


@dataclass(frozen=True)
class Subject:
    """A photo on a stage.

    portrait: the photo; large, small: its picture uint8 (256, 256, 3) and at the stage's size
    seen, seen_small: what is seen in either, one frame
    """

    name: str
    portrait: Portrait
    large: np.ndarray
    small: np.ndarray
    seen: Observed
    seen_small: Observed


@dataclass(frozen=True)
class DrivingClip:
    """A driver of T frames on a stage, from its first frame with a face on.

    steps: how it moves from that frame; first: that frame as a photo; small: all frames at the stage's size
    (T, S, S, 3); seen: at 256 px, what results are compared with; seen_small: what is left of it at the stage's size,
    if asked for
    crops: what is seen in the model's crops at 256 px; roll: (T,), by how many degrees each is turned in the driver
    latents: float32 (T, D)
    """

    name: str
    steps: Steps
    first: Subject
    small: np.ndarray
    seen: Observed
    seen_small: Observed
    crops: Observed
    roll: np.ndarray
    latents: np.ndarray

    def displacements(self) -> np.ndarray:
        """m_t - m_0 (T, 478, 3) in px of the 256 px picture; a lost mesh stays where it was."""
        frames = np.where(self.seen.found, np.arange(len(self.seen.found)), 0)
        return self.seen.mesh[np.maximum.accumulate(frames)] - self.seen.mesh[0]


def read_clip(
    path: Path,
    model: FaceModel,
    stage: Stage,
    tracker: FaceTracker,
    observer: Observer,
    max_frames: int,
    small_too: bool,
) -> DrivingClip:
    """Track, crop and encode the first `max_frames` frames of a clip, as `transfer` does, and look at them.

    small_too: also at the stage's size, which the baselines need.

    Raises UserError when the clip cannot be read or shows no face.
    """
    rate = VideoReader(path).rate
    source = VideoSource(path, end=float(max_frames / rate), fps=rate)
    recorder, frames = MotionRecorder(model, rate), []
    for batch in watch(source, model, tracker, picture_size=ANALYSIS_PX):
        recorder.add(batch)
        frames += [frame for frame in batch if frame.portrait is not None]
    pictures = [frame.picture for frame in frames]
    crops = observer.watch(pictures, embed=False)
    motion, portrait = recorder.motion(), frames[0].portrait.within(pictures[0])
    if stage.in_place:
        portrait, pictures = _in_place(source, frames[0].portrait, motion.reference)
    seen = observer.watch(pictures, embed=False) if stage.in_place else crops
    if not (crops.found[0] and seen.found[0]):
        raise UserError(f"{path}: the landmarker sees no face in its first frame with one; cut the clip to begin later")
    steps = motion.steps(slice(motion.reference, None))
    steps = replace(steps, times=steps.times - steps.times[0])
    small = reduced(pictures, stage.px)
    seen_small = observer.watch(small) if small_too else seen
    name = Path(path).stem
    first = Subject(name, portrait, pictures[0], small[0], seen.first_frame(), seen_small.first_frame())
    roll = np.degrees([frame.portrait.crop.roll for frame in frames])
    latents = np.stack([frame.portrait.z for frame in frames])
    return DrivingClip(name, steps, first, small, seen, seen_small, crops, roll, latents)


def _in_place(source: VideoSource, first: Portrait, start: int) -> tuple[Portrait, list[np.ndarray]]:
    """The first frame with a face, which is number `start`, as a photo, and its view of that frame and all later."""
    view, pictures = photo_view(first), []
    with closing(source.frames()) as frames:
        for frame in islice(frames, start, None):
            first = first if pictures else replace(first, image=frame.image)
            pictures.append(view.crop(frame.image, ANALYSIS_PX))
    return first, pictures


def photo_view(portrait: Portrait) -> CropTransform:
    """The square in which the photo moves."""
    x, y, side = mesh_box(portrait.mesh)
    return CropTransform(x, y, VIEW * side)


def read_subject(path: Path, model: FaceModel, stage: Stage, tracker: FaceTracker, observer: Observer) -> Subject:
    """A photo as `transfer` reads it. Raises UserError when it cannot be read or shows no face."""
    photo = read_portrait(path, model, tracker)
    for note in faces_notes(str(path), photo.faces):
        log.warning(note.text)
    large = photo_view(photo).crop(photo.image, ANALYSIS_PX) if stage.in_place else photo.picture(ANALYSIS_PX)
    portrait = photo if stage.in_place else photo.within(large)
    small = reduced([large], stage.px)[0]
    seen = observer.look([large])
    if not seen.found[0]:
        raise UserError(f"{path}: the landmarker sees no face in the crop; use a photo that shows one from the front")
    return Subject(Path(path).stem, portrait, large, small, seen, observer.look([small]))


def reduced(pictures: Iterable[np.ndarray], size: int) -> np.ndarray:
    """Pictures uint8 (256, 256, 3) -> (N, size, size, 3)."""
    return np.stack([resize(picture, size) for picture in pictures])


def frames_of(
    system: str, photo: Subject, clip: DrivingClip, model: FaceModel, renderer: str, refiner: str | None
) -> np.ndarray:
    """The photo moved by the clip in one of the ways of SYSTEMS: uint8 (T, S, S, 3), all at the stage's size.

    renderer, refiner: of the model, see `build_renderer`
    """
    size = clip.small.shape[1]
    if system == MODEL:
        drawing = build_renderer(renderer, model, photo.portrait, size, refiner=refiner)
        return np.stack([frame.crop for frame in drawing.render(clip.steps.deltas, clip.steps.placement)])
    if system == WARP:
        field = MeshField(photo.seen.mesh[0], ANALYSIS_PX)
        return reduced((sample(photo.large, field(moved)) for moved in clip.displacements()), size)
    if system == PHOTO:
        return np.repeat(photo.small[None], len(clip.small), 0)
    return clip.small


def seen_of(
    system: str, frames: np.ndarray, photo: Subject, clip: DrivingClip, observer: Observer, *, embed: bool = True
) -> Observed:
    """What is seen in `frames_of`; photo and driver have been looked at already."""
    if system == PHOTO:
        return photo.seen_small.repeated(len(frames))
    if system == DRIVER:
        return clip.seen_small
    return observer.watch(frames, embed=embed)


def placed(seen: Observed, system: str, clip: DrivingClip) -> Observed:
    """What is seen in the crops of a model that follows the head, with the roll given back that its crops leave out.

    The driver's is that of its crops, the result's what the driver has turned by since the reference frame.
    """
    roll = {DRIVER: clip.roll, PHOTO: np.zeros(len(clip.roll))}.get(system, np.degrees(clip.steps.placement[:, 3]))
    return replace(seen, pose=seen.pose + roll[:, None] * [0, 0, 1])
