"""Frames of a driver to pick the reference from; of a motion, which has no pictures, how it moves the photo's mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from vaegan.app.inputs import LONGEST_SECONDS, SHOWN_PX, fitted, named
from vaegan.faces.drawing import draw_mesh, draw_outline
from vaegan.faces.tracker import Face, FaceTracker
from vaegan.media import VideoWriter
from vaegan.motion import Motion
from vaegan.portrait import read_portrait
from vaegan.sources import open_source
from vaegan.storyboard import Thinned

if TYPE_CHECKING:
    from vaegan.model import FaceModel

COUNT = 8
"""Frames of a strip."""


@dataclass(frozen=True)
class Strip:
    """pictures uint8 (H, W, 3); their numbers, counted as --reference counts them, and times in s; found: how many
    show a face"""

    pictures: list[np.ndarray]
    numbers: list[int]
    times: list[float]
    found: int


def strip_of_video(driver: Path, start: float = 0.0, end: float | None = None, fps: Fraction | None = None) -> Strip:
    """Evenly spaced frames with what is found in them. Raises UserError."""
    kept: Thinned[tuple[int, float, np.ndarray]] = Thinned(2 * COUNT)
    source = named(driver, lambda: open_source(driver, start, end, fps))
    with closing(source.frames()) as frames:
        for number, frame in enumerate(frames):
            if frame.time - start > LONGEST_SECONDS + 1:
                break
            kept.add(lambda frame=frame, number=number: (number, frame.time, fitted(frame.image, SHOWN_PX)))
    chosen = [kept.kept[i] for i in _spread(len(kept.kept))]
    tracker = FaceTracker()
    faces = [tracker.detect(image)[:1] for _, _, image in chosen]
    drawn = [draw_mesh(image, face, SHOWN_PX) for (_, _, image), face in zip(chosen, faces, strict=True)]
    return Strip(drawn, [n for n, _, _ in chosen], [t for _, t, _ in chosen], sum(map(bool, faces)))


def strip_of_motion(
    driver: Path,
    photo: Path,
    model: FaceModel,
    start: float = 0.0,
    end: float | None = None,
    fps: Fraction | None = None,
) -> Strip:
    """Evenly spaced frames of a motion, as it moves the photo's mesh. Raises UserError."""
    motion = named(driver, lambda: Motion.load(driver))
    motion.check_model(model.id)
    motion = motion.slice(start, end) if start or end is not None else motion
    motion = motion.resample(fps or motion.fps)
    numbers = _spread(len(motion))
    drawn = [*_outlines(motion.deltas[numbers], photo, model)]
    return Strip(drawn, numbers, motion.times[numbers].tolist(), int(motion.found[numbers].sum()))


def write_video(
    driver: Path, path: Path, start: float, end: float | None, fps: Fraction | None, on_frame: Callable[[], None]
) -> None:
    """The driver as a small video that every browser plays, frame by frame with the result."""
    source = open_source(driver, start, end, fps)
    with closing(source.frames()) as frames:
        _write((fitted(frame.image, SHOWN_PX) for frame in frames), path, source.rate, on_frame)


def write_outlines(driver: Path, path: Path, photo: Path, model: FaceModel, on_frame: Callable[[], None]) -> None:
    """Likewise of a motion file: the photo's mesh, moved by it."""
    motion = Motion.load(driver)
    _write(_outlines(motion.deltas, photo, model), path, motion.fps, on_frame)


def _write(pictures: Iterator[np.ndarray], path: Path, rate: Fraction, on_frame: Callable[[], None]) -> None:
    first = next(pictures)
    with VideoWriter(path, first.shape[1], first.shape[0], rate) as video:
        for image in chain([first], pictures):
            video.write(image)
            on_frame()


def _outlines(deltas: np.ndarray, photo: Path, model: FaceModel) -> Iterator[np.ndarray]:
    """The photo's mesh moved by deltas (N, D): uint8 (S, S, 3) each."""
    z = read_portrait(photo, model, FaceTracker()).z
    meshes = model.heads(torch.from_numpy(z + deltas))[0].float().cpu().numpy()
    for mesh in meshes:
        yield draw_outline(Face(mesh, np.zeros(52, np.float32), 1.0), 1, SHOWN_PX)


def _spread(count: int) -> list[int]:
    return np.linspace(0, count - 1, min(COUNT, count)).round().astype(int).tolist()
