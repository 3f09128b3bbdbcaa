"""What a run does beside learning: its end, checkpoints, speed, picture grids, the PCA line, LPIPS, a line an epoch.

Those in conf/callbacks are built with `folder`, the run's; the others every run has (`always`).
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from vaegan import losses
from vaegan.critics.lpips import load_lpips, lpips_distance
from vaegan.data.cache import cache_root
from vaegan.errors import UserError
from vaegan.media import atomic_path, write_image
from vaegan.pca import fit_pca, mirrored_rows
from vaegan.training.module import TrainingModule


def always(folder: Path) -> list[pl.Callback]:
    """The callbacks of every run in `folder`, in the order in which they have to come."""
    last = ModelCheckpoint(dirpath=folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    return [last, Pace(), Ending()]


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


class CheckpointsWithinEpochs(pl.Callback):
    """Saves within an epoch where the data can go on there, as streams can: their epochs last for hours.

    Args:
        every: steps between two checkpoints; 0: only at the end of an epoch.
    """

    def __init__(self, folder: Path, every: int):
        self.path, self.every = folder / "last.ckpt", every

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int):
        due = self.every > 0 and (index + 1) % self.every == 0 and not trainer.is_last_batch
        if due and hasattr(trainer.datamodule.train, "load_state_dict"):
            trainer.save_checkpoint(self.path, weights_only=False)


class Ending(pl.Callback):
    """Ends the run when its progress is done, by steps or by the clock, and validates then, whatever
    `trainer.validate_every` is: a finished model's figures are its own."""

    def on_train_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        trainer.should_stop = module.progress.done

    def on_train_epoch_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(self, trainer: pl.Trainer, module: TrainingModule, outputs: Any, batch: Any, index: int):
        if trainer.world_size > 1 and module.progress.max_seconds:  # one clock for all processes
            module.progress.seconds = trainer.strategy.broadcast(module.progress.seconds)
        if module.progress.done:
            trainer.should_stop = True
            trainer.check_val_every_n_epoch = 1


class Pace(pl.Callback):
    """Logs img/s over the last steps, validation and pictures not counted."""

    def __init__(self):
        self.started = 0.0
        self.seen = 0

    def on_train_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        self.started, self.seen = time.perf_counter(), module.images_seen  # may go on within an epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        self.started, self.seen = time.perf_counter(), module.images_seen

    def on_train_batch_end(self, trainer: pl.Trainer, module: TrainingModule, outputs: Any, batch: Any, index: int):
        rate = (module.images_seen - self.seen) / (time.perf_counter() - self.started)
        module.log("train/images_per_second", rate, prog_bar=True, on_step=True, on_epoch=False)


class PcaLine(pl.Callback):
    """PCA with as many components as the code has numbers, fitted to the training crops: the line to pass."""

    def __init__(self, folder: Path):
        self.psnr: float | None = None

    def on_fit_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        train, val = (getattr(part, "crops", ()) for part in (trainer.datamodule.train, trainer.datamodule.val))
        if 0 < module.latent <= min(len(train), len(val)):
            self.psnr = pca_psnr(train, val, module.latent)

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        if self.psnr is not None:
            module.log(f"val/psnr_pca{module.latent}", self.psnr)


def pca_psnr(train: np.ndarray, val: np.ndarray, k: int) -> float:
    """Mean PSNR in dB of `val` crops rebuilt from k principal components of `train` and its mirror images.

    Both uint8 (N, S, S, 3). The figure is remembered beside the cached crops.
    """
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

    It takes longer than all else that is validated.

    Args:
        every: of the validations only one in `every`, and the last, has it.
    """

    def __init__(self, folder: Path, every: int):
        self.every = every
        self.network: torch.nn.Module | None = None

    def on_fit_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        if not module.size:
            return
        try:
            self.network = load_lpips()
        except UserError as error:
            module.print(f"LPIPS is left out of the log: {error}")

    def due(self, trainer: pl.Trainer, module: TrainingModule) -> bool:
        """Whether this epoch's validation has it."""
        validation = (trainer.current_epoch + 1) // trainer.check_val_every_n_epoch
        return self.network is not None and (module.progress.done or validation % self.every == 0)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        if not self.due(trainer, module):
            return
        distances = []
        for batch in trainer.datamodule.val:
            pair = module.reconstruct(module.transfer_batch_to_device(batch, module.device, 0))
            if pair is None:
                return
            distances.append(lpips_distance(self.network.to(module.device), *pair))
        module.log("val/lpips", torch.cat(distances).mean(), prog_bar=True)


class PictureGrids(pl.Callback):
    """After each validation a PNG of what the module draws of validation pictures, in rows of `columns`."""

    def __init__(self, folder: Path, columns: int):
        self.folder, self.columns = folder / "grids", columns

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        if not trainer.is_global_zero:
            return
        grid = module.picture_grid(trainer.datamodule, self.columns)
        if grid is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_image(self.folder / f"epoch-{trainer.current_epoch + 1:04d}.png", grid)
        for logger in trainer.loggers:
            logger.log_picture(grid, module.progress.step)


class Curve(pl.Callback):
    """Keeps every validation's figures, over a resume too; where there is no progress bar, prints one line for each.

    `rows` holds a dict a validation: `images`, `step` and `seconds` of this run, and the figures without "val/".
    """

    def __init__(self):
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        trainer.callback_metrics.clear()  # Lightning keeps figures that are not logged any more

    def on_validation_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        for name in [name for name in trainer.callback_metrics if name.startswith("val/")]:
            del trainer.callback_metrics[name]

    def on_validation_end(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        parts = {
            part: {k.removeprefix(f"{part}/"): v for k, v in logged.items() if k.startswith(f"{part}/")}
            for part in ("train", "val")
        }
        position = {"images": float(module.images_seen), "step": float(module.progress.step)}
        self.rows.append({**position, "seconds": module.progress.seconds, **parts["val"]})
        if trainer.progress_bar_callback is None and trainer.is_global_zero:
            named = {"training": parts["train"], "validation": parts["val"]}
            shown = "; ".join(f"{part}: {_told(figures)}" for part, figures in named.items() if figures)
            print(f"{_position(trainer, module)}, {module.images_seen:,} pictures; {shown}", flush=True)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]


def _told(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _position(trainer: pl.Trainer, module: TrainingModule) -> str:
    progress = module.progress
    if progress.max_seconds:
        return f"{progress.seconds:.0f} of {progress.max_seconds:.0f} s, step {progress.step}"
    if trainer.max_epochs == -1:
        return f"step {progress.step}/{progress.total_steps}"
    return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"


def bar_wanted(progress_bar: str) -> bool:
    """Whether `trainer.progress_bar` ("auto" | "bar" | "lines") asks for a bar here; "auto": on a terminal."""
    return progress_bar == "bar" or (progress_bar == "auto" and sys.stderr.isatty())
