"""One training run: from the resolved configuration to a run folder with checkpoints, curves and a model folder."""

import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.loggers import Logger

from vaegan.config import instantiate
from vaegan.data.module import FaceData
from vaegan.errors import UserError
from vaegan.model import load_model
from vaegan.networks import VAE, Discriminator
from vaegan.training import record as run_record
from vaegan.training.callbacks import Curve, build_callbacks, build_checkpointing
from vaegan.training.export import export_model
from vaegan.training.loggers import build_loggers, finish, log_model, log_record
from vaegan.training.module import FaceTraining
from vaegan.training.pca_start import start_from_pca

CONF = Path(__file__).resolve().parents[1] / "conf"
if not CONF.is_dir():
    CONF = Path(__file__).resolve().parents[2] / "conf"


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _run(cfg: DictConfig) -> float | None:
    try:
        hydra_config = HydraConfig.get()
        typed = [
            o for o in hydra_config.overrides.task if not o.startswith(("resume=", "callbacks.", "trainer.threads"))
        ]
        return train(cfg, Path(hydra_config.runtime.output_dir), " ".join(["python train.py", *typed]))
    except (UserError, OmegaConfBaseException) as error:
        _give_up(error)


def main() -> None:
    """The entry point of train.py: what the user can mend ends in one line and exit status 1."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        _run()
    except (HydraException, OmegaConfBaseException) as error:
        _give_up(error)


def _give_up(error: Exception) -> NoReturn:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    what = lines[0] if isinstance(error, UserError) else f"configuration: {' '.join(lines[:2])}"
    print(f"error: {what}", file=sys.stderr)
    sys.exit(1)


def train(cfg: DictConfig, folder: Path, command: str = "python train.py") -> float | None:
    """Train what `cfg` describes into `folder`; returns the last validation PSNR in dB (for sweeps).

    `command` is what the model card says was typed.

    Raises:
        UserError: data that cannot be read, a configuration that does not fit, a run that diverges.
    """
    if cfg.print_config:
        print(OmegaConf.to_yaml(cfg, resolve=True))
        return None
    if cfg.model.kind == "tracker":
        from vaegan.training import tracker

        return tracker.run(cfg, folder)
    if cfg.trainer.threads:
        torch.set_num_threads(cfg.trainer.threads)
    pl.seed_everything(cfg.seed, verbose=False)
    checkpoint = find_checkpoint(cfg.resume) if cfg.resume else None
    if checkpoint:
        folder = checkpoint.parent
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(cfg, folder / "config.yaml", resolve=True)

    data: FaceData = instantiate(cfg.data)
    data.setup()
    module = build_module(cfg, data, fresh=checkpoint is None)
    record = run_record.begin(folder, cfg.name, command, cfg.logger.kind, data)
    curve = Curve()
    loggers: list[Logger] = []
    status = "failed"
    try:
        loggers += build_loggers(cfg, folder, record)
        trainer = _trainer(cfg, folder, loggers, [*build_callbacks(cfg, folder), curve])
        _fit(trainer, module, data, checkpoint)
        if trainer.interrupted:
            status = "stopped"
            print(f"stopped; go on with: python train.py resume={folder} and the same settings", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        if cfg.export and trainer.is_global_zero:
            rows, seconds = curve.rows, curve.seconds
            model = export_model(module, cfg, folder, source=data.source, command=command, curve=rows, seconds=seconds)
            log_model(loggers, model, cfg.name)
        status = "finished"
    finally:
        run_record.end(folder, record, status, curve.seconds, module.images_seen)
        log_record(loggers, record)
        finish(loggers, exit_code=int(status != "finished"))
    return curve.rows[-1]["psnr"] if curve.rows else None


def _trainer(cfg: DictConfig, folder: Path, loggers: list[Logger], callbacks: list[pl.Callback]) -> pl.Trainer:
    return pl.Trainer(
        default_root_dir=folder,
        accelerator=cfg.trainer.accelerator,
        devices=cfg.trainer.devices,
        strategy=cfg.trainer.strategy,
        precision=cfg.trainer.precision,
        max_epochs=cfg.trainer.epochs,
        limit_train_batches=cfg.trainer.fast or None,
        limit_val_batches=cfg.trainer.fast or None,
        check_val_every_n_epoch=cfg.trainer.validate_every,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=loggers,
        log_every_n_steps=cfg.logger.every,
        callbacks=callbacks,
        plugins=[build_checkpointing()],
        enable_model_summary=False,
        enable_progress_bar=cfg.callbacks.progress == "bar"
        or (cfg.callbacks.progress == "auto" and sys.stderr.isatty()),
    )


def _fit(trainer: pl.Trainer, module: FaceTraining, data: FaceData, checkpoint: Path | None) -> None:
    try:
        trainer.fit(module, datamodule=data, ckpt_path=str(checkpoint) if checkpoint else None, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        if not trainer.interrupted:
            raise


def build_module(cfg: DictConfig, data: FaceData, fresh: bool) -> FaceTraining:
    """The Lightning module of `cfg`; `fresh` runs get their starting weights, resumed ones bring them along."""
    m = cfg.model
    try:
        vae = VAE(**_plain(m.networks))
        discriminator = Discriminator(**_plain(m.discriminator)) if m.discriminator else None
    except (TypeError, ValueError) as error:
        raise UserError(f"model configuration: {error}") from error
    before = 0
    if fresh and cfg.start_from:
        start = load_model(cfg.start_from)
        try:
            vae.load_state_dict(start.vae.state_dict())
        except RuntimeError as error:
            raise UserError(f"start_from={cfg.start_from} has other layers than this configuration") from error
        before = int(start.training.get("images_seen", 0))
    elif fresh and m.pca_start:
        try:
            start_from_pca(vae, data.train.crops, noise=m.weights.kl / 4)
        except ValueError as error:
            raise UserError(f"{error}: widen model.networks, or start at random with model.pca_start=false") from error
    perceptual = None
    if m.weights.lpips > 0:
        from vaegan.critics.lpips import load_lpips

        perceptual = load_lpips().requires_grad_(False)
    vae = vae.to(memory_format=torch.channels_last)
    if discriminator is not None:
        discriminator = discriminator.to(memory_format=torch.channels_last)
    steps = cfg.trainer.epochs * min(len(data.train), cfg.trainer.fast or len(data.train))
    module = FaceTraining(
        vae, discriminator, _plain(m.weights), _plain(m.optimizer), _plain(m.gan), m.ema_decay, steps, perceptual
    )
    module.images_before = before
    if cfg.trainer.compile:
        module.vae.compile()
        if discriminator is not None:
            module.discriminator.compile()
    return module


def find_checkpoint(resume: str) -> Path:
    """The checkpoint that `resume` (a file or a run folder) names. Raises UserError when there is none."""
    path = Path(resume)
    path = path / "last.ckpt" if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"resume={resume}: no checkpoint there; give a run folder with last.ckpt")
    return path.resolve()


def _plain(node: Any) -> dict[str, Any]:
    return OmegaConf.to_container(node, resolve=True)
