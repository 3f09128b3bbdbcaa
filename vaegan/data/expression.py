"""When a face smiles, has its mouth open, closes its eyes, turns: measured on its blendshapes and its yaw."""

import numpy as np

from vaegan.faces.blendshapes import BLENDSHAPES

SMILE = 0.4
"""`smile` above which a face smiles."""
OPEN_MOUTH = 0.15
"""`mouth` above which a mouth is open."""
CLOSED_EYES = 0.5
"""`eyes` above which eyes are closed."""
TURNED = 15.0
"""Degrees of yaw, to either side, beyond which a head is turned."""

_SMILES = [BLENDSHAPES.index(name) for name in ("mouthSmileLeft", "mouthSmileRight")]
_JAW = BLENDSHAPES.index("jawOpen")
_BLINKS = [BLENDSHAPES.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]


def smile(blendshapes: np.ndarray) -> np.ndarray:
    """(..., 52) in [0, 1] -> mean of both mouthSmile."""
    return blendshapes[..., _SMILES].mean(-1)


def mouth(blendshapes: np.ndarray) -> np.ndarray:
    """(..., 52) in [0, 1] -> jawOpen."""
    return blendshapes[..., _JAW]


def eyes(blendshapes: np.ndarray) -> np.ndarray:
    """(..., 52) in [0, 1] -> eyeBlink of the less closed eye."""
    return blendshapes[..., _BLINKS].min(-1)
