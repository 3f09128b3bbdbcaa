"""What a protocol runs on: driving clips, photos, and each way to make a frame of one with the other."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaegan.driver import crop_picture, encode_driver
from vaegan.errors import UserError
from vaegan.evaluation.observer import ANALYSIS_PX, Observed, Observer
from vaegan.faces.tracker import FaceTracker
from vaegan.media import VideoReader
from vaegan.model import FaceModel
from vaegan.render.decode import Decode
from vaegan.render.field import MeshField, sample
from vaegan.render.view import resize

PHOTO, DRIVER, WARP, MODEL = "static photo", "driver itself", "mesh warp", "model"
SYSTEMS = (PHOTO, DRIVER, WARP, MODEL)


@dataclass(frozen=True)
class Clip:
    """A driver of T frames in the model's framing, from its first frame with a face on, which shows one.

    latents: (T, D); first: the first frame, uint8 (256, 256, 3); small: all frames at the model's size (T, S, S, 3)
    seen: at 256 px, what results are compared with; seen_small: what is left of it at the model's size
    """

    name: str
    times: np.ndarray
    latents: np.ndarray
    first: np.ndarray
    small: np.ndarray
    seen: Observed
    seen_small: Observed

    @property
    def deltas(self) -> np.ndarray:
        """z_t - z_0, (T, D)."""
        return self.latents - self.latents[0]

    def displacements(self) -> np.ndarray:
        """m_t - m_0 (T, 478, 3) in px of the 256 px crop; a lost mesh stays where it was."""
        frames = np.where(self.seen.found, np.arange(len(self.seen.found)), 0)
        return self.seen.mesh[np.maximum.accumulate(frames)] - self.seen.mesh[0]


@dataclass(frozen=True)
class Portrait:
    """A photo in the model's framing: latent (D,), large and small pictures, and what is seen in either (one frame)."""

    name: str
    latent: np.ndarray
    large: np.ndarray
    small: np.ndarray
    seen: Observed
    seen_small: Observed


def read_clip(path: Path, model: FaceModel, tracker: FaceTracker, observer: Observer, max_frames: int) -> Clip:
    """Track, crop and encode the first `max_frames` frames of a clip, as `transfer` does, and look at them.

    Raises UserError when the clip cannot be read or shows no face.
    """
    with VideoReader(path) as reader:
        rate = reader.rate
    batches = encode_driver(path, model, tracker, end=float(max_frames / rate), fps=rate, picture_size=ANALYSIS_PX)
    frames = [frame for batch in batches for frame in batch if frame.latent is not None]
    seen = observer.watch(frame.picture for frame in frames)
    if not seen.found[0]:
        raise UserError(f"{path}: the landmarker sees no face in its first frame with one; cut the clip to begin later")
    small = reduced([frame.picture for frame in frames], model.size)
    return Clip(
        Path(path).stem,
        np.array([frame.time - frames[0].time for frame in frames]),
        np.stack([frame.latent for frame in frames]),
        frames[0].picture,
        small,
        seen,
        observer.watch(small),
    )


def read_portrait(path: Path, model: FaceModel, tracker: FaceTracker, observer: Observer) -> Portrait:
    """A photo as `transfer` reads it. Raises UserError when it cannot be read or shows no face."""
    from vaegan.transfer import read_photo

    photo = read_photo(path, model, tracker)
    large = crop_picture(photo.image, photo.crop, ANALYSIS_PX)
    small = reduced([large], model.size)[0]
    seen = observer.look([large])
    if not seen.found[0]:
        raise UserError(f"{path}: the landmarker sees no face in the crop; use a photo that shows one from the front")
    return Portrait(Path(path).stem, photo.latent, large, small, seen, observer.look([small]))


def first_frame(clip: Clip) -> Portrait:
    """The clip's first frame as the photo."""
    return Portrait(
        clip.name, clip.latents[0], clip.first, clip.small[0], clip.seen.first_frame(), clip.seen_small.first_frame()
    )


def reduced(pictures: Iterable[np.ndarray], size: int) -> np.ndarray:
    """Pictures uint8 (256, 256, 3) -> (N, size, size, 3)."""
    return np.stack([resize(picture.astype(np.float32) / 255, size) for picture in pictures])


def frames_of(system: str, photo: Portrait, clip: Clip, model: FaceModel) -> np.ndarray:
    """The photo moved by the clip in one of the ways of SYSTEMS: uint8 (T, S, S, 3), all at the model's size."""
    if system == MODEL:
        at_rest = np.zeros((len(clip.small), 4), np.float32)
        return np.stack([r.crop for r in Decode(model, photo.latent, model.size).render(clip.deltas, at_rest)])
    if system == WARP:
        field = MeshField(photo.seen.mesh[0], ANALYSIS_PX)
        return reduced((sample(photo.large, field(moved)) for moved in clip.displacements()), model.size)
    if system == PHOTO:
        return np.repeat(photo.small[None], len(clip.small), 0)
    return clip.small


def seen_of(system: str, frames: np.ndarray, photo: Portrait, clip: Clip, observer: Observer) -> Observed:
    """What is seen in `frames_of`; photo and driver have been looked at already."""
    if system == PHOTO:
        return photo.seen_small.repeated(len(frames))
    if system == DRIVER:
        return clip.seen_small
    return observer.watch(frames)
