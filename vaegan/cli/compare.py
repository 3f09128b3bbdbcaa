"""`vaegan compare`: training runs side by side, from the metrics.csv that each leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command(no_args_is_help=True)
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders; one that holds runs stands for all of them.")
    ],
    output: Annotated[
        Path | None, typer.Option(help="Write this .png, or this .html and a .png beside it.", show_default="none")
    ] = None,
    shareable: Annotated[
        bool, typer.Option("--shareable", help="Show nothing of a data set: of the picture grids the samples only.")
    ] = False,
) -> None:
    """Print the runs' figures and what differs between them; with --output draw curves and picture grids.

    Reads the metrics.csv that a run leaves with every logger: no account, no network.
    """
    from vaegan.errors import UserError
    from vaegan.evaluation.compare.report import summary, write
    from vaegan.evaluation.compare.runs import keep_samples, read_runs
    from vaegan.media import check_output

    if output is not None:
        if output.suffix.lower() not in (".png", ".html"):
            raise UserError(f"{output}: name a file that ends in .png or .html")
        check_output(output)
    found, notes = read_runs(runs)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo("\n".join(summary(found)))
    if shareable:
        keep_samples(found)
    if output is not None:
        typer.echo(f"\nwrote {', '.join(str(path) for path in write(found, output))}")
