"""Which faces of a picture are meant: the largest, all, one by its number, or the one at a place."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from vaegan.errors import UserError

if TYPE_CHECKING:
    from vaegan.faces.backend import Face

NAMES = ("largest", "all")

NEAR = 0.75
"""A place means a face whose middle is nearer than this, in sides of its mesh box."""


def check_choice(choice: str) -> None:
    """Raise UserError for what is neither one of NAMES, a number from 1, nor a place X,Y in px."""
    if choice not in NAMES and not re.fullmatch(r"0*[1-9]\d{0,5}|\d{1,6}(\.\d+)?,\d{1,6}(\.\d+)?", choice):
        raise UserError(f"face {choice!r} is not known: use largest, all, a number from 1 or a place X,Y in px")


def choose_faces(faces: list[Face], choice: str, name: str) -> list[Face]:
    """Some of the faces of a picture, which are sorted by size, largest first.

    choice: see `check_choice`; name: of the picture, for messages
    Raises UserError when there is no such face.
    """
    from vaegan.faces.geometry import mesh_box

    if choice == "all":
        return faces
    if choice == "largest":
        return faces[:1]
    shows = f"{name} shows {count_words(len(faces))}, which `vaegan info --photo` numbers by size"
    if "," not in choice:
        if int(choice) > len(faces):
            raise UserError(f"{shows}: there is no face {int(choice)}")
        return [faces[int(choice) - 1]]
    x, y = map(float, choice.split(","))

    def distance(face: Face) -> float:
        cx, cy, side = mesh_box(face.mesh)
        return math.hypot(cx - x, cy - y) / side

    nearest = min(faces, key=distance)
    if distance(nearest) > NEAR:
        raise UserError(f"{shows}: there is none at {choice}")
    return [nearest]


def count_words(count: int) -> str:
    """So many faces, in words."""
    return f"{count} face{'s' if count != 1 else ''}"
