"""Whose face it is, as a vector: the critic of the trainings, a judge that no training has seen, or one of your own.

All take pictures uint8 (N, S, S, 3) with the meshes (N, 478, 2 or 3) of their faces in px, or one of each, and give
float64 (N, D), or (D,).
"""

import importlib.util
import math
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch

from vaegan.critics.embedder import POINTS, SIZE, TARGET, Embedder
from vaegan.errors import UserError
from vaegan.faces.geometry import CropTransform
from vaegan.tensors import to_float

BATCH = 32


class FaceEmbedder(Protocol):
    """name: of the network, for reports."""

    name: str

    def __call__(self, pictures: np.ndarray, meshes: np.ndarray) -> np.ndarray: ...


class MobileFaceNet:
    """The embedder that trainings may use as a critic: unit vectors, compared by their cosine.

    Raises:
        UserError: its weights are not at hand, or damaged.
    """

    def __init__(self) -> None:
        self._network = Embedder()
        self.name = self._network.name

    @torch.inference_mode()
    def __call__(self, pictures: np.ndarray, meshes: np.ndarray) -> np.ndarray:
        faces = _aligned(pictures, meshes)
        vectors = torch.cat([self._network.embed(part) for part in faces.split(BATCH)]).double().numpy()
        return vectors if pictures.ndim == 4 else vectors[0]


class OnnxEmbedder:
    """Any ONNX network of the ArcFace kind, float RGB (N, 3, 112, 112), 0..255, -> (N, D): as unit vectors.

    Raises:
        UserError: there is no such file, or OpenCV cannot read it.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(f"{path}: no such face embedder; name an ONNX file")
        self.name = path.name
        try:
            self._network = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise UserError(f"{path} is no network that OpenCV can read: {str(error).splitlines()[0]}") from error

    def __call__(self, pictures: np.ndarray, meshes: np.ndarray) -> np.ndarray:
        vectors = []
        for face in (255 * _aligned(pictures, meshes)).numpy():
            self._network.setInput(face[None])
            vectors.append(self._network.forward().ravel().astype(np.float64))
        rows = np.stack(vectors)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)
        return rows if pictures.ndim == 4 else rows[0]


class Dlib:
    """dlib's face recognition network (King 2017), which no training here has seen; compared by Euclidean distance.

    Raises:
        UserError: the packages `dlib-bin` and `face_recognition_models` are not installed.
    """

    name = "dlib_face_recognition_resnet_model_v1"
    points = (263, 362, 33, 133, 2)
    """Mesh points in the order of dlib's five: the subject's left eye, outer and inner corner, the right one's, and
    where nose and lip meet."""

    def __init__(self) -> None:
        models = importlib.util.find_spec("face_recognition_models")
        if models is None or importlib.util.find_spec("dlib") is None:
            raise UserError("it needs two packages: pip install dlib-bin face_recognition_models")
        import dlib

        self._dlib = dlib
        folder = Path(models.submodule_search_locations[0]) / "models"
        self._network = dlib.face_recognition_model_v1(str(folder / f"{self.name}.dat"))

    def __call__(self, pictures: np.ndarray, meshes: np.ndarray) -> np.ndarray:
        dlib, chips = self._dlib, []
        batch = pictures if pictures.ndim == 4 else pictures[None]
        for picture, mesh in zip(batch, np.reshape(meshes, (len(batch), 478, -1)), strict=True):
            points = [dlib.point(*np.rint(mesh[i, :2]).astype(int).tolist()) for i in self.points]
            shape = dlib.full_object_detection(dlib.rectangle(0, 0, *picture.shape[1::-1]), points)
            chips.append(dlib.get_face_chip(np.ascontiguousarray(picture), shape))
        rows = np.array([self._network.compute_face_descriptor(chip) for chip in chips], np.float64)
        return rows if pictures.ndim == 4 else rows[0]


def alignment(mesh: np.ndarray) -> CropTransform:
    """The square that puts eyes, nose and mouth where ArcFace wants them: least squares (Umeyama 1991) in the plane."""
    points, target = np.asarray(mesh[list(POINTS), :2], np.float64), np.array(TARGET)
    middle, target_middle = points.mean(0), target.mean(0)
    a, b = (points - middle) @ [1, 1j], (target - target_middle) @ [1, 1j]
    turn = (a.conj() @ b) / max((a.conj() @ a).real, 1e-12)  # picture to crop: scale and rotation as one number
    centre = middle @ [1, 1j] + (SIZE / 2 * (1 + 1j) - target_middle @ [1, 1j]) / turn
    return CropTransform(centre.real, centre.imag, SIZE / abs(turn), -math.atan2(turn.imag, turn.real))


def _aligned(pictures: np.ndarray, meshes: np.ndarray) -> torch.Tensor:
    """float (N, 3, 112, 112) in [0, 1], antialiased."""
    pairs = zip(pictures, meshes, strict=True) if pictures.ndim == 4 else [(pictures, meshes)]
    return to_float(np.stack([alignment(mesh).crop(picture, SIZE) for picture, mesh in pairs]))
