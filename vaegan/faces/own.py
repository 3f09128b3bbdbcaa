"""The face tracker that was trained here and ships in the package: no download, no other dependency than torch."""

import math
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vaegan.errors import UserError
from vaegan.faces.backend import Detection, Face
from vaegan.faces.geometry import CropTransform
from vaegan.faces.networks import FaceDetector, FaceLandmarker, fold_batch_norms, with_fused_activations
from vaegan.folder import PRETRAINED, load_weights, read_config
from vaegan.tensors import to_float

FOLDER = PRETRAINED / "tracker"


def load_networks(folder: Path = FOLDER) -> tuple[FaceDetector, FaceLandmarker, dict]:
    """The two trained networks, in float32 and evaluation mode, and the folder's configuration.

    Raises:
        UserError: the folder is not there, or not whole.
    """
    try:
        config = read_config(folder)
        detector, landmarker = FaceDetector(**config["detector"]), FaceLandmarker(**config["landmarker"])
        load_weights(folder, {"detector.": detector, "landmarker.": landmarker})
    except (KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"{folder} is no whole face tracker ({error}); install the package again") from error
    return detector.eval(), landmarker.eval(), config


class OwnBackend:
    """Detector and landmarker of our own, on one thread of torch.

    Args:
        folder: a model folder as `python train.py model=tracker` writes it.
        min_score: least score of a detection; None: as the folder's configuration says.

    Raises:
        UserError: the folder is not there, or not whole.
    """

    name = "own"
    easily_fooled = True

    def __init__(self, folder: Path = FOLDER, min_score: float | None = None) -> None:
        self._detector, self._landmarker, config = load_networks(folder)
        self.roi_scale = float(config["landmarker"]["roi_scale"])
        self._px = int(config["detection"]["size"])
        self._min_score = float(config["detection"]["min_score"] if min_score is None else min_score)
        self._detector = _ready(self._detector, self._px)
        self._landmarker = _ready(self._landmarker, self._landmarker.size)

    def detect(self, image: np.ndarray) -> list[Detection]:
        """All faces of a uint8 (H, W, 3) picture, best first."""
        small, scale = letterbox(image, self._px)
        with torch.inference_mode():
            maps = self._detector(_batch(small))[0]
        boxes, scores = peaks(maps, self._min_score)
        found = []
        for (x, y, side, roll), score in zip(boxes, scores, strict=True):
            box = CropTransform(float(x / scale[0]), float(y / scale[1]), float(side / min(scale)), float(roll))
            found.append(Detection(box, float(score)))
        return found

    def landmarks(self, image: np.ndarray, roi: CropTransform) -> Face:
        """The face in a region that is turned to its eye line."""
        crop = roi.crop(image, self._landmarker.size)
        with torch.inference_mode():
            mesh, presence, blendshapes = self._landmarker(_batch(crop))
        mesh = roi.to_picture(mesh[0].numpy(), 1.0)
        return Face(mesh.astype(np.float32), blendshapes[0].sigmoid().numpy(), float(presence.sigmoid()))


def _ready(net: nn.Module, px: int) -> nn.Module:
    """The network as it is fastest for one picture of about px x px."""
    fold_batch_norms(net)
    net.to(memory_format=torch.channels_last)
    return with_fused_activations(net, _batch(np.zeros((px, px, 3), np.uint8)))


def _batch(image: np.ndarray) -> Tensor:
    return to_float(torch.from_numpy(np.ascontiguousarray(image))[None])


def letterbox(image: np.ndarray, px: int) -> tuple[np.ndarray, tuple[float, float]]:
    """The picture with about px x px pixels in its own proportions, its sides padded with grey to multiples of 32.

    The area, not the longer side, is what detection costs; so a wide picture keeps more of its height.
    Returns the picture and its scale in x and in y; points times scale lie in it.
    """
    height, width = image.shape[:2]
    ratio = min(4.0, max(0.25, width / height))
    long = px * math.sqrt(max(ratio, 1 / ratio))
    extent = [max(1, round(n * long / max(height, width))) for n in (width, height)]
    halvings = max(0, int(math.log2(min(width / extent[0], height / extent[1]))))
    width, height = (n >> halvings << halvings for n in (width, height))
    image = image[:height, :width]
    for _ in range(halvings):  # exact halves are averaged eight times faster than odd fractions
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    shrinking = extent[0] < image.shape[1]
    small = cv2.resize(image, extent, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    scale = extent[0] / width, extent[1] / height
    right, bottom = (-extent[0]) % 32, (-extent[1]) % 32
    padded = cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(127, 127, 127))
    return padded, scale


def peaks(maps: Tensor, min_score: float, most: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """The faces in one picture's detector maps (6, h, w): (x, y, side, roll) (N, 4) in px of its input, scores (N,).

    A peak is a cell that no neighbour exceeds; of faces that overlap by more than .4 the best is kept.
    """
    heat = maps[0].sigmoid()
    highest = torch.nn.functional.max_pool2d(heat[None, None], 3, 1, 1)[0, 0]
    rows, columns = torch.nonzero((heat == highest) & (heat >= min_score), as_tuple=True)
    scores = heat[rows, columns]
    order = scores.argsort(descending=True)[:most]
    rows, columns, scores = rows[order], columns[order], scores[order]
    dx, dy, log_side, sine, cosine = maps[1:, rows, columns]
    boxes = torch.stack(
        [
            (columns + 0.5 + dx) * FaceDetector.stride,
            (rows + 0.5 + dy) * FaceDetector.stride,
            log_side.clamp(-3, 5).exp() * FaceDetector.stride,
            torch.atan2(sine, cosine),
        ],
        1,
    ).numpy()
    kept: list[int] = []
    for i in range(len(boxes)):
        if all(overlap(boxes[i], boxes[k]) < 0.4 for k in kept):
            kept.append(i)
    return boxes[kept], scores.numpy()[kept]


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two squares (x, y, side, ...), taken upright."""
    reach = (one[2] + other[2]) / 2
    shared = min(one[2], other[2])
    w, h = (max(0.0, min(shared, reach - abs(one[i] - other[i]))) for i in (0, 1))
    return float(w * h / (one[2] ** 2 + other[2] ** 2 - w * h))
