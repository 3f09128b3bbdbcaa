"""Field and colour, computed at 256 px, applied to the photo's own pixels at whatever resolution it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from vaegan.faces.geometry import CropTransform
from vaegan.render.field import HEAD_RADIUS, SQUEEZE, Field
from vaegan.render.irises import EyeMoved
from vaegan.render.surroundings import Surroundings

COARSE = 96
"""Samples along either side of the head's surroundings, where the movement is smooth."""

BORDER = 0.15
"""Where two faces meet, what moves one gives way to what moves the other over so many of their sizes, either side."""


def view_square(region: CropTransform, centre: np.ndarray, scale: float) -> tuple[np.ndarray, int, np.ndarray]:
    """The square of whole px nearest to `scale` views around `centre` (2,): its corner (2,) and side in px, and the
    same square as the field takes it, (3,). region: the photo's view, upright."""
    side, origin = max(1, round(scale * region.side)), _origin(region)
    corner = np.rint(origin + np.asarray(centre) * region.side - side / 2).astype(int)
    middle = (corner + side / 2 - origin) / region.side
    return corner, side, np.array([*middle, side / region.side], np.float32)


@dataclass(frozen=True)
class Moved:
    """A face of a photo, moved.

    region: its view of the photo, upright. field: of that view; corner, side: its square, of `view_square`.
    colour: float32 (S, S, 3), to be added there, in 0..255; at this size the photo keeps its grain. None: nothing.
    cover: float32 (S, S, 4), what hides the photo, grain and all: its colour in 0..255 times its share, and its share.
    eyes: what moves between the lids.
    """

    region: CropTransform
    field: Field
    corner: np.ndarray
    side: int
    colour: np.ndarray | None = None
    cover: np.ndarray | None = None
    eyes: Sequence[EyeMoved] = ()

    def reach(self, limit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corners, in px, of the part of an image of `limit` (width, height) px that anything moves in."""
        rigid, unit, origin = self.field.rigid, self.region.side, _origin(self.region)
        inverse, shift, still = (x[0].numpy() for x in (rigid.inverse, rigid.shift, rigid.rest.centre))
        radius = (HEAD_RADIUS + float(rigid.fade)) / SQUEEZE * float(np.hypot(*inverse[0]) * rigid.rest.size)
        centre = ((still - shift) @ inverse)[0]
        low = np.floor(origin + (centre - radius) * unit).astype(int)
        high = np.ceil(origin + (centre + radius) * unit).astype(int)
        return np.clip(np.minimum(low, self.corner), 0, limit), np.clip(
            np.maximum(high, self.corner + self.side), 0, limit
        )

    def offset(self, low: np.ndarray, high: np.ndarray, surroundings: Surroundings) -> np.ndarray:
        """From each px of that part to where it comes from, float32 (H, W, 2) in px."""
        grid, unit = _grid(low, high), self.region.side
        x, y = self._places(grid)
        there = self.field.rigid.back(x, y)
        around = torch.stack([there[0] - x, there[1] - y], -1)[0].numpy()
        offset = _enlarged(surroundings.yielding(around * unit, grid).astype(np.float32), low, high)
        # Within the field's square only what it adds to the head's own movement.
        if (squares := self.square_in(low, high)) is not None:
            part, own_part = squares
            offset[part] += self._resized(self.field.inner[0].numpy() * np.float32(unit))[own_part]
        return offset

    def share(self, others: list[Moved], low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """How much of each px of that part is nearer to this face than to others, float32 (H, W, 1)."""
        grid, share = _grid(low, high), np.float32(1)
        own = self._distance(grid)
        for other in others:
            nearer = np.clip(0.5 + (other._distance(grid) - own) / (4 * BORDER), 0, 1)
            share = share * nearer * nearer * (3 - 2 * nearer)
        return _enlarged(share, low, high)[..., None]

    def move_eyes(self, moved: np.ndarray, picture: np.ndarray, source: np.ndarray, low: np.ndarray) -> None:
        """In that part of the image, uint8 (H, W, 3), in place; source: where its px come from in `picture`."""
        factor = self.side / self.field.region.shape[1]
        for eye in self.eyes:
            start = np.array(eye.corner) * factor
            a = np.maximum(self.corner + np.floor(start).astype(int), low)
            size = np.array(eye.change.shape[1::-1]) * factor
            b = np.minimum(self.corner + np.ceil(start + size).astype(int), low + moved.shape[1::-1])
            if not _holds(a, b):
                continue
            shift = (a - self.corner - start + 0.5) / factor - 0.5
            matrix = np.array([[1 / factor, 0, shift[0]], [0, 1 / factor, shift[1]]])
            how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            change = cv2.warpAffine(eye.change, matrix, (b - a).tolist(), flags=how)
            part = _slices(a, b, low)
            iris = _pulled(picture, source[part] + change[..., :2] * np.float32(self.region.side))
            moved[part] = np.rint(moved[part] + change[..., 2:] * (iris.astype(np.float32) - moved[part]))

    def add_colour(self, moved: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        """To that part of the image, uint8 (H, W, 3), in place."""
        squares = self.square_in(low, high)
        if self.colour is not None and squares is not None:
            part, own_part = squares
            moved[part] = cv2.add(moved[part], self._resized(self.colour)[own_part], dtype=cv2.CV_8U)
            if self.cover is not None:
                cover = self._resized(self.cover)[own_part]
                rows, columns = (np.flatnonzero(cover[..., 3].any(axis)) for axis in (1, 0))
                if len(rows):
                    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
                    hidden = moved[part][box] * (1 - cover[box][..., 3:]) + cover[box][..., :3]
                    moved[part][box] = np.rint(hidden).astype(np.uint8)

    def square_in(self, low: np.ndarray, high: np.ndarray) -> tuple[tuple, tuple] | None:
        """Where the field's square lies in that part of the image, and where that part lies in the square."""
        a, b = np.maximum(low, self.corner), np.minimum(high, self.corner + self.side)
        return tuple(_slices(a, b, start) for start in (low, self.corner)) if (b > a).all() else None

    def _resized(self, values: np.ndarray) -> np.ndarray:
        method = cv2.INTER_LINEAR if self.side >= len(values) else cv2.INTER_AREA
        return cv2.resize(values, (self.side, self.side), interpolation=method)

    def _places(self, px: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """px (S, S, 2) of the image -> x and y (1, S, S) in views."""
        return torch.from_numpy(((px - _origin(self.region)) / self.region.side).astype(np.float32))[None].unbind(-1)

    def _distance(self, px: np.ndarray) -> np.ndarray:
        return self.field.rigid.distance(*self._places(px))[0].numpy()


class Canvas:
    """A photo, uint8 (H, W, 3), whose faces are moved in place."""

    def __init__(self, image: np.ndarray, surroundings: Surroundings) -> None:
        self.image, self.surroundings = np.ascontiguousarray(image), surroundings

    def show(self, faces: list[Moved]) -> np.ndarray:
        """The image with its faces moved: uint8 (H, W, 3)."""
        out, limit = self.image.copy(), np.array(self.image.shape[1::-1])
        parts = [face.reach(limit) for face in faces]
        offsets = [
            face.offset(*part, self.surroundings) if _holds(*part) else None
            for face, part in zip(faces, parts, strict=True)
        ]
        (left, top), picture = self.surroundings.origin, self.surroundings.image
        if len(faces) > 1:
            offsets = _joined(faces, parts, offsets)
        for (low, high), offset in zip(parts, offsets, strict=True):
            if offset is None:
                continue
            offset[..., 0] += np.arange(left + low[0], left + high[0], dtype=np.float32)
            offset[..., 1] += np.arange(top + low[1], top + high[1], dtype=np.float32)[:, None]
            moved = _pulled(picture, offset)
            for face in faces:
                face.move_eyes(moved, picture, offset, low)
                face.add_colour(moved, low, high)
            out[_slices(low, high)] = moved
        return out


def _joined(faces: list[Moved], parts: list[tuple], offsets: list[np.ndarray | None]) -> list[np.ndarray | None]:
    """The offsets of each face's part of the image with what other faces move in it; each place follows the nearest."""
    for i, (face, part) in enumerate(zip(faces, parts, strict=True)):
        if offsets[i] is not None:
            offsets[i] *= face.share(faces[:i] + faces[i + 1 :], *part)
    joined = [None if offset is None else offset.copy() for offset in offsets]
    for i, (low, high) in enumerate(parts):
        for j, (other_low, other_high) in enumerate(parts):
            a, b = np.maximum(low, other_low), np.minimum(high, other_high)
            if i != j and joined[i] is not None and offsets[j] is not None and (b > a).all():
                joined[i][_slices(a, b, low)] += offsets[j][_slices(a, b, other_low)]
    return joined


def _pulled(picture: np.ndarray, source: np.ndarray) -> np.ndarray:
    return cv2.remap(picture, source, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def _origin(region: CropTransform) -> np.ndarray:
    return np.array([region.cx, region.cy]) - region.side / 2


def _holds(low: np.ndarray, high: np.ndarray) -> bool:
    return bool((high > low).all())


def _slices(low: np.ndarray, high: np.ndarray, start: np.ndarray | tuple[int, int] = (0, 0)) -> tuple[slice, slice]:
    """Rows and columns of a rectangle of px, counted from `start`."""
    return tuple(slice(low[i] - start[i], high[i] - start[i]) for i in (1, 0))


def _grid(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Px (COARSE, COARSE, 2) where `cv2.resize` to that part of the image puts its samples."""
    step = (high - low) / COARSE
    x, y = (low[i] + (np.arange(COARSE) + 0.5) * step[i] for i in (0, 1))
    return np.stack(np.meshgrid(x, y), -1)


def _enlarged(coarse: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    width, height = (high - low).tolist()
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
