"""`vaegan motion make` and `vaegan motion directions`: motions from words, and the directions behind the words."""

from __future__ import annotations

from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

Ease = Enum("Ease", {"smooth": "smooth", "linear": "linear"}, type=str)
FPS = 25
LATENTS_PER_SECOND = 4
"""Frames of a clip that are looked at for `directions`; more of them say nearly the same."""


def make(
    output: Annotated[Path, typer.Argument(help="The .motion file to write.")],
    at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TIME:NAME=VALUE,...",
            help="Reach these values at this second; may be repeated. What is not named stays.",
            rich_help_panel="Motion",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Length in seconds.", show_default="until the last --at, else 2", rich_help_panel="Motion"),
    ] = None,
    smile: Annotated[
        float | None, typer.Option(help="Value at the end; 1: a full smile.", rich_help_panel="Motion")
    ] = None,
    jaw: Annotated[float | None, typer.Option(help="1: mouth wide open.", rich_help_panel="Motion")] = None,
    pucker: Annotated[float | None, typer.Option(help="1: lips as for a kiss.", rich_help_panel="Motion")] = None,
    blink_left: Annotated[
        float | None, typer.Option(help="1: the subject's left eye closed.", rich_help_panel="Motion")
    ] = None,
    blink_right: Annotated[
        float | None, typer.Option(help="1: the subject's right eye closed.", rich_help_panel="Motion")
    ] = None,
    brows_up: Annotated[float | None, typer.Option(help="1: brows raised.", rich_help_panel="Motion")] = None,
    brows_down: Annotated[
        float | None, typer.Option(help="1: brows drawn together and down.", rich_help_panel="Motion")
    ] = None,
    gaze_x: Annotated[
        float | None,
        typer.Option(help="1: eyes to the left of the picture, -1: to the right.", rich_help_panel="Motion"),
    ] = None,
    gaze_y: Annotated[float | None, typer.Option(help="1: eyes down, -1: up.", rich_help_panel="Motion")] = None,
    yaw: Annotated[
        float | None, typer.Option(help="Degrees; above 0: head to the left of the picture.", rich_help_panel="Motion")
    ] = None,
    pitch: Annotated[float | None, typer.Option(help="Degrees; above 0: head down.", rich_help_panel="Motion")] = None,
    ease: Annotated[
        Ease, typer.Option(help="How a value goes from one time to the next.", rich_help_panel="Motion")
    ] = Ease.smooth,
    fps: Annotated[int, typer.Option(min=1, max=240, help="Frames per second.", rich_help_panel="Output")] = FPS,
    model: Annotated[
        str, typer.Option(help="The name of a shipped model, or a model folder.", rich_help_panel="Input")
    ] = "motion64",
) -> None:
    """Make a motion from words: smile, blink, turn, at the second you say."""
    from vaegan.directions import load_directions
    from vaegan.keyframes import MOST, Key, beyond, make_motion
    from vaegan.media import check_output

    named = {
        "smile": smile,
        "jaw": jaw,
        "pucker": pucker,
        "blink_left": blink_left,
        "blink_right": blink_right,
        "brows_up": brows_up,
        "brows_down": brows_down,
        "gaze_x": gaze_x,
        "gaze_y": gaze_y,
        "yaw": yaw,
        "pitch": pitch,
    }
    last = {name: value for name, value in named.items() if value is not None}
    keys = [Key.parse(text) for text in at or ()]
    if last:
        seconds = seconds if seconds is not None else max([2.0, *(key.time + 1 for key in keys)])
        keys.append(Key(seconds, last))
    check_output(output, suffixes={".motion"})
    motion = make_motion(load_directions(model), keys, seconds, Fraction(fps), ease.value)
    if far := beyond(keys):
        turned = ", ".join(f"{name} {value:g}" for name, value in MOST.items())
        typer.echo(f"note: {far}: a photo shows no more than 1 ({turned} degrees), and is held there", err=True)
    motion.save(output)
    typer.echo(f"wrote {output}: {len(motion)} frames, {motion.times[-1]:g} s, for {motion.model_id}")


def directions(
    model: Annotated[str, typer.Option(help="The model folder to write them into.", rich_help_panel="Input")],
    clips: Annotated[
        Path | None,
        typer.Option(
            help="Folder of clips of many people.", show_default="clips/train in VAEGAN_DATA", rich_help_panel="Input"
        ),
    ] = None,
) -> None:
    """Fit a model's named directions (smile, jaw, yaw, ...) to clips, and write them into its folder."""
    import os

    import numpy as np

    from vaegan.directions import fit_directions
    from vaegan.errors import UserError
    from vaegan.faces.tracker import FaceTracker
    from vaegan.folder import find_folder
    from vaegan.media import VIDEO_SUFFIXES
    from vaegan.model import load_model
    from vaegan.portrait import watch
    from vaegan.sources import VideoSource

    folder = clips or Path(os.environ.get("VAEGAN_DATA", "")) / "clips" / "train"
    paths = sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in VIDEO_SUFFIXES - {""})
    if not paths:
        raise UserError(f"{folder} holds no clips: name a folder with --clips, or set VAEGAN_DATA")
    face_model, tracker = load_model(model), FaceTracker()
    z, clip = [], []
    for k, path in enumerate(paths):
        try:
            for frames in watch(VideoSource(path, fps=Fraction(LATENTS_PER_SECOND)), face_model, tracker):
                z += (found := [frame.portrait.z for frame in frames if frame.found])
                clip += [k] * len(found)
        except UserError as error:
            typer.echo(f"left out: {error}", err=True)
    if not z:
        raise UserError(f"no clip of {folder} shows a face")
    written = fit_directions(face_model, np.array(z), np.array(clip)).save(find_folder(model, []))
    typer.echo(f"wrote {written}: from {len(z)} frames of {len(set(clip))} clips")
