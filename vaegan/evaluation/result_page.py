"""The figures of one result in words, on one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
import html
import inspect
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vaegan.driver import crop_picture
from vaegan.evaluation import metrics
from vaegan.evaluation.result import ResultFigures
from vaegan.media import atomic_path, encode_image
from vaegan.transfer import POSE_DEGREES, Transfer, pose_note

SAME_PERSON = 0.277
"""The cosine from which MobileFaceNet takes two pictures for one person's (99.3 % right on pairs of LFW)."""

STILL_DEGREES, STILL_EXPRESSION = 1.0, 0.01
"""A driver whose mean standard deviation is below this hardly moves, and correlation with it says little."""

HARDLY = 0.05
"""A gain below which a correlation is about next to nothing."""

PHOTO_PX = 192
FOLLOWS = ((0.8, "follows closely"), (0.5, "follows"), (0.2, "follows loosely"), (-math.inf, "does not follow"))
CURVES = ("head turned (yaw, degrees)", "head down (pitch, degrees)", "smile (0 to 1)", "mouth open (0 to 1)")
STYLE = """
:root { color-scheme: light dark; --soft: #777; --line: #8884 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em }
img { max-width: 100% } h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
table { border-collapse: collapse; width: 100% } td, th { padding: .5em 1em .5em 0; text-align: left;
vertical-align: top; border-top: 1px solid var(--line) } td:nth-child(2) { white-space: nowrap;
font-variant-numeric: tabular-nums } .soft { color: var(--soft) }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1em }
svg { width: 100%; height: 120px; border-bottom: 1px solid var(--line) } figure { margin: 0 }
polyline { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke }
.driver { stroke: #888; color: #888 } .result { stroke: #d55e00; color: #d55e00 }
"""

Line = tuple[str, str, str]


def write_page(figures: ResultFigures, run: Transfer, driver: Path, board: np.ndarray, path: Path) -> None:
    """Write the page. board: the storyboard uint8 (H, W, 3). Raises UserError when it cannot be written."""
    text = page(figures, run, driver, board)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def page(figures: ResultFigures, run: Transfer, driver: Path, board: np.ndarray) -> str:
    """The page as HTML."""
    title = html.escape(f"a photo, moved like {driver.stem}")
    photo = crop_picture(run.photo.image, run.photo.crop, PHOTO_PX)
    rows = "\n".join(
        f"<tr><td>{html.escape(what)}</td><td>{html.escape(value)}</td><td>{html.escape(words)}</td></tr>"
        for what, value, words in in_words(figures, run)
    )
    left_out = "".join(f"<li>{html.escape(line)}</li>" for line in figures.left_out)
    facts = {key: value for key, value in asdict(figures).items() if key != "curves"}
    stored = json.dumps(_rounded(facts), allow_nan=False).replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{STYLE}</style></head><body>
<h1>{title}</h1>
<p>{html.escape(made_with(figures, run))}</p>
<p>{_picture(photo, "the photo, as the model sees it")}</p>
{_picture(board, "storyboard: the driver, where it has pictures, above the result")}
<h2>What came of it</h2>
<table>
{rows}
</table>
{f"<h2>Left out</h2><ul>{left_out}</ul>" if left_out else ""}
<h2>Driver and result over time</h2>
<p><b class="driver">driver</b> &nbsp; <b class="result">result</b></p>
<div class="curves">
{curves(figures)}
</div>
<h2>How it was measured</h2>
<p class="soft">Every frame of the result was looked at as it was made, before any video encoding, at 256 px, without
smoothing, by the tracker {html.escape(repr(figures.tracker))}; likeness in every fifth. The result can show what
{run.model.size} px hold, so even the driver itself, at that size, would fall a little short of 1.</p>
<ul class="soft">
{definitions(figures)}
</ul>
<script type="application/json" id="figures">{stored}</script>
</body></html>
"""


def made_with(figures: ResultFigures, run: Transfer) -> str:
    """What was made, in a sentence."""
    s = run.settings
    frames = f"{figures.frames} frame{'s' * (figures.frames != 1)} at {float(run.rate):.4g} frames/s"
    source = f", reference {s.reference}" if s.motion == "relative" else ""
    return f"{frames}, model {run.model.id}, {s.motion} motion{source}, strength {s.strength:g}, smooth {s.smooth:g}."


def in_words(figures: ResultFigures, run: Transfer) -> list[Line]:
    """(what, figure, words) of everything that was measured."""
    lines = [_person(figures, run), _frames(figures), _gap(figures, run)]
    lines += [
        _moved("Head", "turns", figures.pose_r, figures.pose_gain, run, (figures.pose_spread, STILL_DEGREES)),
        _moved(
            "Expression",
            "changes",
            figures.expression_r,
            figures.expression_gain,
            run,
            (figures.expression_spread, STILL_EXPRESSION),
        ),
        _smile(figures),
        _steadiness(figures),
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
        "A face is seen in every frame of the result."
        if not figures.faceless
        else f"In {share:.0%} of the frames of the result no face is seen: these are broken."
    )
    if figures.driver_lost:
        words += f" The driver's face was lost in {figures.driver_lost}: such frames repeat the last one."
    return "Frames without a face", seen, words


def _gap(figures: ResultFigures, run: Transfer) -> Line | None:
    if figures.pose_gap is None:
        return None
    yaw, pitch, roll = figures.pose_gap
    far = pose_note(run.photo.pose, run.reference_pose, run.model.framing.follow)
    frame = "the driver's mean pose" if run.settings.motion == "absolute" else "the driver's reference frame"
    words = (
        f"The photo's head is turned from {frame} by {far}, which distorts the result: use --reference best, another "
        "part of the driver (--start, --end) or another photo."
        if far
        else f"Photo and {frame} look about the same way (within {POSE_DEGREES} degrees)."
    )
    return "Pose of photo against driver", f"yaw {yaw:+.0f}°, pitch {pitch:+.0f}°, roll {roll:+.0f}°", words


def _moved(
    what: str, verb: str, r: float | None, gain: float | None, run: Transfer, spread: tuple[float | None, float]
) -> Line | None:
    if r is None or gain is None:
        return None
    strength = run.settings.strength
    follows = next(words for least, words in FOLLOWS if (r if strength >= 0 else -r) >= least)
    if abs(gain) < HARDLY:
        follows = "hardly moves with"
    against = " the other way" * (gain * strength < 0)
    words = f"The {what.lower()} {follows} the driver's, and {verb} {abs(gain):.2f} times as far{against}; "
    words += f"asked for: {strength:g}."
    if spread[0] is not None and spread[0] < spread[1]:
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


def definitions(figures: ResultFigures) -> str:
    """The definition of every figure that was measured, in the words of the function that has it."""
    sources = {
        "identity": (metrics.identity,),
        "pose_r": (metrics.pose_r, metrics.pose_gain, metrics.correlation, metrics.gain),
        "expression_r": (metrics.expression_r, metrics.expression_gain),
        "smile_bias": (metrics.smile_bias,),
        "jitter": (metrics.jitter,),
    }
    lines = []
    for name, functions in sources.items():
        for function in functions if getattr(figures, name) is not None else ():
            text = " ".join(inspect.getdoc(function).split("\n\nRaises")[0].split())
            named = "" if ":" in text[:40] else f"{function.__name__}: "
            lines.append(f"<li>{html.escape(named + text)}</li>")
    return "\n".join(lines)


def curves(figures: ResultFigures) -> str:
    """A small chart for each axis that driver and result have."""
    if len(figures.curves) < 2:
        return ""
    times = np.array([time for time, _, _ in figures.curves])
    values = {who: np.stack([row[at] for row in figures.curves]) for at, who in ((1, "driver"), (2, "result"))}
    charts = []
    for axis, name in enumerate(CURVES):
        series = {who: rows[:, axis] for who, rows in values.items() if np.isfinite(rows[:, axis]).sum() > 1}
        if "driver" not in series:
            continue
        low, high = (f([f(v[np.isfinite(v)]) for v in series.values()]) for f in (min, max))
        pad = max(high - low, 1e-3) * 0.05
        lines = "".join(
            f'<polyline class="{who}" points="{points}"/>'
            for who, v in series.items()
            for points in _polylines(times, v, low - pad, high + pad)
        )
        caption = f"{name}, {low:.2f} to {high:.2f}, over {times[-1]:.1f} s"
        charts.append(
            f'<figure><svg viewBox="0 0 1000 100" preserveAspectRatio="none">{lines}</svg>'
            f'<figcaption class="soft">{html.escape(caption)}</figcaption></figure>'
        )
    return "\n".join(charts)


def _polylines(times: np.ndarray, values: np.ndarray, low: float, high: float) -> list[str]:
    """One line for each stretch without a gap, in a box of 1000 x 100."""
    x = 1000 * (times - times[0]) / max(times[-1] - times[0], 1e-9)
    y = 100 * (high - values) / (high - low)
    gaps = np.flatnonzero(~np.isfinite(y))
    parts = np.split(np.arange(len(y)), np.unique(np.concatenate([gaps, gaps + 1])))
    return [
        " ".join(f"{x[i]:.1f},{y[i]:.1f}" for i in part) for part in parts if len(part) > 1 and np.isfinite(y[part[0]])
    ]


def _picture(image: np.ndarray, title: str) -> str:
    data = base64.b64encode(encode_image(image, ".webp")).decode()
    return f'<img alt="{html.escape(title)}" title="{html.escape(title)}" src="data:image/webp;base64,{data}">'


def _rounded(value):
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return {key: _rounded(item) for key, item in value.items()} if isinstance(value, dict) else value
