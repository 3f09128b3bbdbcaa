"""From the folders named on the command line to runs that can be set side by side."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaegan.errors import UserError
from vaegan.evaluation.compare.log import Log, flat, read_csv
from vaegan.evaluation.compare.tensorboard_log import read_tensorboard
from vaegan.evaluation.compare.wandb_log import read_wandb


@dataclass
class Run:
    """One run. `settings` is the configuration with dotted names; `images` follows `rows`: pictures seen by then."""

    path: Path
    log: Log
    label: str = ""

    @property
    def settings(self) -> dict:
        return flat(self.log.config)

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Pictures seen (N,) and the values (N,) of a figure, in the order of the steps; N is 0 if it is not there."""
        found = [(self._images(step), row[name]) for step, row in sorted(self.log.rows.items()) if name in row]
        images, values = zip(*found, strict=True) if found else ((), ())
        return np.array(images, float), np.array(values, float)

    @property
    def names(self) -> list[str]:
        """The figures logged."""
        return list(dict.fromkeys(name for row in self.log.rows.values() for name in row))

    @property
    def images_seen(self) -> float:
        return self._images(max(self.log.rows))

    @property
    def counts_images(self) -> bool:
        """Whether pictures are known; else the x axis counts steps."""
        return any("images" in row for row in self.log.rows.values()) or bool(self._batch())

    def _images(self, step: int) -> float:
        return self.log.rows.get(step, {}).get("images", step * (self._batch() or 1))

    def _batch(self) -> int:
        data, trainer = self.log.config.get("data", {}), self.log.config.get("trainer", {})
        batch = data.get("batch") if isinstance(data, dict) else None
        devices = trainer.get("devices", 1) if isinstance(trainer, dict) else 1
        return int(batch) * (devices if isinstance(devices, int) else 1) if batch else 0


def read_runs(named: list[Path]) -> tuple[list[Run], list[str]]:
    """The runs in the folders named, and notes on what was left out.

    A folder that is no run itself stands for all runs below it (a sweep): of those, one without figures is left out
    with a note. One that is named itself must have some.

    Raises:
        UserError: a folder that holds no run, or none with figures; a damaged file.
    """
    runs, notes = [], []
    for path in named:
        if not path.is_dir():
            raise UserError(
                f"no run folder '{path}': give a folder that train.py wrote, or one that holds such folders"
            )
        folders = [path] if source(path) else list(_below(path))
        if not folders:
            raise UserError(f"no run in {path}: expected metrics.csv, TensorBoard event files or a local W&B run")
        for folder in folders:
            log = read_log(folder)
            notes += log.notes
            if log.rows:
                runs.append(Run(folder, log))
            elif folder == path:
                raise UserError(
                    f"{path} has no figures: the run ended before its first was logged, or a file is damaged"
                )
            else:
                notes.append(f"{folder} has no figures and is left out")
    if not runs:
        raise UserError(f"no run with figures in {', '.join(map(str, named))}")
    return runs, notes


def keep_samples(runs: list[Run]) -> None:
    """Of the picture grids keep the last two of six rows, the samples: nothing of a data set is left in them."""
    for run in runs:
        if run.log.grid is not None:
            run.log.grid = run.log.grid[(len(run.log.grid) - 2) * 4 // 6 :]


def source(folder: Path) -> str:
    """Which logger's files make this folder a run: "csv", "tensorboard", "wandb", or "" for none."""
    if (folder / "metrics.csv").is_file():
        return "csv"
    if any(any(place.glob("events.out.tfevents.*")) for place in (folder, folder / "tensorboard")):
        return "tensorboard"
    return "wandb" if _wandb_files(folder) else ""


def read_log(folder: Path) -> Log:
    """What the logger of a run folder left there; of several loggers the CSV files are read."""
    kind = source(folder)
    if kind == "csv":
        return read_csv(folder)
    if kind == "tensorboard":
        below = folder / "tensorboard"
        return read_tensorboard(below if below.is_dir() else folder)
    first, *more = map(read_wandb, _wandb_files(folder))
    for log in more:  # later sittings of the same run
        for step, row in log.rows.items():
            first.add(step, row)
        first.config, first.record = log.config or first.config, log.record or first.record
        first.grid = first.grid if log.grid is None else log.grid
        first.seconds = (first.seconds or 0) + (log.seconds or 0) or None
        first.notes += log.notes
    return first


def _wandb_files(folder: Path) -> list[Path]:
    here = sorted(folder.glob("run-*.wandb"))
    return here or sorted(folder.glob("wandb/*run-*/run-*.wandb"))


def _below(folder: Path) -> list[Path]:
    """Run folders below, in natural order: 2 before 10."""
    found = []
    for path in sorted(
        folder.iterdir(), key=lambda p: [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", p.name)]
    ):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            found += [path] if source(path) else _below(path)
    return found
