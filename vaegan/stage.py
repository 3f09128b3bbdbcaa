"""A photo set up to be drawn: its renderer, what of it is shown, and the shape and size of what is written."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np

from vaegan.notes import size_notes
from vaegan.render import Rendered, build_group
from vaegan.render.extent import Extent, crop_side, parse_aspect
from vaegan.render.refiner_folder import load_refiner
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
        ended, passed: whether there is nothing more to draw on, and whether all has been; a still photo lasts.

    Raises:
        UserError: it cannot be drawn so.
    """

    ended, passed = False, True

    def __init__(
        self, photos: list[Portrait], model: FaceModel, settings: TransferSettings, crop_size: int | None = None
    ) -> None:
        s, given, alone = settings, photos[0], crop_size is not None
        self.model = model
        self.renderer_name = s.renderer or ("warp" if model.has_heads else "decode")
        self.view_name = s.view or ("full" if self.renderer_name == "warp" or len(photos) > 1 else "crop")
        self.crop_size = crop_size or crop_side(self.view_name, s.size, s.aspect)
        if self.view_name == "full":
            photos = _as_large_as_shown(photos, replace(s, size=None, aspect=None) if alone else s)
        self.photo = photos[0]
        refined = self.renderer_name == "warp" and s.refiner != "none"
        self._refiner = load_refiner(s.refiner)[0] if refined else None
        self.view, self.renderer = build_group(
            self.renderer_name, model, photos, self.crop_size, self.view_name, self._refiner
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

    def rewind(self) -> None:
        """Begin again; a still photo is where it was."""

    def close(self) -> None:
        """A still photo holds nothing open."""

    def with_photos(self, photos: list[Portrait]) -> Stage:
        """The same for faces of another picture of the same size, such as the next frame of a video."""
        stage = copy(self)
        stage.__dict__.pop("photo_picture", None)
        if self.view_name == "full":
            photos = _in_size_of(photos, self.photo.image)
        stage.photo = photos[0]
        stage.view, stage.renderer = build_group(
            self.renderer_name, self.model, photos, self.crop_size, self.view_name, self._refiner
        )
        return stage

    def at_rest(self, image: np.ndarray) -> Rendered:
        """Another picture of the same size as it is shown where nothing in it moves."""
        crop = self.renderer.shown.crop(image, self.crop_size)
        if self.view_name != "full":
            shown = crop
        else:
            height, width = self.view.image.shape[:2]
            shown = np.ascontiguousarray(_shrunk(image, self.photo.image)[:height, :width])
            crop = self.renderer.shown.crop(shown, self.crop_size)
        return Rendered(crop, shown if self._extent is None else self._extent.apply(shown), crop)

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


def _in_size_of(photos: list[Portrait], picture: np.ndarray) -> list[Portrait]:
    """Faces of one photo, that one brought to the size of a picture."""
    image = _shrunk(photos[0].image, picture)
    return photos if image is photos[0].image else [photo.scaled(image) for photo in photos]


def _shrunk(image: np.ndarray, picture: np.ndarray) -> np.ndarray:
    if image.shape == picture.shape:
        return image
    return cv2.resize(image, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
