"""What was found, as JSON for programs, as one PNG to look at, and as one HTML file that needs nothing beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from vaegan.data.check.checked import Checked
from vaegan.data.check.sheets import contact_sheets
from vaegan.media import atomic_path, decode_image, write_image
from vaegan.reports import chart, png, write_page

_BINS = {"yaw": np.arange(-60, 61, 5), "pitch": np.arange(-40, 41, 4), "light": np.arange(0, 256, 15)}
_BINS |= {name: np.linspace(0, 1, 21) for name in ("smile", "mouth", "eyes")}
_LABELS = {
    "yaw": "yaw, degrees",
    "pitch": "pitch, degrees (down is positive)",
    "smile": "smile (0 to 1)",
    "mouth": "mouth open (0 to 1)",
    "eyes": "eyes closed (0 to 1)",
    "light": "mean grey value",
    "native_px": "side of the crop in its source, px",
    "sharpness": "sharpness",
    "per_person": "pictures of a person",
    "seconds": "length of a video, s",
    "fps": "frames/s of a video",
    "height": "height of a video, px",
}


def write_report(checked: Checked, path: Path) -> list[Path]:
    """Write PATH (.html), and .png and .json beside it; returns what was written.

    Raises:
        UserError: nothing can be written there.
    """
    path = path.with_suffix(".html")
    table = as_table(checked)
    sheets = contact_sheets(checked.folder, checked.looked) if len(checked.looked) else {}
    charts = _charts(table)
    files = [path, path.with_suffix(".png"), path.with_suffix(".json")]
    videos = [
        (v.file, f"{v.width}x{v.height}", f"{v.fps:.3g}", f"{v.seconds:.2f}", v.sound, v.damage) for v in checked.videos
    ]
    shown = {"findings": checked.findings, "charts": charts, "sheets": sheets, "videos": videos}
    write_page(path, "check.html", name=table["folder"], good=checked.good, **shown)
    write_image(files[1], _stacked(decode_image(charts), sheets))
    with atomic_path(files[2]) as temporary:
        temporary.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return files


def as_table(checked: Checked) -> dict:
    """Counts, histograms, videos and findings, ready for JSON."""
    looked = checked.looked
    people = Counter(looked.person)
    histograms = {name: _histogram(values, _BINS.get(name)) for name, values in _columns(checked)}
    return {
        "folder": checked.folder.resolve().name,
        "good": checked.good,
        "pictures": len(looked),
        "splits": dict(Counter(looked.split)),
        "sources": dict(Counter(looked.source).most_common()),
        "people": len(people),
        "largest_people": dict(people.most_common(20)),
        "grey": int(sum(looked.grey)),
        "probe": asdict(checked.probe) if checked.probe else None,
        "findings": [asdict(finding) for finding in checked.findings],
        "histograms": histograms,
        "videos": [asdict(video) for video in checked.videos],
        "broken": [{"where": where, "why": why} for where, why in looked.broken],
    }


def _columns(checked: Checked) -> Iterator[tuple[str, np.ndarray]]:
    looked = checked.looked
    for name in ("native_px", "sharpness", "yaw", "pitch", "smile", "mouth", "eyes", "light"):
        values = looked.column(name).astype(float)
        if np.isfinite(values).any():
            yield name, values[np.isfinite(values)]
    if len(looked):
        yield "per_person", np.array(list(Counter(looked.person).values()), float)
    if checked.videos:
        for name in ("seconds", "fps", "height"):
            yield name, np.array([getattr(video, name) for video in checked.videos], float)


def _histogram(values: np.ndarray, edges: np.ndarray | None) -> dict:
    """Counts between edges; values beyond the outermost edges count in the outermost bins."""
    if edges is None:
        low, high = np.percentile(values, (0, 99.5))
        edges = np.linspace(low, max(high, low + 1), 25)
        if (values % 1 == 0).all() and high - low < 25:
            edges = np.arange(low, high + 2) - 0.5
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return {"edges": [round(float(edge), 3) for edge in edges], "counts": counts.tolist()}


def _charts(table: dict) -> bytes:
    """The histograms as a PNG, 1152 px wide."""
    drawn = list(table["histograms"].items())
    count = len(drawn) + 2
    rows = -(-count // 4)
    figure = chart(1152, 192 * rows)
    axes = figure.subplots(rows, 4, squeeze=False).ravel()
    for axis, (title, counts) in zip(axes, (("splits", table["splits"]), ("sources", table["sources"])), strict=False):
        names = list(counts)[:10]
        axis.barh([name[:24] for name in names][::-1], [counts[name] for name in names][::-1], color="#4477aa")
        axis.set_title(title, fontsize=7)
    for axis, (name, histogram) in zip(axes[2:], drawn, strict=False):
        axis.stairs(histogram["counts"], histogram["edges"], fill=True, color="#4477aa")
        axis.set_title(_LABELS[name], fontsize=7)
        if name == "per_person":
            axis.set_yscale("log")
    for axis in axes:
        axis.tick_params(labelsize=6)
    for axis in axes[count:]:
        axis.set_axis_off()
    return png(figure)


def _stacked(charts: np.ndarray, sheets: dict[str, np.ndarray]) -> np.ndarray:
    """Charts, and below them the contact sheets with their titles."""
    parts = [charts]
    for title, sheet in sheets.items():
        heading = np.full((28, charts.shape[1], 3), 255, np.uint8)
        cv2.putText(heading, title, (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        parts += [heading, sheet]
    width = max(part.shape[1] for part in parts)
    padded = [cv2.copyMakeBorder(p, 0, 0, 0, width - p.shape[1], cv2.BORDER_CONSTANT, value=[255] * 3) for p in parts]
    return np.concatenate(padded)
