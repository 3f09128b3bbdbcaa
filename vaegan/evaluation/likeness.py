"""Likeness: whether the person of a photo is still the one who is seen, and by how far the head has turned."""

import numpy as np

from vaegan.evaluation.metrics import Observed


def identity(embeddings: np.ndarray, photo: np.ndarray) -> float:
    """Identity: mean cosine between the face embeddings (N, D) of result frames and of the photo (D,), unit vectors.

    Frames without a face (rows of NaN) are left out; 0, as between strangers, when there is no other.
    """
    faces = embeddings[np.isfinite(embeddings).all(1)]
    return float((faces @ photo).mean()) if len(faces) else 0.0


def identity_dlib(embeddings: np.ndarray, photo: np.ndarray) -> float:
    """Identity by dlib: mean Euclidean distance between the vectors (N, 128) of result frames and of the photo (128,)
    by a network that no training here has seen; below 0.6 they are taken for one person.

    Frames without a face (rows of NaN) are left out; NaN when there is no other.
    """
    faces = embeddings[np.isfinite(embeddings).all(1)]
    return float(np.linalg.norm(faces - photo, axis=1).mean()) if len(faces) else float("nan")


IDENTITIES = {"identity": identity, "identity_dlib": identity_dlib}
"""Figures of likeness, each by an embedder of its own."""


def identities(result: Observed, photo: Observed) -> dict[str, float]:
    """Those of IDENTITIES for which both were embedded."""
    both = [name for name in IDENTITIES if name in result.embeddings and name in photo.embeddings]
    return {name: IDENTITIES[name](result.embeddings[name], photo.embeddings[name][0]) for name in both}


TURNS = {"identity_near": (0, 10), "identity_turned": (10, 20), "identity_far": (20, 180)}
"""Figures of likeness among frames that are turned away from the photo by so many degrees, from and up to."""

TURNED = {"turn", *TURNS}


def turns(result: Observed, photo: Observed, every: int) -> dict[str, float]:
    """Turn: by how many degrees heads are turned away from the photo, yaw and pitch together, on average; and identity
    among the frames that are turned by less than 10 degrees, by 10 to 20, and by more.

    every: of how many frames one was embedded
    """
    away = np.hypot(*(result.pose - photo.pose[0])[:, :2].T)
    figures = {"turn": float(away[result.found].mean()) if result.found.any() else float("nan")}
    vectors = result.embeddings.get("identity")
    if vectors is None or "identity" not in photo.embeddings:
        return figures
    away, photo_vector = away[::every], photo.embeddings["identity"][0]
    for name, (low, high) in TURNS.items():
        chosen = vectors[(away >= low) & (away < high)]
        figures[name] = identity(chosen, photo_vector) if len(chosen) else float("nan")
    return figures
