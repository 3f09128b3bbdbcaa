"""Batches for the landmarker: face crops as a tracker cuts them, spoiled, with their meshes; and crops of nothing."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from vaegan.faces.blendshapes import MIRRORED_BLENDSHAPES
from vaegan.faces.geometry import MIRRORED_POINTS, CropTransform, face_region, mirrored_mesh
from vaegan.tracker_training.augment import any_border, degrade, occlude, recolour, texture, warp
from vaegan.tracker_training.batches import DrawnBatches
from vaegan.tracker_training.groups import TRAIN, Group


@dataclass(frozen=True)
class MeshModel:
    """Upright meshes, in mesh boxes about their middle = mean (1434,) + codes of variance 1 @ basis (K, 1434)."""

    mean: np.ndarray
    basis: np.ndarray


def upright(mesh: np.ndarray) -> np.ndarray:
    """Mesh (478, 3) turned to its eye line, around the middle of its box, in sides of its box."""
    return face_region(mesh).to_crop(mesh, 1.0) - np.array([0.5, 0.5, 0.0], np.float32)


def fit_mesh_model(groups: Mapping[str, Group], components: int, most: int = 4000) -> MeshModel:
    """The principal components of the training meshes of all groups and their mirror images, at most `most` of each."""
    meshes = []
    for group in groups.values():
        faces = group.faces(TRAIN)
        meshes += [upright(group.mesh_px(i)) for i in faces[:: max(1, len(faces) // most)]]
    meshes = np.stack(meshes)
    mirrored = meshes[:, MIRRORED_POINTS] * np.array([-1, 1, 1], np.float32)
    rows = np.concatenate([meshes, mirrored]).reshape(2 * len(meshes), -1).astype(np.float64)
    mean = rows.mean(0)
    rows -= mean
    variances, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    basis = (vectors[:, ::-1][:, :components] * np.sqrt(variances[::-1][:components])).T
    return MeshModel(mean.astype(np.float32), np.ascontiguousarray(basis, np.float32))


class Draw:
    """Draws a group by its share, and one of its training faces: `draw(rng) -> (group, face)`.

    Turned heads are rare in the data and hard; they are drawn up to four times as often.
    """

    def __init__(self, groups: Mapping[str, Group], shares: Mapping[str, float]) -> None:
        self.groups = {name: groups[name] for name in shares}
        self._groups = list(self.groups.values())
        self._faces = [group.faces(TRAIN) for group in self._groups]
        self._upto = []
        for group, faces in zip(self._groups, self._faces, strict=True):
            eyes = group.mesh[:, 33].astype(np.float32) - group.mesh[:, 263].astype(np.float32)
            seen = np.linalg.norm(eyes[:, :2], axis=1) / np.linalg.norm(eyes, axis=1)  # cosine of the yaw, about
            weight = np.clip(1 + 3 * (0.97 - seen[faces]) / (0.97 - 0.75), 1, 4)
            self._upto.append(np.cumsum(weight / weight.sum()))
        self._shares = np.array(list(shares.values())) / sum(shares.values())

    def __call__(self, rng: Generator) -> tuple[Group, int]:
        n = rng.choice(len(self._groups), p=self._shares)
        at = min(int(np.searchsorted(self._upto[n], rng.random(), side="right")), len(self._faces[n]) - 1)
        return self._groups[n], int(self._faces[n][at])


class LandmarkerBatches(DrawnBatches):
    """Item k: crops uint8 (B, size, size, 3), mesh float32 (B, 478, 3) in sides of the crop, blendshapes float32
    (B, 52), present float32 (B,); mesh and blendshapes mean nothing where `present` is 0.

    Args:
        groups: what to draw from.
        shares: how often each group is drawn, relative.
        negatives: share of crops with no face in its place.
        spoiled: share of crops that are recoloured or made worse; the others stay as they are. Three in twenty of
            all are partly covered.
    """

    def __init__(
        self,
        groups: Mapping[str, Group],
        *,
        size: int,
        roi_scale: float,
        batch: int,
        shares: Mapping[str, float],
        negatives: float,
        spoiled: float,
        seed: int,
        start: int,
        count: int,
    ) -> None:
        self.draw, self.negatives, self.spoiled = Draw(groups, shares), negatives, spoiled
        super().__init__(batch, seed, start, count)
        self.size, self.roi_scale = size, roi_scale

    def make(self, rng: Generator) -> dict[str, np.ndarray]:
        out = {
            "crops": np.empty((self.batch, self.size, self.size, 3), np.uint8),
            "mesh": np.zeros((self.batch, 478, 3), np.float32),
            "blendshapes": np.zeros((self.batch, 52), np.float32),
            "present": np.zeros(self.batch, np.float32),
        }
        for i in range(self.batch):
            other = out["crops"][i - 1] if i else None
            if rng.random() < self.negatives:
                out["crops"][i] = self._negative(rng, other)
            else:
                out["crops"][i], out["mesh"][i], out["blendshapes"][i] = self._positive(rng, other)
                out["present"][i] = 1
        return out

    def _positive(self, rng: Generator, other: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        group, face = self.draw(rng)
        mesh, blendshapes = group.mesh_px(face), group.blendshapes[face].astype(np.float32) / 255
        image = group.picture(group.owner[face])
        region = _unsteady(face_region(mesh, self.roi_scale), rng)
        low = np.zeros(2, np.float32)
        if group.name == "faces-tight" or rng.random() < 0.15:
            # Tight crops end just outside the face: without this, where the picture ends would tell where the chin is.
            image, low = _trimmed(image, rng)
        matrix = region.matrix(self.size)
        border, colour = any_border(rng)
        crop = warp(image, _moved(matrix, low), (self.size, self.size), border, colour)
        mesh = region.to_crop(mesh, 1.0)
        if rng.random() < 0.5:
            crop = np.ascontiguousarray(crop[:, ::-1])
            mesh = mirrored_mesh(mesh)
            blendshapes = blendshapes[MIRRORED_BLENDSHAPES]
        return self._spoil(crop, rng, other), mesh, blendshapes

    def _negative(self, rng: Generator, other: np.ndarray | None) -> np.ndarray:
        kind = rng.random()
        if kind < 0.1:
            return self._spoil(texture(self.size, rng), rng, other)
        group, face = self.draw(rng)
        image = group.picture(group.owner[face])
        region = face_region(group.mesh_px(face), self.roi_scale)
        side = region.side / self.roi_scale
        if kind < 0.25 and (elsewhere := self._background(rng)):
            image, region = elsewhere
        elif kind < 0.5:  # beside the face
            angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.75, 1.6) * side
            cx, cy = region.cx + far * np.cos(angle), region.cy + far * np.sin(angle)
            region = CropTransform(cx, cy, region.side * rng.uniform(0.4, 1.2), rng.uniform(-np.pi, np.pi))
        elif kind < 0.6:  # a part of the face
            cx, cy = np.array([region.cx, region.cy]) + rng.uniform(-0.35, 0.35, 2) * side
            region = CropTransform(cx, cy, region.side * rng.uniform(0.15, 0.4), region.roll + rng.normal(0, 0.4))
        elif kind < 0.7:  # the face far too small
            region = region.scaled(rng.uniform(2.5, 5))
        else:  # upside down or lying; often with the eyes where an upright face would have them
            cx, cy = np.array([region.cx, region.cy]) + rng.uniform(-0.5, 0.5, 2) * side
            size = region.side * rng.uniform(0.7, 1.3)
            region = CropTransform(cx, cy, size, region.roll + np.pi + rng.uniform(-1.4, 1.4))
        border, colour = any_border(rng)
        crop = warp(image, region.matrix(self.size), (self.size, self.size), border, colour)
        return self._spoil(crop, rng, other)

    def _background(self, rng: Generator) -> tuple[np.ndarray, CropTransform] | None:
        """A whole picture and a turned region of it that no known face touches; None where none is soon found."""
        group = self.draw.groups.get("photos")
        if group is None:
            return None
        owner = rng.choice(group.owner[group.faces(TRAIN)])
        image = group.picture(owner)
        faces = [face_region(group.mesh_px(i)) for i in np.flatnonzero(group.owner == owner)]
        for _ in range(10):
            side = min(image.shape[:2]) * rng.uniform(0.1, 0.6)
            cx, cy = rng.uniform(0, 1, 2) * image.shape[1::-1]
            if all(math.hypot(cx - face.cx, cy - face.cy) > (side + face.side) / 2 for face in faces):
                return image, CropTransform(cx, cy, side * self.roi_scale, rng.uniform(-np.pi, np.pi))
        return None

    def _spoil(self, crop: np.ndarray, rng: Generator, other: np.ndarray | None) -> np.ndarray:
        if rng.random() < 0.15:
            crop = occlude(crop, rng, other)
        if rng.random() >= self.spoiled:
            return crop
        if rng.random() < 0.85:
            crop = recolour(crop, rng)
        return degrade(crop, rng)


def _unsteady(region: CropTransform, rng: Generator) -> CropTransform:
    """The region as a tracker has it: from the last frame, or roughly from a detection."""
    rough = rng.random() < 0.45
    shift = rng.normal(0, 0.07 if rough else 0.03, 2) * region.side
    side = region.side * np.exp(rng.normal(0, 0.15 if rough else 0.05))
    roll = np.radians(rng.uniform(-40, 40) if rough else rng.normal(0, 5))
    return CropTransform(region.cx + shift[0], region.cy + shift[1], side, region.roll + roll)


def _trimmed(image: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """The picture without up to a seventh of each side, and where its new corner lies."""
    height, width = image.shape[:2]
    left, right, top, bottom = rng.uniform(0, 0.14, 4) * (rng.random(4) < 0.7) * [width, width, height, height]
    left, top, right, bottom = int(left), int(top), int(width - right), int(height - bottom)
    return image[top:bottom, left:right], np.array([left, top], np.float32)


def _moved(matrix: np.ndarray, low: np.ndarray) -> np.ndarray:
    """The same map for a picture whose corner lies at `low`."""
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ low
    return moved


def steady_crops(
    group: Group, faces: np.ndarray, *, size: int, roi_scale: float, previous: bool
) -> tuple[np.ndarray, np.ndarray, list[CropTransform]]:
    """Crops for validation, unspoiled: uint8 (N, size, size, 3), their true meshes in sides of the crop, the regions.

    Args:
        previous: cut where the face was in the frame before (of the same clip), as in tracking; else where it is, but
            for an unsteadiness that is the same each time.
    """
    crops = np.empty((len(faces), size, size, 3), np.uint8)
    meshes, regions = np.empty((len(faces), 478, 3), np.float32), []
    rng = np.random.default_rng(0)
    for n, face in enumerate(faces):
        mesh = group.mesh_px(face)
        owner = group.owner[face]
        before = faces[n - 1] if n and previous else face
        if group.sequence[group.owner[before]] != group.sequence[owner]:
            before = face
        region = face_region(group.mesh_px(before), roi_scale)
        if not previous:
            dx, dy, grow, turn = rng.normal(0, [0.02, 0.02, 0.03, 0.04])
            region = CropTransform(
                region.cx + dx * region.side,
                region.cy + dy * region.side,
                region.side * np.exp(grow),
                region.roll + turn,
            )
        crops[n] = warp(group.picture(owner), region.matrix(size), (size, size), cv2.BORDER_REPLICATE)
        meshes[n] = region.to_crop(mesh, 1.0)
        regions.append(region)
    return crops, meshes, regions
