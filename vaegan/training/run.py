"""One training run: from the resolved configuration to a run folder with checkpoints, curves and a model folder.

What is trained, on what, and where its figures go is named by `_target_` in conf/; vaegan.training.module says what is
asked of a model.
"""

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

from vaegan.config import instantiate
from vaegan.errors import UserError
from vaegan.training import record as run_record
from vaegan.training.callbacks import AtomicCheckpoints, Curve, always, bar_wanted
from vaegan.training.loggers import RunLogger
from vaegan.training.module import Finished, TrainingModule
from vaegan.training.schedule import Progress, seconds_of

CONF = Path(__file__).resolve().parents[1] / "conf"
if not CONF.is_dir():
    CONF = Path(__file__).resolve().parents[2] / "conf"
PRIVATE = ("resume=", "callbacks.", "trainer.threads", "data.folder=")
"""Settings of this machine, or that change nothing learned: left out of the command that a model card shows."""


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _run(cfg: DictConfig) -> float | None:
    try:
        hydra_config = HydraConfig.get()
        typed = [o for o in hydra_config.overrides.task if not o.startswith(PRIVATE)]
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
    """Train what `cfg` describes into `folder`; returns the last value of the model's objective (for sweeps).

    `command` is what the model card says was typed.

    Raises:
        UserError: data that cannot be read, a configuration that does not fit, a run that diverges.
    """
    if cfg.print_config:
        print(OmegaConf.to_yaml(cfg, resolve=True))
        return None
    if cfg.trainer.threads:
        torch.set_num_threads(cfg.trainer.threads)
    pl.seed_everything(cfg.seed, verbose=False)
    checkpoint = find_checkpoint(cfg.resume) if cfg.resume else None
    if checkpoint:
        folder = checkpoint.parent
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(cfg, folder / "config.yaml", resolve=True)

    data = instantiate(cfg.data)
    data.setup()
    module = build_module(cfg, data, fresh=checkpoint is None)
    record = run_record.begin(folder, cfg.name, command, list(cfg.logger), data.facts())
    curve = Curve()
    loggers: list[RunLogger] = []
    status = "failed"
    try:
        loggers += build_loggers(cfg, folder, record)
        chosen = [instantiate(node, folder=folder) for node in cfg.callbacks.values() if node]
        epochs = -1 if module.steps or cfg.trainer.steps else cfg.trainer.epochs
        trainer = _trainer(cfg, epochs, folder, loggers, [*always(folder), *chosen, curve])
        _fit(trainer, module, data, checkpoint)
        if trainer.interrupted:
            status = "stopped"
            print(f"stopped; go on with: python train.py resume={folder} and the same settings", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        module.progress.look()
        if cfg.export and trainer.is_global_zero:
            seconds = module.progress.seconds
            run = Finished(cfg.name, command, data.source, cfg.start_from, cfg.seed, curve.rows, seconds)
            model = module.export(folder, run)
            for logger in loggers:
                logger.log_model(model, cfg.name)
        status = "finished"
    finally:
        run_record.end(folder, record, status, module.progress.seconds, module.images_seen)
        for logger in loggers:
            logger.log_record(record)
            logger.close(exit_code=int(status != "finished"))
    return curve.rows[-1].get(module.objective) if curve.rows else None


def build_module(cfg: DictConfig, data: pl.LightningDataModule, fresh: bool) -> TrainingModule:
    """The training module of `cfg`; `fresh` runs get their starting weights, resumed ones bring them along."""
    module = instantiate(cfg.model)
    t = cfg.trainer
    steps = module.steps or t.steps or t.epochs * min(len(data.train), t.fast or len(data.train))
    module.progress = Progress(steps, seconds_of(t.max_time))
    module.cuda_graph = bool(t.cuda_graph) and t.accelerator in {"gpu", "cuda"} and t.devices in {1, "1"}
    if fresh:
        module.begin(data, cfg.start_from)
    if t.compile:
        for network in module.compiled():
            network.compile()
    return module


def build_loggers(cfg: DictConfig, folder: Path, record: dict[str, Any]) -> list[RunLogger]:
    """The loggers of `cfg` for a run in `folder`, told what it is."""
    config = OmegaConf.to_container(cfg, resolve=True)
    return [instantiate(node, folder=folder, config=config, record=record) for node in cfg.logger.values()]


def _trainer(
    cfg: DictConfig, epochs: int, folder: Path, loggers: list[RunLogger], callbacks: list[pl.Callback]
) -> pl.Trainer:
    t = cfg.trainer
    return pl.Trainer(
        default_root_dir=folder,
        accelerator=t.accelerator,
        devices=t.devices,
        strategy=t.strategy,
        precision=t.precision,
        max_epochs=epochs,
        limit_train_batches=t.fast or None,
        limit_val_batches=t.fast or None,
        check_val_every_n_epoch=t.validate_every,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=loggers,
        log_every_n_steps=t.log_every,
        callbacks=callbacks,
        plugins=[AtomicCheckpoints()],
        enable_model_summary=False,
        enable_progress_bar=bar_wanted(t.progress_bar),
    )


def _fit(trainer: pl.Trainer, module: TrainingModule, data: pl.LightningDataModule, checkpoint: Path | None) -> None:
    try:
        trainer.fit(module, datamodule=data, ckpt_path=str(checkpoint) if checkpoint else None, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        if not trainer.interrupted:
            raise


def find_checkpoint(resume: str) -> Path:
    """The checkpoint that `resume` (a file or a run folder) names. Raises UserError when there is none."""
    path = Path(resume)
    path = path / "last.ckpt" if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"resume={resume}: no checkpoint there; give a run folder with last.ckpt")
    return path.resolve()
