"""The 52 blendshapes in the order in which MediaPipe's face landmarker puts them out."""

import numpy as np

_NAMES = """
_neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft
cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight
eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight
jawForward jawLeft jawOpen jawRight mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight
mouthFunnel mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker mouthRight
mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft mouthSmileRight mouthStretchLeft
mouthStretchRight mouthUpperUpLeft mouthUpperUpRight noseSneerLeft noseSneerRight
"""

BLENDSHAPES: tuple[str, ...] = tuple(_NAMES.split())
"""Left and right are the subject's. The first, `_neutral`, carries nothing: expression is the other 51."""

_SWAPPED = {"Left": "Right", "Right": "Left"}

MIRRORED_BLENDSHAPES = np.array(
    [
        next((BLENDSHAPES.index(name.replace(side, other)) for side, other in _SWAPPED.items() if side in name), i)
        for i, name in enumerate(BLENDSHAPES)
    ]
)
"""Index (52,) such that `blendshapes[MIRRORED_BLENDSHAPES]` are those of the mirrored picture."""
