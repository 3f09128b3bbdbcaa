"""Curves over each other and picture grids side by side, as one PNG."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaegan.evaluation.compare.differences import differences, labelled, telling
from vaegan.evaluation.compare.runs import Run
from vaegan.reports import chart

PANELS = {
    "val/psnr": "PSNR of validation crops, dB",
    "val/lpips": "LPIPS of validation crops",
    "val/sharpness": "sharpness of validation crops (1: real)",
    "val/kl": "KL of validation crops, nats",
    "train/bce": "BCE, nats a picture",
    "train/adversarial": "adversarial loss",
    "train/feature": "feature loss",
    "train/d_accuracy": "D accuracy",
    "train/d_loss": "D loss",
    "train/grad_norm": "gradient norm",
    "train/lr": "learning rate",
    "train/images_per_second": "img/s",
}
LOGARITHMIC = {"train/grad_norm"}
COLUMNS = 4
CELL = 28
SMOOTHED = 40
"""Curves with more points are drawn thin, with a running mean over a twentieth of them."""


def draw(runs: list[Run], *, grids: bool = True) -> Figure:
    """A picture, 1800 px wide: legend, one panel a figure, and with `grids` the runs' last picture grids below."""
    panels = [name for name in PANELS if any(len(run.curve(name)[0]) for run in runs)]
    panels = panels or [n for n in dict.fromkeys(n for r in runs for n in r.names) if n not in ("images", "epoch")][:12]
    shown = [(run, color) for run, color in zip(runs, colors(len(runs)), strict=True) if run.grid is not None]
    shown = shown if grids else []
    rows, grid_columns = -(-len(panels) // COLUMNS), 4 if len(shown) == 4 else min(max(len(shown), 2), 3)
    grid_rows = -(-len(shown) // grid_columns)
    legend_inches = 0.3 * -(-len(runs) // COLUMNS) + 0.2
    shape = max((run.grid.shape[0] / run.grid.shape[1] for run, _ in shown), default=0.75)
    heights = [legend_inches, 2.7 * rows] + [(18 / grid_columns * shape + 0.35) * grid_rows] * bool(shown)
    settings = _settings(runs) if grids else ""
    if settings:
        heights.append(0.19 * (settings.count("\n") + 3))
    figure = chart(1800, round(100 * sum(heights)))
    parts = figure.subfigures(len(heights), 1, height_ratios=heights)
    axes = parts[1].subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis, name in zip(axes, panels, strict=False):
        _panel(axis, name, runs)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    furthest = max(axis.get_xlim()[1] for axis in axes[: len(panels)])
    for axis in axes[: len(panels)]:
        axis.set_xlim(-0.02 * furthest, furthest)
    handles, labels = _legend(axes)
    parts[0].legend(handles, labels, loc="center", ncols=min(len(labels), COLUMNS), fontsize=11, frameon=False)
    if shown:
        frames = parts[2].subplots(grid_rows, grid_columns, squeeze=False).ravel()
        for axis, (run, color) in zip(frames, shown, strict=False):
            axis.imshow(run.grid, interpolation="antialiased")
            axis.set_title(run.label, fontsize=11, color=color)
        for axis in frames:
            axis.set_axis_off()
    if settings:
        parts[-1].text(0.01, 0.95, settings, family="monospace", fontsize=9, verticalalignment="top")
    return figure


def _settings(runs: list[Run]) -> str:
    """What differs in the configuration, one line a setting; empty where the labels say it."""
    found = telling(differences(runs))
    if labelled(runs, found):
        return ""
    rows = [["", *(run.label for run in runs)], *([name, *values] for name, values in found.items())]
    widths = [min(max(len(row[i]) for row in rows), CELL) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c[:w].ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)


def colors(count: int) -> Sequence[tuple[float, ...]]:
    """Ten that are easy to tell apart; more are taken from a gradient."""
    return colormaps["tab10"].colors[:count] if count <= 10 else colormaps["viridis"](np.linspace(0, 0.95, count))


def _panel(axis: Axes, name: str, runs: list[Run]) -> None:
    everything, longest = [], max(len(run.curve(name)[0]) for run in runs)
    for run, color in zip(runs, colors(len(runs)), strict=True):
        images, values = run.curve(name)
        thousands = images / 1000 if run.counts_images else images
        everything.append(values)
        if len(values) > SMOOTHED:
            axis.plot(thousands, values, color=color, alpha=0.2, linewidth=0.8)
            values = running_mean(values, max(3, len(values) // 20))
        marker = "o" if longest <= 12 else None
        axis.plot(thousands, values, color=color, label=run.label, marker=marker, markersize=4, linewidth=1.6)
    pca = next((line for run in runs for line in run.names if line.startswith("val/psnr_pca")), None)
    if name == "val/psnr" and pca:
        level = next(run.curve(pca)[1][-1] for run in runs if pca in run.names)
        axis.axhline(level, color="0.4", linestyle="--", linewidth=1, label=f"PCA, {pca[12:]} numbers")
    values = np.concatenate(everything)
    if name in LOGARITHMIC and (values > 0).all():
        axis.set_yscale("log")
    else:
        axis.ticklabel_format(axis="y", useOffset=False)
    if len(values) > SMOOTHED and not name.startswith("val/") and name not in LOGARITHMIC:
        low, high = np.percentile(values, [0.5, 99.5])  # the first steps of a run would flatten the rest
        axis.set_ylim(low - 0.08 * (high - low) - 1e-9, high + 0.08 * (high - low) + 1e-9)
    axis.set_title(PANELS.get(name, name), fontsize=10)
    axis.set_xlabel("thousand pictures seen" if runs[0].counts_images else "steps", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25)


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of up to `width` values centred on each, fewer at the ends; values (N,) -> (N,)."""
    ones = np.ones(width)
    return np.convolve(values, ones, "same") / np.convolve(np.ones(len(values)), ones, "same")


def _legend(axes: Sequence[Axes]) -> tuple[list, list[str]]:
    found = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
