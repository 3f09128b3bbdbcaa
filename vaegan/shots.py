"""The shots of a driver, joined: after a cut the motion goes on as if the person of the first shot made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from vaegan.directions import directions_of, has_directions
from vaegan.reference import delta_to

if TYPE_CHECKING:
    from vaegan.model import FaceModel
    from vaegan.portrait import DriverFrame


class Shots:
    """Takes what is recorded of a driver's frames, in their order, to the first shot's person and place.

    Each later shot counts from its own first face: this is set down where the first face of all was, and on that
    person's latent, with the pose and expression that the heads read off it; without heads, with that of the first.
    delta: see `vaegan.motion.delta`
    """

    def __init__(self, model: FaceModel, delta: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        self.model, self.delta, self.shot = model, delta, 0
        self._first: np.ndarray | None = None
        self._began: np.ndarray | None = None
        self._change: np.ndarray | None = None

    def join(self, rows: np.ndarray, frames: list[DriverFrame]) -> None:
        """rows: records with z (D,), box (4,) and heads of each frame, changed in place."""
        for row, frame in zip(rows, frames, strict=True):
            if frame.found and self._first is None:
                self._first, self.shot = row.copy(), frame.shot
            if frame.found and frame.shot != self.shot:
                self.shot, self._began = frame.shot, row.copy()
                self._change = self.delta(self._first["z"], row["z"])
                if has_directions(self.model):
                    directions = directions_of(self.model)
                    self._change = self._change + delta_to(self.model, directions, self._first["z"], row["heads"])
            if frame.portrait is not None and self._change is not None:
                grown = self._first["box"][2] / self._began["box"][2]
                row["z"] += self._change
                row["box"][:2] = self._first["box"][:2] + grown * (row["box"][:2] - self._began["box"][:2])
                row["box"][2] *= grown
