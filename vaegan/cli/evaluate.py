"""`vaegan evaluate`: a model's figures on stills, clips and photos, beside those of the baselines."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.panels import Command
from vaegan.cli.progress import progress

app = typer.Typer(add_completion=False)

Part = Enum("Part", {name: name for name in ("reconstruction", "heads", "self", "cross")}, type=str)


@app.command(
    cls=Command,
    no_args_is_help=True,
    rich_help_panel="Models",
    epilog="Examples:\n"
    "  vaegan evaluate --model motion64 --quick --output report\n"
    "  vaegan evaluate --model motion64 --only cross --only self --output report",
)
def evaluate(
    output: Annotated[
        Path, typer.Option(help="Folder for metrics.json, report.md and pictures.", rich_help_panel="Output")
    ],
    model: Annotated[
        str, typer.Option(help="The name of a shipped model, or a model folder.", rich_help_panel="Input")
    ] = "paper-vaegan",
    data: Annotated[
        str | None,
        typer.Option(
            help="The data set whose split `val` is reconstructed.",
            show_default="faces in VAEGAN_DATA",
            rich_help_panel="Input",
        ),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(help="Folder of driving clips.", show_default="clips/dev in VAEGAN_DATA", rich_help_panel="Input"),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(help="Folder of portraits.", show_default="photos in VAEGAN_DATA", rich_help_panel="Input"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few stills, clips and photos: about two minutes.", rich_help_panel="Run")
    ] = False,
    only: Annotated[
        list[Part] | None,
        typer.Option(help="Measure this part only; may be repeated.", show_default="all", rich_help_panel="Run"),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            min=3,
            help="Frames of each clip, from its start.",
            show_default="150; 50 with --quick",
            rich_help_panel="Run",
        ),
    ] = None,
    renderer: Annotated[
        str | None,
        typer.Option(
            help="How frames are made, as in `transfer`: warp or decode.",
            show_default="warp where the model can",
            rich_help_panel="Picture",
        ),
    ] = None,
    refiner: Annotated[
        str,
        typer.Option(
            metavar="NAME|DIR|none",
            help="With --renderer warp: the network that mends the warped photo; none: leave the warp as it is.",
            rich_help_panel="Picture",
        ),
    ] = "warp",
    view: Annotated[
        str | None,
        typer.Option(
            help="What is drawn, as in `transfer`: full or crop.",
            show_default="full with warp, crop with decode",
            rich_help_panel="Picture",
        ),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            help="The driver's frame that shows the photo as it is, as in `transfer`: best or first.",
            rich_help_panel="Motion",
        ),
    ] = "best",
    pairs: Annotated[
        int | None,
        typer.Option(min=1, help="Photos for each clip.", show_default="4; 2 with --quick", rich_help_panel="Run"),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option(help="Measure the unmoved photo, the driver and the true-mesh warp, too.", rich_help_panel="Run"),
    ] = True,
    seed: Annotated[int, typer.Option(help="Seed of all random choices.", rich_help_panel="Run")] = 0,
    embedder: Annotated[
        Path | None,
        typer.Option(metavar="FILE.onnx", help="A second face embedder, of the ArcFace kind.", rich_help_panel="Input"),
    ] = None,
    inception: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.pth", help="Inception weights for FID, KID and Inception Score.", rich_help_panel="Input"
        ),
    ] = None,
    i3d: Annotated[
        Path | None, typer.Option(metavar="FILE.pt", help="I3D network (TorchScript) for FVD.", rich_help_panel="Input")
    ] = None,
) -> None:
    """Measure a model on stills, clips and photos. The same call gives the same figures."""
    from dataclasses import replace

    from vaegan.errors import UserError
    from vaegan.evaluation.evaluate import Sources
    from vaegan.evaluation.evaluate import evaluate as measure
    from vaegan.evaluation.evaluate_report import table_lines, write_report
    from vaegan.evaluation.protocol import FULL, QUICK, REFERENCES
    from vaegan.media import check_output, output_folder
    from vaegan.model import load_model
    from vaegan.render import RENDERERS
    from vaegan.render.view import VIEWS

    if renderer is not None and renderer not in RENDERERS:
        raise UserError(f"renderer {renderer!r} is not known: use {' or '.join(RENDERERS)}")
    if view is not None and view not in VIEWS:
        raise UserError(f"view {view!r} is not known: use {' or '.join(VIEWS)}")
    if reference not in REFERENCES:
        raise UserError(f"reference {reference!r} is not known: use {' or '.join(REFERENCES)}")
    with output_folder(output):
        check_output(output / "metrics.json")
        face_model = load_model(model)
        sources = Sources(
            _data(data),
            clips or shared_folder("clips/dev"),
            photos or shared_folder("photos"),
            embedder,
            inception,
            i3d,
        )
        plan = QUICK if quick else FULL
        parts = [part.value for part in only or ()]
        chosen = {"frames": frames, "photos": pairs, "parts": tuple(part for part in plan.parts if part in parts)}
        plan = replace(plan, **{name: value for name, value in chosen.items() if value})
        drawing = renderer or ("warp" if face_model.has_heads else "decode")
        drawn = {"renderer": drawing, "refiner": refiner, "view": view, "reference": reference}
        plan = replace(plan, seed=seed, baselines=baselines, **drawn)
        found = measure(face_model, sources, plan, progress)
    options = "".join(
        [
            " --quick" * quick,
            f" --renderer {renderer}" * (renderer is not None),
            f" --refiner {refiner}" * (refiner != "warp"),
            f" --view {view}" * (view is not None),
            f" --reference {reference}" * (reference != "best"),
            *(f" --only {part}" for part in parts),
            f" --frames {frames}" * bool(frames),
            f" --pairs {pairs}" * bool(pairs),
            " --no-baselines" * (not baselines),
        ]
    )
    command = f"vaegan evaluate --model {model}{options} --output DIR"
    written = write_report(found, output, command)
    for section, table in found.tables.items():
        typer.echo(f"\n{section}")
        typer.echo("\n".join(table_lines(table)))
    typer.echo("")
    for line in found.left_out:
        typer.echo(f"left out: {line}", err=True)
    typer.echo(f"wrote {len(written)} files to {output}: report.md, metrics.json, pictures")


def _data(name: str | None) -> Path | None:
    from vaegan.data.storage import data_folder, find_data_set

    return data_folder(name) if name else find_data_set("faces")


def shared_folder(name: str) -> Path | None:
    """A folder of VAEGAN_DATA, or None."""
    root = os.environ.get("VAEGAN_DATA")
    return Path(root) / name if root and (Path(root) / name).is_dir() else None
