"""How a model looks at a face: found, cut out and encoded, in a photo and in the frames of a driver alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaegan.errors import UserError
from vaegan.faces.choice import choose_faces
from vaegan.faces.geometry import CropTransform, framing, head_pose, mesh_box, mesh_roll
from vaegan.faces.people import Looks, People
from vaegan.faces.seam import lips_on_seam
from vaegan.media import TimedPicture, read_image
from vaegan.media.images import rgb_array
from vaegan.samples import find_photo

if TYPE_CHECKING:
    from vaegan.faces.tracker import Face, FaceTracker
    from vaegan.model import FaceModel, Framing
    from vaegan.sources import Source

BATCH = 16
"""Frames encoded and decoded at once; more gains under 5 % on a CPU and delays the first frame."""


def parts(count: int) -> Iterator[slice]:
    """The parts in which `count` frames are drawn: the first alone, so that it is there soon."""
    return (slice(*edges) for edges in pairwise([0, *range(1, count, BATCH), count]))


@dataclass(frozen=True)
class Portrait:
    """A face as a model sees it.

    face: mesh (478, 3) in px of the image, and blendshapes
    crop: the region that the model sees; z: its latent, float32 (D,)
    image: uint8 (H, W, 3); None for a frame of a driver, of which no picture is kept
    faces: how many faces the image shows, of which this is one
    """

    face: Face
    crop: CropTransform
    z: np.ndarray = field(repr=False)
    image: np.ndarray | None = field(default=None, repr=False)
    faces: int = 1

    @property
    def mesh(self) -> np.ndarray:
        return self.face.mesh

    @cached_property
    def pose(self) -> np.ndarray:
        """Yaw, pitch and roll of the head in degrees, float32 (3,)."""
        return np.asarray(head_pose(self.mesh), np.float32)

    @cached_property
    def box(self) -> np.ndarray:
        """The mesh box: centre x, y and side in px of the image, and roll in radians."""
        roll = mesh_roll(self.mesh)
        return np.array([*mesh_box(self.mesh, roll), roll])

    def within(self, picture: np.ndarray) -> Portrait:
        """The same face in a picture of the crop alone, uint8 (S, S, 3)."""
        size = picture.shape[0]
        face = replace(self.face, mesh=self.crop.to_crop(self.mesh, size))
        return Portrait(face, CropTransform(size / 2, size / 2, size), self.z, picture)

    def scaled(self, image: np.ndarray) -> Portrait:
        """The same face in the same picture at another size, uint8 (H, W, 3)."""
        factor, crop = image.shape[1] / self.image.shape[1], self.crop
        face = replace(self.face, mesh=self.face.mesh * factor)
        crop = CropTransform(crop.cx * factor, crop.cy * factor, crop.side * factor, crop.roll)
        return replace(self, face=face, crop=crop, image=image)

    def picture(self, size: int) -> np.ndarray:
        """The crop of the image as uint8 (size, size, 3)."""
        return crop_picture(self.image, self.crop, size)


def read_portrait(
    photo: str | Path | np.ndarray, model: FaceModel, tracker: FaceTracker | None = None, face: str = "largest"
) -> Portrait:
    """One face of a photo, cut out as the model's framing says, and encoded; see `read_portraits`."""
    return read_portraits(photo, model, tracker, face)[0]


def read_portraits(
    photo: str | Path | np.ndarray, model: FaceModel, tracker: FaceTracker | None = None, face: str = "largest"
) -> list[Portrait]:
    """Faces of a photo, largest first.

    photo: a file, a shipped name, or uint8 (H, W, 3); tracker: None: the best at hand
    face: which of them, see `vaegan.faces.choice.check_choice`
    Raises UserError; ValueError for an array of another kind.
    """
    if tracker is None:
        from vaegan.faces.tracker import FaceTracker

        tracker = FaceTracker()
    image = rgb_array(photo) if isinstance(photo, np.ndarray) else read_image(find_photo(photo))
    faces = tracker.detect(image)
    if not faces:
        name = photo_name(photo)
        raise UserError(f"{name}: no face found; use a photo that shows one face upright, from the front, well lit")
    chosen = choose_faces(faces, face, photo_name(photo))
    chosen = [replace(one, mesh=lips_on_seam(one.mesh, image)) for one in chosen]
    crops = [framing(one.mesh, model.framing.scale, model.framing.follow) for one in chosen]
    latents = encode_crops(model, np.stack([crop.crop(image, model.size) for crop in crops]))
    return [Portrait(*seen, image, len(faces)) for seen in zip(chosen, crops, latents, strict=True)]


def photo_name(photo: str | Path | np.ndarray) -> str:
    """What messages call a photo."""
    return "the photo" if isinstance(photo, np.ndarray) else str(photo)


class FaceCropper:
    """Follows one face of a clip and cuts it out; with a fixed framing, where the first frame of a shot had it.

    size: side of the crops in px; whom: who is followed, see `vaegan.faces.people.People`
    """

    def __init__(self, tracker: FaceTracker, framing: Framing, size: int, **whom) -> None:
        self.people, self.framing, self.size = People(tracker, **whom), framing, size
        self.crop: CropTransform | None = None
        self._shot = 0

    def cut(self, image: np.ndarray) -> tuple[Face, np.ndarray] | tuple[None, None]:
        """The face of the next frame, uint8 (H, W, 3), and what the model is to see of it, uint8 (size, size, 3)."""
        face = self.people.track(image)
        if face is None:
            return None, None
        if self.crop is None or self.framing.follow or self._shot != self.people.shot:
            self.crop = framing(face.mesh, self.framing.scale, self.framing.follow)
        self._shot = self.people.shot
        return face, self.crop.crop(image, self.size)


@dataclass(frozen=True)
class DriverFrame:
    """A frame of a driver, looked at.

    portrait: this frame's; where the face is lost, the last one; None before the first face
    picture: what the crop shows, uint8 (size, size, 3), when asked for
    shot, faces: see `vaegan.faces.people.People`
    """

    time: float
    found: bool
    portrait: Portrait | None
    picture: np.ndarray | None = field(default=None, repr=False)
    shot: int = 0
    faces: int = 0


def watch(
    source: Source,
    model: FaceModel,
    tracker: FaceTracker,
    picture_size: int = 0,
    index: int | None = None,
    reference: str | int | None = None,
) -> Iterator[list[DriverFrame]]:
    """Track, crop and encode a driver, a batch of frames at a time; each picture is dropped once it is cropped.

    With a fixed framing the face is tracked on all the same, to know where it is lost. Frames of a live source are
    looked at one by one.
    picture_size: side in px of DriverFrame.picture; 0 for none
    index: which face of the first frame with any, from 1, largest first; None: the largest, but with the number of a
        reference frame whoever is largest there
    Raises UserError when no frame shows a face, unless the source is live; when there is no face `index`.
    """
    looks = _looks_at(source, reference, tracker) if index is None and isinstance(reference, int) else None
    cropper = FaceCropper(tracker, model.framing, model.size, index=index, looks=looks)
    people = cropper.people

    def look(frame: TimedPicture):
        face, crop = cropper.cut(frame.image)
        picture = crop_picture(frame.image, cropper.crop, picture_size) if picture_size else None
        return frame.time, face, cropper.crop, crop, picture, people.shot

    portrait, count, batch_size = None, 0, 1 if source.live else BATCH
    with closing(source.frames()) as frames:
        looked = map(look, frames)
        while batch := list(islice(looked, batch_size)):
            crops = [crop for _, _, _, crop, _, _ in batch if crop is not None]
            z = iter(encode_crops(model, np.stack(crops)) if crops else ())
            done = []
            for time, face, region, _, picture, shot in batch:
                if face is not None:
                    portrait = Portrait(face, region, next(z))
                done.append(DriverFrame(time, face is not None, portrait, picture, shot, people.faces))
            count += len(batch)
            yield done
    if portrait is None and not source.live:
        raise UserError(
            f"{source.name}: no face found in its {count} frames; use a driver that shows one face, well lit"
        )


def _looks_at(source: Source, number: int, tracker: FaceTracker) -> Looks | None:
    """What the largest face of a frame looks like; None where it cannot be known before it comes."""
    if not source.repeats:
        return None
    with closing(source.frames()) as frames:
        frame = next(islice(frames, number, None), None)
    faces = () if frame is None else tracker.detect(frame.image)
    return Looks.of(frame.image, faces[0]) if faces else None


def encode_crops(model: FaceModel, crops: np.ndarray) -> np.ndarray:
    """Posterior means float32 (N, D) of crops uint8 (N, S, S, 3)."""
    import torch

    from vaegan.tensors import to_float

    with torch.inference_mode():
        return model.encode(to_float(crops, model.device)).float().cpu().numpy()


def crop_picture(image: np.ndarray, crop: CropTransform | None, size: int) -> np.ndarray:
    """The region `crop` of an image as uint8 (size, size, 3); without one, the largest square in its middle."""
    if crop is None:
        height, width = image.shape[:2]
        crop = CropTransform(width / 2, height / 2, min(width, height), 0.0)
    return crop.crop(image, size)
