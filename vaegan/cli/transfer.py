"""The `transfer` command: a photo moves like a driver."""

from __future__ import annotations

from contextlib import contextmanager
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.ending import run
from vaegan.cli.panels import Command
from vaegan.cli.progress import bar

app = typer.Typer(pretty_exceptions_enable=False)

MotionKind = Enum("MotionKind", {"relative": "relative", "absolute": "absolute"}, type=str)
Renderer = Enum("Renderer", {"warp": "warp", "decode": "decode"}, type=str)
View = Enum("View", {"full": "full", "crop": "crop"}, type=str)
Keep = Enum("Keep", {n: n for n in ("all", "pose", "none")}, type=str)
Sound = Enum("Sound", {n: n for n in ("driver", "photo", "none")}, type=str)
Device = Enum("Device", {n: n for n in ("auto", "cpu", "cuda", "mps")}, type=str)


def _reference(text: str) -> str | int:
    if text in ("best", "first", "whole"):
        return text
    if not text.isdigit():
        raise typer.BadParameter(f"{text!r} is none of: best, first, whole, the number of a frame")
    return int(text)


def _fps(text: str) -> Fraction:
    try:
        fps = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"{text!r} is not a rate; examples: 25, 29.97, 30000/1001") from None
    if not Fraction(1, 10) <= fps <= 240:
        raise typer.BadParameter(f"{text} is not between 0.1 and 240")
    return fps


@app.command(
    cls=Command,
    no_args_is_help=True,
    epilog="Examples:\n"
    "  transfer --photo me.jpg --driver clip.mp4 --output moved.mp4\n"
    "  transfer --photo sample --driver talking --compare --report talking.html",
)
def transfer(
    photo: Annotated[
        str,
        typer.Option(
            help="The picture to animate, or a video; `sample` ships with the package.", rich_help_panel="Input"
        ),
    ],
    driver: Annotated[
        str,
        typer.Option(
            help="What moves it: a video, a folder of frames, a webcam (webcam, webcam:1), a .motion file, or the name "
            "of a shipped motion.",
            rich_help_panel="Input",
        ),
    ],
    face: Annotated[
        str,
        typer.Option(
            metavar="largest|all|N|X,Y",
            help="Which face of the photo moves: the largest, all, number N by size (see vaegan info --photo), "
            "or the one at a place in px.",
            rich_help_panel="Input",
        ),
    ] = "largest",
    driver_face: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Which face of the driver is followed, by size in its first frame with a face.",
            show_default="the largest",
            rich_help_panel="Input",
        ),
    ] = None,
    start: Annotated[
        float, typer.Option(min=0, help="Second of the driver to begin at.", rich_help_panel="Input")
    ] = 0.0,
    end: Annotated[
        float | None,
        typer.Option(
            min=0, help="Second of the driver to stop at.", show_default="the driver's end", rich_help_panel="Input"
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="The name of a shipped model, or a model folder.", rich_help_panel="Input")
    ] = "motion64",
    keep: Annotated[
        Keep,
        typer.Option(
            help="What a video as photo keeps of its own motion; with pose the driver's expression is added, else all.",
            rich_help_panel="Motion",
        ),
    ] = Keep.all,
    loop: Annotated[
        bool,
        typer.Option(
            "--loop",
            help="With a video as photo: repeat the shorter of photo and driver, instead of ending both.",
            rich_help_panel="Output",
        ),
    ] = False,
    motion: Annotated[
        MotionKind,
        typer.Option(
            help="relative: add how the driver changes from its reference frame; "
            "absolute: take on the driver's own pose and expression.",
            rich_help_panel="Motion",
        ),
    ] = MotionKind.relative,
    reference: Annotated[
        str | None,
        typer.Option(
            parser=_reference,
            metavar="best|first|whole|FRAME",
            help="The driver's frame that counts as no motion: the one most like the photo among the first 2 s, "
            "the first with a face, the one most like the photo of the whole driver, which is read before the first "
            "frame is drawn, or a number, counted from 0 at --start.",
            show_default="best",
            rich_help_panel="Motion",
        ),
    ] = None,
    strength: Annotated[
        float,
        typer.Option(
            min=-10,
            max=10,
            help="Multiply all motion by this; a face goes no further than faces do.",
            rich_help_panel="Motion",
        ),
    ] = 1.0,
    smooth: Annotated[
        float,
        typer.Option(min=0, max=1, help="Smooth the motion over time, without delay.", rich_help_panel="Motion"),
    ] = 0.0,
    steady: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Take the shake of the driver's camera out of where the head is, not out of the expression.",
            rich_help_panel="Motion",
        ),
    ] = 0.0,
    pose: Annotated[
        float, typer.Option(min=0, max=2, help="Multiply the head's movement.", rich_help_panel="Motion")
    ] = 1.0,
    expression: Annotated[
        float, typer.Option(min=0, max=2, help="Multiply the whole expression.", rich_help_panel="Motion")
    ] = 1.0,
    mouth: Annotated[
        float, typer.Option(min=0, max=2, help="Multiply the movement of mouth and jaw.", rich_help_panel="Motion")
    ] = 1.0,
    eyes: Annotated[
        float, typer.Option(min=0, max=2, help="Multiply the movement of eyes and brows.", rich_help_panel="Motion")
    ] = 1.0,
    renderer: Annotated[
        Renderer | None,
        typer.Option(
            help="warp: move the photo itself; decode: let the model draw the face anew, as in the paper.",
            show_default="warp where the model can",
            rich_help_panel="Picture",
        ),
    ] = None,
    view: Annotated[
        View | None,
        typer.Option(
            help="full: the whole photo; crop: the face alone.",
            show_default="full with warp",
            rich_help_panel="Picture",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=16,
            max=4096,
            help="Longer side of the result in px, an even number; with --compare, of each picture.",
            show_default="the photo's own, up to 3840x2160; 256 for the face alone",
            rich_help_panel="Picture",
        ),
    ] = None,
    aspect: Annotated[
        str | None,
        typer.Option(
            metavar="16:9|1:1|9:16|4:5",
            help="Shape of the result: cut, or extended by a blurred border; the face stays inside.",
            show_default="the photo's own",
            rich_help_panel="Picture",
        ),
    ] = None,
    refiner: Annotated[
        str,
        typer.Option(
            metavar="NAME|DIR|none",
            help="The network that mends the warped photo; none: leave the warp as it is.",
            rich_help_panel="Picture",
        ),
    ] = "warp",
    output: Annotated[
        Path | None,
        typer.Option(
            help="The video to write: .mp4, .mov, .mkv, .webm, .gif, .webp, or a folder for frames.",
            show_default="PHOTO_DRIVER.mp4, here",
            rich_help_panel="Output",
        ),
    ] = None,
    fps: Annotated[
        Fraction | None,
        typer.Option(
            parser=_fps,
            metavar="N",
            help="Frames per second, 0.1 to 240; between the driver's, the motion is interpolated.",
            show_default="the driver's",
            rich_help_panel="Output",
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            min=0.1, max=10, help="0.5: slow motion at half the speed, with its sound.", rich_help_panel="Output"
        ),
    ] = 1.0,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="Of the video; less makes a smaller file.", rich_help_panel="Output")
    ] = 80,
    sound: Annotated[
        Sound | None,
        typer.Option(
            help="Whose sound is heard.",
            show_default="the driver's, else that of a video as photo",
            rich_help_panel="Output",
        ),
    ] = None,
    no_label: Annotated[
        bool,
        typer.Option("--no-label", help="Leave out the words `AI-generated` in a corner.", rich_help_panel="Output"),
    ] = False,
    sign: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.pem",
            help="Sign a C2PA manifest with this private key and certificate chain (extra `provenance`).",
            rich_help_panel="Output",
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Write photo, driver and result side by side.", rich_help_panel="Output"),
    ] = False,
    storyboard: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", help="One picture: driver above result at eight times.", rich_help_panel="Also write"
        ),
    ] = None,
    save_motion: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.motion",
            help="The driver's motion, before strength and smoothing.",
            rich_help_panel="Also write",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="A page that measures the result: is it still the person, does it follow the driver.",
            rich_help_panel="Also write",
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the model runs.", rich_help_panel="Run")] = Device.auto,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the inputs, say what would be done, stop.", rich_help_panel="Run")
    ] = False,
) -> None:
    """Animate a photo: its face moves like the face in the driver."""
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
