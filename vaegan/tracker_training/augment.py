"""How pictures are spoiled while the face tracker learns."""

import cv2
import numpy as np
from numpy.random import Generator


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int, colour=(0, 0, 0)) -> np.ndarray:
    """The picture mapped by `matrix` (2, 3), which counts px from corners, into (width, height); antialiased.

    Args:
        border: cv2.BORDER_REPLICATE, BORDER_REFLECT or BORDER_CONSTANT (with `colour`).
    """
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.7:
        width, height = (max(1, round(n * scale)) for n in image.shape[1::-1])
        matrix = matrix @ np.diag([image.shape[1] / width, image.shape[0] / height, 1.0])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5
    return cv2.warpAffine(image, centred, size, flags=cv2.INTER_LINEAR, borderMode=border, borderValue=colour)


def any_border(rng: Generator) -> tuple[int, tuple[int, ...]]:
    """A way to fill what lies outside a picture: its border smeared or mirrored, black, or a colour."""
    kind = rng.random()
    if kind < 0.35:
        return cv2.BORDER_REPLICATE, (0, 0, 0)
    if kind < 0.5:
        return cv2.BORDER_REFLECT, (0, 0, 0)
    return cv2.BORDER_CONSTANT, (0, 0, 0) if kind < 0.7 else tuple(int(c) for c in rng.integers(0, 256, 3))


def recolour(image: np.ndarray, rng: Generator) -> np.ndarray:
    """Other light: gain, offset and gamma per channel, less or more colour; grey in one picture of ten."""
    gamma = np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.05, (3, 1)))
    gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.06, (3, 1)))
    curve = (np.arange(256) / 255) ** gamma * gain + rng.normal(0, 0.05)
    curve = np.clip(curve * 255, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, np.ascontiguousarray(curve.T)[None])
    colourful = 0.0 if rng.random() < 0.1 else np.exp(rng.normal(0, 0.25))
    if colourful == 0.0 or rng.random() < 0.5:
        luma = np.tile([0.299, 0.587, 0.114], (3, 1))
        image = cv2.transform(image, luma + colourful * (np.eye(3) - luma))
    return image


def degrade(image: np.ndarray, rng: Generator) -> np.ndarray:
    """A worse camera: low resolution, blur, movement, noise, JPEG; each on a part of the pictures."""
    height, width = image.shape[:2]
    if rng.random() < 0.25:
        factor = rng.uniform(0.25, 0.8)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    kind = rng.random()
    if kind < 0.12:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0))
    elif kind < 0.2:
        image = cv2.filter2D(image, -1, _streak(rng.integers(3, 10), rng.uniform(0, np.pi)))
    if rng.random() < 0.2:
        noise = _NOISE[rng.integers(0, 256 - height + 1) :][:height, rng.integers(0, 256 - width + 1) :][:, :width]
        image = image + (noise * rng.uniform(0.1, 0.6)).astype(np.int16)
        image = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 85))])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image


_NOISE = np.clip(np.random.default_rng(0).normal(0, 24, (256, 256, 3)), -127, 127).astype(np.int16)


def _streak(length: int, angle: float) -> np.ndarray:
    """Kernel of a straight movement over `length` px."""
    kernel = np.zeros((length | 1, length | 1), np.float32)
    middle, reach = length // 2, length / 2
    end = (round(middle + reach * np.cos(angle)), round(middle + reach * np.sin(angle)))
    start = (round(middle - reach * np.cos(angle)), round(middle - reach * np.sin(angle)))
    cv2.line(kernel, start, end, 1.0)
    return kernel / kernel.sum()


def texture(size: int, rng: Generator) -> np.ndarray:
    """A square (size, size, 3) without any picture in it: a gradient, coarse or fine noise, or stripes."""
    kind = rng.random()
    if kind < 0.3:
        corners = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
        return cv2.resize(corners, (size, size), interpolation=cv2.INTER_LINEAR)
    if kind < 0.7:
        cells = int(rng.integers(3, size))
        noise = rng.normal(rng.uniform(40, 215, 3), rng.uniform(5, 70), (cells, cells, 3))
        way = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
        return cv2.resize(np.clip(noise, 0, 255).astype(np.uint8), (size, size), interpolation=way)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, size)
    y, x = np.mgrid[:size, :size]
    wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * 2 * np.pi / period)
    wave = (np.sign(wave) if rng.random() < 0.3 else wave) * 0.5 + 0.5
    first, second = rng.uniform(0, 255, (2, 3))
    return (first + wave[..., None] * (second - first)).astype(np.uint8)


def occlude(image: np.ndarray, rng: Generator, other: np.ndarray | None = None) -> np.ndarray:
    """Something in front: a rectangle or an ellipse of one colour, a texture, or a part of another picture."""
    size = image.shape[0]
    for _ in range(1 + int(rng.random() < 0.3)):
        half = np.maximum(1, rng.uniform(0.05, 0.22, 2) * size).astype(int)
        centre = rng.uniform(0, size, 2).astype(int)
        mask = np.zeros((size, size), np.uint8)
        if rng.random() < 0.5:
            box = cv2.boxPoints(((*centre.tolist(),), (*(2 * half).tolist(),), rng.uniform(0, 180)))
            cv2.fillConvexPoly(mask, box.astype(np.int32), 1)
        else:
            cv2.ellipse(mask, centre.tolist(), half.tolist(), rng.uniform(0, 180), 0, 360, 1, -1)
        kind = rng.random()
        if kind < 0.4 or (other is None and kind < 0.7):
            front = np.broadcast_to(rng.integers(0, 256, 3).astype(np.uint8), image.shape)
        elif kind < 0.7:
            front = cv2.resize(other, (size, size))
        else:
            front = texture(size, rng)
        image = np.where(mask[..., None] > 0, front, image)
    return image
