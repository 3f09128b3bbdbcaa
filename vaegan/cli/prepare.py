"""`vaegan prepare`: photos, videos and known data sets become a data set to train on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from vaegan.cli.panels import Command
from vaegan.cli.progress import bar
from vaegan.data.prepare.settings import LIMITS, PrepareSettings

app = typer.Typer(no_args_is_help=True, add_completion=False)


def _within(name: str) -> dict[str, float]:
    low, high = LIMITS[name]
    return {"min": low} if high >= 1e6 else {"min": low, "max": high}


@app.command(
    cls=Command,
    no_args_is_help=True,
    rich_help_panel="Data",
    epilog="Examples:\n"
    "  vaegan prepare photos videos --output prepared\n"
    "  vaegan prepare lfw.tgz --kind lfw --split val=0.1 --output lfw",
)
def prepare(
    sources: Annotated[
        list[str], typer.Argument(help="Folders, files or archives: paths or URLs such as s3://.", show_default=False)
    ],
    output: Annotated[
        str,
        typer.Option(
            help="A new folder (path or URL), or one in which this command was stopped.", rich_help_panel="Output"
        ),
    ],
    kind: Annotated[
        str,
        typer.Option(
            help="What the sources are: auto, photos, videos, imdb_wiki, celeba, lfw, ffhq, fairface, voxceleb, "
            "or shards (a prepared set).",
            rich_help_panel="Input",
        ),
    ] = "auto",
    framing: Annotated[
        str,
        typer.Option(
            help="Side of the crop / side of the face, and whether the crop follows a face through a clip.",
            rich_help_panel="Picture",
        ),
    ] = f"scale={PrepareSettings.scale:g},follow={str(PrepareSettings.follow).lower()}",
    size: Annotated[
        int, typer.Option(**_within("size"), help="Side of the stored crops, px.", rich_help_panel="Picture")
    ] = PrepareSettings.size,
    fps: Annotated[
        float, typer.Option(**_within("fps"), help="Frames per second to take from a video.", rich_help_panel="Input")
    ] = PrepareSettings.fps,
    split: Annotated[
        str | None,
        typer.Option(
            help="val=0.1,test=0.1 by person, or a table 'person-or-file,split'.",
            show_default="the authors' partition, else val=0.05",
            rich_help_panel="Output",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="local: this machine; ray: Ray Data, on the cluster that RAY_ADDRESS names.", rich_help_panel="Run"
        ),
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes.", show_default="one per core", rich_help_panel="Run")
    ] = None,
    min_px: Annotated[
        int,
        typer.Option(
            **_within("min_px"), help="Reject crops smaller than this in their picture, px.", rich_help_panel="Picture"
        ),
    ] = PrepareSettings.min_px,
    min_cover: Annotated[
        float,
        typer.Option(
            **_within("min_cover"),
            help="Reject crops of which a smaller share lies inside the picture.",
            rich_help_panel="Picture",
        ),
    ] = PrepareSettings.min_cover,
    min_sharpness: Annotated[
        float,
        typer.Option(
            **_within("min_sharpness"),
            help="Reject blurrier crops (variance of the Laplacian at 80 px).",
            rich_help_panel="Picture",
        ),
    ] = PrepareSettings.min_sharpness,
    min_shot: Annotated[
        float, typer.Option(**_within("min_shot"), help="Reject shorter shots, in seconds.", rich_help_panel="Picture")
    ] = PrepareSettings.min_shot,
    tracker: Annotated[
        str,
        typer.Option(
            help="The face tracker: mediapipe or own.", show_default="the best at hand", rich_help_panel="Run"
        ),
    ] = PrepareSettings.tracker,
    keep_duplicates: Annotated[
        bool, typer.Option(help="Keep near-duplicates of photos and shots.", rich_help_panel="Picture")
    ] = False,
) -> None:
    """Turn photos, videos or a public data set into a data set of face crops.

    If it is stopped, the same command carries on.
    """
    from vaegan.data.prepare.jobs import KINDS
    from vaegan.data.prepare.prepare import prepare as run
    from vaegan.data.prepare.settings import parse_framing, parse_split
    from vaegan.data.storage import joined
    from vaegan.jobs import ENGINES

    if kind not in KINDS:
        raise typer.BadParameter(f"{kind} is none of {', '.join(KINDS)}", param_hint="--kind")
    if engine not in ENGINES:
        raise typer.BadParameter(f"{engine} is none of {', '.join(ENGINES)}", param_hint="--engine")
    scale, follow = parse_framing(framing)
    settings = PrepareSettings(
        scale=scale, follow=follow, size=size, fps=fps, tracker=tracker, min_px=min_px, min_cover=min_cover,
        min_sharpness=min_sharpness, min_shot=min_shot,
    )  # fmt: skip
    began = time.monotonic()
    with _progress() as progress:
        choices = {"kind": kind, "splits": parse_split(split), "engine": engine, "workers": workers}
        summary = run(sources, output, settings, keep_near=keep_duplicates, progress=progress, **choices)
    for line in summary.lines:
        typer.echo(line)
    seconds = time.monotonic() - began
    total = sum(summary.pictures.values())
    parts = ", ".join(
        f"{summary.pictures[name]:,} {name} of {summary.people[name]:,} people" for name in sorted(summary.pictures)
    )
    typer.echo(f"wrote {output}: {total:,} crops ({parts}) in {seconds:.1f} s")
    if summary.resumed:
        typer.echo(f"resumed: {summary.resumed} of {summary.jobs} jobs had been done before")
    if summary.rejected:
        told = ", ".join(f"{count:,} {reason}" for reason, count in summary.rejected.most_common())
        typer.echo(f"left out, see {joined(output, 'rejected.csv')}: {told}")


@contextmanager
def _progress() -> Iterator[Callable[[int, int, int, int], None]]:
    """A bar: files, crops and their rate, time that remains."""
    with bar("files, {task.fields[crops]} crops, {task.fields[rate]:.0f}/s") as shown:
        task = shown.add_task("", total=None, crops=0, rate=0.0)
        began = time.monotonic()

        def tell(done: int, total: int, crops: int, before: int) -> None:
            nonlocal began
            if done == before:
                began = time.monotonic()
            rate = crops / max(time.monotonic() - began, 1e-3)
            shown.update(task, completed=done, total=total, crops=crops, rate=rate)

        yield tell
