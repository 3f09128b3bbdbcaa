"""From one photo to the next: latents in between decoded, or both photos bent to a mesh in between and dissolved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from vaegan.errors import UserError
from vaegan.keyframes import EASES
from vaegan.media import VIDEO_SUFFIXES, ResultWriter, check_output
from vaegan.motion import delta
from vaegan.portrait import Portrait, read_portrait
from vaegan.render import RENDERERS, build_renderer
from vaegan.render.view import build_view
from vaegan.samples import find_photo

if TYPE_CHECKING:
    from vaegan.faces.tracker import FaceTracker
    from vaegan.model import FaceModel
    from vaegan.render import Renderer

LEAST, MOST = 2, 6
"""Photos in a row."""

LEAST_SHOWN, LEAST_BELOW = 1.6, 0.5
"""Sides of the model's crop that are shown at least, where photos end earlier: hair; and of one, below its middle: the
chin."""

LONGEST = 60.0
"""Seconds from one photo to the next."""


@dataclass(frozen=True)
class Interpolated:
    """file: the video; frames: of width x height px, rate a second; renderer: how they were made"""

    file: Path
    frames: int
    width: int
    height: int
    rate: Fraction
    renderer: str


class Interpolation:
    """Two to six photos in a row, ready to be drawn, the faces in one place: where the largest of them is.

    photos: files, shipped names, or uint8 (H, W, 3)
    seconds: from one photo to the next; loop: back to the first at the end; fps: frames per second
    renderer: "warp": the photos themselves, at the size of the one with the largest face; "decode": the latents in
        between, decoded, `size` px; None: warp where the model can
    refiner: of warp, a shipped name or a folder, "none": the warp as it is
    Raises UserError.
    """

    def __init__(
        self,
        photos: Sequence[str | Path | np.ndarray],
        model: FaceModel,
        seconds: float = 2.0,
        loop: bool = False,
        fps: Fraction | float = 25,
        size: int = 256,
        renderer: str | None = None,
        refiner: str = "warp",
        tracker: FaceTracker | None = None,
    ) -> None:
        self.rate = Fraction(str(fps))
        if not LEAST <= len(photos) <= MOST:
            raise UserError(f"{len(photos)} photos: give {LEAST} to {MOST}")
        if not 0 < seconds <= LONGEST or not Fraction(1, 10) <= self.rate <= 240:
            raise UserError(f"{seconds:g} s at {self.rate} frames/s: use up to {LONGEST:g} s, and 0.1 to 240 frames/s")
        if not 16 <= size <= 2048 or size % 2:
            raise UserError(f"size {size} is not possible: use an even number from 16 to 2048")
        self.renderer = renderer or ("warp" if model.has_heads else "decode")
        if self.renderer not in RENDERERS:
            raise UserError(f"renderer {renderer!r} is not known: use {' or '.join(RENDERERS)}")
        if tracker is None:
            from vaegan.faces.tracker import FaceTracker

            tracker = FaceTracker()
        files = (photo if isinstance(photo, np.ndarray) else find_photo(photo) for photo in photos)
        self.portraits = _in_line([read_portrait(photo, model, tracker) for photo in files])
        chosen = None if refiner == "none" else refiner
        self._renderers: list[Renderer] = []
        for portrait in self.portraits:
            view = build_view("full" if self.renderer == "warp" else "crop", size, portrait, model.framing.scale)
            self._renderers.append(build_renderer(self.renderer, model, portrait, size, view, chosen))
        self.width, self.height, self.loop = view.width, view.height, loop
        self.steps = max(1, round(seconds * self.rate))

    @property
    def faces(self) -> list[np.ndarray]:
        """Where the faces are in the frames: points (478, 2) in px, of each photo."""
        meshes = [portrait.mesh[:, :2] for portrait in self.portraits]
        if self.renderer == "warp":
            return meshes
        shown = [renderer.shown for renderer in self._renderers]
        return [crop.to_crop(mesh, self.width) for crop, mesh in zip(shown, meshes, strict=True)]

    def __len__(self) -> int:
        """Frames in all: the first photo, and all steps; in a loop the last is the one before the first."""
        return self.steps * len(self.portraits) if self.loop else self.steps * (len(self.portraits) - 1) + 1

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames uint8 (height, width, 3), made while they are asked for."""
        for number in range(len(self)):
            at, step = divmod(number, self.steps)
            share = EASES["smooth"](step / self.steps)
            yield self._frame(at % len(self.portraits), (at + 1) % len(self.portraits), share)

    def _frame(self, a: int, b: int, share: float) -> np.ndarray:
        """What is `share` of the way from photo a to photo b."""
        change = delta(self.portraits[b].z, self.portraits[a].z)
        if self.renderer == "decode":
            return self._renderers[a].render(share * change[None], np.zeros((1, 4)))[0].image
        shapes = [self.portraits[k].crop.to_crop(self.portraits[k].mesh, 1.0)[:, :2] for k in (a, b)]
        shape = (1 - share) * shapes[0] + share * shapes[1]
        sides = ((a, share, 1 - share), (b, share - 1, share))
        mixed = np.zeros((self.height, self.width, 3), np.float32)
        for k, way, weight in sides:
            if weight > 0:
                mixed += np.float32(weight) * self._renderers[k].morph(shape[None], way * change[None])[0].image
        return np.rint(mixed).astype(np.uint8)


def interpolate(
    photos: Sequence[str | Path],
    output: str | Path,
    *,
    seconds: float = 2.0,
    loop: bool = False,
    fps: Fraction | float = 25,
    size: int = 256,
    model: str | Path | FaceModel = "motion64",
    renderer: str | None = None,
    refiner: str = "warp",
    no_label: bool = False,
    device: str = "auto",
    tracker: FaceTracker | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Interpolated:
    """Write an animation from photo to photo: what `vaegan interpolate` does, with its options.

    no_label: leave out the words that tell who sees it that it is synthetic
    on_progress: called with frames done and frames in all; the rest as in `Interpolation`
    Raises UserError; no file is left half written.
    """
    from vaegan.job import load

    files = [find_photo(photo) for photo in photos]
    output = check_output(output, *files, suffixes=VIDEO_SUFFIXES)
    model = load(model, device) if isinstance(model, (str, Path)) else model
    frames = Interpolation(files, model, seconds, loop, fps, size, renderer, refiner, tracker)
    shape = frames.width, frames.height, frames.rate
    with ResultWriter(output, *shape, model.id, frames.faces, not no_label) as video:
        for frame in frames:
            video.write(frame)
            on_progress(video.count, len(frames))
    return Interpolated(output, video.count, frames.width, frames.height, frames.rate, frames.renderer)


def _in_line(portraits: list[Portrait]) -> list[Portrait]:
    """The same people, in pictures of one size in which the faces lie in one place.

    The largest face decides on place and size, and its photo is cut to what all show, but for the face itself.
    """
    first = max(portraits, key=lambda portrait: portrait.crop.side)
    laid = [_laid_on(first, portrait) for portrait in portraits]
    height, width = first.image.shape[:2]
    least = first.crop.scaled(LEAST_SHOWN).corners()
    low, high = least.min(0), least.max(0)
    high[1] = first.crop.cy + LEAST_BELOW * first.crop.side
    low, high = low.clip(0, None).astype(int), high.clip(None, (width, height)).astype(int)
    (left, top), (right, bottom) = _covered(np.all([seen for _, seen in laid], 0), low, high)
    cut = []
    for portrait, _ in laid:
        mesh = portrait.mesh - np.float32([left, top, 0])
        crop = replace(portrait.crop, cx=portrait.crop.cx - left, cy=portrait.crop.cy - top)
        image = np.ascontiguousarray(portrait.image[top:bottom, left:right])
        cut.append(replace(portrait, face=replace(portrait.face, mesh=mesh), crop=crop, image=image))
    return cut


def _laid_on(first: Portrait, portrait: Portrait) -> tuple[Portrait, np.ndarray]:
    """A portrait with its picture scaled, turned and moved so that its face lies where that of the first one does.

    Returns it, and where its picture reaches, bool (H, W).
    """
    height, width = first.image.shape[:2]
    if portrait is first:
        return portrait, np.ones((height, width), bool)
    image, scale = portrait.image, first.crop.side / portrait.crop.side
    matrix = first.crop.inverse_matrix(1.0) @ np.vstack([portrait.crop.matrix(1.0), [0, 0, 1]])
    if scale < 1:  # a picture that shrinks is averaged first
        extent = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        image = cv2.resize(image, extent, interpolation=cv2.INTER_AREA)
        matrix[:, :2] @= np.diag([portrait.image.shape[k] / image.shape[k] for k in (1, 0)])
    matrix[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5  # OpenCV counts from the middle of the first pixel
    flags = cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC
    laid = cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.warpAffine(np.ones(image.shape[:2], np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST)
    mesh = first.crop.to_picture(portrait.crop.to_crop(portrait.mesh, 1.0), 1.0).astype(np.float32)
    return replace(portrait, face=replace(portrait.face, mesh=mesh), crop=first.crop, image=laid), seen > 0


def _covered(seen: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[list[int], list[int]]:
    """Corners (x, y) of a rectangle around the one from low to high in which all is seen, as far as that can be.

    Cut off is, again and again, the edge of which the largest share is not seen.
    """
    left, top, bottom, right = 0, 0, *seen.shape
    while True:
        edges = {
            "left": (left < low[0], seen[top:bottom, left]),
            "top": (top < low[1], seen[top, left:right]),
            "right": (right > high[0], seen[top:bottom, right - 1]),
            "bottom": (bottom > high[1], seen[bottom - 1, left:right]),
        }
        missing = {name: float((~edge).mean()) for name, (free, edge) in edges.items() if free}
        worst = max(missing, key=missing.__getitem__, default=None)
        if worst is None or not missing[worst]:
            return [left, top], [right, bottom]
        left, top = left + (worst == "left"), top + (worst == "top")
        right, bottom = right - (worst == "right"), bottom - (worst == "bottom")
