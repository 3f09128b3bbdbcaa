"""`vaegan compare`: training runs side by side, from the metrics.csv that each leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.panels import Command

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command(
    cls=Command,
    no_args_is_help=True,
    rich_help_panel="Models",
    epilog="Examples:\n  vaegan compare runs/vae runs/vaegan\n  vaegan compare runs --output compared.html",
)
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or a folder of runs.")],
    output: Annotated[
        Path | None,
        typer.Option(
            help="Curves and picture grids: a .png, or an .html with a .png beside it.",
            show_default="none",
            rich_help_panel="Output",
        ),
    ] = None,
    shareable: Annotated[
        bool, typer.Option("--shareable", help="Show samples only, no picture of a data set.", rich_help_panel="Output")
    ] = False,
) -> None:
    """Compare training runs: their figures, and which settings differ.

    Reads the metrics.csv of each run: no account, no network.
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
