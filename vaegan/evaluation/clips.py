"""What a protocol runs on: driving clips, photos, and each way to make a frame of one with the other."""

import logging
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from vaegan.errors import UserError
from vaegan.evaluation.metrics import Observed, sharpness_full
from vaegan.evaluation.observer import ANALYSIS_PX, Observer
from vaegan.faces.geometry import CropTransform, mesh_box
from vaegan.faces.tracker import FaceTracker
from vaegan.media import VideoReader
from vaegan.model import FaceModel
from vaegan.motion import Motion, MotionRecorder
from vaegan.notes import faces_notes
from vaegan.pipeline import Transfer
from vaegan.portrait import Portrait, read_portrait, watch
from vaegan.reference import choose_reference, read_heads
from vaegan.render.field import MeshField, sample
from vaegan.render.refiner import VIEW
from vaegan.render.view import above_the_edge, resize
from vaegan.settings import TransferSettings
from vaegan.sources import VideoSource
from vaegan.streaming import begun

log = logging.getLogger(__name__)

PHOTO, DRIVER, OWN, WARP, MODEL = "static photo", "driver itself", "driver's own frames", "mesh warp", "model"
SYSTEMS = (PHOTO, DRIVER, WARP, MODEL)
CLOSE_EVERY = 10
"""Frames between two at whose full resolution a result is looked at."""


@dataclass(frozen=True)
class Stage:
    """How results are looked at: every picture is a square of `px` px, and shows what the renderer's crop shows.

    in_place: whether that is a view of the photo in which the face moves about: upright, VIEW times the mesh box less
        what would lie below the photo, where the photo (for the driver: its first frame) has it. Else it is the model's
        crop.
    """

    px: int
    in_place: bool


def stage_of(renderer: str, size: int) -> Stage:
    """The paper's renderer shows the model's crop of this size, the others the photo in place."""
    return Stage(size, False) if renderer == "decode" else Stage(ANALYSIS_PX, True)


@dataclass(frozen=True)
class Subject:
    """A photo on a stage.

    image: the photo; z: its latent; large, small: its picture uint8 (256, 256, 3) and at the stage's size
    seen, seen_small: what is seen in either, one frame
    shown: side of what they show, in sides of the mesh box
    """

    name: str
    image: np.ndarray
    z: np.ndarray
    large: np.ndarray
    small: np.ndarray
    seen: Observed
    seen_small: Observed
    shown: float = 1.0


@dataclass(frozen=True)
class DrivingClip:
    """A driver of T frames on a stage, from its first frame with a face on.

    motion: its own, from its very first frame, measured from the first with a face; what follows begins there
    first: that frame as a photo; small: all frames at the stage's size (T, S, S, 3)
    seen: at 256 px, what results are compared with; seen_small: what is left of it at the stage's size, if asked for
    crops: what is seen in the model's crops at 256 px; roll: (T,), by how many degrees each is turned in the driver
    latents: float32 (T, D)
    """

    name: str
    motion: Motion
    first: Subject
    small: np.ndarray
    seen: Observed
    seen_small: Observed
    crops: Observed
    roll: np.ndarray
    latents: np.ndarray

    @property
    def times(self) -> np.ndarray:
        """Seconds (T,) from the first frame with a face."""
        times = self.motion.times[self.motion.reference :]
        return times - times[0]

    def reference(self, name: str, photo: Subject, model: FaceModel) -> int:
        """The frame, of the T, that shows the photo as it is; name: "first" or "best", as `transfer` chooses it."""
        heads = read_heads(model, photo.z[None])[0]
        return choose_reference(begun(self.motion), name, photo.z, heads) - self.motion.reference

    def displacements(self, reference: int) -> np.ndarray:
        """m_t - m_reference (T, 478, 3) in px of the 256 px picture; a lost mesh stays where it was."""
        frames = np.where(self.seen.found, np.arange(len(self.seen.found)), 0)
        mesh = self.seen.mesh[np.maximum.accumulate(frames)]
        return mesh - mesh[reference]


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
    motion, start = recorder.motion(), frames[0].portrait
    image, in_place, shown = _in_place(source, start, motion.reference)
    if stage.in_place:
        pictures = in_place
    seen = observer.watch(pictures, embed=False) if stage.in_place else crops
    if not (crops.found[0] and seen.found[0]):
        raise UserError(f"{path}: the landmarker sees no face in its first frame with one; cut the clip to begin later")
    small = reduced(pictures, stage.px)
    seen_small = observer.watch(small) if small_too else seen
    name = Path(path).stem
    shown = shown if stage.in_place else 1.0
    first = Subject(name, image, start.z, pictures[0], small[0], seen.first_frame(), seen_small.first_frame(), shown)
    roll = np.degrees([frame.portrait.crop.roll for frame in frames])
    latents = np.stack([frame.portrait.z for frame in frames])
    return DrivingClip(name, motion, first, small, seen, seen_small, crops, roll, latents)


def _in_place(source: VideoSource, first: Portrait, start: int) -> tuple[np.ndarray, list[np.ndarray], float]:
    """The first frame with a face, which is number `start`; its view of that frame and all later; the view's side in
    sides of the mesh box."""
    view, shown, pictures, image = None, 1.0, [], None
    with closing(source.frames()) as frames:
        for frame in islice(frames, start, None):
            if view is None:
                image, (view, shown) = frame.image, photo_view(first.mesh, frame.image)
            pictures.append(view.crop(frame.image, ANALYSIS_PX))
    return image, pictures, shown


def photo_view(mesh: np.ndarray, photo: np.ndarray) -> tuple[CropTransform, float]:
    """The square in which the face of a photo moves, as `vaegan.render.warp` shows it, and its side in sides of the
    mesh box."""
    x, y, side = mesh_box(mesh)
    view = above_the_edge(CropTransform(x, y, VIEW * side), photo)
    return view, view.side / side


def read_subject(path: Path, model: FaceModel, stage: Stage, tracker: FaceTracker, observer: Observer) -> Subject:
    """A photo as `transfer` reads it. Raises UserError when it cannot be read or shows no face."""
    photo = read_portrait(path, model, tracker)
    for note in faces_notes(str(path), photo.faces):
        log.warning(note.text)
    view, shown = photo_view(photo.mesh, photo.image)
    large = view.crop(photo.image, ANALYSIS_PX) if stage.in_place else photo.picture(ANALYSIS_PX)
    small = reduced([large], stage.px)[0]
    seen = observer.look([large])
    if not seen.found[0]:
        raise UserError(f"{path}: the landmarker sees no face in the crop; use a photo that shows one from the front")
    shown = shown if stage.in_place else 1.0
    return Subject(Path(path).stem, photo.image, photo.z, large, small, seen, observer.look([small]), shown)


def reduced(pictures: Iterable[np.ndarray], size: int) -> np.ndarray:
    """Pictures uint8 (256, 256, 3) -> (N, size, size, 3)."""
    return np.stack([resize(picture, size) for picture in pictures])


@dataclass(frozen=True)
class Result:
    """What `transfer` makes of a photo and a clip of T frames.

    crops: uint8 (T, S, S, 3), at the stage's size
    close: of every CLOSE_EVERY-th frame what its crop shows, at the photo's own resolution, uint8 (H, W, 3) each;
        still: the photo there; corner: x, y of its top left corner, and scale: its px per px of a 256 px crop. Empty
        where the whole photo is not shown.
    """

    crops: np.ndarray
    close: list[np.ndarray] = field(default_factory=list)
    still: np.ndarray | None = None
    corner: np.ndarray | None = None
    scale: float = 1.0

    def sharpness(self, seen: Observed, photo: Observed) -> float:
        """See `metrics.sharpness_full`. seen, photo: what is seen in the crops and in the photo's."""
        kept = [number for number in range(0, len(self.crops), CLOSE_EVERY) if seen.found[number]]
        pictures = [self.close[number // CLOSE_EVERY] for number in kept]
        meshes = [self._in_close(seen.mesh[number]) for number in kept]
        return sharpness_full(pictures, meshes, self.still, self._in_close(photo.mesh[0]))

    def _in_close(self, mesh: np.ndarray) -> np.ndarray:
        return mesh[:, :2] * self.scale + self.corner


def result_of(
    photo: Subject,
    clip: DrivingClip,
    model: FaceModel,
    settings: TransferSettings,
    reference: int,
    tracker: FaceTracker,
) -> Result:
    """The photo moved by the clip as `transfer` does it; reference: of the clip's T frames, the one it starts from."""
    start = clip.motion.reference
    settings = replace(settings, reference=start + reference)
    run = Transfer(photo.image, clip.motion, model, settings, tracker, crop_size=clip.small.shape[1])
    shown, crops, close = run.stage.renderer.shown, [], []
    whole = run.view_name == "full" and run.renderer != "decode"
    box = shown.side / ANALYSIS_PX * np.array([[0, 0], [ANALYSIS_PX] * 2]) + [shown.cx, shown.cy] - [shown.side / 2]
    low, high = np.clip(np.rint(box), 0, [run.width, run.height]).astype(int)
    part = slice(low[1], high[1]), slice(low[0], high[0])
    with closing(run.frames()) as frames:
        for number, frame in enumerate(islice(frames, start, None)):
            crops.append(frame.crop)
            if whole and number % CLOSE_EVERY == 0:
                close.append(frame.image[part].copy())
    if not whole:
        return Result(np.stack(crops))
    return Result(np.stack(crops), close, run.stage.view.image[part], box[0] - low, shown.side / ANALYSIS_PX)


def frames_of(system: str, photo: Subject, clip: DrivingClip, reference: int) -> np.ndarray:
    """The photo moved by the clip in one of the ways that need no model: uint8 (T, S, S, 3), at the stage's size."""
    if system == WARP:
        mesh_field = MeshField(photo.seen.mesh[0], ANALYSIS_PX)
        enlarged = clip.first.shown / photo.shown  # px that a size of the face takes
        moved = (sample(photo.large, mesh_field(enlarged * way)) for way in clip.displacements(reference))
        return reduced(moved, clip.small.shape[1])
    return clip.small if system == DRIVER else np.repeat(photo.small[None], len(clip.small), 0)


def seen_of(
    system: str, frames: np.ndarray, photo: Subject, clip: DrivingClip, observer: Observer, *, embed: bool = True
) -> Observed:
    """What is seen in a system's frames; photo and driver have been looked at already."""
    if system == PHOTO:
        return photo.seen_small.repeated(len(frames))
    if system == DRIVER:
        return clip.seen_small
    return observer.watch(frames, embed=embed)


def placed(seen: Observed, system: str, clip: DrivingClip) -> Observed:
    """What is seen in the crops of a model that follows the head, with the roll given back that its crops leave out.

    The driver's is that of its crops, the result's what the driver has turned by since the reference frame.
    """
    turned = np.degrees(clip.motion.placement[clip.motion.reference :, 3])
    roll = {DRIVER: clip.roll, PHOTO: np.zeros(len(clip.roll))}.get(system, turned)
    return replace(seen, pose=seen.pose + roll[:, None] * [0, 0, 1])
