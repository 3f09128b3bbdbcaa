"""`vaegan annotations`: labels of a data set for other tools, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)

Format = Annotated[
    str | None,
    typer.Option(help="jsonl (a face a line) or coco (boxes, keypoints).", show_default="by the file's ending"),
]


@app.callback()
def annotations() -> None:
    """Labels of a data set as JSON Lines or COCO."""


@app.command("export", no_args_is_help=True)
def export(
    folder: Annotated[Path, typer.Argument(help="A prepared data set.")],
    output: Annotated[Path, typer.Option(help="The file to write: .jsonl, or .json for COCO.")],
    format: Format = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Also copy the crops into this new folder.", show_default="no")
    ] = None,
) -> None:
    """Write box, 478 points and 52 blendshapes of every face."""
    from vaegan.data.annotations import write_annotations

    count = write_annotations(folder, output, _format(format, output), pictures)
    typer.echo(f"wrote {output}: {count:,} faces" + (f", their pictures in {pictures}" if pictures else ""))


@app.command("import", no_args_is_help=True)
def import_(
    folder: Annotated[Path, typer.Argument(help="The data set whose labels are replaced.")],
    file: Annotated[Path, typer.Argument(help="What `export` wrote, perhaps corrected elsewhere.")],
    format: Format = None,
) -> None:
    """Replace the labels of the faces that a file names; the other faces keep theirs."""
    from vaegan.data.annotations import read_annotations

    named, changed = read_annotations(folder, file, _format(format, file))
    typer.echo(f"{folder}: {named:,} faces named by {file}, {changed:,} changed")


def _format(chosen: str | None, file: Path) -> str:
    format = chosen or {".jsonl": "jsonl", ".json": "coco"}.get(file.suffix.lower(), "")
    if format not in ("jsonl", "coco"):
        raise typer.BadParameter("choose jsonl or coco", param_hint="--format")
    return format
