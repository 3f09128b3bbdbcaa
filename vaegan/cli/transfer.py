"""The `transfer` command: a photo moves like a driver."""

from __future__ import annotations

from contextlib import contextmanager
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.ending import run
from vaegan.cli.progress import bar

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

MotionKind = Enum("MotionKind", {"relative": "relative", "absolute": "absolute"}, type=str)
Renderer = Enum("Renderer", {"warp": "warp", "decode": "decode"}, type=str)
View = Enum("View", {"full": "full", "crop": "crop"}, type=str)
Device = Enum("Device", {n: n for n in ("auto", "cpu", "cuda", "mps")}, type=str)


def _reference(text: str) -> str | int:
    if text in ("first", "best"):
        return text
    if not text.isdigit():
        raise typer.BadParameter(f"{text!r} is none of: first, best, the number of a frame")
    return int(text)


def _fps(text: str) -> Fraction:
    try:
        fps = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"{text!r} is not a rate; examples: 25, 29.97, 30000/1001") from None
    if not Fraction(1, 10) <= fps <= 240:
        raise typer.BadParameter(f"{text} is not between 0.1 and 240")
    return fps


@app.command()
def transfer(
    photo: Annotated[str, typer.Option(help="The still picture to animate; `sample` is one that ships.")],
    driver: Annotated[
        str, typer.Option(help="What moves it: a video, a folder of frames, a .motion file or a shipped motion's name.")
    ],
    output: Annotated[
        Path | None, typer.Option(help="The video to write.", show_default="PHOTO_DRIVER.mp4 in this folder")
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model's name or a model folder.")] = "motion64",
    motion: Annotated[
        MotionKind,
        typer.Option(
            help="relative: photo + (driver - its reference frame); "
            "absolute: the photo takes on the driver's own pose and expression."
        ),
    ] = MotionKind.relative,
    reference: Annotated[
        str | None,
        typer.Option(
            parser=_reference,
            metavar="best|first|FRAME",
            help="The driver's frame that shows the photo as it is: the one most like the photo, "
            "the first with a face, or a number, counted from 0 at --start.",
            show_default="best",
        ),
    ] = None,
    strength: Annotated[float, typer.Option(min=-10, max=10, help="Factor of all motion.")] = 1.0,
    smooth: Annotated[float, typer.Option(min=0, max=1, help="Smooth the motion over time, without delay.")] = 0.0,
    pose: Annotated[float, typer.Option(min=0, max=2, help="Factor of the head's movement.")] = 1.0,
    expression: Annotated[float, typer.Option(min=0, max=2, help="Factor of the face's movement.")] = 1.0,
    mouth: Annotated[float, typer.Option(min=0, max=2, help="Factor of what mouth and jaw do of it.")] = 1.0,
    eyes: Annotated[float, typer.Option(min=0, max=2, help="Factor of what eyes and brows do of it.")] = 1.0,
    start: Annotated[float, typer.Option(min=0, help="Second of the driver to begin at.")] = 0.0,
    end: Annotated[float | None, typer.Option(min=0, help="Second of the driver to stop at.")] = None,
    fps: Annotated[
        Fraction | None,
        typer.Option(parser=_fps, metavar="N", help="Frames per second.", show_default="the driver's"),
    ] = None,
    size: Annotated[
        int,
        typer.Option(
            min=16,
            max=2048,
            help="Side in px of the face alone (--view crop, --compare), even; the whole photo keeps its own size.",
        ),
    ] = 256,
    renderer: Annotated[
        Renderer | None,
        typer.Option(
            help="warp: the photo itself moves; decode: the model draws it anew, as in the paper.",
            show_default="warp where the model can",
        ),
    ] = None,
    view: Annotated[
        View | None,
        typer.Option(
            help="full: the whole photo at its own size; crop: the face alone, at --size.",
            show_default="full with warp",
        ),
    ] = None,
    refiner: Annotated[
        str, typer.Option(metavar="NAME|DIR|none", help="What mends the warped photo; none: the warp as it is.")
    ] = "warp",
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Leave the driver's sound out.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Write photo, driver and result side by side.")] = False,
    storyboard: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also write one picture: driver over result at eight times.")
    ] = None,
    save_motion: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the driver's motion, before strength and smoothing.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Also measure the result: person kept, motion followed, in words."),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the model runs.")] = Device.auto,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
) -> None:
    """Animate a photo with a driving video: the face in it moves like the face there."""
    options = {name: value.value if isinstance(value, Enum) else value for name, value in locals().items()}
    from vaegan.job import transfer

    with _progress() as on_progress:
        result = transfer(
            **options, on_note=lambda note: typer.echo(f"note: {note.text}", err=True), on_progress=on_progress
        )
    if dry_run:
        for name, words in result.plan.items():
            typer.echo(f"{name:8} {words}")
        typer.echo("dry run: nothing was written")
        return
    for what, value, _ in result.figures:
        typer.echo(f"{what.lower()}: {value}")
    lost = f"; the driver's face was lost in {result.lost} of them" if result.lost else ""
    typer.echo(
        f"wrote {', '.join(map(str, result.files))}: {result.frames} frames of {result.width}x{result.height} px "
        f"at {float(result.rate):.4g} frames/s{' with sound' if result.audio else ''}, "
        f"in {result.seconds:.1f} s ({result.frames / result.seconds:.0f} frames/s){lost}"
    )


@contextmanager
def _progress():
    """A bar; yields what to call with frames done and frames in all."""
    with bar() as shown:
        task = None

        def show(done: int, total: int | None) -> None:
            nonlocal task
            task = shown.add_task("", total=total) if task is None else task
            shown.update(task, completed=done)

        yield show


def main() -> None:
    run(app)
