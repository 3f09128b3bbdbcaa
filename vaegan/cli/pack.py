"""`vaegan pack`: what a training needs in files of a set size, for a machine without a network or without PyAV."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.panels import Command

app = typer.Typer(no_args_is_help=True, add_completion=False)

UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?B|)", text.strip(), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise typer.BadParameter(f"{text!r} is not a size; examples: 55MB, 1.5GB")
    return int(float(match[1]) * UNITS[match[2].upper()])


def _stills(text: str) -> tuple[str, float]:
    name, _, cover = text.partition("=")
    try:
        return name, float(cover or 0.95)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: write NAME or NAME=LEAST_COVER, such as faces=0.95") from None


@app.command(
    cls=Command,
    no_args_is_help=True,
    rich_help_panel="Data",
    epilog="Examples:\n  vaegan pack parts\n  vaegan pack parts --stills faces=0.95 --clips clips --parts 1GB",
)
def pack(
    output: Annotated[Path, typer.Argument(help="The folder to write pack-00.tar, pack-01.tar, ... into.")],
    stills: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=COVER]",
            help="A labelled data set, and the least share of a crop inside its picture; may be repeated.",
            rich_help_panel="Input",
            show_default="faces=0.95 faces-tight=0.9 faces-fair=0",
        ),
    ] = None,
    clips: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A folder of clips, or of people with two pictures each; may be repeated.",
            rich_help_panel="Input",
            show_default="clips clips-more two-expressions",
        ),
    ] = None,
    parts: Annotated[
        int, typer.Option(parser=_bytes, metavar="SIZE", help="Largest size of a part.", rich_help_panel="Output")
    ] = "55MB",
) -> None:
    """Pack stills and clips into parts that `train.py data=motion data.folder=OUTPUT` reads.

    For a machine without network or PyAV. Clips are labelled here, by the best face tracker at hand.
    """
    from vaegan.cli.evaluate import progress
    from vaegan.data.packer import label_tracker, write_pack

    chosen = dict(map(_stills, stills or ["faces=0.95", "faces-tight=0.9", "faces-fair=0"]))
    moving = clips or ["clips", "clips-more", "two-expressions"]
    written = write_pack(output, chosen, moving, parts, label_tracker(), progress)
    size = sum(part.stat().st_size for part in written) / 1e6
    typer.echo(f"wrote {len(written)} parts into {output}, {size:.0f} MB together")
