"""Seeing what frames show: mesh, expression and head pose by the teacher landmarker, identity by a face embedder."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np

from vaegan.evaluation.embedder import Embedder
from vaegan.evaluation.metrics import Seen
from vaegan.faces.geometry import head_pose
from vaegan.faces.tracker import FaceTracker
from vaegan.render.view import resize

ANALYSIS_PX = 256


@dataclass(frozen=True)
class Observed(Seen):
    """`Seen`, and unit embeddings (N, D) of every so many frames; None without an embedder, NaN without a face."""

    embeddings: np.ndarray | None = None

    def repeated(self, count: int) -> "Observed":
        """A single frame, shown `count` times."""
        tiled = {f.name: np.repeat(getattr(self, f.name), count, 0) for f in fields(Seen)}
        return replace(self, **tiled)

    def first_frame(self) -> "Observed":
        """The first frame alone."""
        return replace(self, **{f.name: v if (v := getattr(self, f.name)) is None else v[:1] for f in fields(self)})


class Observer:
    """Looks at sequences of frames, always at 256 px.

    Args:
        embedder: None leaves identity out.
        every: of a video, embed the face of every so many frames.

    Raises:
        UserError: the teacher landmarker's weights or package are missing.
    """

    def __init__(self, embedder: Embedder | None, every: int):
        self.embedder, self.every = embedder, every
        # Unsmoothed, so that jitter is the result's own.
        self.tracker = FaceTracker("mediapipe", smoothing=False)

    def watch(self, frames: Iterable[np.ndarray]) -> Observed:
        """A video: every frame uint8 (S, S, 3), brought to 256 px."""
        self.tracker.reset()
        return self._observe(frames, self.tracker.track, self.every)

    def look(self, pictures: Iterable[np.ndarray]) -> Observed:
        """Single pictures that have nothing to do with each other."""
        return self._observe(pictures, lambda picture: next(iter(self.tracker.detect(picture)), None), 1)

    def _observe(self, frames: Iterable[np.ndarray], find, every: int) -> Observed:
        meshes, expressions, poses, found, vectors = [], [], [], [], []
        for number, frame in enumerate(frames):
            picture = enlarged(frame)
            face = find(picture)
            found.append(face is not None)
            meshes.append(np.full((478, 3), np.nan) if face is None else face.mesh.astype(np.float64))
            expressions.append(np.full(51, np.nan) if face is None else face.blendshapes[1:].astype(np.float64))
            poses.append((np.nan,) * 3 if face is None else head_pose(face.mesh))
            if self.embedder is not None and number % every == 0:
                vectors.append(None if face is None else self.embedder(picture, face.mesh))
        return Observed(
            np.array(meshes), np.array(expressions), np.array(poses, float), np.array(found), _stacked(vectors)
        )


def enlarged(frame: np.ndarray) -> np.ndarray:
    """A square frame uint8 (S, S, 3) at 256 px, the way `transfer` enlarges a decoded crop; larger ones are reduced."""
    return frame if frame.shape[0] == ANALYSIS_PX else resize(frame.astype(np.float32) / 255, ANALYSIS_PX)


def _stacked(vectors: list[np.ndarray | None]) -> np.ndarray | None:
    if not vectors:
        return None
    size = next((len(v) for v in vectors if v is not None), 1)
    return np.array([np.full(size, np.nan) if v is None else v for v in vectors])
