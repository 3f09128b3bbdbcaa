"""The photo itself moves: its mesh and W delta bend it, a small network mends it, its own pixels are shown."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vaegan.faces.geometry import CropTransform, mesh_box
from vaegan.faces.regions import INNER_LIPS, IRISES, LEFT_LIDS, LIPS, OUTER_LIPS, RIGHT_LIDS
from vaegan.render.canvas import Canvas, Moved, view_square
from vaegan.render.field import Field, at_rest, dense_field
from vaegan.render.irises import carried_by_lids, irises_kept
from vaegan.render.openings import Openings
from vaegan.render.reach import Reach
from vaegan.render.refiner import (
    SIZE,
    VIEW,
    Refiner,
    compose,
    in_place,
    mesh_in_place,
    moved_placement,
    pull,
    refiner_inputs,
    where_painted,
)
from vaegan.render.renderer import Rendered, Renderer
from vaegan.render.surroundings import AROUND, Surroundings
from vaegan.render.teeth import teeth_kept
from vaegan.render.view import FullView, View, above_the_edge
from vaegan.tensors import to_float

if TYPE_CHECKING:
    from vaegan.model import FaceModel
    from vaegan.portrait import Portrait

GAIN = {LIPS: 1.2, RIGHT_LIDS + LEFT_LIDS: 1.2, IRISES: 1.3}
"""A linear head gives back less of the lips than there was, about .85 on clips of people it has not seen, and a
landmarker sees in the result about .8 of what is asked of lips and lids, .65 of irises. Part of that is put back."""


TOGETHER = 4
"""Frames that the refiner looks at in one go: with more, the processor's caches overflow."""


class Warp(Renderer):
    """The photo, moved by its mesh and W delta.

    Args:
        model: with heads. portrait: the photo. refiner: None shows the warp as it is. It goes over to bfloat16
            where the processor multiplies in that.
        size: side of the crops in px; a crop is the photo's view, twice the mesh box, less what would lie below the
            photo. view: what is written.
    """

    def __init__(self, model: FaceModel, portrait: Portrait, refiner: Refiner | None, size: int, view: View) -> None:
        x, y, side = mesh_box(portrait.mesh)
        region = CropTransform(x, y, VIEW * side)
        self.model, self.size = model, size
        kind = torch.bfloat16 if _has_bfloat16() else torch.float32
        self.refiner = None if refiner is None else refiner.to(kind, memory_format=torch.channels_last)
        shown = self.shown = above_the_edge(region, portrait.image)
        self.whole = isinstance(view, FullView)
        if self.whole:
            self.region, self.canvas = region, Canvas(view.image, Surroundings.of_photo(view.image, region))
        else:
            middle = shown.to_crop(np.array([[region.cx, region.cy]]), size)[0]
            self.region = CropTransform(*middle, region.side * size / shown.side)
            around = Surroundings.of_square(portrait.image, region, shown, size)
            self.canvas = Canvas(shown.crop(portrait.image, size), around)
        around = region.scaled(AROUND).crop(portrait.image, round(AROUND * SIZE))
        self.photo = to_float(around)[None]
        self.rest = at_rest(_batch(region.to_crop(np.asarray(portrait.mesh, np.float64), 1.0)))
        self.shape = _batch(portrait.crop.to_crop(np.asarray(portrait.mesh, np.float64), 1.0))
        centre = region.to_crop(np.array([[portrait.crop.cx, portrait.crop.cy]]), 1.0)[0]
        self.placement = _batch([*centre, portrait.crop.side / region.side, portrait.crop.roll])
        self.reach, self.openings = Reach(self.shape), Openings(self.shape[..., :2])
        self.z = _batch(portrait.z)
        self.gain = torch.ones(len(portrait.mesh), 1)
        for points, gain in GAIN.items():
            self.gain[list(points)] = gain
        lips = (self.rest.mesh[:, OUTER_LIPS] + self.rest.mesh[:, INNER_LIPS]) / 2
        self.lips = self._pull(lips[None])[0, :, 0].median(1).values  # their colour
        with torch.inference_mode():
            self.still = model.decode(self.z).float().cpu()

    def move(self, deltas: np.ndarray, placement: np.ndarray) -> list[Moved]:
        """As `Renderer.move`."""
        with torch.inference_mode():
            change = torch.from_numpy(np.asarray(deltas, np.float32))
            read = self.model.heads(torch.cat([self.z, self.z + change]))[0].float().cpu()
            shapes, left = self.reach.bound(self.shape + read[1:] - read[:1], self.gain)
            decoded = self.model.decode(self.z + left[:, None] * change).float().cpu()
            return self._placed(self.openings.bound(shapes), decoded, placement)

    def show(self, faces: list[Moved]) -> Rendered:
        """As `Renderer.show`."""
        frame = self.canvas.show(faces)
        return Rendered(self.shown.crop(frame, self.size) if self.whole else frame, frame)

    def morph(self, shapes: np.ndarray, deltas: np.ndarray) -> list[Rendered]:
        """The photo with its mesh moved to others, in place.

        shapes: float (N, 478, 2) in sides of the model's crop; deltas: float32 (N, D), of what the refiner is shown
        """
        with torch.inference_mode():
            decoded = self.model.decode(self.z + torch.from_numpy(np.asarray(deltas, np.float32))).float().cpu()
            shapes = torch.from_numpy(np.asarray(shapes, np.float32))
            return [self.show([face]) for face in self._placed(shapes, decoded, np.zeros((len(shapes), 4)))]

    def _placed(self, shapes: Tensor, decoded: Tensor, placement: np.ndarray) -> list[Moved]:
        """Meshes (N, 478, 2) in sides of the crop and what is decoded of them (N, 3, S, S), in their places."""
        moved = torch.from_numpy(np.array(placement, np.float32))
        moved[:, :2] /= self.model.framing.scale  # from face sizes to sides of the crop
        places = moved_placement(self.placement, moved)
        meshes = mesh_in_place(shapes, places)
        centres, scales = 0.5 + places[:, :2] - self.placement[:, :2], places[:, 2] / self.placement[:, 2]
        squares = [view_square(self.region, *at) for at in zip(centres.numpy(), scales.tolist(), strict=True)]
        views = torch.from_numpy(np.stack([view for _, _, view in squares]))
        fields = dense_field(self.rest, carried_by_lids(self.rest.mesh, meshes), SIZE, views)
        middles = (places[:, :2] - views[:, :2]) / views[:, 2:] + 0.5
        places = torch.cat([middles, places[:, 2:3] / views[:, 2:], places[:, 3:]], 1)
        fields, eyes = irises_kept(fields, meshes)
        moved = [
            Moved(self.region, fields[i : i + 1], corner, side, eyes=eyes[i])
            for i, (corner, side, _) in enumerate(squares)
        ]
        if self.refiner is None:
            return moved
        few = (slice(start, start + TOGETHER) for start in range(0, len(moved), TOGETHER))
        outputs = chain.from_iterable(self._refined(fields[own], places[own], decoded[own]) for own in few)
        return [self._painted(one, its[None]) for one, its in zip(moved, outputs, strict=True)]

    def _refined(self, fields: Field, places: Tensor, decoded: Tensor) -> Tensor:
        """What the refiner says of moved faces, (N, OUTPUTS, S / 2, S / 2). places: of what is decoded, in the view."""
        n, kind = len(decoded), next(self.refiner.parameters()).dtype
        faces = in_place(torch.cat([decoded, self.still.expand_as(decoded)]), places.repeat(2, 1), SIZE // 2)
        inputs = refiner_inputs(self._pull(fields.position), fields, faces[:n], faces[n:])
        return self.refiner(inputs.contiguous(memory_format=torch.channels_last).to(kind)).float()

    def _painted(self, face: Moved, outputs: Tensor) -> Moved:
        """A face with what is painted on it; outputs (1, OUTPUTS, S / 2, S / 2), of the refiner."""
        field, dark, share = teeth_kept(face.field, self.lips)
        colour = np.zeros((SIZE, SIZE, 3), np.float32)
        rows, columns = where_painted(field.region[0])
        if rows.stop:
            shown = self._pull(field.position[:, rows, columns])
            halves = (slice(part.start // 2, part.stop // 2) for part in (rows, columns))
            made, _ = compose(shown, field.region[:, rows, columns], outputs[:, :, *halves].contiguous())
            colour[rows, columns] = 255 * (made - shown)[0].permute(1, 2, 0).numpy()
        cover = torch.cat([255 * dark * share, share], 1)[0].permute(1, 2, 0).numpy() if share.any() else None
        return replace(face, field=field, colour=colour, cover=cover)

    def _pull(self, position: Tensor) -> Tensor:
        """The photo at the places (N, S, S, 2), in sides of its view."""
        return pull(self.photo.expand(len(position), -1, -1, -1), (position - 0.5) / AROUND + 0.5)


@cache
def _has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16, at which the refiner takes half of the time."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _batch(array) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))[None]
