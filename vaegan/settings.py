"""What a transfer can be asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from vaegan.errors import UserError
from vaegan.faces.choice import check_choice
from vaegan.render.extent import parse_aspect

PARTS = ("pose", "expression", "mouth", "eyes")
KEEP = ("all", "pose", "none")
MOST = 2.0
"""The largest factor of a part."""

MAX_SIZE = 4096
"""Longest side in px that a result may be asked for: more is shown by few players."""


@dataclass(frozen=True)
class TransferSettings:
    """What the options of `transfer` set.

    motion: "relative": z_p + (z_t - z_ref); "absolute": the photo takes on the driver's own pose and expression, as the
        model's heads read them; without heads z_p + (z_t - mean of the clip's z), since the latent has no part that
        is identity alone, so that the clip's mean stands for it
    reference: "first", "best" (of the driver's first 2 s with a face), "whole" (the best of the whole driver) or a
        frame's number, see vaegan.reference; None: best, but first for frames handed in, which come one by one
    strength: factor of the motion; smooth, steady: 0..1, see Motion.smooth
    pose, expression, mouth, eyes: 0..2, factors of parts of the motion; mouth and eyes are parts of the expression
    start, end: seconds of the driver; fps: frames per second of the result (None: the driver's), speed: 0.1 to 10, how
        much faster than the driver it goes; the motion is interpolated where the driver has no frame
    size: longer side of the result in px (None: the photo's own; 256 for the crop)
    aspect: shape of the result as "16:9" (None: the picture's own): the picture is cut, or extended by a blurred
        border, and the face stays inside
    renderer: "warp": the photo itself moves; "decode": the paper's; None: warp where the model can
    view: "full": the whole photo; "crop": the face alone; None: full with warp, crop with decode
    refiner: of warp, a shipped name or a folder; "none": the warp as it is
    face: of the photo's: "largest", "all", a number from 1, largest first, or a place "X,Y" in px
    driver_face: who is followed: a number from 1, largest first, in the first frame with a face; None: the largest
    keep: of a photo that is a video, what stays of its own motion: "all", "pose" or "none"; the driver's is added, with
        "pose" its expression alone
    loop: where photo and driver are videos, begin the shorter anew until the longer ends; else the shorter ends both
    """

    motion: str = "relative"
    reference: str | int | None = None
    strength: float = 1.0
    smooth: float = 0.0
    steady: float = 0.0
    pose: float = 1.0
    expression: float = 1.0
    mouth: float = 1.0
    eyes: float = 1.0
    start: float = 0.0
    end: float | None = None
    fps: Fraction | float | None = None
    speed: float = 1.0
    size: int | None = None
    aspect: str | None = None
    renderer: str | None = None
    view: str | None = None
    refiner: str = "warp"
    face: str = "largest"
    driver_face: int | None = None
    keep: str = "all"
    loop: bool = False

    def __post_init__(self) -> None:
        check_choice(self.face)
        if self.keep not in KEEP:
            raise UserError(f"keep {self.keep!r} is not known: use {', '.join(KEEP)}")
        if self.driver_face is not None and self.driver_face < 1:
            raise UserError(f"driver face {self.driver_face} does not exist: they are numbered by size from 1")
        if self.fps is not None:
            object.__setattr__(self, "fps", Fraction(str(self.fps)))
        if self.motion not in ("relative", "absolute"):
            raise UserError(f"motion {self.motion!r} is not known: use relative or absolute")
        if not math.isfinite(self.strength) or abs(self.strength) > 10:
            raise UserError(f"strength {self.strength} is out of range: use -10 to 10")
        for name in ("smooth", "steady"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} {getattr(self, name)} is out of range: use 0 to 1")
        for part in PARTS:
            if not 0 <= getattr(self, part) <= MOST:
                raise UserError(f"{part} {getattr(self, part)} is out of range: use 0 to {MOST:g}")
        if not self.start >= 0 or (self.end is not None and not self.end > self.start):
            raise UserError(f"start {self.start:g} s and end {self.end} s leave nothing: use 0 <= start < end")
        if not 0.1 <= self.speed <= 10:
            raise UserError(f"speed {self.speed} is out of range: use 0.1 to 10")
        if self.size is not None and (not 16 <= self.size <= MAX_SIZE or self.size % 2):
            raise UserError(f"size {self.size} is not possible: use an even number from 16 to {MAX_SIZE}")
        if self.aspect is not None:
            parse_aspect(self.aspect)
        if self.fps is not None and not Fraction(1, 10) <= self.fps <= 240:
            raise UserError(f"{self.fps} frames per second is out of range: use 0.1 to 240")

    @property
    def parts(self) -> dict[str, float]:
        """Factors of the parts of a motion, the parts of a part after it; empty where all is as it is."""
        e = self.expression
        factors = dict(zip(PARTS, (self.pose, e, e * self.mouth, e * self.eyes), strict=True))
        return factors if set(factors.values()) != {1.0} else {}
