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
from vaegan.motion import delta
from vaegan.portrait import FaceCropper
from vaegan.sources import VideoSource
from vaegan.tensors import to_float, to_uint8
from vaegan.training.loggers import log_video
from vaegan.training.module import FaceTraining


class TransferPreview(pl.Callback):
    """Writes `folder`/epoch-NNNN.mp4: driver, its reconstruction, and photos moved by its latent differences.

    Without a driver it says so once and stays silent.

    Args:
        driver: a video; empty: the first clip of $VAEGAN_DATA/clips/dev. photos: how many validation crops to move.
        scale, follow: the model's framing. frames: at most so many.
    """

    def __init__(self, folder: Path, driver: str, photos: int, scale: float, follow: bool, frames: int):
        self.folder, self.driver, self.photos, self.frames = folder, driver, photos, frames
        self.scale, self.follow = scale, follow
        self.crops: Tensor | None = None
        self.rate = Fraction(25)

    def on_fit_start(self, trainer: pl.Trainer, module: FaceTraining) -> None:
        try:
            path = _driver(self.driver)
            crops, self.rate = driver_crops(path, module.vae.config["size"], self.scale, self.follow, self.frames)
        except UserError as error:
            module.print(f"no transfer preview: {error}")
            return
        self.crops = to_float(crops)
        self.folder.mkdir(parents=True, exist_ok=True)

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: FaceTraining) -> None:
        if self.crops is None or not trainer.is_global_zero:
            return
        val = trainer.datamodule.val.crops
        photos = to_float(val[np.linspace(0, len(val) - 1, self.photos).astype(int)])
        strips = preview(module, self.crops, photos)
        path = self.folder / f"epoch-{trainer.current_epoch + 1:04d}.mp4"
        with VideoWriter(path, strips.shape[2], strips.shape[1], self.rate) as writer:
            for strip in strips:
                writer.write(strip)
        log_video(trainer.loggers, path, strips, self.rate, module.step_count)


def _driver(name: str) -> Path:
    if name:
        return Path(name)
    clips = Path(os.environ.get("VAEGAN_DATA", "")) / "clips" / "dev"
    found = sorted(p for p in clips.glob("*") if p.suffix.lower() in VIDEO_SUFFIXES) if clips.is_dir() else []
    if not found:
        raise UserError("VAEGAN_DATA holds no clips/dev; name a video with callbacks.preview_driver")
    return found[0]


def driver_crops(path: Path, size: int, scale: float, follow: bool, frames: int) -> tuple[np.ndarray, Fraction]:
    """The driver as a model of this framing sees it: uint8 (T, size, size, 3), T <= `frames`, and its frame rate.

    Frames without a face are left out. Raises UserError for a driver that cannot be read or shows no face.
    """
    source, cropper = VideoSource(path), FaceCropper(FaceTracker(), Framing(scale, follow), size)
    with closing(source.frames()) as read:
        cut = [cropper.cut(frame.image)[1] for frame in itertools.islice(read, frames)]
    crops = [crop for crop in cut if crop is not None]
    if not crops:
        raise UserError(f"{path}: no face found in its first {frames} frames")
    return np.stack(crops), source.rate


@torch.no_grad()
def preview(module: FaceTraining, driver: Tensor, photos: Tensor) -> np.ndarray:
    """uint8 (T, S, S * (2 + P), 3): driver, its reconstruction, then P photos, moved by it."""
    vae = module.ema.module
    driver, photos = driver.to(module.device), photos.to(module.device)
    z, _ = vae.encoder(driver)
    z_photos, _ = vae.encoder(photos)
    moved = [torch.sigmoid(vae.decoder(z_photo + delta(z, z[:1]))) for z_photo in z_photos]
    strips = torch.cat([driver, torch.sigmoid(vae.decoder(z)), *moved], dim=3)
    return to_uint8(strips)
