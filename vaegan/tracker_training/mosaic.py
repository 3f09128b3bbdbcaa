"""Batches for the detector: pictures composed of several faces at many sizes on backgrounds without any."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.random import Generator

from vaegan.faces.geometry import CropTransform, face_region
from vaegan.tracker_training.augment import degrade, occlude, recolour, texture, warp
from vaegan.tracker_training.batches import DrawnBatches
from vaegan.tracker_training.groups import Group

STRIDE = 8


@dataclass
class Composition:
    """A picture (S, S, 3), the regions (mesh boxes) of its faces, and of those that may be found or not."""

    image: np.ndarray
    faces: list[CropTransform] = field(default_factory=list)
    unclear: list[CropTransform] = field(default_factory=list)


class Composer:
    """Makes pictures with faces out of the groups.

    Args:
        groups: what to draw from; "photos" also gives the backgrounds.
        split: TRAIN or HELD_OUT, whose faces and backgrounds.
        shares: how often each group is drawn, relative.
        size: px of the square picture.
        face_px: least and largest side of a face's mesh box in px of the picture.
    """

    def __init__(
        self,
        groups: Mapping[str, Group],
        split: int,
        shares: Mapping[str, float],
        size: int,
        face_px: tuple[float, float],
    ) -> None:
        self.size, self.face_px = size, face_px
        self.groups = [groups[name] for name in shares]
        self.faces = [group.faces(split) for group in self.groups]
        self.shares = np.array(list(shares.values())) / sum(shares.values())
        self.meshes_of = [by_owner(group) for group in self.groups]
        photos = groups["photos"]
        of = by_owner(photos)
        self.backgrounds = [
            without_faces(photos.picture(i), [photos.mesh_px(f) for f in of.get(int(i), [])])
            for i in np.flatnonzero(photos.split == split)
        ]

    def compose(self, rng: Generator, faces: int) -> Composition:
        """A picture with about `faces` faces; with none, some of its pieces are scrambled or upside down."""
        made = Composition(self._background(rng))
        taken: list[CropTransform] = []
        for n in range(faces):
            self._add_face(made, taken, rng, whole=n == 0 and rng.random() < 0.5)
        for face in made.faces:
            if rng.random() < 0.3:
                self._cover(made.image, face, rng)
        if rng.random() < (0.5 if faces == 0 else 0.1):
            self._add_decoy(made, taken, rng)
        if rng.random() < 0.25:  # as a picture is letterboxed
            strip, grey = int(rng.integers(1, 32)), 127
            if rng.random() < 0.5:
                made.image[-strip:] = grey
                self._hide(made, CropTransform(self.size / 2, self.size - strip / 2, strip), rows=True)
            else:
                made.image[:, -strip:] = grey
                self._hide(made, CropTransform(self.size - strip / 2, self.size / 2, strip), rows=False)
        if rng.random() < 0.5:
            made = _mirrored(made)
        if rng.random() < 0.7:
            made.image = recolour(made.image, rng)
        if rng.random() < 0.7:
            made.image = degrade(made.image, rng)
        return made

    def _background(self, rng: Generator) -> np.ndarray:
        if rng.random() < 0.2:
            return texture(self.size, rng)
        image = self.backgrounds[rng.integers(len(self.backgrounds))]
        side = rng.uniform(0.3, 1.0) * min(image.shape[:2])
        middle = [rng.uniform(side / 2, n - side / 2) for n in image.shape[1::-1]]
        roll = rng.normal(0, 0.2) + (np.pi if rng.random() < 0.15 else 0)
        matrix = CropTransform(*middle, side, roll).matrix(self.size)
        return warp(image, matrix, (self.size, self.size), cv2.BORDER_REFLECT)

    def _add_face(self, made: Composition, taken: list[CropTransform], rng: Generator, whole: bool) -> None:
        """Paste a picture so that one of its faces has a random size, place and roll.

        whole: its own surroundings come along; else often only what lies close around the face.
        """
        n = rng.choice(len(self.groups), p=self.shares)
        group, face = self.groups[n], int(rng.choice(self.faces[n]))
        owner = int(group.owner[face])
        image, meshes = group.picture(owner), [group.mesh_px(f) for f in self.meshes_of[n][owner]]
        region = face_region(group.mesh_px(face))
        for _ in range(6):
            side = np.exp(rng.uniform(*np.log(self.face_px)))
            side = side * rng.uniform(0.25, 1) if not whole and side > self.size / 2 else side
            margin = min(side * 0.45, self.size * 0.5)
            cx, cy = rng.uniform(margin, self.size - margin, 2) if margin < self.size / 2 else [self.size / 2] * 2
            place = CropTransform(cx, cy, side)
            if all(_apart(place, other) for other in taken):
                break
        else:
            return
        roll = rng.normal(0, 0.2) if rng.random() < 0.75 else rng.uniform(-0.75, 0.75)
        # Picture px -> px around the upright face -> px of the composition.
        start = CropTransform(region.cx, region.cy, region.side, 0.0 if whole else region.roll - roll)
        matrix = start.matrix(side)
        matrix[:, 2] += [cx - side / 2, cy - side / 2]
        cut = None if whole or rng.random() < 0.4 else rng.uniform(1.25, 1.9)
        self._paste(made, image, matrix, place, cut)
        taken.append(place.scaled(1.3))
        for mesh in meshes if cut is None else [group.mesh_px(face)]:
            points = mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2]
            self._note(made, face_region(points.astype(np.float32)))

    def _cover(self, image: np.ndarray, face: CropTransform, rng: Generator) -> None:
        """Something before a part of the face, drawn into the picture: it is still a face."""
        half = int(face.side / 2)
        x, y = int(face.cx), int(face.cy)
        if half >= 8 and half <= min(x, y) and max(x, y) + half <= self.size:
            before = image[y - half : y + half, x - half : x + half]
            before[:] = occlude(before, rng, self._background(rng))

    def _paste(
        self, made: Composition, image: np.ndarray, matrix: np.ndarray, place: CropTransform, cut: float | None
    ) -> None:
        """Draw the mapped picture, or a soft ellipse of it, `cut` face sides wide; faces below become unclear or go."""
        height, width = image.shape[:2]
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ matrix[:, :2].T + matrix[:, 2]
        least, most = corners.min(0), corners.max(0)
        if cut is not None:
            centre, reach = np.array([place.cx, place.cy]), np.array([0.5, 0.6]) * place.side * cut + 2
            least, most = centre - reach, centre + reach
        x, y = np.clip(np.floor(least), 0, self.size).astype(int)
        right, bottom = np.clip(np.ceil(most), 0, self.size).astype(int)
        if right <= x or bottom <= y:
            return
        matrix = matrix - [[0, 0, x], [0, 0, y]]
        size = (int(right - x), int(bottom - y))
        mask = warp(np.full((height, width), 255, np.uint8), matrix, size, cv2.BORDER_CONSTANT)
        if cut is not None:
            oval = np.zeros(mask.shape, np.uint8)
            axes = (max(1, int(place.side * cut * 0.45)), max(1, int(place.side * cut * 0.55)))
            cv2.ellipse(oval, (int(place.cx - x), int(place.cy - y)), axes, 0, 0, 360, 255, -1)
            mask = np.minimum(mask, cv2.blur(oval, (max(1, int(place.side * 0.1)),) * 2))
        under = made.image[y:bottom, x:right]
        alpha = cv2.merge([mask] * 3)
        piece = cv2.multiply(warp(image, matrix, size, cv2.BORDER_REPLICATE), alpha, scale=1 / 255)
        made.image[y:bottom, x:right] = cv2.add(piece, cv2.multiply(under, 255 - alpha, scale=1 / 255))
        whole = np.zeros((self.size, self.size), np.uint8)
        whole[y:bottom, x:right] = mask
        for face in list(made.faces):
            low = np.clip([face.cx - face.side / 2, face.cy - face.side / 2], 0, self.size - 1).astype(int)
            covered = whole[low[1] : int(low[1] + face.side) + 1, low[0] : int(low[0] + face.side) + 1].mean() / 255
            if covered > 0.1:
                made.faces.remove(face)
                if covered < 0.7:
                    made.unclear.append(face)

    def _note(self, made: Composition, face: CropTransform) -> None:
        """Count a face if most of it is inside; the faces that it covers become unclear."""
        inside = CropTransform(face.cx, face.cy, face.side).cover(self.size, self.size)
        if inside < 0.05:
            return
        clear = inside > 0.7 and face.side > 0.8 * self.face_px[0]
        (made.faces if clear else made.unclear).append(face)

    def _hide(self, made: Composition, strip: CropTransform, rows: bool) -> None:
        """Faces that reach far into a grey strip at the border become unclear."""
        for face in list(made.faces):
            low = (strip.cy if rows else strip.cx) - strip.side / 2
            if (face.cy if rows else face.cx) + 0.3 * face.side > low:
                made.faces.remove(face)
                made.unclear.append(face)

    def _add_decoy(self, made: Composition, taken: list[CropTransform], rng: Generator) -> None:
        """Something made of faces that is none: shuffled tiles, or a face upside down."""
        n = rng.choice(len(self.groups), p=self.shares)
        group, face = self.groups[n], int(rng.choice(self.faces[n]))
        image = group.picture(group.owner[face])
        side = np.exp(rng.uniform(np.log(16), np.log(self.size)))
        place = CropTransform(*rng.uniform(0, self.size, 2), side)
        if not all(_apart(place, other) for other in taken):
            return
        region = face_region(group.mesh_px(face), 1.2)
        if rng.random() < 0.6:
            image, region = _shuffled(image, region, rng), CropTransform(32, 32, 64)
        else:
            region = CropTransform(region.cx, region.cy, region.side, region.roll + np.pi + rng.uniform(-0.8, 0.8))
        matrix = region.matrix(side)
        matrix[:, 2] += [place.cx - side / 2, place.cy - side / 2]
        self._paste(made, image, matrix, place, 1.2)


def by_owner(group: Group) -> dict[int, list[int]]:
    """The faces of each picture that has any."""
    faces: dict[int, list[int]] = {}
    for face, owner in enumerate(group.owner):
        faces.setdefault(int(owner), []).append(face)
    return faces


def without_faces(image: np.ndarray, meshes: list[np.ndarray], px: int = 128) -> np.ndarray:
    """The picture, at most `px` long, its faces painted over from their surroundings (Telea 2004)."""
    scale = min(1.0, px / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    mask = np.zeros(small.shape[:2], np.uint8)
    for mesh in meshes:
        box = face_region(mesh * scale)
        axes = (max(1, int(box.side * 0.55)), max(1, int(box.side * 0.62)))
        cv2.ellipse(mask, (int(box.cx), int(box.cy)), axes, 0, 0, 360, 255, -1)
    return cv2.inpaint(small, mask, 3, cv2.INPAINT_TELEA) if meshes else small


def _shuffled(image: np.ndarray, region: CropTransform, rng: Generator) -> np.ndarray:
    """The region at 64 px with its 4 x 4 tiles in another order."""
    tiles = region.crop(image, 64).reshape(4, 16, 4, 16, 3).transpose(0, 2, 1, 3, 4).reshape(16, 16, 16, 3)
    tiles = tiles[rng.permutation(16)].reshape(4, 4, 16, 16, 3)
    return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3, 4).reshape(64, 64, 3))


def _apart(one: CropTransform, other: CropTransform) -> bool:
    reach = (one.side + other.side) / 2
    return abs(one.cx - other.cx) > reach or abs(one.cy - other.cy) > reach


def _mirrored(made: Composition) -> Composition:
    width = made.image.shape[1]

    def mirror(face: CropTransform) -> CropTransform:
        return CropTransform(width - face.cx, face.cy, face.side, -face.roll)

    return Composition(
        np.ascontiguousarray(made.image[:, ::-1]), [mirror(f) for f in made.faces], [mirror(f) for f in made.unclear]
    )


def target_maps(made: Composition) -> tuple[np.ndarray, np.ndarray]:
    """What the detector should say: heat float32 (h, w), and box float32 (6, h, w) with h = w = size / 8.

    heat: 1 in the cell of a face's centre, falling off as a Gaussian whose width follows the face; -1 where anything is
    right. box: weight of the cell, then the centre's x and y in cells from the cell's centre, log of the side in
    cells, sine and cosine of the roll.
    """
    cells = made.image.shape[0] // STRIDE
    heat, box = np.zeros((cells, cells), np.float32), np.zeros((6, cells, cells), np.float32)
    y, x = np.mgrid[:cells, :cells] + 0.5
    for face in made.unclear:
        reach = face.side / STRIDE * 0.6
        heat[(abs(x - face.cx / STRIDE) <= reach) & (abs(y - face.cy / STRIDE) <= reach)] = -1
    for face in made.faces:
        cx, cy, side = face.cx / STRIDE, face.cy / STRIDE, face.side / STRIDE
        sigma = max(0.5, 0.12 * side)
        glow = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)).astype(np.float32)
        column, row = min(cells - 1, max(0, int(cx))), min(cells - 1, max(0, int(cy)))
        glow[row, column] = 1
        near = (glow > 0.3) & (glow > box[0])
        values = np.stack(np.broadcast_arrays(glow, cx - x, cy - y, np.log(side), np.sin(face.roll), np.cos(face.roll)))
        box[:, near] = values[:, near]
        heat = np.where((heat < 0) & (glow < 0.3), heat, np.maximum(heat, glow))
    return heat, box


class DetectorBatches(DrawnBatches):
    """Item k: images uint8 (B, S, S, 3), heat float32 (B, h, w), box float32 (B, 6, h, w) as of `target_maps`.

    Args:
        composer: makes the pictures.
        faces: how often a picture gets 0, 1, 2, ... faces, relative.
    """

    def __init__(
        self, composer: Composer, *, faces: list[float], batch: int, seed: int, start: int, count: int
    ) -> None:
        super().__init__(batch, seed, start, count)
        self.composer, self.faces = composer, np.array(faces) / sum(faces)

    def make(self, rng: Generator) -> dict[str, np.ndarray]:
        made = [self.composer.compose(rng, int(rng.choice(len(self.faces), p=self.faces))) for _ in range(self.batch)]
        heat, box = zip(*[target_maps(m) for m in made], strict=True)
        return {"images": np.stack([m.image for m in made]), "heat": np.stack(heat), "box": np.stack(box)}
