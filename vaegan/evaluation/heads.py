"""What a model's linear heads read off a driver's latents, beside what the teacher sees in the same frames."""

from collections.abc import Callable

import numpy as np
import torch

from vaegan.evaluation.clips import DrivingClip
from vaegan.evaluation.metrics import correlation, gain
from vaegan.evaluation.tables import Row
from vaegan.faces.geometry import FACE_POINTS, head_pose
from vaegan.model import FaceModel

LIPS = (13, 14)
LIDS = ((159, 145), (386, 374))
EYES = ((33, 133, 468), (362, 263, 473))
"""Of each eye the corners, from left to right in the picture, and the middle of the iris."""
MOUTH_CORNERS = (61, 291)
CHIN, NOSE_BASE = 152, 2
BROWS = ((105, 33, 133), (334, 362, 263))
"""Of each eye the middle of the brow, and the corners."""


def lip_gap(mesh: np.ndarray) -> np.ndarray:
    """lip gap: distance of the inner lips (points 13, 14)."""
    return _distance(mesh, *LIPS)


def eye_gap(mesh: np.ndarray) -> np.ndarray:
    """eye gap: distance of upper and lower lid (159 and 145, 386 and 374), mean of both eyes."""
    return np.mean([_distance(mesh, *pair) for pair in LIDS], 0)


def iris_x(mesh: np.ndarray) -> np.ndarray:
    """iris x: the iris (468, 473) projected on the line through the eye's corners (33 to 133, 362 to 263), mean of both
    eyes.
    """
    places = []
    for start, end, iris in EYES:
        line = mesh[:, end, :2] - mesh[:, start, :2]
        along = ((mesh[:, iris, :2] - mesh[:, start, :2]) * line).sum(1)
        places.append(along / np.linalg.norm(line, axis=1))
    return np.mean(places, 0)


def mouth_width(mesh: np.ndarray) -> np.ndarray:
    """mouth width: distance of the corners of the mouth (61, 291)."""
    return _distance(mesh, *MOUTH_CORNERS)


def jaw(mesh: np.ndarray) -> np.ndarray:
    """jaw: distance of the chin (152) from the base of the nose (2)."""
    return _distance(mesh, CHIN, NOSE_BASE)


def brows(mesh: np.ndarray) -> np.ndarray:
    """brows: distance of the brow (105, 334) from the middle of the eye's corners, mean of both."""
    heights = [mesh[:, brow, :2] - mesh[:, corners, :2].mean(1) for brow, *corners in BROWS]
    return np.mean([np.linalg.norm(height, axis=1) for height in heights], 0)


def _distance(mesh: np.ndarray, one: int, other: int) -> np.ndarray:
    return np.linalg.norm(mesh[:, one, :2] - mesh[:, other, :2], axis=1)


OPENINGS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (lip_gap, eye_gap, iris_x, mouth_width, jaw, brows)


def series(mesh: np.ndarray) -> dict[str, np.ndarray]:
    """Every figure read off meshes (T, 478, 3): name -> (T,), openings in sides of the mesh box, angles in degrees."""
    points = mesh[:, :FACE_POINTS, :2]
    side = (points.max(1) - points.min(1)).max(1)
    poses = np.array([head_pose(one) for one in mesh])
    openings = {opening.__name__.replace("_", " "): opening(mesh) / side for opening in OPENINGS}
    return {**openings, "yaw": poses[:, 0], "pitch": poses[:, 1]}


def measure_heads(clips: list[DrivingClip], model: FaceModel) -> list[Row]:
    """Heads, r and gain: Pearson correlation over time, and slope of the regression, of what the model's linear heads
    read off a driver's latents on what the teacher sees in the same crops. Openings are distances in the picture in
    sides of the mesh box. A clip counts by the truth's standard deviation in it; the 51 blendshapes are weighed alike.
    """
    rows = []
    for clip in clips:
        seen = clip.crops.found
        if np.count_nonzero(seen) < 3:
            continue
        with torch.inference_mode():
            mesh, blendshapes = (part.float().cpu().numpy() for part in model.heads(torch.from_numpy(clip.latents)))
        read, real = series(mesh[seen]), series(clip.crops.mesh[seen])
        pairs = {name: (read[name][:, None], real[name][:, None]) for name in real}
        pairs["blendshapes"] = (blendshapes[seen, 1:], clip.crops.expression[seen])
        for name, (head, truth) in pairs.items():
            figures = {"head_r": correlation(head, truth), "head_gain": gain(head, truth)}
            rows.append(Row(name, clip.name, "", figures, float(truth.std(0).sum())))
    return rows
