"""The figures of several runs as one table."""

from dataclasses import dataclass

import numpy as np

from vaegan.evaluation.compare.differences import MISSING, labelled, short
from vaegan.evaluation.compare.runs import Run


@dataclass(frozen=True)
class Column:
    """A figure: its heading, digits, and which value is best: max, min, or nearest to 1; None for none."""

    heading: str
    digits: int
    best: str | None


COLUMNS = {
    "val/psnr": Column("PSNR ↑", 2, "max"),
    "val/lpips": Column("LPIPS ↓", 4, "min"),
    "val/sharpness": Column("sharpness (1)", 3, "one"),
    "val/kl": Column("KL, nats", 1, None),
    "train/adversarial": Column("adversarial loss", 3, None),
    "train/d_accuracy": Column("D accuracy", 3, None),
}
SETTINGS = 5
LAST = 5


def table(runs: list[Run], found: dict[str, list[str]]) -> tuple[list[str], list[list[str]]]:
    """Headings and one row a run: label, settings that differ and are not in it, pictures, time, pace, and the figures.

    Figures are the last value, and in brackets the best where that is another one; of figures that are logged every
    few steps, the mean of the last ones.
    """
    settings = list(found) if len(found) <= SETTINGS and not labelled(runs, found) else []
    shown = short(settings)
    logged = {name for run in runs for name in run.names}
    columns = [name for name in COLUMNS if name in logged]
    if not columns:
        columns = sorted(name for name in logged if name not in ("images", "epoch"))[: len(COLUMNS)]
    headings = ["run", *(shown[name] for name in settings), "pictures" if runs[0].counts_images else "steps", "time"]
    headings += ["img/s", *(COLUMNS[name].heading if name in COLUMNS else name for name in columns)]
    ended = [run.record.get("status", "finished") for run in runs]
    if set(ended) != {"finished"}:
        headings.append("ended")
    rows = []
    for i, run in enumerate(runs):
        row = [run.label, *(found[name][i] for name in settings), f"{int(run.images_seen):,}", time(run.seconds)]
        row += [pace(run), *(cell(run, name) for name in columns)]
        rows.append(row + [ended[i]] * (len(headings) - len(row)))
    return headings, rows


def lines(headings: list[str], rows: list[list[str]]) -> list[str]:
    """The table in Markdown, its columns aligned."""
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return [line(headings), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)]


def cell(run: Run, name: str) -> str:
    """A figure's last value, and its best in brackets where they differ."""
    _, values = run.curve(name)
    column = COLUMNS.get(name, Column(name, 4, None))
    if not len(values):
        return MISSING
    last = f"{values[-1] if name.startswith('val/') else values[-LAST:].mean():.{column.digits}f}"
    if column.best is None:
        return last
    score = {"max": values, "min": -values, "one": -np.abs(values - 1)}[column.best]
    best = f"{values[score.argmax()]:.{column.digits}f}"
    return last if best == last else f"{last} ({best})"


def pace(run: Run) -> str:
    _, values = run.curve("train/images_per_second")
    return f"{np.median(values):.0f}" if len(values) else MISSING


def time(seconds: float | None) -> str:
    """Hours, minutes and seconds."""
    if seconds is None:
        return MISSING
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
