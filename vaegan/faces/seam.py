"""Closed lips that part where they meet in the photo: the mesh's inner lips are put on the dark seam between the lips.

A tracker's lips are a few pixels off, and a mouth that opens along a line beside the seam draws out a strip of lip. The
seam is the darkest smooth line near the mesh's: dynamic programming over a black hat of the light (Meyer 1979) across
the mouth.
"""

import cv2
import numpy as np

from vaegan.faces.geometry import mesh_box
from vaegan.faces.regions import INNER_CORNERS, LOWER_LIP, UPPER_LIP

CLOSED = 0.012
"""Lips further apart than that, in sides of the mesh box, are open: they show their own edges."""

REACH = 0.03
"""How far from the mesh's line the seam may be, in sides of the mesh box."""

ALONG, ACROSS = 64, 41
"""Samples along the mouth, and across it."""

THIN = 0.012
"""A seam is thinner than that, in sides of the mesh box."""

FAINT = 4.0
"""A line that is darker than its surroundings by less than that, of 255, is no seam."""

NEAR = 0.35
"""What a seam at `REACH` costs, in depths of the darkest one."""


def lips_on_seam(mesh: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A photo's mesh (478, 3) in px of image uint8 (H, W, 3), with closed lips on their seam; open ones as they are."""
    *_, side = mesh_box(mesh)
    right, left = mesh[list(INNER_CORNERS), :2]
    across = left - right
    width = np.linalg.norm(across)
    upper, lower = (np.array([column[0] for column in lip]) for lip in (UPPER_LIP, LOWER_LIP))
    if width < 8:
        return mesh
    across = across / width
    down = np.array([-across[1], across[0]])
    gaps = (mesh[lower, :2] - mesh[upper, :2]) @ down
    if gaps.max() > CLOSED * side:
        return mesh
    middles = (mesh[upper, :2] + mesh[lower, :2]) / 2 - right
    x = np.concatenate([[0], middles @ across, [width]])
    y = np.concatenate([[0], middles @ down, [0]])
    order = np.argsort(x)
    columns = np.linspace(0.04, 0.96, ALONG) * width
    line = np.interp(columns, x[order], y[order])
    offsets = np.linspace(-REACH, REACH, ACROSS) * side
    places = right + columns[None, :, None] * across + (line + offsets[:, None])[..., None] * down
    seam = offsets[_darkest_path(_light(image, places, side / 500), round(THIN / (2 * REACH) * ACROSS))]
    if not len(seam):
        return mesh
    moves = np.interp(middles @ across, columns, seam)
    placed = np.array(mesh, copy=True)
    for column, move in zip((*UPPER_LIP, *LOWER_LIP), np.tile(moves, 2), strict=True):
        for row, point in enumerate(column):
            placed[point, :2] += move * (1 - row / len(column)) * down
    return placed


def _light(image: np.ndarray, places: np.ndarray, blur: float) -> np.ndarray:
    """The image's light at places (A, B, 2), float32 (A, B)."""
    low = np.floor(places.min((0, 1))).astype(int) - 4
    high = np.ceil(places.max((0, 1))).astype(int) + 5
    low, high = np.clip(low, 0, image.shape[1::-1]), np.clip(high, 0, image.shape[1::-1])
    part = image[low[1] : high[1], low[0] : high[0]]
    if min(part.shape[:2]) < 2:
        return np.zeros(places.shape[:2], np.float32)
    grey = cv2.GaussianBlur(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), (0, 0), max(blur, 0.3))
    where = (places - low - 0.5).astype(np.float32)
    return cv2.remap(grey, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


def _darkest_path(light: np.ndarray, thin: int) -> np.ndarray:
    """Rows (B,) of light (A, B) of the smooth line darker than what lies within `thin` rows of it; none: (0,)."""
    hat = cv2.morphologyEx(light, cv2.MORPH_BLACKHAT, np.ones((2 * thin + 1, 1), np.uint8))
    depth = np.percentile(hat.max(0), 75)
    if depth < FAINT:
        return np.zeros(0, int)
    away = np.abs(np.linspace(-1, 1, len(light)))[:, None]
    cost = -np.minimum(hat / depth, 1) + NEAR * away**2
    total, came = cost[:, 0], []
    for column in cost.T[1:]:
        padded = np.pad(total, 1, constant_values=np.inf)
        choices = np.stack([padded[:-2] + 0.05, padded[1:-1], padded[2:] + 0.05])
        came.append(choices.argmin(0) - 1)
        total = choices.min(0) + column
    path = [int(total.argmin())]
    for step in reversed(came):
        path.append(path[-1] + int(step[path[-1]]))
    path = np.array(path[::-1])
    return path if hat[path, np.arange(len(path))].mean() >= FAINT else np.zeros(0, int)
