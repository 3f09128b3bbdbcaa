"""One training run: from the resolved configuration to a run folder with checkpoints, curves and a model folder.

What is trained, on what, and where its figures go is named by `_target_` in conf/; vaegan.training.module says what is
asked of a model.
"""

import signal
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from vaegan.config import instantiate
from vaegan.data.module import TrainingData
from vaegan.errors import UserError
from vaegan.training import record as run_record
from vaegan.training.callbacks import AtomicCheckpoints, Curve, always, bar_wanted
from vaegan.training.devices import launched, process_count, strategy_of
from vaegan.training.limits import check_limits
from vaegan.training.loggers import RunLogger
from vaegan.training.module import Finished, TrainingModule
from vaegan.training.processes import run_processes
from vaegan.training.resumed import (
    check_resumed,
    config_of,
    differences,
    find_checkpoint,
    read_checkpoint,
    same_pictures,
    same_steps,
)
from vaegan.training.run_folder import claimed, how_to_go_on, shown
from vaegan.training.schedule import Progress, seconds_of


def train(cfg: DictConfig, folder: Path, command: str = "python train.py", named: bool = True) -> float | None:
    """Train what `cfg` describes into `folder`; returns the last value of the model's objective (for sweeps).

    `command` is what the model card says was typed; `named`, whether somebody chose the name of the folder: else the
    next free one is taken where it is in use.

    Raises:
        UserError: settings that cannot be, or differ from those of the run that they go on with; a folder in use; a
            device that is not there; data that cannot be read; a run that diverges.
    """
    check_limits(cfg)
    if cfg.print_config:
        print(OmegaConf.to_yaml(cfg, resolve=True))
        return None
    seconds_of(cfg.trainer.max_time)
    checkpoint = find_checkpoint(cfg.resume) if cfg.resume else None
    if checkpoint:
        folder = checkpoint.parent
        check_resumed(cfg, folder)
    processes = process_count(cfg.trainer)
    if launched() and rank_zero_only.rank != 0:
        return fit(cfg, folder, checkpoint, command)
    with claimed(folder, checkpoint is not None, named) as folder:
        if processes > 1 and not launched():
            return run_processes(cfg, folder, command, processes)
        return fit(cfg, folder, checkpoint, command)


def fit(cfg: DictConfig, folder: Path, checkpoint: Path | None, command: str) -> float | None:
    """`train` in this process, whose `folder` is its own: one of several where these are set up already."""
    if cfg.trainer.threads:
        torch.set_num_threads(cfg.trainer.threads)
    pl.seed_everything(cfg.seed, verbose=False)
    chosen = [instantiate(node, folder=folder) for node in (cfg.get("callbacks") or {}).values() if node]
    curve = Curve()
    trainer = _trainer(cfg, folder, [*always(folder), *chosen, curve])
    module, data = build(cfg, trainer)
    began = read_checkpoint(checkpoint) if checkpoint else None
    data.setup()
    _prepare(cfg, module, data, trainer, began, folder)
    trainer.fit_loop.max_epochs = -1 if module.steps or cfg.trainer.steps else cfg.trainer.epochs
    record = run_record.begin(folder, cfg, command, data.facts(), trainer.world_size)
    loggers: list[RunLogger] = []
    status = "failed"
    try:
        loggers += build_loggers(cfg, folder, record)
        trainer.loggers = loggers
        _fit(trainer, module, data, checkpoint)
        if trainer.interrupted:
            status = "stopped"
            sys.exit(128 + (signal.SIGTERM if trainer.received_sigterm else signal.SIGINT))
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
        if status == "stopped" and not launched():
            print(how_to_go_on(folder), file=sys.stderr)
    return curve.rows[-1].get(module.objective) if curve.rows else None


def build(cfg: DictConfig, trainer: pl.Trainer) -> tuple[TrainingModule, TrainingData]:
    """Model and data of `cfg`, of which nothing has been read yet."""
    data = instantiate(cfg.data)
    module = instantiate(cfg.model)
    if not isinstance(data, module.takes):
        raise UserError(
            f"model={module.name} does not learn from {type(data).__name__} but from {module.takes.__name__}: "
            "leave data=... out, or name one of its kind"
        )
    if trainer.world_size > 1 and not module.parallel:
        raise UserError(f"model={module.name} trains in one process: leave trainer=ddp and trainer.devices out")
    data.processes, data.process = trainer.world_size, trainer.global_rank
    data.least = 0 if cfg.resume or cfg.start_from else module.pictures_needed
    return module, data


def _prepare(
    cfg: DictConfig,
    module: TrainingModule,
    data: TrainingData,
    trainer: pl.Trainer,
    began: dict[str, Any] | None,
    folder: Path,
) -> None:
    """Length and starting weights of a fresh run; a resumed one (`began`) brings its own, and must not be over."""
    t = cfg.trainer
    if began is not None:
        earlier = run_record.read(folder)
        same_pictures(cfg.resume, earlier.get("data", {}), data.facts())
        if batch := cfg.data.get("batch"):
            before = config_of(folder, cfg.resume).data.get("batch", batch) * earlier.get("processes", 1)
            same_steps(cfg.resume, before, batch * trainer.world_size)
    steps = module.steps or t.steps or t.epochs * min(len(data.train), t.fast or len(data.train))
    module.progress = Progress(steps, seconds_of(t.max_time))
    module.cuda_graph = bool(t.cuda_graph) and t.accelerator in {"gpu", "cuda"} and t.devices in {1, "1"}
    if began is None:
        module.begin(data, cfg.start_from)
        module.keep_random_state()
    else:
        module.progress.load_state_dict(began["progress"])
        if module.progress.done and earlier.get("status") == "finished":
            length = "trainer.max_time" if t.max_time else "trainer.steps" if t.steps else "trainer.epochs"
            raise UserError(
                f"resume={cfg.resume} is finished, {module.progress.step} of {steps} steps: give it more with "
                f"{length}=..., or begin a new run with start_from={shown(folder / 'model')}"
            )
        if trainer.is_global_zero and (changed := differences(cfg, folder)):
            print(f"resume={cfg.resume} goes on with {changed}", file=sys.stderr)
    if t.compile:
        for network in module.compiled():
            network.compile()


def build_loggers(cfg: DictConfig, folder: Path, record: dict[str, Any]) -> list[RunLogger]:
    """The loggers of `cfg` for a run in `folder`, told what it is."""
    config = OmegaConf.to_container(cfg, resolve=True)
    return [instantiate(node, folder=folder, config=config, record=record) for node in cfg.logger.values()]


def _trainer(cfg: DictConfig, folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Raises UserError where this machine or this version cannot do what `cfg.trainer` asks for."""
    t = cfg.trainer
    try:
        return pl.Trainer(
            default_root_dir=folder,
            accelerator=t.accelerator,
            devices=t.devices,
            strategy=strategy_of(t),
            precision=t.precision,
            limit_train_batches=t.fast or None,
            limit_val_batches=t.fast or None,
            check_val_every_n_epoch=t.validate_every,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            logger=False,
            log_every_n_steps=t.log_every,
            callbacks=callbacks,
            plugins=[AtomicCheckpoints()],
            enable_model_summary=False,
            enable_progress_bar=bar_wanted(t.progress_bar),
        )
    except (ValueError, TypeError, RuntimeError, ImportError) as error:
        what = " ".join(str(error).split())
        raise UserError(f"trainer.accelerator={t.accelerator}, trainer.devices={t.devices}: {what}") from error


def _fit(trainer: pl.Trainer, module: TrainingModule, data: TrainingData, checkpoint: Path | None) -> None:
    try:
        trainer.fit(module, datamodule=data, ckpt_path=str(checkpoint) if checkpoint else None, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        if not trainer.interrupted:
            raise
    except MemoryError as error:
        raise UserError("out of memory: lower data.batch") from error
    except RuntimeError as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        if (
            isinstance(error, torch.OutOfMemoryError)
            or "not enough memory" in reason
            or "DefaultCPUAllocator" in reason
        ):
            raise UserError(f"out of memory at step {module.progress.step}: lower data.batch") from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise UserError(f"trainer.compile=true does not work here ({reason}): leave it out") from error
        raise
