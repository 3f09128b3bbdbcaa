"""Faces as nobody has them: what training pictures are made into before the teacher is asked about them.

Few people are in the data, and how a face is outlined is its own: longer and wider faces, one person's features within
another one's outline, hands and hair before them.
"""

import cv2
import numpy as np
from numpy.random import Generator

from vaegan.faces.geometry import FACE_POINTS, face_region, mesh_box


def reshaped(image: np.ndarray, meshes: list[np.ndarray], rng: Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """A picture whose faces are longer or wider, with other chins and cheeks, and about where their meshes then lie.

    The whole picture is stretched by some 7 % along each axis and sheared by 3 %, about its largest face; around that
    face six smooth bumps move its parts by some 2.5 % of its side.

    Args:
        image: uint8 (H, W, 3).
        meshes: (478, 3) each, px of the picture; one at least.
    """
    largest = max((face_region(mesh) for mesh in meshes), key=lambda region: region.side)
    middle, side = np.array([largest.cx, largest.cy], np.float32), np.float32(largest.side)
    stretch = np.diag(np.exp(rng.normal(0, 0.07, 2))) + np.array([[0, 1], [0, 0]]) * rng.normal(0, 0.03)
    stretch = stretch.astype(np.float32)
    bumps = [rng.uniform(-0.6, 0.6, (6, 2)), rng.normal(0, 0.025, (6, 2)), rng.uniform(0.15, 0.35, 6)]
    centres, shifts, widths = (part.astype(np.float32) * side for part in bumps)
    centres = centres + middle

    def origin(points: np.ndarray) -> np.ndarray:
        """Where what is seen at points (N, 2) of the new picture lay in the old one."""
        moved = middle + (points - middle) @ stretch.T
        for centre, width, shift in zip(centres, widths, shifts, strict=True):
            near = np.exp(-((points - centre) ** 2).sum(1, keepdims=True) / (2 * width**2))
            moved = moved + near * shift
        return moved

    pixels = np.stack(_pixels(image.shape[:2]), 2)
    maps = origin(pixels.reshape(-1, 2)).reshape(pixels.shape) - 0.5
    out = cv2.remap(image, maps, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    moved = []
    for mesh in meshes:
        points = mesh[:, :2]
        for _ in range(10):  # the inverse of `origin`: it is near the identity, so this comes to rest
            points = points - (origin(points) - mesh[:, :2])
        moved.append(np.column_stack([points, mesh[:, 2]]).astype(np.float32))
    return out, moved


def with_other_face(
    image: np.ndarray, mesh: np.ndarray, donor: np.ndarray, donor_mesh: np.ndarray, rng: Generator
) -> np.ndarray:
    """The picture with the features of the donor's face, bent to the mesh and mostly to the colours of this one, within
    the outline that it has.

    Args:
        image, donor: uint8 (H, W, 3).
        mesh, donor_mesh: (478, 3), px of each.
    """
    hull = cv2.convexHull(mesh[:FACE_POINTS, :2].astype(np.float32))[:, 0]
    middle, side = hull.mean(0), mesh_box(mesh)[2]
    mask = np.zeros(image.shape[:2], np.uint8)
    inner = middle + (hull - middle) * rng.uniform(0.75, 0.95)
    cv2.fillConvexPoly(mask, np.rint(inner).astype(np.int32), 255)
    soft = 2 * max(1, round(rng.uniform(0.02, 0.07) * side)) + 1
    alpha = cv2.GaussianBlur(mask, (soft, soft), 0).astype(np.float32)[..., None] / 255

    maps = _bent(mesh[:FACE_POINTS, :2], donor_mesh[:FACE_POINTS, :2], image.shape[:2], 0.05 * side)
    face = cv2.remap(donor, maps - 0.5, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    if rng.random() < 0.85:
        here = mask > 0
        if here.sum() > 50:
            ours, theirs = image[here].astype(np.float32), face[here]
            gain = np.clip(ours.std(0) / np.maximum(theirs.std(0), 1), 0.5, 2)
            face = np.clip((face - theirs.mean(0)) * gain + ours.mean(0), 0, 255)
    return np.rint(image + alpha * (face - image)).astype(np.uint8)


def _bent(points: np.ndarray, source: np.ndarray, shape: tuple[int, int], width: float) -> np.ndarray:
    """Where each pixel of a picture lies in another one, float32 (H, W, 2), in which its points (N, 2) lie at `source`:
    an affine map, and what it leaves, spread from the points by Gaussians of this width in px."""
    known = np.column_stack([points, np.ones(len(points))])
    affine, *_ = np.linalg.lstsq(known, source, rcond=None)
    rest = np.column_stack([source - known @ affine, np.ones(len(points))])
    low, high, cells = points.min(0) - width, points.max(0) + width, 28
    axes = [np.linspace(low[k], high[k], cells) for k in (0, 1)]
    near = [np.exp(-((axis[:, None] - points[:, k]) ** 2) / (2 * width**2)) for k, axis in enumerate(axes)]
    spread = np.einsum("yp,xp,pc->yxc", near[1], near[0], rest, optimize=True)
    grid = (spread[..., :2] / (spread[..., 2:] + 1e-3)).astype(np.float32)
    x, y = _pixels(shape)
    at = [((v - low[k]) / (high[k] - low[k]) * (cells - 1)).astype(np.float32) for k, v in enumerate((x, y))]
    return np.stack([x, y, np.ones_like(x)], 2) @ affine.astype(np.float32) + cv2.remap(grid, *at, cv2.INTER_LINEAR)


def _pixels(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """x and y of each pixel's centre, float32 (H, W)."""
    x, y = np.meshgrid(np.arange(shape[1], dtype=np.float32) + 0.5, np.arange(shape[0], dtype=np.float32) + 0.5)
    return x, y


def cover_with_hair(image: np.ndarray, mesh: np.ndarray, rng: Generator) -> np.ndarray:
    """The picture with hair, drawn roughly in the colour of what is above the forehead or in any dark one, hanging over
    one or both cheeks or into the forehead.

    Args:
        image: uint8 (H, W, 3).
        mesh: (478, 3), px of the picture, of the face.
    """
    height, width = image.shape[:2]
    region = face_region(mesh)
    upright = region.to_crop(mesh[:FACE_POINTS, :2], 1.0)
    low, high = upright.min(0), upright.max(0)
    mask = np.zeros((height, width), np.uint8)
    for shape in _hair(low, high, rng):
        cv2.fillPoly(mask, [np.rint(region.to_picture(shape, 1.0)).astype(np.int32)], 255)
    side = region.side
    above = region.to_picture(np.array([[0.5, low[1] - 0.12]]), 1.0)[0] + rng.normal(0, 0.05, 2) * side
    x, y = (int(np.clip(v, 2, n - 3)) for v, n in zip(above, (width, height), strict=True))
    colour = np.median(image[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3), axis=0)
    if rng.random() < 0.4:
        colour = rng.uniform(5, 70) * np.exp(rng.normal(0, 0.15, 3))
    if rng.random() < 0.1:
        colour = rng.uniform(0, 255, 3)
    across, down = max(3, round(rng.uniform(25, 80) * width / side)), max(2, round(rng.uniform(2, 5) * height / side))
    light = cv2.resize(rng.normal(1, rng.uniform(0.1, 0.35), (down, across)).astype(np.float32), (width, height))
    front = np.clip(light[..., None] * colour, 0, 255)
    alpha = cv2.blur(mask, (3, 3)).astype(np.float32) / 255
    if rng.random() < 0.6:  # strands with skin between them where the hair ends
        wide = 2 * max(1, round(rng.uniform(0.03, 0.08) * side)) + 1
        thin = cv2.blur(mask, (wide, wide)).astype(np.float32) / 255
        alpha = np.clip((thin - 0.5 + 0.5 * (light - 1)) * 4 + 0.5, 0, 1)
    return np.rint(image + alpha[..., None] * (front - image)).astype(np.uint8)


def _hair(low: np.ndarray, high: np.ndarray, rng: Generator) -> list[np.ndarray]:
    """Outlines (N, 2) of curtains beside a face and of a fringe, in sides of its region; low, high: of the face."""
    wavy = rng.normal(0, 0.012, 40).cumsum() * 0.5 + rng.normal(0, 0.02, 40)
    shapes, kind = [], rng.random()
    if kind < 0.7:
        for sign in (-1, 1) if rng.random() < 0.35 else (rng.choice([-1, 1]),):
            border = low[0] if sign < 0 else high[0]
            reach, slant = rng.uniform(0.0, 0.32), rng.normal(0, 0.12)
            down = np.linspace(low[1] - 0.3, low[1] + rng.uniform(0.7, 1.6), 40)
            edge = border - sign * (reach + slant * (down - 0.5)) + wavy
            outer = border + sign * rng.uniform(0.15, 0.4)
            shapes.append(np.vstack([np.column_stack([edge, down]), [[outer, down[-1]], [outer, down[0]]]]))
    if kind >= 0.6:
        along = np.linspace(low[0] - 0.1, high[0] + 0.1, 40)
        edge = low[1] + rng.uniform(0.0, 0.25) + rng.normal(0, 0.15) * (along - 0.5) + wavy
        top = low[1] - rng.uniform(0.15, 0.35)
        shapes.append(np.vstack([np.column_stack([along, edge]), [[along[-1], top], [along[0], top]]]))
    return shapes


def cover_with_hand(image: np.ndarray, mesh: np.ndarray, rng: Generator) -> np.ndarray:
    """The picture with a hand and its forearm, round bodies under one light, roughly in the face's own colour, before
    its lower half or a cheek; in three of twenty in any other colour.

    Args:
        image: uint8 (H, W, 3).
        mesh: (478, 3), px of the picture, of the face.
    """
    height, width = image.shape[:2]
    low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
    side = float((high - low).max())
    palm = (low + high) / 2 + [rng.uniform(-0.55, 0.55) * side, rng.uniform(0.1, 0.6) * side]
    light, inside = _lit(_hand(palm, side, rng), (height, width), rng)
    if rng.random() < 0.85:
        skin = np.clip(np.rint(mesh[[50, 280, 205, 425], :2]), 0, [width - 1, height - 1]).astype(int)
        colour = np.median(image[skin[:, 1], skin[:, 0]], axis=0) * np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.03, 3))
    else:
        colour = rng.uniform(0, 255, 3)
    front = np.clip(light[..., None] * colour, 0, 255)
    alpha = np.clip(inside + 0.5, 0, 1)[..., None]
    return np.rint(image + alpha * (front - image)).astype(np.uint8)


def _hand(palm: np.ndarray, side: float, rng: Generator) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Palm, forearm, four fingers, mostly a thumb as lines from a point to a point, and the radius about them; px."""
    radius = rng.uniform(0.13, 0.24) * side
    down = rng.uniform(0.15, 0.85) * np.pi  # where the arm comes from
    fan = down + np.pi + rng.normal(0, 0.6)  # where the fingers point
    along, across = _direction(fan), _direction(fan + np.pi / 2)
    thick = rng.uniform(0.05, 0.075) * side
    bodies = [
        (palm - 0.3 * radius * along, palm + 0.4 * radius * along, radius),
        (palm, palm + 3 * side * _direction(down), rng.uniform(0.6, 0.85) * radius),
    ]
    fist = rng.random() < 0.5  # else the fingers are straight and more or less together
    spread = rng.normal(0, 0.12)
    for n in range(4):
        root = palm + along * radius * 0.7 + across * (n - 1.5) * 1.7 * thick
        reach = rng.uniform(0.05, 0.12) * side if fist else rng.uniform(0.25, 0.42) * side
        angle = fan + (n - 1.5) * spread + rng.normal(0, 0.05)
        bodies.append((root, root + reach * _direction(angle), thick * rng.uniform(0.9, 1.1)))
    if rng.random() < 0.75:
        thumb = rng.choice([-1, 1])
        angle = fan + thumb * rng.uniform(0.5, 1.6)
        root = palm + thumb * across * radius * 0.6
        bodies.append((root, root + rng.uniform(0.25, 0.42) * side * _direction(angle), 1.15 * thick))
    return bodies


def _direction(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _lit(
    bodies: list[tuple[np.ndarray, np.ndarray, float]], shape: tuple[int, int], rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Brightness of round bodies under one light from above, and how far within them each pixel is (H, W), px."""
    x, y = _pixels(shape)
    surface, inside = np.zeros(shape, np.float32), np.full(shape, -np.inf, np.float32)
    for start, end, radius in bodies:
        (dx, dy), (px, py) = end - start, start
        nearest = np.clip(((x - px) * dx + (y - py) * dy) / max(dx * dx + dy * dy, 1e-6), 0, 1)
        depth = np.float32(radius) - np.hypot(x - px - nearest * dx, y - py - nearest * dy)
        np.maximum(inside, depth, out=inside)
        np.maximum(surface, np.sqrt(np.maximum(depth * (2 * radius - depth), 0)), out=surface)
    slope_y, slope_x = np.gradient(surface)
    turn, tilt = rng.uniform(-np.pi, 0), rng.uniform(0.3, 1.2)
    facing = (1 - tilt * (np.cos(turn) * slope_x + np.sin(turn) * slope_y)) / np.sqrt(1 + slope_x**2 + slope_y**2)
    light = rng.uniform(0.35, 0.6) + 0.5 * np.clip(facing, 0, 1.4)
    cells = rng.normal(1, 0.07, (7, 7)).astype(np.float32)
    return light * cv2.resize(cells, shape[::-1], interpolation=cv2.INTER_CUBIC), inside
