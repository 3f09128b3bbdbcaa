"""What a run does beside learning: checkpoints, rates, picture grids, the PCA line, LPIPS, one line an epoch."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor
from torchvision.utils import make_grid

from vaegan import losses
from vaegan.data.cache import cache_root
from vaegan.errors import UserError
from vaegan.media import atomic_path, write_image
from vaegan.training.loggers import log_grid
from vaegan.training.module import FaceTraining
from vaegan.training.preview import TransferPreview


def build_callbacks(cfg: DictConfig, folder: Path) -> list[pl.Callback]:
    """The callbacks of `cfg.callbacks` for a run in `folder`; the `Curve` is the caller's, and comes last."""
    c = cfg.callbacks
    found: list[pl.Callback] = [
        ModelCheckpoint(dirpath=folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False),
        Pace(),
        LastValidation(),
        CheckpointsWithinEpochs(folder / "last.ckpt", c.checkpoint_steps),
    ]
    if c.pca_line:
        found.append(PcaLine(cfg.model.networks.latent))
    if c.lpips:
        found.append(PerceptualDistance(c.lpips_every))
    if c.grids:
        found.append(PictureGrids(folder / "grids", c.grid_columns))
    if c.preview:
        scale, follow = cfg.model.framing.scale, cfg.model.framing.follow
        found.append(
            TransferPreview(folder / "preview", c.preview_driver, c.preview_photos, scale, follow, c.preview_frames)
        )
    return found


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints written to a temporary name and renamed: a killed run leaves the last whole one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str, storage_options: Any = None) -> None:
        part = f"{path}.part"
        try:
            super().save_checkpoint(checkpoint, part, storage_options)
            os.replace(part, path)
        except OSError as error:
            Path(part).unlink(missing_ok=True)
            raise UserError(
                f"cannot write the checkpoint {path}: {error.strerror or error}; free some space"
            ) from error


def build_checkpointing() -> AtomicCheckpoints:
    return AtomicCheckpoints()


class CheckpointsWithinEpochs(pl.Callback):
    """Saves every so many steps where the data can go on within an epoch, as streams can: theirs last for hours."""

    def __init__(self, path: Path, every: int):
        self.path, self.every = path, every

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int):
        due = self.every > 0 and (index + 1) % self.every == 0 and not trainer.is_last_batch
        if due and hasattr(trainer.datamodule.train, "load_state_dict"):
            trainer.save_checkpoint(self.path, weights_only=False)


class LastValidation(pl.Callback):
    """Validates after the last epoch, whatever `trainer.validate_every` is: a finished model's figures are its own."""

    def on_train_epoch_start(self, trainer: pl.Trainer, module: FaceTraining) -> None:
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1


class Pace(pl.Callback):
    """Logs img/s over the last steps, validation and pictures not counted."""

    def __init__(self):
        self.started = 0.0
        self.seen = 0

    def on_train_start(self, trainer: pl.Trainer, module: FaceTraining) -> None:
        self.started, self.seen = time.perf_counter(), 0  # a run that goes on within an epoch does not begin it

    def on_train_epoch_start(self, trainer: pl.Trainer, module: FaceTraining) -> None:
        self.started, self.seen = time.perf_counter(), 0

    def on_train_batch_end(self, trainer: pl.Trainer, module: FaceTraining, outputs: Any, batch: Tensor, index: int):
        self.seen += len(batch) * trainer.world_size
        rate = self.seen / (time.perf_counter() - self.started)
        module.log("train/images_per_second", rate, prog_bar=True, on_step=True, on_epoch=False)


class PcaLine(pl.Callback):
    """PCA with as many components as the code has numbers, fitted to the training crops: the line to pass."""

    def __init__(self, k: int):
        self.k = k
        self.psnr: float | None = None

    def on_fit_start(self, trainer: pl.Trainer, module: FaceTraining) -> None:
        data = trainer.datamodule
        if min(len(data.train.crops), len(data.val.crops)) < self.k:
            return
        self.psnr = pca_psnr(data.train.crops, data.val.crops, self.k)

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: FaceTraining) -> None:
        if self.psnr is not None:
            module.log(f"val/psnr_pca{self.k}", self.psnr)


def pca_psnr(train: np.ndarray, val: np.ndarray, k: int) -> float:
    """Mean PSNR in dB of `val` crops rebuilt from k principal components of `train` and its mirror images.

    Both uint8 (N, S, S, 3). The figure is remembered beside the cached crops.
    """
    from vaegan.pca import fit_pca, mirrored_rows

    named = getattr(train, "filename", None)
    note = cache_root() / f"{Path(named).stem}-pca{k}.json" if named else None
    if note is not None and note.is_file():
        return float(json.loads(note.read_text())["psnr"])
    pca = fit_pca(mirrored_rows(train), k)
    rows = mirrored_rows(val)[: len(val)]
    value = float(losses.psnr(pca.reconstruct(rows).clamp(0, 1), rows).mean())
    if note is not None:
        with atomic_path(note) as path:
            path.write_text(json.dumps({"psnr": value}))
    return value


class PerceptualDistance(pl.Callback):
    """LPIPS(alex) between validation crops and reconstructions, where AlexNet's weights are at hand.

    It takes longer than all else that is validated: of the validations only one in `every`, and the last, has it.
    """

    def __init__(self, every: int):
        self.every = every
        self.network: torch.nn.Module | None = None

    def on_fit_start(self, trainer: pl.Trainer, module: FaceTraining) -> None:
        from vaegan.critics.lpips import load_lpips

        try:
            self.network = load_lpips()
        except UserError as error:
            module.print(f"LPIPS is left out of the log: {error}")

    def due(self, trainer: pl.Trainer) -> bool:
        """Whether this epoch's validation has it."""
        epoch, between = trainer.current_epoch + 1, trainer.check_val_every_n_epoch
        return self.network is not None and (epoch == trainer.max_epochs or epoch // between % self.every == 0)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, module: FaceTraining) -> None:
        if not self.due(trainer):
            return
        distances = []
        for crops in trainer.datamodule.val:
            crops = crops.to(module.device)
            pictures = torch.sigmoid(module.ema.module.decoder(module.ema.module.encoder(crops)[0]))
            distances.append(self.network.to(module.device)(2 * pictures - 1, 2 * crops - 1).flatten())
        module.log("val/lpips", torch.cat(distances).mean(), prog_bar=True)


class PictureGrids(pl.Callback):
    """After each validation a PNG: input, reconstruction and samples from the prior, in rows of `columns`."""

    def __init__(self, folder: Path, columns: int):
        self.folder, self.columns = folder, columns

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, module: FaceTraining) -> None:
        if not trainer.is_global_zero:
            return
        grid = picture_grid(module, trainer.datamodule.val.crops, self.columns)
        write_image(self.folder / f"epoch-{trainer.current_epoch + 1:04d}.png", grid)
        log_grid(trainer.loggers, grid, module.step_count)

    def setup(self, trainer: pl.Trainer, module: FaceTraining, stage: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)


def picture_grid(module: FaceTraining, crops: np.ndarray, columns: int) -> np.ndarray:
    """uint8 picture: two rows of crops, their reconstructions, two rows of samples (the same latents in every run)."""
    vae = module.ema.module
    chosen = crops[np.linspace(0, len(crops) - 1, 2 * columns).astype(int)]
    real = torch.from_numpy(chosen).permute(0, 3, 1, 2).float().div(255).to(module.device)
    rebuilt = torch.sigmoid(vae.decoder(vae.encoder(real)[0]))
    z = torch.randn(2 * columns, vae.config["latent"], generator=torch.Generator().manual_seed(0))
    drawn = torch.sigmoid(vae.decoder(z.to(module.device)))
    rows = [part[i : i + columns] for i in (0, columns) for part in (real, rebuilt)] + [drawn]
    grid = make_grid(torch.cat(rows).cpu(), nrow=columns, padding=2)
    return grid.mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()


class Curve(pl.Callback):
    """Keeps every validation's figures, over a resume too; where there is no progress bar, prints one line for each.

    `rows` holds a dict a validation: `images` seen in this run and the figures; `seconds` is the time trained.
    """

    def __init__(self):
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        self._since = time.perf_counter()

    def on_train_start(self, trainer: pl.Trainer, module: FaceTraining) -> None:
        self._since = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, module: FaceTraining) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        if not any(isinstance(c, PerceptualDistance) and c.due(trainer) for c in trainer.callbacks):
            figures.pop("val/lpips", None)  # Lightning keeps the last one that there was
        row = {name.removeprefix("val/"): value for name, value in figures.items() if name.startswith("val/")}
        self.rows.append({"images": float(module.images_seen), **row})
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now
        if trainer.progress_bar_callback is None and trainer.is_global_zero:
            shown = ", ".join(f"{name.split('/')[-1]} {value:.4g}" for name, value in figures.items())
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, {module.images_seen:,} pictures: {shown}")
            sys.stdout.flush()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.seconds = state["rows"], state["seconds"]
