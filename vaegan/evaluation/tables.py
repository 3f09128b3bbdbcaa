"""Rows of figures, and what they come to: means over clips with intervals by bootstrap."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

RESAMPLES = 2000
Figure = dict[str, float | None]
Table = dict[str, dict[str, Figure]]
"""System -> name of the figure -> mean, low, high (95 % interval), n."""


@dataclass(frozen=True)
class Row:
    """The figures of one system on one clip (and photo). weight: of the clip among others."""

    system: str
    clip: str
    photo: str
    figures: dict[str, float]
    weight: float = 1.0


def summarise(rows: list[Row], seed: int) -> Table:
    """system -> figure -> mean over clips (of the means of each clip's photos) and its 95 % interval.

    A clip's weight is that of its rows, which is one and the same.
    """
    table: Table = {}
    for system in dict.fromkeys(row.system for row in rows):
        mine = [row for row in rows if row.system == system]
        weights = {row.clip: row.weight for row in mine}
        names = dict.fromkeys(name for row in mine for name in row.figures)
        table[system] = {}
        for name in names:
            by_clip: dict[str, list[float]] = {}
            for row in mine:
                if np.isfinite(row.figures.get(name, np.nan)):
                    by_clip.setdefault(row.clip, []).append(row.figures[name])
            means = np.array([np.mean(values) for values in by_clip.values()])
            table[system][name] = bootstrap(means, seed, np.array([weights[clip] for clip in by_clip]))
    return table


def bootstrap(values: np.ndarray, seed: int, weights: np.ndarray | None = None) -> Figure:
    """Mean of values (N,) and its 95 % percentile interval (Efron 1979); None where N is 0, no interval for 1.

    weights: (N,), None: all alike
    """
    weights = np.ones(len(values)) if weights is None else weights
    if not len(values) or not weights.any():
        return {"mean": None, "low": None, "high": None, "n": 0}
    generator = np.random.default_rng(seed)
    drawn = np.concatenate([generator.integers(0, len(values), (100, len(values))) for _ in range(RESAMPLES // 100)])
    means = (values * weights)[drawn].mean(1) / np.maximum(weights[drawn].mean(1), 1e-12)
    low, high = np.percentile(means, [2.5, 97.5]) if len(values) > 1 else (None, None)
    figures = {"mean": (values * weights).mean() / weights.mean(), "low": low, "high": high}
    return {name: None if v is None else round(float(v), 5) + 0.0 for name, v in figures.items()} | {"n": len(values)}


def difference(rows: list[Row], others: list[Row], system: str, name: str, seed: int) -> Figure:
    """A figure of one evaluation minus that of another, clip by clip and photo by photo: the pairs that both have."""
    values = [
        {(row.clip, row.photo): row.figures.get(name, np.nan) for row in part if row.system == system}
        for part in (rows, others)
    ]
    by_clip: dict[str, list[float]] = {}
    for pair in values[0].keys() & values[1].keys():
        off = values[0][pair] - values[1][pair]
        if np.isfinite(off):
            by_clip.setdefault(pair[0], []).append(off)
    return bootstrap(np.array([np.mean(by_clip[clip]) for clip in sorted(by_clip)]), seed)


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
    """Rows with rounded figures, None for what could not be measured."""
    return [
        asdict(row) | {"figures": {k: round(v, 5) if np.isfinite(v) else None for k, v in row.figures.items()}}
        for row in rows
    ]


def single(value: float | None, n: int) -> Figure:
    """A figure that is one number for the whole set, without an interval."""
    return {"mean": None if value is None else round(value, 5), "low": None, "high": None, "n": n}
