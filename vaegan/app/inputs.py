"""Photo and driver: what is given, whether it will do, and what is found in both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import gradio as gr
import numpy as np

from vaegan.errors import UserError
from vaegan.faces.drawing import draw_mesh
from vaegan.faces.geometry import framing, head_pose
from vaegan.faces.tracker import Face, FaceTracker
from vaegan.media import image_size, read_image
from vaegan.samples import shipped_motions
from vaegan.sources import open_source

UPLOAD_MB = 200
LONGEST_SECONDS = 60
LARGEST_PX = 4096
"""Of what may be given: a file, a driver or the part of it that is used, the longer side of a photo."""

SHOWN_PX = 360
"""Height of what is found, and of the driver beside the result."""

CLOSE = 2.2
"""Sides of the face that are shown around it."""

GIVEN = ("photo", "choice", "video", "file", "model")
"""Fields that say what moves what, in the order in which they are handed on."""

VIDEO, FILE = "my video", "my motion file"


def photo_field(**settings) -> gr.Image:
    """A picture as a file that nobody has looked into: what is wrong with it is told in the words of the command."""
    field = gr.Image(type="filepath", image_mode=None, **settings)
    look = field.preprocess
    # On the object: Gradio writes a file of its own beside a class that inherits from a component.
    field.preprocess = lambda given: look(given) if given and (given.url or "").startswith("data:") else _path(given)
    return field


def _path(given) -> str | None:
    return None if given is None else given.path


def check_photo(path: str | None) -> Path:
    """The photo that was given. Raises UserError for none, and for one that is too large."""
    if not path:
        raise UserError("there is no photo: drop, paste or take one")
    width, height = named(path, lambda: image_size(path))
    if max(width, height) > LARGEST_PX:
        raise UserError(f"the photo is {width}x{height} px: scale it down to {LARGEST_PX} px on its longer side")
    return Path(path)


def choose_driver(choice: str, video: str | None, motion_file: str | None, model: str) -> Path:
    """The file of the driver that was chosen. Raises UserError where there is none."""
    if choice == VIDEO:
        if not video:
            raise UserError("there is no video: drop one, record one, or choose a motion that ships")
        return Path(video)
    if choice == FILE:
        if not motion_file:
            raise UserError("there is no motion file: drop one, or choose a motion that ships")
        return Path(motion_file)
    if choice not in shipped_motions(model):
        raise UserError(f"no motion {choice} ships for {model}: give a video, or choose another model")
    return shipped_motions(model)[choice]


def check_length(driver: Path, start: float, end: float | None, fps: Fraction | None) -> None:
    """Raise UserError for a driver of which more is used than the page takes."""
    if driver.suffix == ".motion":
        return
    source = named(driver, lambda: open_source(driver, start, end, fps))
    seconds = None if source.expected is None else source.expected / float(source.rate)
    if seconds is not None and seconds > LONGEST_SECONDS + 1:
        raise UserError(
            f"{seconds:.0f} s of the driver are more than the {LONGEST_SECONDS} s that the page takes: set start and "
            "end, or use the command transfer"
        )


def found_in_photo(path: Path) -> tuple[np.ndarray, str]:
    """The photo with its faces drawn on it, and a line about them. Raises UserError."""
    image = named(path, lambda: read_image(path))
    faces = FaceTracker().detect(image)
    drawn = draw_mesh(*close_up(image, faces[:1], CLOSE, SHOWN_PX), SHOWN_PX)
    if not faces:
        return drawn, "No face found: use a photo that shows one face from the front, well lit."
    yaw, pitch, _ = head_pose(faces[0].mesh)
    turned = f"turned by {abs(yaw):.0f}°" if abs(yaw) >= 10 else "from the front"
    tilted = f", {'down' if pitch > 0 else 'up'} by {abs(pitch):.0f}°" if abs(pitch) >= 15 else ""
    more = "" if len(faces) == 1 else f", the largest of {len(faces)}"
    return drawn, f"Face found{more}, {turned}{tilted}."


def close_up(image: np.ndarray, faces: list[Face], sides: float, px: int) -> tuple[np.ndarray, list[Face]]:
    """So many sides of the largest face around it, at most px wide, where that is less than the picture."""
    if not faces:
        return image, faces
    around = framing(faces[0].mesh, sides, follow=False)
    half, height, width = around.side / 2, *image.shape[:2]
    if around.side >= min(height, width):
        return image, faces
    inside = {"cx": float(np.clip(around.cx, half, width - half)), "cy": float(np.clip(around.cy, half, height - half))}
    around = replace(around, **inside)
    size = max(2, min(px, round(around.side)) // 2 * 2)
    return around.crop(image, size), [replace(faces[0], mesh=around.to_crop(faces[0].mesh, size))]


def fitted(image: np.ndarray, height: int) -> np.ndarray:
    """A picture of at most this height, its sides even."""
    scale = min(1.0, height / image.shape[0])
    extent = [max(2, round(side * scale) // 2 * 2) for side in image.shape[1::-1]]
    return cv2.resize(image, extent, interpolation=cv2.INTER_AREA)


def without_folders(text: str, paths: Iterable[str | Path]) -> str:
    """A message that names files as the visitor does, without the page's temporary folder."""
    for path in paths:
        text = text.replace(str(path), Path(path).name)
    return text


def named(path: str | Path, read):
    """What `read` gives; its error names the file as the visitor does."""
    try:
        return read()
    except UserError as error:
        raise UserError(without_folders(str(error), [path])) from None
