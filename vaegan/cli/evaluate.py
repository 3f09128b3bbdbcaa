"""`vaegan evaluate`: a model's figures on stills, clips and photos, beside those of the baselines."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.progress import progress

app = typer.Typer(add_completion=False)

Part = Enum("Part", {name: name for name in ("reconstruction", "heads", "self", "cross")}, type=str)


@app.command()
def evaluate(
    output: Annotated[Path, typer.Option(help="Folder for metrics.json, report.md and pictures.")],
    model: Annotated[str, typer.Option(help="A shipped model's name or a model folder.")] = "paper-vaegan",
    data: Annotated[
        str | None,
        typer.Option(help="Data set whose val split is reconstructed.", show_default="faces of VAEGAN_DATA"),
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Folder of driving clips.", show_default="clips/dev of VAEGAN_DATA")
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of portraits.", show_default="photos of VAEGAN_DATA")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few stills, clips and photos, in about two minutes.")] = False,
    only: Annotated[
        list[Part] | None,
        typer.Option(help="Measure this part, again for a second one.", show_default="all"),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=3, help="Of each clip, from its start.", show_default="150, quick: 50")
    ] = None,
    renderer: Annotated[str, typer.Option(help="What moves the photo, as of `transfer`.")] = "decode",
    refiner: Annotated[
        str, typer.Option(help="Of the renderer warp: a shipped name, a folder, or none to leave the warp as it is.")
    ] = "warp",
    pairs: Annotated[int | None, typer.Option(min=1, help="Photos for each clip.", show_default="4, quick: 2")] = None,
    baselines: Annotated[
        bool, typer.Option(help="Also measure photo, driver and mesh warp, which do not depend on the model.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of all choices and samples.")] = 0,
    embedder: Annotated[
        Path | None, typer.Option(metavar="FILE.onnx", help="Another face embedder of the ArcFace kind.")
    ] = None,
    inception: Annotated[
        Path | None, typer.Option(metavar="FILE.pth", help="Inception weights for FID, KID and Inception Score.")
    ] = None,
    i3d: Annotated[Path | None, typer.Option(metavar="FILE.pt", help="I3D network (TorchScript) for FVD.")] = None,
) -> None:
    """Measure a model; write metrics.json, report.md and storyboards. The same call gives the same figures."""
    from dataclasses import replace

    from vaegan.errors import UserError
    from vaegan.evaluation.evaluate import Sources
    from vaegan.evaluation.evaluate import evaluate as measure
    from vaegan.evaluation.evaluate_report import table_lines, write_report
    from vaegan.evaluation.protocol import FULL, QUICK
    from vaegan.media import check_output, output_folder
    from vaegan.model import load_model
    from vaegan.render import RENDERERS

    if renderer not in RENDERERS:
        raise UserError(f"renderer {renderer!r} is not known: use {' or '.join(RENDERERS)}")
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
        refined = None if refiner == "none" else refiner
        plan = replace(plan, seed=seed, renderer=renderer, refiner=refined, baselines=baselines)
        found = measure(face_model, sources, plan, progress)
    options = "".join(
        [
            " --quick" * quick,
            f" --renderer {renderer}" * (renderer != "decode"),
            f" --refiner {refiner}" * (refiner != "warp"),
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
