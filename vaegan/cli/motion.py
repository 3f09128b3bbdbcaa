"""`vaegan motion`: what a motion file holds, and motions made from words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.motion_make import directions, make
from vaegan.cli.panels import Command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    epilog="Examples:\n"
    "  vaegan motion make hello.motion --at 1:smile=1 --at 2:yaw=-15 --seconds 3\n"
    "  vaegan motion inspect hello.motion",
)


@app.callback(rich_help_panel="Animate")
def motion() -> None:
    """Make motion files from words, and look into them."""


app.command(
    cls=Command,
    no_args_is_help=True,
    epilog="Examples:\n"
    "  vaegan motion make smile.motion --smile 1 --seconds 2\n"
    "  vaegan motion make hello.motion --at 1:smile=1 --at 2:yaw=-15 --seconds 3",
)(make)
app.command(
    cls=Command,
    no_args_is_help=True,
    epilog="Examples:\n"
    "  vaegan motion directions --model runs/mine/model\n"
    "  vaegan motion directions --model runs/mine/model --clips videos",
)(directions)


@app.command(
    cls=Command,
    no_args_is_help=True,
    epilog="Examples:\n  vaegan motion inspect hello.motion\n  vaegan motion inspect clip.motion",
)
def inspect(file: Annotated[Path, typer.Argument(help="A .motion file.")]) -> None:
    """Say what a motion file holds: its model, length, rate, and how much it moves."""
    import numpy as np

    from vaegan.motion import Motion

    m = Motion.load(file)
    rate = float(m.fps)
    turned = np.ptp(m.pose, axis=0)
    lines = {
        "file": f"{file} ({file.stat().st_size / 1000:.1f} kB)",
        "model": m.model_id,
        "framing": f"{m.framing[0]:g} x mesh box, {'follows the face' if m.framing[1] else 'one fixed crop'}",
        "frames": f"{len(m)} at {rate:.3f} frames/s, {m.times[-1] + 1 / rate:.2f} s, face lost in {m.lost}",
        "reference": f"frame {m.reference}",
        "latent": f"{m.deltas.shape[1]} numbers; mean |delta| {np.linalg.norm(m.deltas, axis=1).mean():.2f}, "
        f"largest {np.linalg.norm(m.deltas, axis=1).max():.2f}",
        "head": f"turns by {turned[0]:.0f} (yaw), {turned[1]:.0f} (pitch), {turned[2]:.0f} (roll) degrees in all; "
        f"moves by {np.ptp(m.placement[:, 0]):.2f} x {np.ptp(m.placement[:, 1]):.2f} face sizes",
    }
    for name, text in lines.items():
        typer.echo(f"{name:10} {text}")
