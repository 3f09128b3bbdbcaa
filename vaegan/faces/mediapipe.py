"""Google's Face Landmarker without the mediapipe package: the three graphs of face_landmarker.task on LiteRT.

The graphs are BlazeFace (Bazarevsky et al. 2019, short range: a face from about a fifth of the picture's longer side
up), a 478-point face mesh (Kartynnik et al. 2019, Grishchenko et al. 2020) and blendshapes from 146 of its points.
Anchors, suppression, region and the subset of points are those of MediaPipe's face_detector_graph.cc,
face_landmarker_graph.cc and face_blendshapes_graph.cc.
"""

import contextlib
import math
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vaegan.errors import UserError
from vaegan.faces.backend import Detection, Face
from vaegan.faces.geometry import CropTransform
from vaegan.faces.weights import require_weights

WEIGHTS = "face_landmarker.task"
PACKAGE = "ai_edge_litert"
GRAPHS = ("detector", "landmarks_detector", "blendshapes")

DETECTOR_PX, LANDMARKS_PX = 128, 256
MIN_OVERLAP = 0.3
MIN_SCORE, MIN_FINE_SCORE = 0.5, 0.65
"""For the whole picture, and for its squares: what looks like a face only there is often hair or lettering."""
ENOUGH_PX = 320
"""Shorter side to which a picture is reduced before the search: its smallest squares then still fill the input."""

# Indices into the mesh that the blendshape graph reads (kLandmarksSubsetIdxs in face_blendshapes_graph.cc).
_EXPRESSION_POINTS = """
0 1 4 5 6 7 8 10 13 14 17 21 33 37 39 40 46 52 53 54 55 58 61 63 65 66 67 70 78 80 81 82 84 87 88 91 93 95 103 105 107
109 127 132 133 136 144 145 146 148 149 150 152 153 154 155 157 158 159 160 161 162 163 168 172 173 176 178 181 185
191 195 197 234 246 249 251 263 267 269 270 276 282 283 284 285 288 291 293 295 296 297 300 308 310 311 312 314 317
318 321 323 324 332 334 336 338 356 361 362 365 373 374 375 377 378 379 380 381 382 384 385 386 387 388 389 390 397
398 400 402 405 409 415 454 466 468 469 470 471 472 473 474 475 476 477
"""
_EXPRESSION_INDEX = np.array(_EXPRESSION_POINTS.split(), int)


class MediapipeBackend:
    """Detector, mesh and blendshapes of `face_landmarker.task`, one thread each.

    The short range detector sees faces from about 15 % of its square up. So a picture is searched as a whole, then in
    overlapping squares of its shorter side and of half of that: faces of 8 % of the picture's height are found too.
    That is 10 runs of 1 ms for a square picture, 22 for 16:9.
    Not for use from several threads at once: the graphs hold their inputs.

    Raises:
        UserError: the package ai-edge-litert or the weights are missing or broken.
    """

    name = "mediapipe"
    roi_scale = 1.5
    easily_fooled = False

    def __init__(self, path: Path | None = None):
        path = require_weights(WEIGHTS) if path is None else path
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise UserError(
                "the mediapipe backend needs the package ai-edge-litert: pip install 'vaegan[mediapipe]'"
            ) from error
        try:
            with zipfile.ZipFile(path) as bundle:
                graphs = [bundle.read(f"face_{part}.tflite") for part in GRAPHS]
            with _no_native_stderr():
                self._detector, self._landmarks, self._blendshapes = (
                    _Graph(Interpreter(model_content=graph, num_threads=1)) for graph in graphs
                )
        except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
            raise UserError(f"{path} is no usable {WEIGHTS} ({error}): fetch it again") from error
        self._anchors = _anchors()

    def detect(self, image: np.ndarray) -> list[Detection]:
        """All faces of a uint8 (H, W, 3) picture, best first."""
        factor = max(1, min(image.shape[:2]) // ENOUGH_PX)
        if factor > 1:
            height, width = (n // factor for n in image.shape[:2])
            image = image[: height * factor, : width * factor]
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        height, width = image.shape[:2]
        found: list[Detection] = []
        for squares in _searches(width, height):
            least = MIN_SCORE if len(squares) == 1 else MIN_FINE_SCORE
            boxes = np.concatenate([self._detect_in(image, square, least) for square in squares])
            finer = [_detection(box, factor) for box in _merged(boxes)]
            found += [one for one in finer if not any(one.box.near(other.box, 0.5) for other in found)]
        return sorted(found, key=lambda detection: -detection.score)

    def landmarks(self, image: np.ndarray, roi: CropTransform) -> Face:
        """Mesh, presence and blendshapes of the face in a region turned to its eye line."""
        crop = roi.crop(image, LANDMARKS_PX).astype(np.float32) / 255
        outputs = self._landmarks(crop)
        points = max(outputs, key=np.size).reshape(-1, 3)
        logit = float(next(out for out in outputs if out.shape == (1, 1, 1, 1)).item())
        mesh = roi.to_picture(points, LANDMARKS_PX)
        (shapes,) = self._blendshapes(mesh[_EXPRESSION_INDEX, :2])
        presence = 1 / (1 + math.exp(-min(max(logit, -50.0), 50.0)))
        return Face(mesh.astype(np.float32), shapes.astype(np.float32).copy(), presence)

    def _detect_in(self, image: np.ndarray, square: CropTransform, least: float) -> np.ndarray:
        """Candidates (N, 17) in one square of the picture: x, y, w, h, six points (x, y), all in picture px; score."""
        inside = _letterbox(image, square)
        outputs = self._detector(inside.astype(np.float32) / 127.5 - 1)
        values, logits = sorted(outputs, key=np.size, reverse=True)
        scores = 1 / (1 + np.exp(-np.clip(logits.reshape(-1).astype(np.float64), -50, 50)))
        found = scores > least
        values = values.reshape(-1, 16)[found].astype(np.float64)
        centres = np.tile(self._anchors[found], 7)
        values[:, :2] += centres[:, :2]
        values[:, 4:] += centres[:, 2:]
        scale = square.side / DETECTOR_PX
        values *= scale
        offset = np.array([square.cx, square.cy]) - square.side / 2
        values[:, :2] += offset
        values[:, 4:] += np.tile(offset, 6)
        candidates = np.column_stack([values, scores[found]])
        return candidates[_whole(candidates, square, image.shape[1], image.shape[0])]


class _Graph:
    """One LiteRT graph with one input: array in, list of arrays out."""

    def __init__(self, interpreter):
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._outputs = [detail["index"] for detail in interpreter.get_output_details()]

    def __call__(self, value: np.ndarray) -> list[np.ndarray]:
        self._interpreter.set_tensor(self._input, value[None].astype(np.float32, copy=False))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


@contextlib.contextmanager
def _no_native_stderr() -> Iterator[None]:
    """Keep LiteRT's own line about its delegate off the terminal: no setting turns it off, and it says nothing."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _anchors() -> np.ndarray:
    """Centres (896, 2) in px of the detector's input: two a cell at stride 8, six (three layers of two) at 16."""
    layers = []
    for stride, per_cell in ((8, 2), (16, 6)):
        line = (np.arange(DETECTOR_PX // stride) + 0.5) * stride
        y, x = np.meshgrid(line, line, indexing="ij")
        layers.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), per_cell, axis=0))
    return np.concatenate(layers)


def _searches(width: int, height: int) -> Iterator[list[CropTransform]]:
    """Where to look, in turns: the whole picture, then overlapping squares of it."""
    yield [CropTransform(width / 2, height / 2, max(width, height))]
    short = min(width, height)
    for side in (short, short / 2):
        if side < DETECTOR_PX / 2 or max(width, height) < 1.2 * side or max(width, height) > 20 * side:
            continue
        yield [CropTransform(x, y, side) for y in _centres(height, side) for x in _centres(width, side)]


def _centres(length: int, side: float) -> np.ndarray:
    """Centres of intervals of this side that cover a length and overlap by 40 % or more."""
    count = math.ceil((length - side) / (0.6 * side)) + 1
    return np.linspace(side / 2, length - side / 2, count)


def _letterbox(image: np.ndarray, square: CropTransform) -> np.ndarray:
    """The square at the detector's size, black outside the picture: replicated borders look like faces to it."""
    scale = DETECTOR_PX / square.side
    x, y = square.cx - square.side / 2, square.cy - square.side / 2
    part = image[max(0, round(y)) : round(y + square.side), max(0, round(x)) : round(x + square.side)]
    extent = [max(1, min(DETECTOR_PX, round(n * scale))) for n in part.shape[1::-1]]
    left, top = (DETECTOR_PX - extent[0]) // 2, (DETECTOR_PX - extent[1]) // 2
    canvas = np.zeros((DETECTOR_PX, DETECTOR_PX, 3), np.uint8)
    canvas[top : top + extent[1], left : left + extent[0]] = cv2.resize(part, extent, interpolation=cv2.INTER_AREA)
    return canvas


def _whole(boxes: np.ndarray, square: CropTransform, width: int, height: int) -> np.ndarray:
    """Which candidates (N,) are not cut by a side of the square that lies inside the picture."""
    low, high = boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2
    start, end = np.array([square.cx, square.cy]) + np.array([[-0.5], [0.5]]) * square.side
    start, end = np.where(start > 1, start, -np.inf), np.where(end < np.array([width, height]) - 1, end, np.inf)
    return ((low >= start) & (high <= end)).all(1)


def _merged(boxes: np.ndarray) -> list[np.ndarray]:
    """Weighted suppression: overlapping candidates are averaged by their scores, the best score stays."""
    left = boxes[np.argsort(-boxes[:, 16])]
    merged = []
    while len(left):
        best = left[0]
        low = np.maximum(left[:, :2] - left[:, 2:4] / 2, best[:2] - best[2:4] / 2)
        high = np.minimum(left[:, :2] + left[:, 2:4] / 2, best[:2] + best[2:4] / 2)
        shared = np.clip(high - low, 0, None).prod(1)
        overlap = shared / (left[:, 2:4].prod(1) + best[2:4].prod() - shared)
        same = overlap > MIN_OVERLAP
        same[0] = True
        mean = np.average(left[same], axis=0, weights=left[same, 16])
        mean[16] = best[16]
        merged.append(mean)
        left = left[~same]
    return merged


def _detection(box: np.ndarray, factor: float) -> Detection:
    """A square of the box's longer side, turned to the line from the subject's right eye to the left."""
    roll = math.atan2(box[7] - box[5], box[6] - box[4])
    x, y, side = (float(n) * factor for n in (box[0], box[1], max(box[2:4])))
    return Detection(CropTransform(x, y, side, roll), float(box[16]))
