"""The `transfer` command: a photo moves like a driver."""

from __future__ import annotations

import os
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.run import run

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

MotionKind = Enum("MotionKind", {"relative": "relative", "absolute": "absolute"}, type=str)
Device = Enum("Device", {n: n for n in ("auto", "cpu", "cuda", "mps")}, type=str)


def _reference(text: str) -> str | int:
    if text in ("first", "best"):
        return text
    if not text.isdigit():
        raise typer.BadParameter(f"{text!r} is none of: first, best, the number of a frame")
    return int(text)


def _fps(text: str) -> Fraction:
    try:
        fps = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"{text!r} is not a rate; examples: 25, 29.97, 30000/1001") from None
    if not Fraction(1, 10) <= fps <= 240:
        raise typer.BadParameter(f"{text} is not between 0.1 and 240")
    return fps


@app.command()
def transfer(
    photo: Annotated[str, typer.Option(help="The still picture to animate; `sample` is one that ships.")],
    driver: Annotated[
        str, typer.Option(help="What moves it: a video, a folder of frames, a .motion file or a shipped motion's name.")
    ],
    output: Annotated[
        Path | None, typer.Option(help="The video to write.", show_default="PHOTO_DRIVER.mp4 in this folder")
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model's name or a model folder.")] = "paper-vaegan",
    motion: Annotated[
        MotionKind,
        typer.Option(
            help="relative: photo + (driver - its reference frame); "
            "absolute: photo + (driver - the mean of the clip), with no reference frame."
        ),
    ] = MotionKind.relative,
    reference: Annotated[
        str,
        typer.Option(
            parser=_reference,
            metavar="first|best|FRAME",
            help="The driver's frame that shows the photo as it is: the first with a face, "
            "the one most like the photo, or a number, counted from 0 at --start.",
        ),
    ] = "first",
    strength: Annotated[float, typer.Option(min=-10, max=10, help="Factor of the motion.")] = 1.0,
    smooth: Annotated[float, typer.Option(min=0, max=1, help="Smooth the motion over time, without delay.")] = 0.0,
    start: Annotated[float, typer.Option(min=0, help="Second of the driver to begin at.")] = 0.0,
    end: Annotated[float | None, typer.Option(min=0, help="Second of the driver to stop at.")] = None,
    fps: Annotated[
        Fraction | None,
        typer.Option(parser=_fps, metavar="N", help="Frames per second.", show_default="the driver's"),
    ] = None,
    size: Annotated[int, typer.Option(min=16, max=2048, help="Side of the result in px, even.")] = 256,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Leave the driver's sound out.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Write photo, driver and result side by side.")] = False,
    storyboard: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also write one picture: driver over result at eight times.")
    ] = None,
    save_motion: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the driver's motion, before strength and smoothing.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Also measure the result: person kept, motion followed, in words."),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the model runs.")] = Device.auto,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
) -> None:
    """Animate a photo with a driving video: the face in it moves like the face there."""
    from vaegan.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES, check_output
    from vaegan.pipeline import Settings
    from vaegan.samples import find_driver, find_photo

    settings = Settings(motion.value, reference, strength, smooth, start, end, fps, size)
    photo_path = find_photo(photo)
    output = output or Path(f"{photo_path.stem}_{Path(driver).resolve().stem}.mp4")
    face_model = load(model, device.value)
    inputs = [photo_path, find_driver(driver, face_model.name)]
    check_output(output, *inputs, suffixes=VIDEO_SUFFIXES)
    if storyboard:
        check_output(storyboard, *inputs, output, suffixes=IMAGE_SUFFIXES)
    if save_motion:
        check_output(save_motion, *inputs, output, suffixes={".motion"})
    if report:
        check_output(report, *inputs, output, suffixes={".html", ".htm"})
    job = _Job(photo_path, inputs[1], output, not no_audio, compare, storyboard, save_motion, report)
    _run(job, face_model, settings, dry_run)


@dataclass(frozen=True)
class _Job:
    """What is read and written."""

    photo: Path
    driver: Path
    output: Path
    audio: bool
    compare: bool
    storyboard: Path | None
    save_motion: Path | None
    report: Path | None

    @property
    def also(self) -> list[Path]:
        """What is written beside the video."""
        return [path for path in (self.storyboard, self.save_motion, self.report) if path]


def load(model: str, device: str):
    """The model, and torch set up for it: as the command has it."""
    import torch

    from vaegan.model import load_model
    from vaegan.pipeline import choose_device

    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))  # the other cores read, track and write meanwhile
    return load_model(model, device=choose_device(device))


def _run(job: _Job, model, settings, dry_run: bool) -> None:
    from vaegan.media import VideoWriter, write_image
    from vaegan.pipeline import Transfer
    from vaegan.storyboard import Storyboard

    show_driver = job.compare or bool(job.storyboard) or bool(job.report)
    run = Transfer(job.photo, job.driver, model, settings, show_driver=show_driver)
    audio = job.audio and run.has_audio
    width = settings.size * ((3 if run.show_driver else 2) if job.compare else 1)
    _tell(run.notes)
    if dry_run:
        _say_plan(job, run, width, audio)
        return
    board = Storyboard()
    measure = _measure(run) if job.report else None
    writer = VideoWriter(
        job.output,
        width,
        settings.size,
        run.rate,
        audio_from=run.source.path if audio else None,
        audio_start=settings.start,
        audio_end=settings.end,
    )
    began = time.perf_counter()
    total = run.expected and run.expected * (2 if run.reads_first else 1)
    with writer, _progress(total) as advance, closing(run.frames(on_read=advance)) as frames:
        for frame in frames:
            _tell(frame.notes)
            writer.write(run.compare(frame) if job.compare else frame.image)
            if measure:
                measure.add(frame)
            if job.storyboard or job.report:
                board.add(frame.time, [p for p in (frame.driver, frame.crop) if p is not None])
            advance(1)
        outcome = frames.outcome()
    seconds = time.perf_counter() - began
    if job.storyboard:
        write_image(job.storyboard, board.image())
    if job.save_motion:
        outcome.motion.save(job.save_motion)
    if measure:
        _report(measure.figures(outcome.reference_pose), run, job, board.image())
    written = ", ".join(map(str, (job.output, *job.also)))
    lost = f"; the driver's face was lost in {outcome.motion.lost} of them" if outcome.motion.lost else ""
    typer.echo(
        f"wrote {written}: {writer.count} frames of {width}x{settings.size} px at {float(run.rate):.4g} frames/s"
        f"{' with sound' if audio else ''}, in {seconds:.1f} s ({writer.count / seconds:.0f} frames/s){lost}"
    )


def _tell(notes) -> None:
    for note in notes:
        typer.echo(f"note: {note.text}", err=True)


def _measure(run):
    from vaegan.evaluation.result import ResultMeasure

    return ResultMeasure(run)


def _report(figures, run, job: _Job, board) -> None:
    from vaegan.evaluation.result_report import in_words, write_page

    write_page(figures, run, job.driver, board, job.report)
    for what, value, _ in in_words(figures, run):
        typer.echo(f"{what.lower()}: {value}")


def _say_plan(job: _Job, run, width: int, audio: bool) -> None:
    s = run.settings
    count = "an unknown number of" if run.expected is None else f"about {run.expected}"
    changes = {"strength": s.strength != 1, "smooth": s.smooth, "start": s.start, "end": s.end is not None}
    told = "".join(f", {name} {getattr(s, name):g}" for name, changed in changes.items() if changed)
    source = f", reference {s.reference}" if s.motion == "relative" else ""
    lines = {
        "photo": f"{job.photo}, {run.photo.image.shape[1]}x{run.photo.image.shape[0]} px, face found",
        "driver": f"{job.driver}, {count} frames",
        "model": f"{run.model.id}, crops of {run.model.size} px, on {run.model.device}",
        "motion": f"{s.motion}{source}{told}",
        "output": f"{job.output}, {width}x{s.size} px, {float(run.rate):.4g} frames/s, "
        f"{'with the sound of the driver' if audio else 'no sound'}",
        "also": ", ".join(map(str, job.also)),
    }
    for name, text in lines.items():
        if text:
            typer.echo(f"{name:8} {text}")
    typer.echo("dry run: nothing was written")


@contextmanager
def _progress(total: int | None):
    """A bar on stderr, where that is a terminal; yields what to call with the number of frames done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda frames: bar.advance(task, frames)


def main() -> None:
    run(app)
