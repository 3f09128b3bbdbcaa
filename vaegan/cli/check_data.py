"""`vaegan check-data`: what is in a data set, and whether it can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.panels import Command
from vaegan.cli.progress import bar

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command(
    cls=Command,
    no_args_is_help=True,
    rich_help_panel="Data",
    epilog="Examples:\n  vaegan check-data prepared --report check.html\n  vaegan check-data photos --no-probe",
)
def check_data(
    folder: Annotated[Path, typer.Argument(help="A prepared set, or a folder of photos or videos.")],
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="A page of all findings, with a .png and a .json beside it.",
            show_default="none",
            rich_help_panel="Also write",
        ),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option(help="Train a small model for a few seconds: does it learn from this set?", rich_help_panel="Run"),
    ] = True,
) -> None:
    """Check every picture and video: what would spoil training, what is over-represented.

    The exit status is 1 where something would spoil training.
    """
    from vaegan.data.check.checked import check_data as check
    from vaegan.data.check.report import write_report
    from vaegan.errors import UserError
    from vaegan.media import check_output

    if report is not None:
        if report.suffix.lower() != ".html":
            raise UserError(f"{report}: name a file that ends in .html")
        check_output(report)
    with bar() as shown:

        def begin(total: int):
            task = shown.add_task("", total=total)
            return lambda: shown.advance(task)

        checked = check(folder, probe=probe, progress=begin)
    for finding in checked.findings:
        typer.echo(f"{finding.level:6} {finding.about}: {finding.text}")
    if report is not None:
        typer.echo(f"wrote {', '.join(str(path) for path in write_report(checked, report))}")
    if not checked.good:
        count = sum(finding.level == "spoils" for finding in checked.findings)
        raise UserError(f"{folder}: {count} of these findings would spoil training (marked 'spoils' above)")
