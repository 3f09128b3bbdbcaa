"""The figures of one result in words, on one HTML page that needs nothing beside it."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from vaegan import reports
from vaegan.evaluation import likeness, metrics
from vaegan.evaluation.result import ResultFigures
from vaegan.media.statement import statement
from vaegan.notes import POSE_DEGREES, pose_words
from vaegan.pipeline import Transfer

SAME_PERSON = 0.277
"""The cosine from which MobileFaceNet takes two pictures for one person's (99.3 % right on pairs of LFW)."""

STILL_DEGREES, STILL_EXPRESSION = 1.0, 0.01
"""A driver whose mean standard deviation is below this hardly moves, and correlation with it says little."""

HARDLY = 0.05
"""A gain below which a correlation is about next to nothing."""

PHOTO_PX = 192
FOLLOWS = (
    (0.8, "follows the driver's closely"),
    (0.5, "follows the driver's"),
    (0.2, "follows the driver's loosely"),
    (-math.inf, "does not follow the driver's"),
)
CURVES = ("head turned (yaw, degrees)", "head down (pitch, degrees)", "smile (0 to 1)", "mouth open (0 to 1)")

Line = tuple[str, str, str]


def write_page(figures: ResultFigures, run: Transfer, driver: Path, board: np.ndarray, path: Path) -> None:
    """Write the page. board: the storyboard uint8 (H, W, 3). Raises UserError when it cannot be written."""
    reports.write_page(path, "result.html", **_values(figures, run, driver, board))


def _values(figures: ResultFigures, run: Transfer, driver: Path, board: np.ndarray) -> dict:
    facts = {key: value for key, value in asdict(figures).items() if key != "curves"}
    return {
        "driver": driver.stem,
        "made_with": f"{made_with(figures, run)} {statement(run.model.id)}.",
        "photo": run.photo.picture(PHOTO_PX),
        "board": board,
        "rows": in_words(figures, run),
        "curves": curves(figures),
        "figures": figures,
        "size": run.model.size if run.renderer == "decode" else None,
        "definitions": definitions(figures),
        "facts": _rounded(facts),
    }


def made_with(figures: ResultFigures, run: Transfer) -> str:
    """What was made, in a sentence."""
    s = run.settings
    frames = f"{figures.frames} frame{'s' * (figures.frames != 1)} of the result at {float(run.rate):.4g} frames/s"
    source = f", reference {s.reference}" if s.motion == "relative" else ""
    return f"{frames}, model {run.model.id}, {s.motion} motion{source}, strength {s.strength:g}, smooth {s.smooth:g}."


def in_words(figures: ResultFigures, run: Transfer) -> list[Line]:
    """(what, figure, words) of everything that was measured."""
    lines = [_person(figures, run), _frames(figures), _gap(figures, run)]
    lines += [
        _moved("Head", "turns", "pose", figures, run, STILL_DEGREES),
        _moved("Expression", "changes", "expression", figures, run, STILL_EXPRESSION),
        _smile(figures),
        _steadiness(figures),
        _smoothing(figures, run),
    ]
    return [line for line in lines if line is not None]


def _person(figures: ResultFigures, run: Transfer) -> Line | None:
    if figures.identity is None:
        return None
    same = "is still taken for" if figures.identity >= SAME_PERSON else "is no longer taken for"
    words = (
        f"The result {same} the person of the photo: that takes {SAME_PERSON:.2f}; pictures of one person have "
        "0.67 ± 0.13, those of strangers 0.00 ± 0.10."
    )
    if figures.identity_still is not None:
        words += f" The photo itself, brought to the model's {run.model.size} px, has {figures.identity_still:.2f}"
        words += "." if figures.identity_driver is None else f", the driver {figures.identity_driver:.2f}."
    return "The person is kept", f"{figures.identity:.2f}", words


def _frames(figures: ResultFigures) -> Line:
    share = figures.faceless / max(figures.frames, 1)
    seen = f"{figures.faceless} of {figures.frames}"
    words = (
        f"A face is seen in all {figures.frames} frames of the result."
        if not figures.faceless
        else f"In {share:.0%} of the frames of the result no face is seen: these are broken."
    )
    if figures.driver_lost:
        words += f" In {figures.driver_lost} of them the driver's face was lost: there the photo comes to rest."
    return "Frames of the result without a face", seen, words


def _gap(figures: ResultFigures, run: Transfer) -> Line:
    yaw, pitch, roll = figures.pose_gap
    far = pose_words(figures.pose_gap, run.model.framing.follow)
    frame = "the driver's mean pose" if run.settings.motion == "absolute" else "the driver's reference frame"
    words = (
        f"The photo's head is turned from {frame} by {far}, which distorts the result: use another "
        "part of the driver (--start, --end) or another photo."
        if far
        else f"Photo and {frame} look about the same way (within {POSE_DEGREES} degrees)."
    )
    return "Pose of photo against driver", f"yaw {yaw:+.0f}°, pitch {pitch:+.0f}°, roll {roll:+.0f}°", words


def _moved(what: str, verb: str, name: str, figures: ResultFigures, run: Transfer, still: float) -> Line | None:
    r, gain, spread = (getattr(figures, f"{name}_{figure}") for figure in ("r", "gain", "spread"))
    if r is None or gain is None:
        return None
    strength = run.settings.strength * getattr(run.settings, name)
    follows = next(words for least, words in FOLLOWS if (r if strength >= 0 else -r) >= least)
    if abs(gain) < HARDLY:
        follows = "hardly moves with the driver's"
    against = " the other way" * (gain * strength < 0)
    words = f"The {what.lower()} {follows}, and {verb} {abs(gain):.2f} times as far{against}; "
    words += f"asked for: {strength:g}."
    if spread is not None and spread < still:
        words += f" But the driver's own {what.lower()} hardly {verb}, so that this says little."
    return f"{what} follows", f"r {r:.2f}, gain {gain:.2f}", words


def _smile(figures: ResultFigures) -> Line | None:
    if figures.smile_bias is None:
        return None
    size = abs(figures.smile_bias)
    much = "more" if figures.smile_bias > 0 else "less"
    words = f"The result smiles {much} than photo and driver ask for." if size >= 0.1 else "The result smiles as asked."
    return "Smile", f"{figures.smile_bias:+.2f}", words


def _steadiness(figures: ResultFigures) -> Line | None:
    if figures.jitter is None:
        return None
    words = "The result shakes about as much as the driver."
    if figures.jitter > 1.3:
        words = "The result shakes more than the driver: --smooth steadies it."
    elif figures.jitter < 0.7:
        words = "The result is calmer than the driver."
    return "Shaking, result / driver", f"{figures.jitter:.2f}", words


def _smoothing(figures: ResultFigures, run: Transfer) -> Line | None:
    if figures.smoothed is None:
        return None
    s, (before, after) = run.settings, (1000 * value for value in figures.smoothed)
    words = (
        f"Jitter of the motion before and after --smooth {s.smooth:g} --steady {s.steady:g}: how far the face's points "
        "are from the middle between the frames before and after."
    )
    return "Smoothing", f"{before:.1f} to {after:.1f} thousandths of the face", words


def definitions(figures: ResultFigures) -> list[str]:
    """The definition of every figure that was measured, in the words of the function that has it."""
    sources = {
        "identity": (likeness.identity,),
        "pose_r": (metrics.pose_r, metrics.pose_gain, metrics.correlation, metrics.gain),
        "expression_r": (metrics.expression_r, metrics.expression_gain),
        "smile_bias": (metrics.smile_bias,),
        "jitter": (metrics.jitter,),
    }
    measured = (functions for name, functions in sources.items() if getattr(figures, name) is not None)
    return [metrics.definition(function) for functions in measured for function in functions]


def curves(figures: ResultFigures) -> Figure | None:
    """A chart of each axis that driver and result have, over time; None without one."""
    if len(figures.curves) < 2:
        return None
    times = np.array([time for time, _, _ in figures.curves])
    driver, result = (np.stack([row[at] for row in figures.curves]) for at in (1, 2))
    shown = [axis for axis in range(len(CURVES)) if np.isfinite(driver[:, axis]).sum() > 1]
    if not shown:
        return None
    figure = reports.chart(1100, 190 * -(-len(shown) // 2) + 30)
    panels = figure.subplots(-(-len(shown) // 2), 2, squeeze=False, sharex=True).ravel()
    for panel, axis in zip(panels, shown, strict=False):
        panel.plot(times, driver[:, axis], color="0.55", label="driver")
        panel.plot(times, result[:, axis], color="#d55e00", label="result")
        panel.set_title(CURVES[axis], fontsize=10)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.25)
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    figure.supxlabel("s", fontsize=8)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
    return figure


def _rounded(value):
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return {key: _rounded(item) for key, item in value.items()} if isinstance(value, dict) else value
