"""Whose face it is, as a unit vector: a face recognition network in OpenCV's dnn module."""

import math
from pathlib import Path

import cv2
import numpy as np

from vaegan.errors import UserError
from vaegan.faces.geometry import CropTransform
from vaegan.faces.weights import require_weights

WEIGHTS = "mobilefacenet.onnx"
SIZE = 112

# Where ArcFace (Deng et al. 2019) wants the five points in its 112 x 112 px, and the mesh points that show them:
# the irises, right eye of the subject first; tip of the nose; corners of the mouth.
_TARGET = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
_POINTS = [468, 473, 4, 61, 291]


class Embedder:
    """Any ONNX network of the ArcFace kind: float RGB (N, 3, 112, 112), 0..255, -> (N, D).

    Args:
        path: the network; None: `mobilefacenet.onnx` of $VAEGAN_MODELS or the user's cache.

    Raises:
        UserError: there is no such file, or OpenCV cannot read it.
    """

    def __init__(self, path: Path | None = None):
        path = require_weights(WEIGHTS) if path is None else Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such face embedder; name an ONNX file")
        self.name = path.name
        try:
            self._network = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise UserError(f"{path} is no network that OpenCV can read: {str(error).splitlines()[0]}") from error

    def __call__(self, image: np.ndarray, mesh: np.ndarray) -> np.ndarray:
        """Unit vector float64 (D,) of the face with this mesh (478, 2|3) in px of the picture uint8 (H, W, 3)."""
        crop = alignment(mesh).crop(image, SIZE)
        self._network.setInput(crop.transpose(2, 0, 1)[None].astype(np.float32))
        vector = self._network.forward().ravel().astype(np.float64)
        return vector / max(np.linalg.norm(vector), 1e-12)


def alignment(mesh: np.ndarray) -> CropTransform:
    """The square that puts eyes, nose and mouth where ArcFace wants them: least squares (Umeyama 1991) in the plane."""
    points = np.asarray(mesh[_POINTS, :2], np.float64)
    middle, target_middle = points.mean(0), _TARGET.mean(0)
    a, b = (points - middle) @ [1, 1j], (_TARGET - target_middle) @ [1, 1j]
    turn = (a.conj() @ b) / max((a.conj() @ a).real, 1e-12)  # picture to crop: scale and rotation as one number
    centre = middle @ [1, 1j] + (SIZE / 2 * (1 + 1j) - target_middle @ [1, 1j]) / turn
    return CropTransform(centre.real, centre.imag, SIZE / abs(turn), -math.atan2(turn.imag, turn.real))
