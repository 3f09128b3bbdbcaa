"""What a face tracker's backend offers: finding faces in a picture, and the mesh of one face in a region."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vaegan.faces.geometry import CropTransform


@dataclass(frozen=True)
class Detection:
    """A face found in a picture: about its mesh box, turned by the roll of its eye line, and a score 0..1."""

    box: CropTransform
    score: float


@dataclass(frozen=True)
class Face:
    """mesh: float32 (478, 3), px of the picture; blendshapes: float32 (52,), 0..1; score: 0..1, that it is a face."""

    mesh: np.ndarray
    blendshapes: np.ndarray
    score: float


class Backend(Protocol):
    """`FaceTracker` works with any class that looks like this one."""

    name: str
    roi_scale: float
    """Side of the region that `landmarks` wants to see / side of the mesh box (or of a detection's box)."""
    easily_fooled: bool
    """Whether `landmarks` may take anything else for an upright face: new ones are then also looked at askew."""

    def detect(self, image: np.ndarray) -> list[Detection]:
        """All faces of a uint8 (H, W, 3) picture, in any order; duplicates do no harm."""
        ...

    def landmarks(self, image: np.ndarray, roi: CropTransform) -> Face:
        """What is seen as a face in a region that is turned to its eye line."""
        ...
