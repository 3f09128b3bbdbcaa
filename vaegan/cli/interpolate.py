"""`vaegan interpolate`: from photo to photo."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.panels import Command
from vaegan.cli.progress import bar
from vaegan.cli.transfer import Device, Renderer, _fps

app = typer.Typer(add_completion=False)


@app.command(
    cls=Command,
    no_args_is_help=True,
    rich_help_panel="Animate",
    epilog="Examples:\n  vaegan interpolate A.jpg B.jpg C.jpg --seconds 2 --loop OUT.mp4\n"
    "  vaegan interpolate A.jpg B.jpg latents.mp4 --renderer decode",
)
def interpolate(
    files: Annotated[
        list[str], typer.Argument(metavar="PHOTO PHOTO... OUTPUT", help="Two to six photos, and the video to write.")
    ],
    seconds: Annotated[
        float, typer.Option(min=0.01, max=60, help="From one photo to the next.", rich_help_panel="Motion")
    ] = 2.0,
    loop: Annotated[
        bool, typer.Option("--loop", help="Go back to the first photo at the end.", rich_help_panel="Motion")
    ] = False,
    renderer: Annotated[
        Renderer | None,
        typer.Option(
            help="warp: the photos themselves, as large as the largest face; decode: the latents in between.",
            show_default="warp where the model can",
            rich_help_panel="Picture",
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(min=16, max=2048, help="Side in px with decode, even.", rich_help_panel="Picture")
    ] = 256,
    refiner: Annotated[
        str,
        typer.Option(
            metavar="NAME|DIR|none", help="What mends the warped photos; none: nothing.", rich_help_panel="Picture"
        ),
    ] = "warp",
    fps: Annotated[
        Fraction,
        typer.Option(
            parser=_fps, metavar="N", help="Frames per second, 0.1 to 240.", show_default="25", rich_help_panel="Output"
        ),
    ] = Fraction(25),
    no_label: Annotated[
        bool,
        typer.Option("--no-label", help="Leave out the words `AI-generated` in a corner.", rich_help_panel="Output"),
    ] = False,
    model: Annotated[
        str, typer.Option(help="The name of a shipped model, or a model folder.", rich_help_panel="Input")
    ] = "motion64",
    device: Annotated[Device, typer.Option(help="Where the model runs.", rich_help_panel="Run")] = Device.auto,
) -> None:
    """Turn one face into the next: two to six photos become an animation."""
    from vaegan.errors import UserError
    from vaegan.interpolation import LEAST, interpolate
    from vaegan.media import READ_SUFFIXES, VIDEO_SUFFIXES

    if len(files) - 1 < LEAST or Path(files[-1]).suffix.lower() in READ_SUFFIXES - VIDEO_SUFFIXES:
        raise UserError("name two to six photos, and after them the video to write, such as A.jpg B.jpg faces.mp4")
    with bar() as shown:
        task = shown.add_task("", total=None)
        result = interpolate(
            files[:-1], files[-1], seconds=seconds, loop=loop, fps=fps, size=size, model=model,
            renderer=None if renderer is None else renderer.value, refiner=refiner, no_label=no_label,
            device=device.value,
            on_progress=lambda done, total: shown.update(task, completed=done, total=total),
        )  # fmt: skip
    typer.echo(
        f"wrote {result.file}: {result.frames} frames of {result.width}x{result.height} px "
        f"at {float(result.rate):.4g} frames/s, {result.renderer}"
    )
