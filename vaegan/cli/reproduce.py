"""`vaegan reproduce`: the paper's figures and claims, from the shipped models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.evaluate import shared_folder
from vaegan.cli.panels import Command
from vaegan.cli.progress import progress

app = typer.Typer(add_completion=False)

DRIVER = "liveportrait_driving-d5.mp4"
"""Of the dev clips the one that shows mimicry from the front, as the paper's driver does."""


@app.command(
    cls=Command,
    no_args_is_help=True,
    rich_help_panel="Models",
    epilog="Examples:\n"
    "  vaegan reproduce --output figures --quick\n"
    "  vaegan reproduce --output figures --figures-only --shareable",
)
def reproduce(
    output: Annotated[
        Path,
        typer.Option(
            help="Folder for figure3.webp to figure8.webp, reproduction.md and .json.", rich_help_panel="Output"
        ),
    ],
    vae: Annotated[
        str, typer.Option(help="The VAE: the name of a shipped model, or a model folder.", rich_help_panel="Input")
    ] = "paper-vae",
    vaegan: Annotated[str, typer.Option(help="The VAE+GAN.", rich_help_panel="Input")] = "paper-vaegan",
    photo: Annotated[str, typer.Option(help="The still picture of figure 6.", rich_help_panel="Input")] = "sample",
    driver: Annotated[
        str | None,
        typer.Option(
            help="The driver of figures 7 and 8.", show_default="a dev clip of VAEGAN_DATA", rich_help_panel="Input"
        ),
    ] = None,
    clip_model: Annotated[
        str | None,
        typer.Option(
            help="A model trained on stills and frames of clips (data=mixed), to test the authors' guess.",
            rich_help_panel="Input",
        ),
    ] = None,
    stills_model: Annotated[
        str | None,
        typer.Option(
            help="The same model, trained on as many stills.",
            show_default="the VAE+GAN of --vaegan",
            rich_help_panel="Input",
        ),
    ] = None,
    rival: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.md",
            help="A table from benchmarks/pythae_vaegan.py to put on the page.",
            rich_help_panel="Input",
        ),
    ] = None,
    document: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.md",
            help="The page; its pictures go to images/ beside it.",
            show_default="OUTPUT/reproduction.md, pictures beside it",
            rich_help_panel="Also write",
        ),
    ] = None,
    shareable: Annotated[
        bool,
        typer.Option(
            "--shareable",
            help="Show no picture of a data set: the photo in ten ways, the driver's landmarks.",
            rich_help_panel="Output",
        ),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Measure on everything; takes five times as long.", rich_help_panel="Run")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Measure on three clips.", rich_help_panel="Run")] = False,
    figures_only: Annotated[
        bool, typer.Option("--figures-only", help="Draw only, measure nothing.", rich_help_panel="Run")
    ] = False,
) -> None:
    """Draw the paper's figures 3, 5, 6, 7 and 8 again, and measure what it claims."""
    from vaegan.data.storage import find_data_set
    from vaegan.errors import UserError
    from vaegan.evaluation.evaluate import Sources
    from vaegan.evaluation.protocol import FULL, HALF, QUICK, clip_files
    from vaegan.evaluation.reproduce import Models, compare_claims, draw_figures
    from vaegan.evaluation.reproduce_report import write_document, write_figures
    from vaegan.media import check_output, output_folder
    from vaegan.model import load_model
    from vaegan.samples import find_driver, find_photo

    with output_folder(output):
        page = document or output / "reproduction.md"
        pictures_folder = page.parent / "images" if document else output
        if document:
            check_output(page, suffixes={".md"})
            pictures_folder.mkdir(exist_ok=True)
        check_output(output / "reproduction.json")
        if rival and not rival.is_file():
            raise UserError(f"{rival}: no such file; benchmarks/pythae_vaegan.py writes it")
        names = (vae, vaegan, stills_model, clip_model)
        models = Models(*(load_model(name) if name else None for name in names))
        sources = Sources(find_data_set("faces"), shared_folder("clips/dev"), shared_folder("photos"))
        if driver is None:
            if sources.clips is None:
                raise UserError("no driver for figures 7 and 8: give --driver, or set VAEGAN_DATA")
            paths = clip_files(sources.clips, FULL)
            driver = str(next((path for path in paths if path.name == DRIVER), paths[0]))
        moving = find_driver(driver, models.vaegan.name)
        pictures = draw_figures(
            models, find_photo(photo), moving, sources.data, pictures_folder, progress, shareable=shareable
        )
    for path in pictures:
        typer.echo(f"wrote {path}")
    if sources.data is None and not shareable:
        typer.echo("left out: figures 3 and 5: no data set 'faces' in VAEGAN_DATA", err=True)
    if figures_only:
        return
    claims, found = compare_claims(models, sources, QUICK if quick else FULL if full else HALF, progress)
    experiment = f"{' --clip-model CLIPS' * bool(clip_model)}{' --stills-model STILLS' * bool(stills_model)}"
    experiment += " --rival RIVAL.md" * bool(rival)
    command = (
        f"vaegan reproduce{' --full' * full}{' --quick' * quick}{' --shareable' * shareable}{experiment} --output DIR"
    )
    typer.echo(f"wrote {write_figures(found, output / 'reproduction.json')}")
    table = rival.read_text(encoding="utf-8") if rival else ""
    write_document(claims, found, models, pictures, command, page, shareable=shareable, rival=table)
    typer.echo(f"wrote {page}")
    for claim in claims:
        typer.echo(f"\n{claim.paper}\n  {claim.obtained}")
