"""From the folders named on the command line to runs that can be set side by side."""

import csv
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vaegan.errors import UserError
from vaegan.media import read_image

FIGURES = "metrics.csv"
"""What makes a folder a run: every logger of ours leaves it."""


@dataclass
class Run:
    """What one training left in its folder.

    Attributes:
        rows: step -> figures by name, as they were logged (`val/psnr`, `train/kl`, `images`, ...).
        config: the resolved configuration, nested. record: what run.json holds; either may be empty.
        grid: the last picture grid, uint8 (H, W, 3), or None. seconds: of the whole run, or None.
        notes: what had to be left out, one line each. label: its name beside other runs, see `set_labels`.
    """

    path: Path
    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    grid: np.ndarray | None = None
    seconds: float | None = None
    notes: list[str] = field(default_factory=list)
    label: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration with dotted names."""
        return flat(self.config)

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Pictures seen (N,) and the values (N,) of a figure, in the order of the steps; N is 0 if it is not there."""
        found = [(self._images(step), row[name]) for step, row in sorted(self.rows.items()) if name in row]
        images, values = zip(*found, strict=True) if found else ((), ())
        return np.array(images, float), np.array(values, float)

    @property
    def names(self) -> list[str]:
        """The figures logged."""
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))

    @property
    def images_seen(self) -> float:
        return self._images(max(self.rows))

    @property
    def counts_images(self) -> bool:
        """Whether pictures are known; else the x axis counts steps."""
        return any("images" in row for row in self.rows.values()) or bool(self._batch())

    def _images(self, step: int) -> float:
        return self.rows.get(step, {}).get("images", step * (self._batch() or 1))

    def _batch(self) -> int:
        data, trainer = self.config.get("data", {}), self.config.get("trainer", {})
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
        folders = [path] if (path / FIGURES).is_file() else list(_below(path))
        if not folders:
            raise UserError(f"no run in {path}: no {FIGURES}, which train.py writes with every logger, in or below it")
        for folder in folders:
            run = read_run(folder)
            notes += run.notes
            if run.rows:
                runs.append(run)
            elif folder == path:
                raise UserError(f"{path} has no figures: the run ended before its first was logged")
            else:
                notes.append(f"{folder} has no figures and is left out")
    if not runs:
        raise UserError(f"no run with figures in {', '.join(map(str, named))}")
    return runs, notes


def read_run(folder: Path) -> Run:
    """metrics.csv, config.yaml, run.json and the last of grids/ in a run folder.

    Only finite figures are kept; what a resumed run logged again replaces what was there.

    Raises:
        UserError: metrics.csv is not what our runs write.
    """
    run = Run(folder, config=_read(folder / "config.yaml"), record=_read(folder / "run.json"))
    path = folder / FIGURES
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if "step" not in (reader.fieldnames or ["step"]):
                raise UserError(f"{path} has no column 'step': it is not a run's {FIGURES}")
            for row in reader:
                if None in row or None in row.values():
                    run.notes.append(f"{path}: line {reader.line_num} is cut short and left out")
                    continue
                figures = {name: float(value) for name, value in row.items() if value and name != "step"}
                kept = {name: value for name, value in figures.items() if math.isfinite(value)}
                if kept:
                    run.rows.setdefault(int(float(row["step"])), {}).update(kept)
    except (ValueError, csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}): mend the line, or leave this run out") from error
    grids = sorted((folder / "grids").glob("*.png"))
    if grids:
        run.grid = read_image(grids[-1])
    run.seconds = run.record.get("seconds") or _exported_seconds(folder)
    return run


def keep_samples(runs: list[Run]) -> None:
    """Of the picture grids keep the last two of six rows, the samples: nothing of a data set is left in them."""
    for run in runs:
        if run.grid is not None:
            run.grid = run.grid[(len(run.grid) - 2) * 4 // 6 :]


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; lists stay as they are."""
    found: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _read(path: Path) -> dict[str, Any]:
    """The mapping that a YAML or JSON file holds, empty for anything else."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        value = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return {}
    return value if isinstance(value, dict) else {}


def _exported_seconds(folder: Path) -> float | None:
    """Of a run without a record: the hours that its model folder gives."""
    hours = _read(folder / "model" / "config.yaml").get("training", {}).get("hours")
    return None if hours is None else 3600 * float(hours)


def _below(folder: Path) -> Iterator[Path]:
    """Run folders below, in natural order: 2 before 10."""
    for path in sorted(
        folder.iterdir(), key=lambda p: [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", p.name)]
    ):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from [path] if (path / FIGURES).is_file() else _below(path)
