"""The three loggers: CSV files, TensorBoard, or Weights & Biases (offline unless the user is logged in)."""

import os
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from vaegan.errors import UserError


def build_logger(cfg: DictConfig, folder: Path) -> Logger:
    """The logger of `cfg.logger` for a run in `folder`. Raises UserError for a logger that is not installed."""
    kind = cfg.logger.kind
    if kind == "csv":
        return CSVLogger(folder, name="", version="")
    try:
        if kind == "tensorboard":
            return TensorBoardLogger(folder, name="", version="tensorboard")
        if kind == "wandb":
            return _wandb(cfg, folder)
    except ModuleNotFoundError as error:
        raise UserError(f"logger={kind} is not installed: pip install 'vaegan[{kind}]'") from error
    raise UserError(f"logger.kind={kind}: give csv, tensorboard or wandb")


def _wandb(cfg: DictConfig, folder: Path) -> Logger:
    import wandb

    options = cfg.logger
    logged_in = bool(os.environ.get("WANDB_API_KEY")) or wandb.setup().settings.api_key is not None
    mode = options.mode or os.environ.get("WANDB_MODE") or ("online" if logged_in else "offline")
    return WandbLogger(
        project=options.project,
        name=cfg.name,
        save_dir=str(folder),
        mode=mode,
        group=options.group,
        job_type=options.job_type,
        tags=list(options.tags),
        config=OmegaConf.to_container(cfg, resolve=True),
    )


def finish(loggers: list[Logger]) -> None:
    """End the W&B run of this job, so that the next job of a multirun starts its own; failures are told, not raised."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            try:
                wandb.finish()
            except wandb.Error as error:
                print(f"W&B did not finish cleanly: {error}", file=sys.stderr)
