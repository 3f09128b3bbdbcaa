"""A transfer preview in the logger: validation crops moved by one driving clip, after every validation."""

import itertools
import os
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from vaegan.errors import UserError
from vaegan.faces.tracker import FaceTracker
from vaegan.media import VIDEO_SUFFIXES, VideoWriter
from vaegan.model import Framing
from vaegan.portrait import FaceCropper
from vaegan.sources import VideoSource
from vaegan.tensors import to_float, to_uint8
from vaegan.training.module import TrainingModule


class TransferPreview(pl.Callback):
    """Writes RUN/preview/epoch-NNNN.mp4: what the module makes of validation crops and a driver.

    Without a driver it says so once and stays silent.

    Args:
        driver: a video; empty: the first clip of $VAEGAN_DATA/clips/dev. photos: how many validation crops to move.
        frames: at most this many of the driver.

    Raises:
        UserError: a driver is named that is not there.
    """

    def __init__(self, folder: Path, driver: str, photos: int, frames: int):
        self.folder, self.driver, self.photos, self.frames = folder / "preview", driver, photos, frames
        if driver and not Path(driver).is_file():
            raise UserError(f"callbacks.preview.driver={driver}: there is no such file")
        self.crops: Tensor | None = None
        self.rate = Fraction(25)

    def on_fit_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        if module.framing is None:
            return
        try:
            crops, self.rate = driver_crops(_driver(self.driver), module.framing, module.size, self.frames)
        except UserError as error:
            module.print(f"no transfer preview: {error}")
            return
        self.crops = to_float(crops)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        if self.crops is None or not trainer.is_global_zero:
            return
        frames = module.preview(self.crops.to(module.device), trainer.datamodule, self.photos)
        if frames is None:
            return
        strips = to_uint8(frames)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"epoch-{trainer.current_epoch + 1:04d}.mp4"
        with VideoWriter(path, strips.shape[2], strips.shape[1], self.rate) as writer:
            for strip in strips:
                writer.write(strip)
        for logger in trainer.loggers:
            logger.log_video(path, strips, self.rate, module.progress.step)


def _driver(name: str) -> Path:
    if name:
        return Path(name)
    clips = Path(os.environ.get("VAEGAN_DATA", "")) / "clips" / "dev"
    found = sorted(p for p in clips.glob("[!.]*") if p.suffix.lower() in VIDEO_SUFFIXES) if clips.is_dir() else []
    if not found:
        raise UserError("VAEGAN_DATA holds no clips/dev; name a video with callbacks.preview.driver")
    return found[0]


def driver_crops(path: Path, framing: Framing, size: int, frames: int) -> tuple[np.ndarray, Fraction]:
    """The driver as a model of this framing sees it: uint8 (T, size, size, 3), T <= `frames`, and its frame rate.

    Frames without a face are left out. Raises UserError for a driver that cannot be read or shows no face.
    """
    source, cropper = VideoSource(path), FaceCropper(FaceTracker(), framing, size)
    with closing(source.frames()) as read:
        cut = [cropper.cut(frame.image)[1] for frame in itertools.islice(read, frames)]
    crops = [crop for crop in cut if crop is not None]
    if not crops:
        raise UserError(f"{path}: no face found in its first {frames} frames")
    return np.stack(crops), source.rate
