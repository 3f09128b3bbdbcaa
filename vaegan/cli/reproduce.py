"""`vaegan reproduce`: the paper's figures and claims, from the shipped models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.evaluate import progress, shared_folder

app = typer.Typer()

DRIVER = "liveportrait_driving-d5.mp4"
"""Of the dev clips the one that shows mimicry from the front, as the paper's driver does."""


@app.command()
def reproduce(
    output: Annotated[Path, typer.Option(help="Folder for figure3.png to figure8.png and reproduction.md.")],
    vae: Annotated[str, typer.Option(help="The VAE: a shipped model's name or a model folder.")] = "paper-vae",
    vaegan: Annotated[str, typer.Option(help="The VAE+GAN.")] = "paper-vaegan",
    photo: Annotated[str, typer.Option(help="The still picture of figure 6.")] = "sample",
    driver: Annotated[
        str | None, typer.Option(help="The driver of figures 7 and 8.", show_default="a dev clip of VAEGAN_DATA")
    ] = None,
    clip_model: Annotated[
        str | None, typer.Option(help="The VAE+GAN, trained with frames of clips mixed in: tests the authors' guess.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Measure on everything, not on few clips.")] = False,
    figures_only: Annotated[bool, typer.Option("--figures-only", help="Draw, and measure nothing.")] = False,
) -> None:
    """Re-make figures 3, 5, 6, 7 and 8; measure what the paper claims."""
    from vaegan.data.shards import find_data_set
    from vaegan.errors import UserError
    from vaegan.evaluation.evaluate import Sources
    from vaegan.evaluation.protocol import FULL, QUICK, clip_files
    from vaegan.evaluation.reproduce import compare_claims, draw_figures, write_table
    from vaegan.media import check_output
    from vaegan.model import load_model
    from vaegan.samples import find_driver, find_photo

    output.mkdir(parents=True, exist_ok=True)
    check_output(output / "reproduction.md")
    plain, with_gan = load_model(vae), load_model(vaegan)
    on_clips = load_model(clip_model) if clip_model else None
    sources = Sources(find_data_set("faces"), shared_folder("clips/dev"), shared_folder("photos"))
    if driver is None:
        if sources.clips is None:
            raise UserError("no driver for figures 7 and 8: give --driver, or set VAEGAN_DATA")
        paths = clip_files(sources.clips, FULL)
        driver = str(next((path for path in paths if path.name == DRIVER), paths[0]))
    moving = find_driver(driver, with_gan.name)
    pictures = draw_figures(plain, with_gan, find_photo(photo), moving, sources.data, output, progress)
    for path in pictures:
        typer.echo(f"wrote {path}")
    if sources.data is None:
        typer.echo("left out: figures 3 and 5: no data set 'faces' in VAEGAN_DATA", err=True)
    if figures_only:
        return
    claims, evaluations = compare_claims(plain, with_gan, on_clips, sources, FULL if full else QUICK, progress)
    command = f"vaegan reproduce{' --full' * full} --output DIR"
    typer.echo(f"wrote {write_table(claims, evaluations, pictures, command, output)}")
    for claim in claims:
        typer.echo(f"\n{claim.paper}\n  {claim.obtained}")
