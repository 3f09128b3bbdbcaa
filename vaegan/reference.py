"""Pose and expression as a model's heads read them: the driver's frame nearest to the photo, and the way to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vaegan.errors import UserError
from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.faces.geometry import FACE_POINTS, head_pose
from vaegan.smoothing import jitter

if TYPE_CHECKING:
    from vaegan.directions import Directions
    from vaegan.model import FaceModel
    from vaegan.motion import Motion

GAPS = ((13, 14), (159, 145), (386, 374))
"""Upper and lower point of the mesh: inner lips, lids of the right eye, lids of the left eye."""

READINGS = 3 + len(BLENDSHAPES) + len(GAPS)
"""Yaw, pitch, roll in degrees; the blendshapes; the gaps of lips and lids in sides of the crop."""

POSE, SHAPES, OPENINGS = slice(3), slice(4, 3 + len(BLENDSHAPES)), slice(3 + len(BLENDSHAPES), READINGS)
"""Where these stand among the readings; the first blendshape carries nothing."""

FAR = ((POSE, 10.0), (SHAPES, 0.5), (OPENINGS, 0.03))
"""Differences that weigh alike: degrees, the norm over blendshapes, and that over gaps (an open eye has about 0.04)."""

STEPS = 2
"""Of `delta_to`: the second mends what the first, which takes angles for linear, leaves."""

CHUNK = 1024
"""Latents whose meshes are held at once."""


@dataclass(frozen=True)
class Nearest:
    """frame: its number; degrees, expression: how far its pose and its blendshapes (norm) are from the photo's."""

    frame: int
    degrees: float
    expression: float


def read_heads(model: FaceModel, z: np.ndarray) -> np.ndarray:
    """What the model's heads read off latents z (N, D): float32 (N, READINGS); (N, 0) for a model without heads."""
    import torch

    if not model.has_heads:
        return np.zeros((len(z), 0), np.float32)
    parts = []
    for part in np.array_split(z, -(-len(z) // CHUNK)):
        mesh, shapes = (values.float().cpu().numpy() for values in model.heads(torch.from_numpy(part)))
        pose = [head_pose(points) for points in mesh]
        gaps = [mesh[:, lower, 1] - mesh[:, upper, 1] for upper, lower in GAPS]
        parts.append(np.column_stack([pose, shapes, *gaps]))
    return np.concatenate(parts).astype(np.float32)


def shaking(model: FaceModel, deltas: np.ndarray, placement: np.ndarray) -> float | None:
    """How much a motion shakes: `jitter` of the mesh's points in face sizes; None for a model without heads.

    deltas: (T, D); placement: (T, 4), see `Motion`
    """
    import torch

    if not model.has_heads:
        return None
    parts, weights = [], []
    for at in range(0, len(deltas), CHUNK):
        part = slice(at, at + CHUNK + 2)  # second differences reach over two frames
        mesh = model.heads(torch.from_numpy(deltas[part]))[0][:, :FACE_POINTS, :2].float().cpu().numpy()
        shake = jitter(mesh * model.framing.scale + placement[part, None, :2])
        if np.isfinite(shake):
            parts.append(shake)
            weights.append(len(mesh) - 2)
    return float(np.average(parts, weights=weights)) if parts else None


def shaken(model: FaceModel, motion: Motion | None, smooth: float, steady: float) -> tuple | None:
    """`shaking` of a motion before and after `Motion.smooth`; None where there is none, or it is not smoothed."""
    if motion is None or not (smooth or steady):
        return None
    return tuple(shaking(model, m.deltas, m.placement) for m in (motion, motion.smooth(smooth, steady)))


def nearest(readings: np.ndarray, photo: np.ndarray, found: np.ndarray) -> Nearest:
    """The frame nearest to the photo. readings: (T, READINGS); photo: (READINGS,); found: bool (T,), to choose from."""
    off = readings - photo
    distance = sum((np.linalg.norm(off[:, part], axis=1) / far) ** 2 for part, far in FAR)
    frame = int(np.argmin(np.where(found, distance, np.inf)))
    return Nearest(frame, *(float(np.linalg.norm(off[frame, part])) for part in (POSE, SHAPES)))


def delta_to(model: FaceModel, directions: Directions, z: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What takes a photo's latent z (D,) to the pose and expression read as target (READINGS,): float32 (D,).

    The person stays: of all latents that read so, it is the likely one by what faces do within clips. The roll is
    left as it is, since a crop may turn with the head.
    """
    delta = np.zeros_like(z)
    for _ in range(STEPS):
        lacking = (target - read_heads(model, (z + delta)[None])[0])[: len(directions.readings)]
        lacking[2] = 0
        delta = delta + (directions.answers @ lacking).astype(np.float32)
    return delta


def choose_reference(
    motion: Motion,
    reference: str | int,
    photo_latent: np.ndarray | None = None,
    photo_heads: np.ndarray | None = None,
) -> int:
    """The number of the frame that shall show the photo as it is.

    "first": the first frame with a face
    "best", "whole": the frame nearest to the photo in pose and expression, by what the model's heads read off it and
        off the photo, photo_heads (READINGS,); who streams gives the first seconds alone for "best". Without heads:
        nearest to photo_latent (D,) once the clip's mean is taken off, which is about what the driver's identity adds.
        A motion of which it is not known what the heads read, such
        as one made from words, keeps the reference that it has.
    an int: that frame
    Raises UserError for a frame that does not exist or shows no face.
    """
    if reference == "first":
        return int(np.argmax(motion.found))
    if reference in ("best", "whole"):
        if photo_heads is not None and photo_heads.size:
            return nearest(motion.heads, photo_heads, motion.found).frame if motion.heads.size else motion.reference
        if photo_latent is None:
            raise ValueError("reference 'best' needs the photo's latent")
        distance = np.linalg.norm(motion.centred().deltas - photo_latent, axis=1)
        return int(np.argmin(np.where(motion.found, distance, np.inf)))
    if not isinstance(reference, int):
        raise UserError(f"reference {reference!r} is not known: use best, first, whole or the number of a frame")
    if not 0 <= reference < len(motion):
        raise UserError(f"reference frame {reference} does not exist: the driver's frames are 0 to {len(motion) - 1}")
    if not motion.found[reference]:
        raise UserError(f"reference frame {reference} shows no face: choose another, or use best")
    return reference
