"""Mesh and blendshapes of every frame of a clip, seen once and kept in the cache.

The teacher (`face_landmarker.task`) labels where it is at hand, else our own tracker; both without smoothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaegan.data.cache import built_once, cache_root
from vaegan.data.format import STEPS, mesh_codes, shape_codes
from vaegan.errors import UserError
from vaegan.faces.tracker import Face, FaceTracker
from vaegan.media import IMAGE_SUFFIXES, VideoReader, atomic_path, read_image

FORMAT = 1
"""Counts up when what is cached changes."""


@dataclass(frozen=True)
class ClipLabels:
    """mesh: int16 (T, 478, 3), x and y from the top left corner, in 1/16384 of the picture's height; blendshapes:
    uint8 (T, 52) in 1/255; found: (T,) bool, False where no face was seen (the rest is zero there)."""

    mesh: np.ndarray
    blendshapes: np.ndarray
    found: np.ndarray

    def mesh_at(self, frame: int) -> np.ndarray:
        """float32 (478, 3) in heights of the picture."""
        return self.mesh[frame].astype(np.float32) / STEPS


def label_clip(path: Path, tracker: FaceTracker) -> ClipLabels:
    """The labels of one clip (or of one picture, as a clip of one frame), from the cache where they are there.

    Raises UserError when the file cannot be read.
    """
    content = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    target = cache_root() / "clip-labels" / f"{path.stem}-{tracker.backend.name}-{FORMAT}-{content}.npz"
    return built_once(target, lambda: _load(target), lambda: _label(path, tracker, target))


def _load(path: Path) -> ClipLabels | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return ClipLabels(file["mesh"], file["blendshapes"], file["found"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError):
        raise UserError(f"{path} is damaged: delete it and try again") from None


def _label(path: Path, tracker: FaceTracker, target: Path) -> None:
    meshes, shapes, found = [], [], []
    for height, face in _faces(path, tracker):
        found.append(face is not None)
        meshes.append(np.zeros((478, 3), np.int16) if face is None else mesh_codes(face.mesh / height))
        shapes.append(np.zeros(52, np.uint8) if face is None else shape_codes(face.blendshapes))
    with atomic_path(target) as temporary, open(temporary, "wb") as file:
        np.savez(file, mesh=np.stack(meshes), blendshapes=np.stack(shapes), found=np.array(found))


def _faces(path: Path, tracker: FaceTracker) -> Iterator[tuple[int, Face | None]]:
    """Height in px and face of every frame."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        image = read_image(path)
        yield image.shape[0], next(iter(tracker.detect(image)), None)
        return
    tracker.reset()
    with VideoReader(path) as frames:
        for frame in frames:
            yield frame.image.shape[0], tracker.track(frame.image)
