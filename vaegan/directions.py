"""Named directions of a model's latent: smile, jaw, blink, brows, gaze, yaw, pitch; and the parts of a motion.

A direction moves what it is named after, and the other named things as little as a likely movement can. With R the
readings, linear maps of z (one row each), and C the covariance of latents within clips, it is the d of
min d^T C^-1 d + sum_j (R_j d / s_j)^2 / HOLD with R_i d = 1, s_j the standard deviation of reading j: d is a mixture of
the columns of C R^T, least squares with as many unknowns as readings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaegan.errors import UserError
from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.folder import PRETRAINED, find_folder
from vaegan.media import atomic_path

if TYPE_CHECKING:
    from vaegan.model import FaceModel

FILE = "directions.safetensors"
MAX_BYTES = 4 * 2**20
FORMAT, VERSION = "vaegan-directions", 1

BY_BLENDSHAPES: dict[str, dict[str, float]] = {
    "smile": {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5},
    "jaw": {"jawOpen": 1},
    "pucker": {"mouthPucker": 1},
    "blink_left": {"eyeBlinkLeft": 1},
    "blink_right": {"eyeBlinkRight": 1},
    "gaze_x": {"eyeLookOutRight": 0.5, "eyeLookInLeft": 0.5, "eyeLookInRight": -0.5, "eyeLookOutLeft": -0.5},
    "gaze_y": {"eyeLookDownLeft": 0.5, "eyeLookDownRight": 0.5, "eyeLookUpLeft": -0.5, "eyeLookUpRight": -0.5},
    "brows_up": {"browInnerUp": 1 / 3, "browOuterUpLeft": 1 / 3, "browOuterUpRight": 1 / 3},
    "brows_down": {"browDownLeft": 0.5, "browDownRight": 0.5},
}
"""Direction -> weights of the blendshapes that it reads; 1 is the whole movement. Left and right are the subject's."""

POSE = ("yaw", "pitch", "roll")
"""Degrees, signs as in `faces.geometry.head_pose`; roll is only held at rest, since a crop may turn with the head."""

NAMES: tuple[str, ...] = ("yaw", "pitch", *BY_BLENDSHAPES)
"""The directions. yaw, gaze_x > 0: towards the left side of the picture; pitch, gaze_y > 0: downwards."""

PARTS: dict[str, tuple[str, ...]] = {
    "pose": (),
    "mouth": ("mouth", "jaw"),
    "eyes": ("eye", "brow"),
    "expression": ("mouth", "jaw", "eye", "brow", "cheek", "nose"),
}
"""Part of a motion -> how its blendshapes' names begin."""

FREE = {"blink_left": ("gaze_y",), "blink_right": ("gaze_y",), "gaze_y": ("blink_left", "blink_right")}
"""Direction -> what may move with it: lids sink with the gaze, and a lid that stays up makes a face that nobody has."""

HOLD = 0.03
"""How much is given for rest: towards 0 the others stand still at any price, such as a wink that tears the face."""

RIDGE = 0.005
"""Added to the correlations of the readings: neighbouring blendshapes say nearly the same."""


DAMPING = 1e-3
"""Added to the covariance, in shares of its mean variance, where angles are regressed on latents."""


@dataclass(frozen=True)
class Directions:
    """Directions of one model.

    vectors: float32 (K, D), a step of 1 (yaw, pitch: of a degree) in the order of NAMES; to use several, see `steps`
    readings: float32 (M, D), what the heads read off a difference of latents: POSE, then the 52 blendshapes
    answers: float32 (D, M), the movement behind a reading, its neighbours' taken into account
    model_id: whose latents these are; framing: its (scale, follow)
    """

    vectors: np.ndarray
    readings: np.ndarray
    answers: np.ndarray
    model_id: str
    framing: tuple[float, bool]

    def steps(self, names: Sequence[str]) -> np.ndarray:
        """Directions float32 (K, D) to be used together: a value of one leaves the readings of the others as they are.

        Raises UserError for an unknown name.
        """
        for name in names:
            check_name(name)
        rows = [NAMES.index(name) for name in names]
        own, vectors = named_readings(self.readings)[rows], self.vectors[rows]
        return np.linalg.solve((own @ vectors.T).T, vectors) if rows else vectors

    def delta(self, **values: float) -> np.ndarray:
        """Named values -> the difference of latents, float32 (D,). Raises UserError for an unknown name."""
        return np.array([*values.values()], np.float32) @ self.steps([*values])

    def part(self, deltas: np.ndarray, name: str) -> np.ndarray:
        """What of deltas (T, D) moves the part `name` of PARTS. Raises UserError for an unknown part."""
        rows = part_rows(name)
        return (deltas @ self.readings[rows].T @ self.answers[:, rows].T).astype(np.float32)

    def scaled(self, deltas: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """Deltas float32 (T, D) with what each reading reads of them times factors (M,)."""
        return (deltas + (deltas @ self.readings.T * (factors - 1)) @ self.answers.T).astype(np.float32)

    def save(self, folder: str | Path) -> Path:
        """Write the file into a model folder. Raises UserError when it cannot be written."""
        from safetensors.numpy import save

        header = {"version": VERSION, "names": NAMES, "weights": _weights(self.model_id), "framing": self.framing}
        arrays = {name: getattr(self, name) for name in ("vectors", "readings", "answers")}
        arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}
        with atomic_path(Path(folder) / FILE) as path:
            path.write_bytes(save(arrays, metadata={FORMAT: json.dumps(header)}))
        return Path(folder) / FILE


def part_rows(name: str) -> np.ndarray:
    """Indices of the readings of a part."""
    if name not in PARTS:
        raise UserError(f"a motion has no part {name!r}: use one of {', '.join(PARTS)}")
    if name == "pose":
        return np.arange(len(POSE))
    rows = [k for k, shape in enumerate(BLENDSHAPES) if shape.startswith(PARTS[name])]
    return len(POSE) + np.array(rows)


def check_name(name: str) -> None:
    """Raise UserError for the name of no direction."""
    if name not in NAMES:
        raise UserError(f"there is no direction {name!r}: use some of {', '.join(NAMES)}")


def load_directions(model: str | Path) -> Directions:
    """The directions in a model folder, or of a shipped model by name; the networks are not loaded.

    Raises:
        UserError: no such model, or it has none, or the file is not sound.
    """
    from safetensors import SafetensorError, safe_open

    path = find_folder(model, with_directions()) / FILE
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path.stat().st_size / 2**20:.0f} MiB are too many")
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(FORMAT, "null"))
            if not isinstance(header, dict) or header.get("version") != VERSION or tuple(header["names"]) != NAMES:
                raise ValueError("made by another version of this program")
            arrays = {name: file.get_tensor(name) for name in ("vectors", "readings", "answers")}
        latent, count = arrays["vectors"].shape[1], len(POSE) + len(BLENDSHAPES)
        shapes = {"vectors": (len(NAMES), latent), "readings": (count, latent), "answers": (latent, count)}
        for name, shape in shapes.items():
            if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} is not what it should be")
        scale, follow = header["framing"]
        model_id = f"{path.parent.resolve().name}-{header['weights']}"  # a folder may be given another name
        return Directions(**arrays, model_id=model_id, framing=(float(scale), bool(follow)))
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no named directions: `vaegan motion directions` makes them") from None
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: no usable directions ({reason}); make them again") from None


def has_directions(model: FaceModel) -> bool:
    """Whether there are directions in the folder of a loaded model."""
    return model.has_heads and model.folder is not None and (model.folder / FILE).is_file()


def directions_of(model: FaceModel) -> Directions:
    """The directions of a loaded model: in its folder, or of one that ships. Raises UserError where there are none."""
    if has_directions(model):
        found = load_directions(model.folder)
        if found.model_id == model.id:
            return found
        raise UserError(f"{model.folder / FILE} is of other weights: make it again with `vaegan motion directions`")
    try:
        return shipped_directions(model.id)
    except UserError:
        need = "parts of a motion and absolute motion need" if model.has_heads else "parts of a motion need"
        what = f"model {model.name} has no named directions, which {need}"
        mend = "`vaegan motion directions --model FOLDER` makes them" if model.has_heads else "use motion64"
        raise UserError(f"{what}: {mend}") from None


def _weights(model_id: str) -> str:
    """The part of a model's id that stands for its weights."""
    return model_id.rpartition("-")[2]


def with_directions() -> list[str]:
    """Names of the shipped models that have directions."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{FILE}"))


@cache
def shipped_directions(model_id: str) -> Directions:
    """The directions of a motion's model, where it ships. Raises UserError where it does not."""
    for name in with_directions():
        if (found := load_directions(name)).model_id == model_id:
            return found
    raise UserError(f"model {model_id} ships no named directions: give those of its folder, load_directions(FOLDER)")


def fit_directions(model: FaceModel, z: np.ndarray, clip: np.ndarray) -> Directions:
    """The directions of a model with heads, from latents of its training clips.

    Args:
        z: float (N, D), some thousands of latents; clip: int (N,), frames with the same number are of one person.

    Raises:
        UserError: the model has no heads, or the latents are too few.
    """
    import torch

    from vaegan.faces.geometry import head_pose

    z = np.asarray(z, np.float64)
    moved = _within(z, clip)
    if len(z) < 5 * z.shape[1]:
        raise UserError(f"{len(z)} latents are too few to fit directions: give at least {5 * z.shape[1]}")
    mesh, _ = model.heads(torch.as_tensor(z, dtype=torch.float32))
    pose = _within(np.array([head_pose(m) for m in mesh.cpu().double().numpy()]), clip)
    zero, unit = torch.zeros(1, z.shape[1]), torch.eye(z.shape[1])
    shapes = (model.heads(unit)[1] - model.heads(zero)[1]).cpu().double().numpy().T  # (52, D)
    covariance = moved.T @ moved / len(moved)
    damped = covariance + DAMPING * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    turns = np.linalg.solve(damped, moved.T @ pose / len(moved)).T
    readings = np.concatenate([turns, shapes])
    held = np.concatenate([named_readings(readings), turns[2:]])
    vectors = np.array([_direction(held, covariance, k) for k in range(len(NAMES))])
    arrays = [a.astype(np.float32) for a in (vectors, readings, _answers(readings, covariance))]
    return Directions(*arrays, model.id, (model.framing.scale, model.framing.follow))


def named_readings(readings: np.ndarray) -> np.ndarray:
    """Readings (M, D) -> those of NAMES, (K, D)."""
    return np.concatenate([readings[:2], named_shapes(readings[len(POSE) :])])


def named_shapes(blendshapes: np.ndarray) -> np.ndarray:
    """Blendshapes (52, ...) -> values (K - 2, ...) of the directions that they make up, in the order of NAMES."""
    return np.stack(
        [sum(w * blendshapes[BLENDSHAPES.index(shape)] for shape, w in ws.items()) for ws in BY_BLENDSHAPES.values()]
    )


def _direction(held: np.ndarray, covariance: np.ndarray, index: int) -> np.ndarray:
    """The direction (D,) of NAMES[index]. held: readings (K + 1, D) of NAMES and the roll."""
    among, spread = _correlation(held, covariance)
    hold = np.full(len(held), 1 / HOLD)
    hold[[index, *map(NAMES.index, FREE.get(NAMES[index], ()))]] = 0
    mixture = np.linalg.pinv(among + among @ np.diag(hold) @ among, rcond=1e-9) @ among[index]
    mixture /= among[index] @ mixture * spread[index]
    return covariance @ (held / spread[:, None]).T @ mixture


def _within(values: np.ndarray, clip: np.ndarray) -> np.ndarray:
    """Values (N, ...) less the mean of their clip."""
    _, place, counts = np.unique(clip, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(sums, place, values)
    return values - (sums / counts[:, None])[place]


def _answers(readings: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The likely latents (D, M) of a step of 1 in each of readings (M, D), the others at rest, by ridge regression."""
    among, spread = _correlation(readings, covariance)
    inverse = np.linalg.inv(among + RIDGE * np.eye(len(among)))
    return covariance @ (readings / spread[:, None]).T @ inverse / spread


def _correlation(readings: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlations (M, M) and standard deviations (M,) of readings (M, D)."""
    among = readings @ covariance @ readings.T
    spread = np.sqrt(np.diag(among)).clip(1e-6)
    return among / np.outer(spread, spread), spread
