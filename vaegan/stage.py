"""A photo set up to be drawn: its renderer, what of it is shown, and the shape and size of what is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np

from vaegan.notes import size_notes
from vaegan.render import Rendered, build_group
from vaegan.render.extent import Extent, crop_side, parse_aspect
from vaegan.render.view import FullView

if TYPE_CHECKING:
    from vaegan.model import FaceModel
    from vaegan.portrait import Portrait
    from vaegan.settings import TransferSettings


MOST_PX, MOST_LINES = 3840, 2160
"""Longer and shorter side in px that a result has at most, where no size is asked for."""


class Stage:
    """What draws faces of one photo as the settings ask for it.

    Args:
        photos: the faces that move, the one that is measured first.
        crop_size: side of the crops in px, where they alone are shown; None: 256, and in the crop view what is shown.

    Attributes:
        renderer_name, view_name: what was chosen.
        width, height: of the images, px.
        faces: where the faces that move are in the images at rest: points (478, 2) in px, each.
        notes: on a photo that is larger than what is shown.

    Raises:
        UserError: it cannot be drawn so.
    """

    def __init__(
        self, photos: list[Portrait], model: FaceModel, settings: TransferSettings, crop_size: int | None = None
    ) -> None:
        s, given, alone = settings, photos[0], crop_size is not None
        self.renderer_name = s.renderer or ("warp" if model.has_heads else "decode")
        self.view_name = s.view or ("full" if self.renderer_name == "warp" or len(photos) > 1 else "crop")
        self.crop_size = crop_size or crop_side(self.view_name, s.size, s.aspect)
        if self.view_name == "full":
            photos = _as_large_as_shown(photos, replace(s, size=None, aspect=None) if alone else s)
        self.photo = photos[0]
        refiner = None if s.refiner == "none" else s.refiner
        self.view, self.renderer = build_group(
            self.renderer_name, model, photos, self.crop_size, self.view_name, refiner
        )
        full = isinstance(self.view, FullView)
        self.faces = [np.asarray(photo.mesh, float)[:, :2] for photo in photos]
        if not full:
            self.faces = [self.renderer.shown.to_crop(mesh, self.crop_size) for mesh in self.faces]
        self._extent = None
        if not alone and (s.aspect is not None or (s.size is not None and full)):
            picture = self.view.image if full else self.photo_picture
            self._extent = Extent(picture, self.faces, s.aspect and parse_aspect(s.aspect), s.size)
            self.faces = [self._extent.points(mesh) for mesh in self.faces]
        shown = self._extent or self.view
        self.width, self.height = shown.width, shown.height
        capped = full and s.size is None and self.photo is not given
        self.notes = size_notes(given.image, self.width, self.height) if capped else ()

    def draw(self, deltas: np.ndarray, placement: np.ndarray) -> Iterator[Rendered]:
        """As `vaegan.render.Renderer.render`, or of several faces as `Group.render`, one after the other."""
        for drawn in self.renderer.render(deltas, placement):
            yield drawn if self._extent is None else replace(drawn, image=self._extent.apply(drawn.image))

    @cached_property
    def photo_picture(self) -> np.ndarray:
        """The photo as the crops show it, uint8 (crop_size, crop_size, 3)."""
        return self.renderer.shown.crop(self.photo.image, self.crop_size)


def _as_large_as_shown(photos: list[Portrait], settings: TransferSettings) -> list[Portrait]:
    """Faces of one photo, that one no larger than it is shown: moving more pixels would be in vain."""
    height, width = photos[0].image.shape[:2]
    if settings.size is None:
        factor = min(MOST_PX / max(width, height), MOST_LINES / min(width, height))
    else:
        aspect = settings.aspect and parse_aspect(settings.aspect)
        faces = [np.asarray(photo.mesh, float)[:, :2] for photo in photos]
        factor = Extent(photos[0].image, faces, aspect, settings.size).scale + 1 / min(width, height)
    if factor >= 1:
        return photos
    size = [max(2, round(side * factor)) for side in (width, height)]
    image = cv2.resize(photos[0].image, size, interpolation=cv2.INTER_AREA)
    return [photo.scaled(image) for photo in photos]
