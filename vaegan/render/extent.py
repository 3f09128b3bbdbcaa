"""How a rendered picture becomes the one that is written: cut or extended to a shape, brought to a size."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import cv2
import numpy as np

from vaegan.errors import UserError

CROP_SIZE, MAX_CROP = 256, 2048
"""Side of a rendered crop in px where nothing else is asked for, and at most."""

ROOM = 2.0
"""Side of what is never cut away / longer side of the face: the head, its hair, and where it moves."""

SPARE = 3
"""px by which a picture may be larger than what is asked for, and is cut instead of being scaled."""

FACE = 1.1
"""The same of what may be left where the rest of a border would be a mere strip."""

NARROW = 0.08
"""Share of a side that is cut instead of extending the other by such a strip."""

BORDER_BLUR = 0.04
"""Standard deviation of the blur of a border / longer side of the result."""

BORDER_LIGHT = 0.75
"""A border is a little darker than the picture, so that nobody takes it for a part of it."""


def parse_aspect(text: str) -> Fraction:
    """`16:9` -> width / height. Raises UserError for what is no shape, or more than four times as long as wide."""
    wide, colon, high = text.partition(":")
    if (
        colon
        and wide.isdigit()
        and high.isdigit()
        and int(high)
        and Fraction(1, 4) <= Fraction(int(wide), int(high)) <= 4
    ):
        return Fraction(int(wide), int(high))
    raise UserError(f"aspect {text!r} is not possible: use 16:9, 1:1, 9:16, 4:5 or another from 1:4 to 4:1")


def crop_side(view: str, size: int | None, aspect: str | None) -> int:
    """Side in px of a rendered crop where the result's longer side has `size` px. Raises UserError beyond MAX_CROP."""
    if size is None or view == "full":
        return CROP_SIZE
    shape = parse_aspect(aspect or "1:1")
    side = _even(size * min(shape, 1 / shape), down=True)
    if side > MAX_CROP:
        raise UserError(f"size {size} is not possible for the face alone: use up to {MAX_CROP}, or --view full")
    return side


class Extent:
    """The place of a picture in the one that is written.

    Args:
        picture: the photo as it is rendered at rest, uint8 (H, W, 3); what a border is made of.
        faces: points (N, 2) in px of it, of each face that has to stay inside.
        aspect: width / height of the result; None: the picture's own.
        size: longer side of the result in px, even; None: no pixel is scaled.

    Attributes:
        width, height: of the result, px, even.
    """

    def __init__(
        self, picture: np.ndarray, faces: Sequence[np.ndarray], aspect: Fraction | None = None, size: int | None = None
    ):
        height, width = picture.shape[:2]
        wide, high = (width, height) if aspect is None else _cut(width, height, faces, aspect)
        shape = Fraction(wide, high) if aspect is None else aspect
        longer = size or max(wide, high, high * shape, wide / shape)
        self.width, self.height = (_even(longer * part, size is None) for part in (min(1, shape), min(1, 1 / shape)))
        fit = float(Fraction(self.width, wide)), float(Fraction(self.height, high))
        spare = max(wide - self.width, high - self.height)
        self.scale = 1.0 if size is None or 0 <= spare <= SPARE else min(fit)
        self.inner = min(self.width, round(wide * self.scale)), min(self.height, round(high * self.scale))
        if self.inner[0] >= self.width - 1 and self.inner[1] >= self.height - 1:  # no border of a single pixel
            self.inner = self.width, self.height
            self.scale = 1.0 if size is None or self.scale == 1 else max(fit)
        self._sides = min(wide, round(self.inner[0] / self.scale)), min(high, round(self.inner[1] / self.scale))
        self._corner = tuple(_begin(faces, axis, self._sides[axis], (width, height)[axis]) for axis in (0, 1))
        self._place = (self.width - self.inner[0]) // 2, (self.height - self.inner[1]) // 2
        self._border = None if self.inner == (self.width, self.height) else self._blurred(picture)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """A picture like the one given -> uint8 (height, width, 3)."""
        inner = _resize(self._part(image), *self.inner)
        if self._border is None:
            return inner
        (x, y), (width, height), out = self._place, self.inner, self._border.copy()
        out[y : y + height, x : x + width] = inner
        return out

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) of the picture, in px of the result."""
        return (points[:, :2] - self._corner) * self.scale + self._place

    def _part(self, image: np.ndarray) -> np.ndarray:
        (left, top), (wide, high) = self._corner, self._sides
        return image[top : top + high, left : left + wide]

    def _blurred(self, picture: np.ndarray) -> np.ndarray:
        """The still picture, enlarged to cover the result, out of focus."""
        shrink = max(1, max(self.width, self.height) // 256)  # a blur needs no more pixels
        width, height = max(2, self.width // shrink), max(2, self.height // shrink)
        part = self._part(picture)
        grown = max(width / part.shape[1], height / part.shape[0])
        covering = max(width, round(part.shape[1] * grown)), max(height, round(part.shape[0] * grown))
        whole = _resize(part, *covering)
        x, y = (whole.shape[1] - width) // 2, (whole.shape[0] - height) // 2
        sigma = BORDER_BLUR * max(width, height)
        soft = cv2.GaussianBlur(whole[y : y + height, x : x + width], None, sigma, borderType=cv2.BORDER_REPLICATE)
        large = cv2.resize(soft.astype(np.float32), (self.width, self.height), interpolation=cv2.INTER_CUBIC)
        return np.rint(np.clip(BORDER_LIGHT * large, 0, 255)).astype(np.uint8)


def _cut(width: int, height: int, faces: Sequence[np.ndarray], aspect: Fraction) -> tuple[int, int]:
    """Sides of what is kept: of the shape where the heads fit into that, else as near to it as they do."""
    heads = [_span(faces, axis, ROOM, total) for axis, total in ((0, width), (1, height))]
    room = [int(np.ceil(high - low)) for low, high in heads]
    wide = min(width, max(round(height * aspect), room[0]))
    high = min(height, max(round(width / aspect), room[1]))
    exact = min(wide, round(high * aspect)), min(high, round(wide / aspect))
    least = [_span(faces, axis, FACE, total) for axis, total in ((0, width), (1, height))]
    narrow = exact[0] >= (1 - NARROW) * wide and exact[1] >= (1 - NARROW) * high
    if narrow and all(side >= high - low for side, (low, high) in zip(exact, least, strict=True)):
        return exact
    return wide, high


def _span(faces: Sequence[np.ndarray], axis: int, room: float, total: int) -> tuple[float, float]:
    """From where to where along an axis squares around all faces reach, within the picture; room: see ROOM."""
    ends = []
    for face in faces:
        low, high = face[:, :2].min(0), face[:, :2].max(0)
        centre, half = (low + high)[axis] / 2, room * float((high - low).max()) / 2
        ends.append((centre - half, centre + half))
    if not ends:
        return total / 2, total / 2
    return max(0.0, min(low for low, _ in ends)), min(float(total), max(high for _, high in ends))


def _begin(faces: Sequence[np.ndarray], axis: int, side: int, total: int) -> int:
    """Where along an axis what is kept begins: the heads are in its middle, as far as the picture reaches."""
    return int(np.clip(round((sum(_span(faces, axis, ROOM, total)) - side) / 2), 0, total - side))


def _even(side: Fraction | float, down: bool) -> int:
    return max(2, 2 * (int(side / 2) if down else round(side / 2)))


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    method = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LANCZOS4
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=method)
