"""What a logger left behind, whichever it was: figures by step, configuration, record, the last picture grid."""

import csv
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vaegan.errors import UserError
from vaegan.media import read_image


@dataclass
class Log:
    """One run as logged.

    Attributes:
        rows: step -> figures by name, as they were logged (`val/psnr`, `train/kl`, `images`, ...).
        config: the resolved configuration, nested. record: what run.json holds; either may be empty.
        grid: the last picture grid, uint8 (H, W, 3), or None. seconds: of the whole run, or None.
        notes: what the reader had to leave out, one line each.
    """

    logger: str
    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    grid: np.ndarray | None = None
    seconds: float | None = None
    notes: list[str] = field(default_factory=list)

    def add(self, step: int, figures: dict[str, float]) -> None:
        """Keep the finite ones; what a resumed run logs again replaces what was there."""
        kept = {name: value for name, value in figures.items() if math.isfinite(value)}
        if kept:
            self.rows.setdefault(step, {}).update(kept)


def read_csv(folder: Path) -> Log:
    """metrics.csv, config.yaml, run.json and the last of grids/ in a run folder.

    Raises:
        UserError: metrics.csv is not what our runs write.
    """
    log = Log("csv", config=_yaml(folder / "config.yaml"), record=_json(folder / "run.json"))
    path = folder / "metrics.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if "step" not in (reader.fieldnames or ["step"]):
                raise UserError(f"{path} has no column 'step': it is not a run's metrics.csv")
            for row in reader:
                if None in row or None in row.values():
                    log.notes.append(f"{path}: line {reader.line_num} is cut short and left out")
                    continue
                figures = {name: float(value) for name, value in row.items() if value and name != "step"}
                log.add(int(float(row["step"])), figures)
    except (ValueError, csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}): mend the line, or leave this run out") from error
    grids = sorted((folder / "grids").glob("*.png"))
    if grids:
        log.grid = read_image(grids[-1])
    log.seconds = log.record.get("seconds") or _exported_seconds(folder)
    return log


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; lists stay as they are."""
    found: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def as_dict(text: str, kind: str) -> dict[str, Any]:
    """The mapping that YAML or JSON text holds, empty for anything else."""
    try:
        value = json.loads(text) if kind == "json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return {}
    return value if isinstance(value, dict) else {}


def _yaml(path: Path) -> dict[str, Any]:
    return as_dict(_text(path), "yaml")


def _json(path: Path) -> dict[str, Any]:
    return as_dict(_text(path), "json")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _exported_seconds(folder: Path) -> float | None:
    """Of a run without a record: the hours that its model folder gives."""
    hours = _yaml(folder / "model" / "config.yaml").get("training", {}).get("hours")
    return None if hours is None else 3600 * float(hours)
