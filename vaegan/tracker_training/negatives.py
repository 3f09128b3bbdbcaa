"""Crops in which our own tracker sees a face, or nearly, where there is none: what presence has to learn from most."""

import numpy as np
from numpy.random import Generator

from vaegan.faces.backend import Backend
from vaegan.faces.geometry import CropTransform, face_region
from vaegan.faces.tracker import FIRST_PRESENCE, MIN_PRESENCE
from vaegan.tracker_training.groups import TRAIN, Group
from vaegan.tracker_training.mosaic import by_owner, without_faces

LOOKS = 4
"""The first look and those that a tracker takes at what it took for a face."""


def mined_negatives(own: Backend, teacher: Backend, photos: Group, size: int, seed: int) -> np.ndarray:
    """Where the detector finds something in training pictures that lie on a side or on their head, cut as the
    landmarker is asked about it, unless the teacher sees a face there.

    Most faces are painted out before. Upright pictures are not asked: what is found in them is mostly a face that the
    teacher has overlooked.

    Args:
        own: detector and landmarker whose mistakes are looked for; best one that reports faint detections, too.
        photos: whole pictures with all their faces.
        size: px of the crops.

    Returns crops uint8 (N, size, size, 3), several of each find.
    """
    meshes = by_owner(photos)
    crops = []
    for index in np.flatnonzero(photos.split == TRAIN):
        rng = np.random.default_rng((seed, index))
        image = _without_upright_faces(
            photos.picture(index), [photos.mesh_px(face) for face in meshes.get(int(index), [])], rng
        )
        for detection in own.detect(image):
            crops += _looks(own, teacher, image, detection.box, size)
    return np.stack(crops) if crops else np.empty((0, size, size, 3), np.uint8)


def _without_upright_faces(picture: np.ndarray, meshes: list[np.ndarray], rng: Generator) -> np.ndarray:
    """The picture turned by one, two or three quarters; on its head one in three keeps its faces; one in two is cut."""
    quarters = int(rng.integers(1, 4))
    if quarters != 2 or rng.random() > 1 / 3:
        picture = without_faces(picture, meshes, max(picture.shape))
    if rng.random() < 0.5:
        height, width = picture.shape[:2]
        side = int(min(height, width) * rng.uniform(0.4, 0.9))
        y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
        picture = picture[y : y + side, x : x + side]
    return np.ascontiguousarray(np.rot90(picture, quarters))


def _looks(own: Backend, teacher: Backend, image: np.ndarray, region: CropTransform, size: int) -> list[np.ndarray]:
    """What the landmarker is shown of a find, from look to look, as long as it goes on."""
    crops = []
    for _ in range(LOOKS):
        if teacher.landmarks(image, region.scaled(teacher.roi_scale)).score < MIN_PRESENCE:
            crops.append(region.scaled(own.roi_scale).crop(image, size))
        seen = own.landmarks(image, region.scaled(own.roi_scale))
        region = face_region(seen.mesh)
        if seen.score < FIRST_PRESENCE or not 1 < region.side < 4 * max(image.shape):
            break
    return crops
