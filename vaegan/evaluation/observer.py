"""Seeing what frames show: mesh, expression and head pose by the teacher landmarker, identity by a face embedder."""

from collections.abc import Iterable

import numpy as np

from vaegan.evaluation.embedders import FaceEmbedder
from vaegan.evaluation.metrics import Observed
from vaegan.faces.geometry import head_pose
from vaegan.faces.tracker import Face, FaceTracker
from vaegan.render.view import resize

ANALYSIS_PX = 256
STRIDES = {"identity_dlib": 4}
"""dlib's network takes a tenth of a second for a face: of the frames that are embedded it sees every fourth."""


class Observer:
    """Looks at sequences of frames, always at 256 px.

    Args:
        embedders: figure -> what embeds faces for it, see `likeness.IDENTITIES`.
        every: of a video, embed the face of one frame in `every`.

    Raises:
        UserError: the teacher landmarker's weights or package are missing.
    """

    def __init__(self, embedders: dict[str, FaceEmbedder], every: int):
        self.embedders, self.every = embedders, every
        # Unsmoothed, so that jitter is the result's own.
        self.tracker = FaceTracker("mediapipe", smoothing=False)

    def watch(self, frames: Iterable[np.ndarray], *, embed: bool = True) -> Observed:
        """A video: every frame uint8 (S, S, 3), brought to 256 px; embed: also see whose face it is."""
        self.tracker.reset()
        return self._observe(frames, self.tracker.track, self.every if embed else 0)

    def look(self, pictures: Iterable[np.ndarray], *, embed: bool = True) -> Observed:
        """Single pictures that have nothing to do with each other."""
        return self._observe(pictures, lambda picture: next(iter(self.tracker.detect(picture)), None), int(embed))

    def _observe(self, frames: Iterable[np.ndarray], find, every: int) -> Observed:
        faces, embedded = [], []
        for number, frame in enumerate(frames):
            picture = resize(frame, ANALYSIS_PX)
            faces.append(find(picture))
            if self.embedders and every and number % every == 0:
                embedded.append((picture, faces[-1]))
        found = np.array([face is not None for face in faces])
        return Observed(
            np.array([np.full((478, 3), np.nan) if f is None else f.mesh for f in faces], float),
            np.array([np.full(51, np.nan) if f is None else f.blendshapes[1:] for f in faces], float),
            np.array([(np.nan,) * 3 if f is None else head_pose(f.mesh) for f in faces], float),
            found,
            {name: _vectors(embedder, embedded[:: STRIDES.get(name, 1)]) for name, embedder in self.embedders.items()},
        )


def _vectors(embedder: FaceEmbedder, frames: list[tuple[np.ndarray, Face | None]]) -> np.ndarray:
    """Vectors (N, D) of pictures and the faces in them, NaN without a face."""
    shown = [(picture, face.mesh) for picture, face in frames if face is not None]
    if not shown:
        return np.full((len(frames), 1), np.nan)
    pictures, meshes = map(np.stack, zip(*shown, strict=True))
    vectors = embedder(pictures, meshes)
    rows = np.full((len(frames), vectors.shape[1]), np.nan)
    rows[[face is not None for _, face in frames]] = vectors
    return rows
