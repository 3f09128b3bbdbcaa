"""`vaegan.animate`: pictures in, pictures out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaegan.pipeline import Driver, Transfer, choose_device
from vaegan.settings import TransferSettings

if TYPE_CHECKING:
    from vaegan.faces.tracker import FaceTracker
    from vaegan.model import FaceModel
    from vaegan.notes import Note

log = logging.getLogger(__name__)


def animate(
    photo: str | Path | np.ndarray,
    driver: Driver,
    model: FaceModel | str | Path = "motion64",
    tracker: FaceTracker | None = None,
    device: str = "auto",
    **options,
) -> Iterator[np.ndarray]:
    """The photo, moved by the driver: frames uint8 (H, W, 3), made while they are asked for.

    photo: file, shipped name, or uint8 (H, W, 3)
    driver: video, folder of pictures, motion file, shipped motion's name, Motion, or an iterator of (time, picture)
    model: a loaded model, a shipped name or a model folder; device: for one that is loaded here
    options: the fields of `vaegan.settings.TransferSettings`, as the options of `transfer`
    Raises UserError.
    """
    if isinstance(model, (str, Path)):
        from vaegan.model import load_model

        model = load_model(model, device=choose_device(device))
    run = Transfer(photo, driver, model, TransferSettings(**options), tracker)
    _log(run.notes)
    return _images(run)


def _images(run: Transfer) -> Iterator[np.ndarray]:
    with closing(run.frames()) as frames:
        for frame in frames:
            _log(frame.notes)
            yield frame.image


def _log(notes: Iterable[Note]) -> None:
    """The choice of a reference is no cause for a warning, all else is."""
    for note in notes:
        log.log(logging.INFO if note.kind == "reference" else logging.WARNING, note.text)
