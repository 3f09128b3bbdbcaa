"""Faces that are drawn, with meshes of 478 points, in place of the tracker's data sets."""

import cv2
import numpy as np

from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.faces.geometry import MIRRORED_POINTS, CropTransform
from vaegan.tracker_training.groups import HELD_OUT, TRAIN, Group


def drawn_group(name: str, count: int, side: int = 96, seed: int = 0) -> Group:
    """`count` pictures of one drawn face each: a disc with two eyes and a mouth that opens; its 478 points move in
    six ways. The last quarter is held out; two clips where the name says so."""
    rng = np.random.default_rng(seed)
    base, partner = symmetric_points()
    ways = np.random.default_rng(1).normal(0, 0.02, (6, 478, 3))
    ways = (ways + ways[:, partner] * [-1, 1, 1]) / 2
    images, meshes = np.zeros((count, side, side, 3), np.uint8), np.zeros((count, 478, 3))
    blendshapes = np.zeros((count, 52), np.uint8)
    for n in range(count):
        size, roll = side * rng.uniform(0.4, 0.6), rng.normal(0, 0.15)
        place = CropTransform(*(side / 2 + rng.uniform(-0.08, 0.08, 2) * side), size, roll)
        mouth = rng.uniform(0, 1)
        meshes[n] = place.to_picture(base + np.tensordot(rng.normal(0, 1, 6), ways, 1) + [0.5, 0.5, 0], 1.0)
        blendshapes[n, BLENDSHAPES.index("jawOpen")] = mouth * 255
        image = np.full((side, side, 3), rng.integers(0, 90, 3), np.uint8)
        for (x, y), radius, colour in (
            ((0.5, 0.5), 0.5, (210, 170, 140)),
            ((0.3, 0.4), 0.06, (20, 20, 90)),
            ((0.7, 0.4), 0.06, (20, 20, 90)),
            ((0.5, 0.75), 0.02 + 0.12 * mouth, (150, 20, 20)),
        ):
            at = place.to_picture(np.array([[x, y]]), 1.0)[0]
            cv2.circle(image, [round(v) for v in at], max(1, round(radius * size)), colour, -1)
        images[n] = image
    split = np.where(np.arange(count) < count * 3 // 4, TRAIN, HELD_OUT).astype(np.uint8)
    return Group(
        name=name,
        images=images,
        sizes=np.full((count, 2), side, np.int32),
        split=split,
        sequence=np.arange(count) * 2 // count if name.startswith("clips") else np.full(count, -1),
        mesh=(meshes / side - [0.5, 0.5, 0]).astype(np.float16),
        owner=np.arange(count),
        blendshapes=blendshapes,
    )


def symmetric_points() -> tuple[np.ndarray, np.ndarray]:
    """478 points of a disc around 0, 1 wide, the eye corners at their places; and which are mirror images."""
    rng, partner = np.random.default_rng(7), MIRRORED_POINTS
    points = np.zeros((478, 3))
    middle = np.flatnonzero(partner == np.arange(478))
    points[middle, 1:] = rng.uniform(-0.3, 0.3, (len(middle), 2))
    rest = [i for i in np.flatnonzero(partner > np.arange(478)) if i not in (33, 133)]
    right = [33, 133, *rest]
    radius, angle = np.sqrt(rng.uniform(0.02, 1, len(right))) / 2, rng.uniform(-1.4, 1.4, len(right))
    points[right] = np.stack([-radius * np.cos(angle), radius * np.sin(angle), rng.uniform(-0.3, 0.3, len(right))], 1)
    points[33], points[133] = (-0.27, -0.1, 0), (-0.1, -0.1, -0.02)
    points[rest[0]], points[rest[1]], points[rest[2]] = (-0.5, 0, 0), (-0.02, -0.5, 0), (-0.02, 0.5, 0)
    points[partner[right]] = points[right] * [-1, 1, 1]
    return points, partner
