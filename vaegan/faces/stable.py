"""The crop that follows a head and not its expression: position, size and roll from points that a face cannot move.

`geometry.framing` measures the mesh box, which grows by 8 to 16 % when the jaw drops and narrows when the head turns.
Here a rigid head is fitted instead (weighted Procrustes with scale, Kabsch 1976, Umeyama 1991), and the crop is hung
on the head.
"""

import math

import cv2
import numpy as np

from vaegan.faces.geometry import CropTransform

# Eye corners, bridge of the nose, and the contour from brow to ear: x, y, z in distances of the outer eye corners,
# and a weight, the inverse variance about the fitted head. Generalised Procrustes mean of 4,000 labels of the shared
# stills, made symmetric.
_POINTS = {
    33: (-0.500, 0.011, -0.191, 0.89),
    133: (-0.200, 0.011, -0.253, 0.84),
    54: (-0.679, -0.334, 0.062, 0.52),
    21: (-0.752, -0.180, 0.165, 0.69),
    162: (-0.790, -0.012, 0.270, 1.00),
    127: (-0.803, 0.181, 0.338, 0.86),
    234: (-0.797, 0.352, 0.348, 0.56),
    263: (0.500, 0.011, -0.191, 0.89),
    362: (0.200, 0.011, -0.253, 0.84),
    284: (0.679, -0.334, 0.062, 0.52),
    251: (0.752, -0.180, 0.165, 0.69),
    389: (0.790, -0.012, 0.270, 1.00),
    356: (0.803, 0.181, 0.338, 0.86),
    454: (0.797, 0.352, 0.348, 0.56),
    168: (0.000, -0.090, -0.422, 0.82),
    6: (0.000, -0.016, -0.492, 0.73),
    197: (0.000, 0.046, -0.565, 0.62),
}
STABLE_POINTS = np.array(list(_POINTS))
"""Indices into the mesh of the points that the fit reads."""

_HEAD = np.array(list(_POINTS.values()))[:, :3]
_WEIGHT = np.array(list(_POINTS.values()))[:, 3] / sum(point[3] for point in _POINTS.values())
_HEAD_MEAN = _WEIGHT @ _HEAD
_SPREAD = float(_WEIGHT @ ((_HEAD - _HEAD_MEAN) ** 2).sum(1))

# Where the middle of the mesh box of a closed-mouthed face that looks ahead (yaw below 20 degrees) lies in the head,
# and how long its side is, so that the two framings agree there: their sides' ratio is 1.00, 5th to 95th percentile
# 0.89 to 1.08.
_BOX_CENTRE = np.array([0.0, 0.431, 0.040])
_BOX_SIDE = 1.849


def stable_framing(mesh: np.ndarray, scale: float) -> CropTransform:
    """The crop of a following framing, the same whatever the face does.

    Args:
        mesh: (478, 3) in px of the picture, z in the scale of x and y.
        scale: side of the crop / side of the mesh box of a face at rest.
    """
    points = np.asarray(mesh, np.float64)[STABLE_POINTS]
    middle = _WEIGHT @ points
    covariance = (points - middle).T @ (_WEIGHT[:, None] * (_HEAD - _HEAD_MEAN))
    values, left, right = cv2.SVDecomp(covariance)
    signs = np.array([1.0, 1.0, math.copysign(1.0, np.linalg.det(left @ right))])
    rotation = left @ (signs[:, None] * right)
    size = float(signs @ values.ravel()) / _SPREAD
    centre = middle + size * rotation @ (_BOX_CENTRE - _HEAD_MEAN)
    roll = math.atan2(rotation[1, 0], rotation[0, 0])
    return CropTransform(float(centre[0]), float(centre[1]), max(size * _BOX_SIDE, 1e-3) * scale, roll)
