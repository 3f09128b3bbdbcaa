"""Where a run's curves and pictures go: CSV and files always, TensorBoard or Weights & Biases beside them."""

import contextlib
import csv
import json
import netrc
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from vaegan.errors import UserError
from vaegan.media import VideoWriter


def build_loggers(cfg: DictConfig, folder: Path, record: dict[str, Any]) -> list[Logger]:
    """The loggers of a run in `folder`: `metrics.csv`, and what `cfg.logger` names; each is told the run's record.

    Raises:
        UserError: a logger that is not known or not installed.
    """
    kind = cfg.logger.kind
    found: list[Logger] = [_csv(folder)]
    try:
        if kind == "tensorboard":
            found.append(_tensorboard(cfg, folder, record))
        elif kind == "wandb":
            found += _wandb(cfg, folder, record) or []
        elif kind != "csv":
            raise UserError(f"logger.kind={kind}: give csv, tensorboard or wandb")
    except ModuleNotFoundError as error:
        raise UserError(f"logger={kind} is not installed: pip install 'vaegan[{kind}]'") from error
    return found


def _csv(folder: Path) -> CSVLogger:
    """The rows of an earlier sitting stay: Lightning's logger would begin the file anew."""
    try:
        with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
            earlier = [{name: value for name, value in row.items() if name} for row in csv.DictReader(file)]
    except FileNotFoundError:
        earlier = []
    logger = CSVLogger(folder, name="", version="")
    if rank_zero_only.rank == 0:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Previous log files")
            logger.experiment.metrics.extend(earlier)
        logger.save()
    return logger


class Tensorboard(TensorBoardLogger):
    """Stays open after training, for the record of how the run ended; `finish` closes it."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.experiment.flush()


def _tensorboard(cfg: DictConfig, folder: Path, record: dict[str, Any]) -> Tensorboard:
    logger = Tensorboard(folder, name="", version="tensorboard")
    if rank_zero_only.rank == 0:
        logger.experiment.add_text("config", f"```yaml\n{OmegaConf.to_yaml(cfg, resolve=True)}```")
        _add_record(logger, record)
    return logger


class Wandb(WandbLogger):
    """W&B that never ends a run: its first error is told in one line, then it is left alone and the CSV goes on."""

    failed = False

    def attempt(self, action: Callable[[], Any]) -> None:
        """Do something with W&B, unless it has failed before."""
        if self.failed:
            return
        try:
            action()
        except Exception as error:  # whatever it is: its service, its network and its own bugs are not ours
            self.failed = True
            print(f"W&B failed ({_line(error)}): the run goes on, logged in metrics.csv", file=sys.stderr)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self.attempt(lambda: super(Wandb, self).log_metrics(metrics, step))

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        self.attempt(lambda: super(Wandb, self).log_hyperparams(params))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.attempt(lambda: super(Wandb, self).finalize(status))


@rank_zero_only
def _wandb(cfg: DictConfig, folder: Path, record: dict[str, Any]) -> list[Logger]:
    """The W&B logger with its run begun: online where the user is logged in, else offline; none where neither works."""
    import wandb

    options = cfg.logger
    wanted = options.mode or os.environ.get("WANDB_MODE") or ("online" if logged_in() else "offline")
    for mode in dict.fromkeys((wanted, "offline")):
        try:
            run = wandb.init(
                project=options.project,
                name=cfg.name,
                dir=str(folder),
                mode=mode,
                group=options.group,
                job_type=options.job_type,
                tags=[str(tag)[:64] for tag in options.tags],
                config={**OmegaConf.to_container(cfg, resolve=True), "run": record},
                reinit="create_new",  # whatever an earlier job of this process has left
            )
            run.define_metric("trainer/global_step")
            run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        except Exception as error:  # a run that cannot be announced is trained all the same
            _abandon()
            print(f"W&B did not start in mode {mode} ({_line(error)})", file=sys.stderr)
            continue
        if mode != wanted:
            print("W&B logs this run offline; `wandb sync` sends it later", file=sys.stderr)
        return [Wandb(experiment=run, project=options.project, save_dir=str(folder))]
    print("the run goes on, logged in metrics.csv", file=sys.stderr)
    return []


def logged_in() -> bool:
    """Whether W&B knows an account: WANDB_API_KEY, or what `wandb login` wrote to the user's netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    try:
        accounts = netrc.netrc(os.environ.get("NETRC") or Path.home() / ".netrc")
    except (OSError, netrc.NetrcParseError):
        return False
    return accounts.authenticators(host) is not None


def log_grid(loggers: list[Logger], picture: np.ndarray, step: int) -> None:
    """Send a picture grid, uint8 (H, W, 3); as a file it is the caller's."""
    for logger in loggers:
        if isinstance(logger, Wandb):
            logger.attempt(lambda w=logger: w.log_image("grid", [picture], step))
        elif isinstance(logger, Tensorboard):
            logger.experiment.add_image("grid", picture, step, dataformats="HWC")


def log_video(loggers: list[Logger], path: Path, pictures: np.ndarray, rate: Fraction, step: int) -> None:
    """Send the transfer preview: the file to W&B, the pictures uint8 (T, H, W, 3) to TensorBoard, as a moving GIF."""
    for logger in loggers:
        if isinstance(logger, Wandb):
            logger.attempt(lambda w=logger: w.log_video("transfer", [str(path)], step))
        elif isinstance(logger, Tensorboard):
            from tensorboard.compat.proto.summary_pb2 import Summary

            height, width = pictures.shape[1:3]
            image = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=_as_gif(pictures, rate)
            )
            summary = Summary(value=[Summary.Value(tag="transfer", image=image)])
            logger.experiment.file_writer.add_summary(summary, step)


def _as_gif(pictures: np.ndarray, rate: Fraction) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transfer.gif"
        with VideoWriter(path, pictures.shape[2], pictures.shape[1], rate) as writer:
            for picture in pictures:
                writer.write(picture)
        return path.read_bytes()


def log_model(loggers: list[Logger], folder: Path, name: str) -> None:
    """Hand the finished model folder to W&B as an artifact of type "model"."""

    def send(logger: Wandb) -> None:
        import wandb

        artifact = wandb.Artifact("".join(c if c.isalnum() or c in "-_." else "-" for c in name), type="model")
        artifact.add_dir(str(folder), policy="immutable")
        logger.experiment.log_artifact(artifact)

    for logger in loggers:
        if isinstance(logger, Wandb):
            logger.attempt(lambda w=logger: send(w))


def log_record(loggers: list[Logger], record: dict[str, Any]) -> None:
    """Tell the run's record again, now that it says how the run ended."""
    for logger in loggers:
        if isinstance(logger, Wandb):
            logger.attempt(lambda w=logger: w.experiment.config.update({"run": record}, allow_val_change=True))
        elif isinstance(logger, Tensorboard):
            _add_record(logger, record)


@rank_zero_only
def _add_record(logger: Tensorboard, record: dict[str, Any]) -> None:
    logger.experiment.add_text("run", f"```json\n{json.dumps(record, indent=1)}\n```")


def finish(loggers: list[Logger], exit_code: int = 0) -> None:
    """Close TensorBoard's file, and end the W&B run of this job: the next job of a multirun starts its own."""
    for logger in loggers:
        if isinstance(logger, Wandb):
            logger.attempt(lambda w=logger: w.experiment.finish(exit_code))
            if logger.failed:
                _abandon()
        elif isinstance(logger, Tensorboard) and rank_zero_only.rank == 0:
            logger.experiment.close()


def _abandon() -> None:
    """Let go of a W&B that has failed, and has been told to have: the next job of a multirun gets a new one."""
    import wandb

    with contextlib.suppress(Exception):
        wandb.teardown()


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
