"""`vaegan annotations`: labels of a data set for other tools, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.panels import Command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    epilog="Examples:\n"
    "  vaegan annotations export prepared --output faces.jsonl\n"
    "  vaegan annotations import prepared faces.jsonl",
)

Format = Annotated[
    str | None,
    typer.Option(
        help="jsonl (one face per line) or coco (boxes, keypoints).",
        show_default="by the file's ending",
        rich_help_panel="Run",
    ),
]


@app.callback(rich_help_panel="Data")
def annotations() -> None:
    """Export the labels of a data set as JSON Lines or COCO, and import them again."""


@app.command(
    "export",
    cls=Command,
    no_args_is_help=True,
    epilog="Examples:\n"
    "  vaegan annotations export prepared --output faces.jsonl\n"
    "  vaegan annotations export prepared --output coco.json --pictures crops",
)
def export(
    folder: Annotated[Path, typer.Argument(help="A prepared data set.")],
    output: Annotated[
        Path, typer.Option(help="The file to write: .jsonl, or .json for COCO.", rich_help_panel="Output")
    ],
    format: Format = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Copy the crops into this new folder.", show_default="no", rich_help_panel="Also write"),
    ] = None,
) -> None:
    """Write every face's box, 478 points and 52 blendshapes into a file."""
    from vaegan.data.annotations import write_annotations

    count = write_annotations(folder, output, _format(format, output), pictures)
    typer.echo(f"wrote {output}: {count:,} faces" + (f", their pictures in {pictures}" if pictures else ""))


@app.command(
    "import",
    cls=Command,
    no_args_is_help=True,
    epilog="Examples:\n"
    "  vaegan annotations import prepared faces.jsonl\n"
    "  vaegan annotations import prepared corrected.json --format coco",
)
def import_(
    folder: Annotated[Path, typer.Argument(help="The data set whose labels are to be replaced.")],
    file: Annotated[Path, typer.Argument(help="A file that `export` wrote, corrected elsewhere.")],
    format: Format = None,
) -> None:
    """Replace the labels of the faces that a file names; other faces keep theirs."""
    from vaegan.data.annotations import read_annotations

    named, changed = read_annotations(folder, file, _format(format, file))
    typer.echo(f"{folder}: {named:,} faces named by {file}, {changed:,} changed")


def _format(chosen: str | None, file: Path) -> str:
    format = chosen or {".jsonl": "jsonl", ".json": "coco"}.get(file.suffix.lower(), "")
    if format not in ("jsonl", "coco"):
        raise typer.BadParameter("choose jsonl or coco", param_hint="--format")
    return format
