"""The video of a result: it says, to who sees it and to who reads it, that it is synthetic."""

import os
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vaegan.media.label import Label
from vaegan.media.statement import statement
from vaegan.media.writer import VideoWriter


class ResultWriter(VideoWriter):
    """A `VideoWriter` whose files carry a statement and, unless told otherwise, a visible label.

    Args:
        model_id: of the model that made the pictures.
        faces: points (N, 2) in px of the pictures, of each face that the label is to leave free.
        label: whether there is one.
        options: of `VideoWriter`.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        width: int,
        height: int,
        rate: Fraction | float,
        model_id: str,
        faces: Sequence[np.ndarray] = (),
        label: bool = True,
        **options,
    ):
        super().__init__(path, width, height, rate, comment=statement(model_id), **options)
        self.label = Label(width, height, faces) if label else None

    def write(self, image: np.ndarray, time: float | None = None) -> None:
        super().write(image if self.label is None else self.label.draw(image), time)
