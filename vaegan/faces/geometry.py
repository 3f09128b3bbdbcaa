"""Square regions of a picture around a face: crops, their exact inverses, framing and head pose.

Points are continuous picture coordinates: x to the right, y down, (0, 0) the top left CORNER of the top left
pixel, so that pixel i covers [i, i + 1) and its centre lies at i + 0.5. OpenCV's warps count from pixel centres;
the half pixel between the two is added here and nowhere else.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

FACE_POINTS = 468
"""The first 468 points of a mesh are the face; the ten after them are the irises, which turn within it."""

MESH_POINTS = 478

RIGHT_EYE, LEFT_EYE = (33, 133), (263, 362)
"""Outer and inner corner of the subject's right eye (left in the picture) and left eye."""

# (a, b, n): the n points from a on are the mirror images of the n points from b on; all others lie in the middle.
_MIRROR_RUNS = (
    *((3, 248, 1), (7, 249, 1), (20, 250, 74), (95, 324, 56), (153, 380, 11), (165, 391, 3), (169, 394, 6)),
    *((176, 400, 19), (196, 419, 1), (198, 420, 1), (201, 421, 47)),
    *((468, 473, 1), (469, 476, 1), (470, 475, 1), (471, 474, 1), (472, 477, 1)),
)

MIRRORED_POINTS = np.arange(MESH_POINTS)
"""Index (478,) of each point's mirror image: `mesh[MIRRORED_POINTS]` with x turned round is the mirrored face."""
for _a, _b, _count in _MIRROR_RUNS:
    MIRRORED_POINTS[_a : _a + _count] = np.arange(_b, _b + _count)
    MIRRORED_POINTS[_b : _b + _count] = np.arange(_a, _a + _count)

# The head's shape at points that hardly move with expression, looking straight into the camera: x, y, z in distances
# of the outer eye corners. Generalised Procrustes mean of 1,058 labels of the shared faces, made symmetric, and
# tilted (about x) until the mean pitch agrees with index.csv.
_HEAD = {
    33: (-0.500, -0.003, 0.023),
    133: (-0.201, 0.009, -0.036),
    127: (-0.809, 0.048, 0.576),
    234: (-0.804, 0.219, 0.621),
    54: (-0.681, -0.408, 0.197),
    103: (-0.565, -0.510, 0.058),
    98: (-0.187, 0.473, -0.204),
    263: (0.500, -0.003, 0.023),
    362: (0.201, 0.009, -0.036),
    356: (0.809, 0.048, 0.576),
    454: (0.804, 0.219, 0.621),
    284: (0.681, -0.408, 0.197),
    332: (0.565, -0.510, 0.058),
    327: (0.187, 0.473, -0.204),
    10: (0.000, -0.617, -0.155),
    9: (0.000, -0.233, -0.238),
    168: (0.000, -0.052, -0.225),
    6: (0.000, 0.034, -0.276),
    197: (0.000, 0.111, -0.334),
    5: (0.000, 0.255, -0.459),
    4: (0.000, 0.346, -0.490),
    2: (0.000, 0.501, -0.296),
}
_HEAD_INDEX = np.array(list(_HEAD))
_HEAD_POINTS = np.array(list(_HEAD.values())) - np.mean(list(_HEAD.values()), axis=0)

# Eye corners, bridge of the nose, and the contour from brow to ear: x, y, z in distances of the outer eye corners,
# and a weight, the inverse variance about the fitted head. Generalised Procrustes mean of 4,000 labels of the shared
# stills, made symmetric.
_RIGID = {
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
RIGID_POINTS = np.array(list(_RIGID))
"""Indices into the mesh of the points that the fit reads."""

RIGID_HEAD = np.array(list(_RIGID.values()))[:, :3]
"""The same points of a mean head, in distances of the outer eye corners: x to the right, y down, z away."""

_RIGID_WEIGHT = np.array(list(_RIGID.values()))[:, 3] / sum(point[3] for point in _RIGID.values())
_RIGID_MEAN = _RIGID_WEIGHT @ RIGID_HEAD
_RIGID_SPREAD = float(_RIGID_WEIGHT @ ((RIGID_HEAD - _RIGID_MEAN) ** 2).sum(1))

# Where the middle of the mesh box of a closed-mouthed face that looks ahead (yaw below 20 degrees) lies in the head,
# and how long its side is, so that the two framings agree there: their sides' ratio is 1.00, 5th to 95th percentile
# 0.89 to 1.08.
_BOX_CENTRE = np.array([0.0, 0.431, 0.040])
_BOX_SIDE = 1.849


@dataclass(frozen=True)
class CropTransform:
    """A square of a picture: centre and side in px; roll in radians, positive = turned clockwise on the screen.

    With the roll of a face's eye line (`mesh_roll`) the face stands upright in the crop.
    """

    cx: float
    cy: float
    side: float
    roll: float = 0.0

    def matrix(self, size: float) -> np.ndarray:
        """Affine map (2, 3) from picture px to px of a size x size crop, both counted from corners."""
        scale = size / self.side
        a, b = scale * math.cos(self.roll), scale * math.sin(self.roll)
        return np.array(
            [
                [a, b, size / 2 - a * self.cx - b * self.cy],
                [-b, a, size / 2 + b * self.cx - a * self.cy],
            ]
        )

    def inverse_matrix(self, size: float) -> np.ndarray:
        """Affine map (2, 3) from px of a size x size crop to picture px; the exact inverse of `matrix`."""
        scale = self.side / size
        a, b = scale * math.cos(self.roll), scale * math.sin(self.roll)
        return np.array([[a, -b, self.cx - (a - b) * size / 2], [b, a, self.cy - (a + b) * size / 2]])

    def to_crop(self, points: np.ndarray, size: float) -> np.ndarray:
        """Picture points (N, 2) or (N, 3) -> crop px, same shape; z only changes its scale."""
        return _map(self.matrix(size), size / self.side, points)

    def to_picture(self, points: np.ndarray, size: float) -> np.ndarray:
        """Crop points (N, 2) or (N, 3) in px of a size x size crop -> picture px, same shape."""
        return _map(self.inverse_matrix(size), self.side / size, points)

    def corners(self) -> np.ndarray:
        """The square's corners (4, 2) in picture px: top left, top right, bottom right, bottom left."""
        return self.to_picture(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), 1.0)

    def scaled(self, factor: float) -> "CropTransform":
        """The same centre and roll with `factor` times the side."""
        return CropTransform(self.cx, self.cy, self.side * factor, self.roll)

    def near(self, other: "CropTransform", share: float) -> bool:
        """Whether the two centres are closer than a share of the larger side."""
        return math.hypot(self.cx - other.cx, self.cy - other.cy) < share * max(self.side, other.side)

    def cover(self, width: int, height: int) -> float:
        """Share (0..1) of the square that lies inside a width x height picture."""
        picture = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        area, _ = cv2.intersectConvexConvex(self.corners().astype(np.float32), picture)
        return min(1.0, area / self.side**2)

    def crop(self, image: np.ndarray, size: int) -> np.ndarray:
        """The region as a size x size picture, antialiased where it shrinks; outside, the border is replicated.

        Args:
            image: uint8 or float32 (H, W) or (H, W, C).
            size: px of the result.
        """
        image, to_crop = _prefiltered(image, self, size)
        border = cv2.BORDER_REPLICATE
        return cv2.warpAffine(image, _centred(to_crop), (size, size), flags=cv2.INTER_LINEAR, borderMode=border)

    def paste(self, image: np.ndarray, crop: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """A copy of the picture with the crop back in its place: what `crop` takes out, this puts in.

        Args:
            image: uint8 (H, W, 3).
            crop: uint8 (S, S, 3).
            mask: opacity, float (S, S) in [0, 1]; None = opaque up to the edge of the square.
        """
        height, width = image.shape[:2]
        size = crop.shape[0]
        low = np.clip(np.floor(self.corners().min(0)), 0, (width, height)).astype(int)
        high = np.clip(np.ceil(self.corners().max(0)), 0, (width, height)).astype(int)
        out = image.copy()
        if (high <= low).any():
            return out
        if size >= 2 * self.side:
            smaller = max(1, round(self.side))
            crop = cv2.resize(crop, (smaller, smaller), interpolation=cv2.INTER_AREA)
            mask = None if mask is None else cv2.resize(mask, (smaller, smaller), interpolation=cv2.INTER_AREA)
            size = smaller
        mask = np.ones((size, size), np.float32) if mask is None else mask.astype(np.float32)
        to_patch = self.inverse_matrix(size)
        to_patch[:, 2] -= low
        extent = (int(high[0] - low[0]), int(high[1] - low[1]))
        flags = cv2.INTER_CUBIC if self.side > size else cv2.INTER_LINEAR
        patch = cv2.warpAffine(crop, _centred(to_patch), extent, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        alpha = cv2.warpAffine(mask, _centred(to_patch), extent, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        under = out[low[1] : high[1], low[0] : high[0]]
        mixed = under + np.clip(alpha, 0, 1)[..., None] * (patch.astype(np.float32) - under)
        under[...] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
        return out


def _map(matrix: np.ndarray, scale: float, points: np.ndarray) -> np.ndarray:
    points = np.asarray(points)
    flat = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    if points.shape[1] == 3:
        flat = np.column_stack([flat, points[:, 2] * scale])
    return flat.astype(points.dtype if points.dtype.kind == "f" else np.float64, copy=False)


def _centred(matrix: np.ndarray) -> np.ndarray:
    """The same map between pixel-centre coordinates, as OpenCV's warps take it."""
    moved = np.array(matrix, np.float64)
    moved[:, 2] += moved[:, :2].sum(1) / 2 - 0.5
    return moved


def _prefiltered(image: np.ndarray, region: CropTransform, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture that the region needs, no finer than the crop, and the map (2, 3) from there.

    Whole pixels are averaged first (a mean over `factor` x `factor`, the cheapest filter there is); what is left of
    the shrinking, less than 2, is a Gaussian whose variance adds up with the pixel's own to that of a crop pixel.
    """
    to_crop = region.matrix(size)
    shrink = region.side / size
    factor = max(1, int(shrink))
    limit = np.array([image.shape[1], image.shape[0]])
    corners = region.corners()
    # Blocks lie on a grid fixed to the picture, so that a moving crop does not make them flicker.
    low = (np.clip(corners.min(0) - 3 * factor, 0, limit - 1) // factor * factor).astype(int)
    high = (np.ceil(np.clip(corners.max(0) + 3 * factor, low + 1, limit) / factor) * factor).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    to_crop[:, 2] += to_crop[:, :2] @ low
    if factor > 1:
        missing = high - np.minimum(high, limit)
        if missing.any():
            part = cv2.copyMakeBorder(part, 0, int(missing[1]), 0, int(missing[0]), cv2.BORDER_REPLICATE)
        blocks = (high - low) // factor
        part = cv2.resize(part, (int(blocks[0]), int(blocks[1])), interpolation=cv2.INTER_AREA)
        to_crop[:, :2] *= factor
    sigma = 0.5 * math.sqrt(max(0.0, (shrink / factor) ** 2 - 1))
    if sigma > 0.2:  # narrower ones change nothing in 8 bits
        part = cv2.GaussianBlur(part, (5, 5), sigma, borderType=cv2.BORDER_REPLICATE)
    return part, to_crop


def mesh_roll(mesh: np.ndarray) -> float:
    """Angle of the eye line in radians, positive = clockwise on the screen; mesh (478, 2|3) in px."""
    line = mesh[list(LEFT_EYE), :2].mean(0) - mesh[list(RIGHT_EYE), :2].mean(0)
    return math.atan2(float(line[1]), float(line[0]))


def mesh_box(mesh: np.ndarray, roll: float = 0.0) -> tuple[float, float, float]:
    """Centre x, y and longer side, in px of the picture, of the face's bounding box in the frame turned by `roll`."""
    c, s = math.cos(roll), math.sin(roll)
    turned = mesh[:FACE_POINTS, :2] @ np.array([[c, -s], [s, c]])
    low, high = turned.min(0), turned.max(0)
    x, y = (low + high) / 2
    return float(c * x - s * y), float(s * x + c * y), float((high - low).max())


def face_region(mesh: np.ndarray, scale: float = 1.0) -> CropTransform:
    """The mesh box, turned to the eye line and `scale` times as large: where landmarkers look, and a face's place.

    It grows by 8 to 16 % when the jaw drops and narrows when the head turns.
    """
    roll = mesh_roll(mesh)
    cx, cy, side = mesh_box(mesh, roll)
    return CropTransform(cx, cy, max(side, 1e-3) * scale, roll)


def framing(mesh: np.ndarray, scale: float, follow: bool) -> CropTransform:
    """The crop that a model with this framing sees of a face.

    Args:
        mesh: (478, 3) in px of the picture, z in the scale of x and y; without `follow` z is not read.
        scale: side of the crop / side of the mesh box (with `follow`: of a face at rest).
        follow: move, scale and turn with the head, whatever the face does: a rigid head is fitted to points that
            expression cannot move (weighted Procrustes with scale; Kabsch 1976, Umeyama 1991), and the crop hangs on
            it. Else stay upright (then the caller keeps the first frame's crop for a clip).
    """
    if not follow:
        cx, cy, side = mesh_box(mesh)
        return CropTransform(cx, cy, max(side, 1e-3) * scale)
    points = np.asarray(mesh, np.float64)[RIGID_POINTS]
    middle = _RIGID_WEIGHT @ points
    covariance = (points - middle).T @ (_RIGID_WEIGHT[:, None] * (RIGID_HEAD - _RIGID_MEAN))
    values, left, right = cv2.SVDecomp(covariance)
    signs = np.array([1.0, 1.0, math.copysign(1.0, np.linalg.det(left @ right))])
    rotation = left @ (signs[:, None] * right)
    size = float(signs @ values.ravel()) / _RIGID_SPREAD
    centre = middle + size * rotation @ (_BOX_CENTRE - _RIGID_MEAN)
    roll = math.atan2(rotation[1, 0], rotation[0, 0])
    return CropTransform(float(centre[0]), float(centre[1]), max(size * _BOX_SIDE, 1e-3) * scale, roll)


def head_pose(mesh: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch and roll of the head in degrees; the signs are those of index.csv of the shared faces.

    Yaw > 0: turned towards the left side of the picture (the subject's own right). Pitch > 0: looking down.
    Roll > 0: tilted clockwise on the screen. The rotation is the orthogonal Procrustes fit (Kabsch, 1976) of a fixed
    head shape to 22 points that expression hardly moves; it reads mesh (478, 3), z in the scale of x and y.
    """
    points = np.asarray(mesh, np.float64)[_HEAD_INDEX]
    u, _, vt = np.linalg.svd((points - points.mean(0)).T @ _HEAD_POINTS)
    rotation = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    yaw = math.asin(max(-1.0, min(1.0, -rotation[2, 0])))
    pitch = math.atan2(rotation[2, 1], rotation[2, 2])
    roll = math.atan2(rotation[1, 0], rotation[0, 0])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def mirrored_mesh(mesh: np.ndarray) -> np.ndarray:
    """Mesh (..., 478, 3) in sides of the crop, from its top left corner -> that of the mirrored crop."""
    turned = mesh[..., MIRRORED_POINTS, :].copy()
    turned[..., 0] = 1 - turned[..., 0]
    return turned
