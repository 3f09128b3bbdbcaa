"""`vaegan info`: what is installed, what ships, what was found."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.panels import Command
from vaegan.errors import UserError

app = typer.Typer(add_completion=False)

TOLD = ("kind", "data", "images_seen", "hours")
"""What is told of a model's training; the rest stands in its card."""


@app.command(
    cls=Command,
    rich_help_panel="Animate",
    epilog="Examples:\n  vaegan info --photo me.jpg --output faces.png\n  vaegan info --video out.mp4",
)
def info(
    photo: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Draw the faces in this picture (or `sample`): boxes, mesh, pose, expression.",
            rich_help_panel="Input",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="With --photo: the drawing to write.",
            show_default="PHOTO-faces.png, here",
            rich_help_panel="Output",
        ),
    ] = None,
    tracker: Annotated[
        str | None,
        typer.Option(
            metavar="own|mediapipe",
            help="With --photo: the face tracker to use.",
            show_default="the best at hand",
            rich_help_panel="Run",
        ),
    ] = None,
    video: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Tell what this video, picture or folder of frames says of how it was made.",
            rich_help_panel="Input",
        ),
    ] = None,
    download: Annotated[
        bool,
        typer.Option(
            "--download", help="Offer third-party weights that are missing, and fetch them.", rich_help_panel="Run"
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --download: fetch without asking.", rich_help_panel="Run")
    ] = False,
) -> None:
    """List what is at hand: models, photos, motions, face trackers, devices.

    With --photo: draw what the face tracker sees in a picture. With --video: tell what a file says of itself.
    """
    if photo is None and (output is not None or tracker is not None):
        raise typer.BadParameter("--output and --tracker go with --photo")
    if yes and not download:
        raise typer.BadParameter("--yes goes with --download")
    if download:
        _download(yes)
    if photo is not None:
        _draw(photo, output, tracker)
    if video is not None:
        _tell(video)
    if not download and photo is None and video is None:
        _list()


def _list() -> None:
    import torch

    import vaegan
    from vaegan.model import shipped_models
    from vaegan.pipeline import choose_device
    from vaegan.samples import shipped_photos

    _say("vaegan", f"{vaegan.__version__}, Python {platform.python_version()}, torch {torch.__version__}")
    _say("device", f"{choose_device('auto')} (--device auto), {torch.get_num_threads()} threads")
    for name in ("own", "mediapipe"):
        _say("tracker", f"{name}: {_tracker_state(name)}")
    for name in shipped_models():
        _say("model", _model_line(name))
    if not shipped_models():
        _say("model", "none shipped; name a model folder with --model")
    _say("photos", ", ".join(shipped_photos()) or "none shipped")


def _draw(photo: str, output: Path | None, name: str | None) -> None:
    from vaegan.faces.drawing import describe, draw_faces
    from vaegan.faces.tracker import FaceTracker
    from vaegan.media import check_output, read_image, write_image
    from vaegan.samples import find_photo

    path = find_photo(photo)
    output = check_output(output or Path(f"{path.stem}-faces.png"), path, suffixes={".png", ".jpg", ".webp"})
    image = read_image(path)
    tracker = FaceTracker(name)
    detections, faces = tracker.backend.detect(image), tracker.detect(image)
    write_image(output, draw_faces(image, detections, faces))
    _say("photo", f"{path}: {image.shape[1]}x{image.shape[0]} px, tracker {tracker.name}")
    for line in describe(image, detections, faces):
        _say("", line)
    _say("drawn", str(output))


def _tell(video: str) -> None:
    from vaegan.media.provenance import read_manifest, statements

    said = statements(video)
    _say("video", video)
    for text in said or ["nothing of how it was made"]:
        _say("says", text)
    try:
        manifest = read_manifest(video)
    except UserError as error:
        _say("signed", f"not known: {error}")
        return
    if manifest is None:
        _say("signed", "no (it has no C2PA manifest)")
        return
    whole = "whole" if manifest.valid else "BROKEN: the file was changed after it was signed"
    trusted = "who is on the trust list" if manifest.trusted else "who is on no trust list"
    _say("signed", f"{whole}; by {manifest.signer}, {trusted}; made with {manifest.tool}")
    for kind in manifest.created:
        _say("created", kind.rpartition("/")[2])


def _download(yes: bool) -> None:
    from vaegan.faces.download import DOWNLOADS, cache_folder, fetch
    from vaegan.faces.weights import find_weights

    for one in DOWNLOADS:
        there = find_weights(one.name)
        if there is not None:
            _say("weights", f"{one.name} is at hand: {there}")
            continue
        _say("weights", f"{one.name}, {one.size / 1e6:.1f} MB, licence {one.licence}, SHA-256 {one.sha256}")
        _say("", one.purpose)
        _say("", f"from {one.url} to {cache_folder()}")
        if yes or typer.confirm("Download it?"):
            _say("weights", f"{fetch(one, cache_folder())}: whole")
        else:
            _say("weights", f"{one.name} was not downloaded")


def _say(name: str, text: str) -> None:
    typer.echo(f"{name:8} {text}")


def _tracker_state(name: str) -> str:
    from vaegan.faces.tracker import FaceTracker

    try:
        FaceTracker(name)
    except (UserError, ImportError) as error:
        return f"not at hand: {error}"
    return "at hand"


def _model_line(name: str) -> str:
    from vaegan.model import load_model
    from vaegan.samples import shipped_motions

    model = load_model(name)
    crop = "follows the face" if model.framing.follow else "one fixed crop per clip"
    figures = ", ".join(f"{k} {model.training[k]}" for k in TOLD if k in model.training)
    motions = ", ".join(shipped_motions(name)) or "none shipped"
    return (
        f"{model.id}: {model.size} px, {model.latent_dim} latents, framing {model.framing.scale:g} x mesh box, {crop}"
        f"{'; ' + figures if figures else ''}; motions: {motions}"
    )
