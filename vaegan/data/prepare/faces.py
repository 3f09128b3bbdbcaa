"""From a face in a picture to a crop with its labels: the part that photos, frames and shards have in common."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np

from vaegan.data.format import mesh_codes, shape_codes
from vaegan.data.prepare.parts import CropRow, PreparedCrop, Rejected
from vaegan.data.prepare.settings import PrepareSettings
from vaegan.data.prepare.sources import Item
from vaegan.data.quality import SHARPNESS_PX, is_grey, perceptual_hash, sharpness
from vaegan.errors import UserError
from vaegan.faces.backend import Backend
from vaegan.faces.geometry import CropTransform, face_region, framing, head_pose, mesh_box
from vaegan.faces.tracker import MIN_PRESENCE, Face, FaceTracker
from vaegan.media import encode_image, read_image

SEARCHED_PX = 127
"""What detectors see of a whole picture (128 px); they do not cut anything smaller into squares."""


@cache
def tracker_for(name: str) -> FaceTracker:
    """This process's tracker; labels are what the landmarker says of each frame, so nothing is smoothed."""
    return FaceTracker(name or None, smoothing=False)


def crop_for(mesh: np.ndarray, settings: PrepareSettings) -> CropTransform:
    """The crop of a face by the chosen framing, rounded as index.csv writes it, so that the index is exact."""
    region = framing(mesh, settings.scale, settings.follow)
    return CropTransform(round(region.cx, 3), round(region.cy, 3), round(region.side, 3), round(region.roll, 5))


def sample(
    item: Item, image: np.ndarray, face: Face, region: CropTransform, settings: PrepareSettings, **where
) -> PreparedCrop | Rejected:
    """A face's crop, row and labels, or the reason why it is not good enough.

    Args:
        image: uint8 (H, W, 3). region: of the crop in it. where: `video`, `frame` and `timestamp` of the row.
    """
    cover = region.cover(image.shape[1], image.shape[0])
    for bad, reason, detail in (
        (face.score < settings.min_presence, "face uncertain", f"presence {face.score:.2f}"),
        (region.side < settings.min_px, "face too small", f"crop of {region.side:.0f} px"),
        (cover < settings.min_cover, "face at the border", f"{cover:.0%} of the crop inside"),
    ):
        if bad:
            return Rejected(item.file, reason, detail)
    sharp = sharpness(region.crop(image, SHARPNESS_PX))
    if sharp < settings.min_sharpness:
        return Rejected(item.file, "blurred", f"sharpness {sharp:.0f}")
    crop = region.crop(image, settings.size)
    yaw, pitch, roll = (round(angle, 1) for angle in head_pose(face.mesh))
    row = CropRow(
        source=item.source,
        person=item.person,
        split=item.split,
        native_px=round(region.side),
        cover=round(cover, 3),
        presence=round(face.score, 3),
        sharpness=round(sharp),
        grey=int(is_grey(crop)),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        file=item.file,
        crop_x=region.cx,
        crop_y=region.cy,
        crop_side=region.side,
        crop_roll=region.roll,
        **where,
    )
    return PreparedCrop(
        row,
        encode_image(crop, ".webp"),
        mesh_codes(region.to_crop(face.mesh.astype(np.float64), 1.0)),
        shape_codes(face.blendshapes),
        perceptual_hash(crop),
    )


def photo(item: Item, settings: PrepareSettings) -> PreparedCrop | Rejected:
    """The face of a photo that is meant: the largest, the one nearest to the middle, or to a given point."""
    try:
        image = read_image(item.path)
    except UserError as error:
        return Rejected(item.file, "unreadable", str(error).removeprefix(item.path).strip(" :"))
    tracker = tracker_for(settings.tracker)
    face = _meant(item, image, large_faces(tracker.backend, image), sure=True)
    if face is None:
        face = _meant(item, image, tracker.detect(image), sure=False)
    if face is None:
        return Rejected(item.file, "no face")
    return sample(item, image, face, crop_for(face.mesh, settings), settings)


def large_faces(backend: Backend, image: np.ndarray) -> list[Face]:
    """The faces that a detector sees in the whole picture at once, largest first.

    They are at least a seventh of the picture's longer side. `FaceTracker.detect` would go on to search parts of the
    picture for smaller ones, which costs two thirds of its time on a photo of 250 px.
    """
    scale = SEARCHED_PX / max(image.shape[:2])
    extent = [max(1, round(n * scale)) for n in image.shape[1::-1]]
    padded = np.zeros((SEARCHED_PX, SEARCHED_PX, 3), np.uint8)
    padded[: extent[1], : extent[0]] = cv2.resize(image, extent, interpolation=cv2.INTER_AREA)
    faces = []
    for found in backend.detect(padded):
        region = CropTransform(found.box.cx / scale, found.box.cy / scale, found.box.side / scale, found.box.roll)
        for _ in range(2):  # the second look is at the region that the mesh itself asks for
            seen = backend.landmarks(image, region.scaled(backend.roi_scale))
            region = face_region(seen.mesh)
        if seen.score >= MIN_PRESENCE:
            faces.append(seen)
    return sorted(faces, key=lambda face: -mesh_box(face.mesh)[2])


def _meant(item: Item, image: np.ndarray, faces: list[Face], sure: bool) -> Face | None:
    """The face that the item means; with `sure`, None when none of these lies at the point that it names."""
    if not faces or item.face is None:
        return faces[0] if faces else None
    x, y = item.face
    if item.relative:
        x, y = x * image.shape[1], y * image.shape[0]

    def distance(face: Face) -> float:
        cx, cy, side = mesh_box(face.mesh)
        return math.hypot(cx - x, cy - y) / side

    nearest = min(faces, key=distance)
    return None if sure and distance(nearest) > 0.5 else nearest
