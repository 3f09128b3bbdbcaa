"""Where a run's curves and pictures go: CSV and files always, TensorBoard or Weights & Biases beside them.

Each logger in conf/logger is built with the run's `folder`, resolved `config` and `record`.
"""

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
import yaml
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from vaegan.errors import UserError


class RunLogger:
    """What a run tells its loggers beside figures. Each takes of it what it can show; as files it is all there."""

    def log_picture(self, picture: np.ndarray, step: int) -> None:
        """A picture grid, uint8 (H, W, 3)."""

    def log_video(self, path: Path, pictures: np.ndarray, rate: Fraction, step: int) -> None:
        """The transfer preview, as a file and as uint8 (T, H, W, 3)."""

    def log_model(self, folder: Path, name: str) -> None:
        """The finished model folder."""

    def log_record(self, record: dict[str, Any]) -> None:
        """The run's record again, now that it says how the run ended."""

    def close(self, exit_code: int) -> None:
        """The run is over; 0: it finished."""


class Csv(RunLogger, CSVLogger):
    """RUN/metrics.csv. The rows of an earlier sitting stay: Lightning's logger would begin the file anew."""

    def __init__(self, folder: Path, config: dict[str, Any], record: dict[str, Any]):
        try:
            with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
                earlier = [{name: value for name, value in row.items() if name} for row in csv.DictReader(file)]
        except FileNotFoundError:
            earlier = []
        super().__init__(folder, name="", version="")
        if rank_zero_only.rank == 0:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*Previous log files")
                self.experiment.metrics.extend(earlier)
            self.save()


class Tensorboard(RunLogger, TensorBoardLogger):
    """RUN/tensorboard; stays open after training, for the record of how the run ended.

    Raises UserError where tensorboard is not installed.
    """

    def __init__(self, folder: Path, config: dict[str, Any], record: dict[str, Any]):
        try:
            super().__init__(folder, name="", version="tensorboard")
        except ModuleNotFoundError as error:
            raise UserError("logger=tensorboard is not installed: pip install 'vaegan[tensorboard]'") from error
        self._write("config", f"```yaml\n{yaml.safe_dump(config, sort_keys=False)}```")
        self.log_record(record)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.experiment.flush()

    def log_picture(self, picture: np.ndarray, step: int) -> None:
        self.experiment.add_image("grid", picture, step, dataformats="HWC")

    def log_video(self, path: Path, pictures: np.ndarray, rate: Fraction, step: int) -> None:
        """As a moving GIF among the pictures."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        height, width = pictures.shape[1:3]
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=_as_gif(pictures, rate))
        self.experiment.file_writer.add_summary(Summary(value=[Summary.Value(tag="transfer", image=image)]), step)

    def log_record(self, record: dict[str, Any]) -> None:
        self._write("run", f"```json\n{json.dumps(record, indent=1)}\n```")

    @rank_zero_only
    def close(self, exit_code: int) -> None:
        self.experiment.close()

    @rank_zero_only
    def _write(self, name: str, text: str) -> None:
        self.experiment.add_text(name, text)


class Wandb(RunLogger, WandbLogger):
    """W&B that never ends a run: its first error is told in one line, then it is left alone and the CSV goes on.

    Online where the user is logged in, else offline.

    Args:
        project, group, job_type, tags: as in `wandb.init`.
        mode: "online" | "offline" | "disabled"; None: WANDB_MODE, else as said above.

    Raises UserError where wandb is not installed.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        record: dict[str, Any],
        project: str,
        group: str,
        job_type: str,
        tags: list[str],
        mode: str | None,
    ):
        run = None
        self.failed = False
        if rank_zero_only.rank == 0:
            options = {"project": project, "group": group, "job_type": job_type, "tags": [str(t)[:64] for t in tags]}
            run = _begun(folder, {**config, "run": record}, mode, **options)
            self.failed = run is None
        super().__init__(experiment=run, project=project, save_dir=str(folder))

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
    def log_picture(self, picture: np.ndarray, step: int) -> None:
        self.attempt(lambda: self.log_image("grid", [picture], step))

    @rank_zero_only
    def log_video(self, path: Path, pictures: np.ndarray, rate: Fraction, step: int) -> None:
        self.attempt(lambda: WandbLogger.log_video(self, "transfer", [str(path)], step))

    @rank_zero_only
    def log_model(self, folder: Path, name: str) -> None:
        """As an artifact of type "model"."""

        def send() -> None:
            import wandb

            artifact = wandb.Artifact("".join(c if c.isalnum() or c in "-_." else "-" for c in name), type="model")
            artifact.add_dir(str(folder), policy="immutable")
            self.experiment.log_artifact(artifact)

        self.attempt(send)

    @rank_zero_only
    def log_record(self, record: dict[str, Any]) -> None:
        self.attempt(lambda: self.experiment.config.update({"run": record}, allow_val_change=True))

    @rank_zero_only
    def close(self, exit_code: int) -> None:
        """End the W&B run of this job: the next job of a multirun starts its own."""
        self.attempt(lambda: self.experiment.finish(exit_code))
        if self.failed:
            _abandon()


def _begun(folder: Path, config: dict[str, Any], mode: str | None, **options: Any) -> Any | None:
    """The W&B run, begun in the mode asked for, else offline; None where neither works."""
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise UserError("logger=wandb is not installed: pip install 'vaegan[wandb]'") from error
    wanted = mode or os.environ.get("WANDB_MODE") or ("online" if logged_in() else "offline")
    for tried in dict.fromkeys((wanted, "offline")):
        try:
            run = wandb.init(
                name=config["name"],
                dir=str(folder),
                mode=tried,
                config=config,
                reinit="create_new",  # whatever an earlier job of this process has left
                **options,
            )
            run.define_metric("trainer/global_step")
            run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        except Exception as error:  # a run that cannot be announced is trained all the same
            _abandon()
            print(f"W&B did not start in mode {tried} ({_line(error)})", file=sys.stderr)
            continue
        if tried != wanted:
            print("W&B logs this run offline; `wandb sync` sends it later", file=sys.stderr)
        return run
    print("the run goes on, logged in metrics.csv", file=sys.stderr)
    return None


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


def _as_gif(pictures: np.ndarray, rate: Fraction) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transfer.gif"
        from vaegan.media import VideoWriter  # needs PyAV, which training on packed parts does without

        with VideoWriter(path, pictures.shape[2], pictures.shape[1], rate) as writer:
            for picture in pictures:
                writer.write(picture)
        return path.read_bytes()


def _abandon() -> None:
    """Let go of a W&B that has failed, and has been told to have: the next job of a multirun gets a new one."""
    import wandb

    with contextlib.suppress(Exception):
        wandb.teardown()


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
