"""What a face tracker found, drawn beside the picture: boxes, mesh, pose, expression; and why nothing was found."""

import math

import cv2
import numpy as np

from vaegan.faces.backend import Detection
from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.faces.geometry import framing, head_pose, mesh_box
from vaegan.faces.regions import INNER_LIPS, LEFT_BROW, LEFT_LIDS, OUTER_LIPS, OVAL, RIGHT_BROW, RIGHT_LIDS
from vaegan.faces.tracker import Face

HEIGHT, PANEL = 900, 330
"""px of the drawing's height and of the width of the panel with the bars."""

_FOUND, _REFUSED, _MESH, _IRIS, _NOSE = (60, 220, 90), (255, 120, 40), (110, 200, 255), (255, 80, 200), (255, 220, 0)
_TEXT, _GROUND, _BAR = (235, 235, 235), (28, 30, 34), (90, 170, 255)

_RINGS = [np.array(ring) for ring in (OVAL, RIGHT_LIDS, LEFT_LIDS, OUTER_LIPS, INNER_LIPS, RIGHT_BROW, LEFT_BROW)]


def draw_faces(image: np.ndarray, detections: list[Detection], faces: list[Face]) -> np.ndarray:
    """The picture with everything that was found, and a panel about its largest face.

    Args:
        image: uint8 (H, W, 3) RGB.
        detections: all regions that the detector named; those that are no face's are drawn in orange.
        faces: as of `FaceTracker.detect`, largest first.
    """
    scale = min(HEIGHT / image.shape[0], 2 * HEIGHT / image.shape[1], 4.0)
    size = [max(1, round(n * scale)) for n in image.shape[1::-1]]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(image, size, interpolation=interpolation)
    for detection in detections:
        held = any(detection.box.near(framing(face.mesh, 1.0, follow=False), 0.5) for face in faces)
        colour = _FOUND if held else _REFUSED
        corners = np.rint(detection.box.corners() * scale).astype(np.int32)
        cv2.polylines(picture, [corners], True, colour, 2, cv2.LINE_AA)
        at = (max(2, int(corners[:, 0].min())), max(14, int(corners[:, 1].min()) - 5))
        _write(picture, f"detector {detection.score:.2f}{'' if held else ', no face there'}", at, colour)
    for number, face in enumerate(faces):
        _draw_mesh(picture, face, scale, number + 1)
    canvas = np.full((max(HEIGHT, size[1]), size[0] + PANEL, 3), _GROUND, np.uint8)
    canvas[: size[1], : size[0]] = picture
    _draw_panel(canvas[:, size[0] :], detections, faces)
    return canvas


def draw_mesh(image: np.ndarray, faces: list[Face], height: int) -> np.ndarray:
    """A picture of that height in px with the faces' features and irises drawn on it: uint8 (height, W, 3)."""
    scale = height / image.shape[0]
    extent = (max(1, round(image.shape[1] * scale)), height)
    picture = cv2.resize(image, extent, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    for face in faces:
        _draw_rings(picture, face.mesh[:, :2] * scale)
    return picture


def describe(image: np.ndarray, detections: list[Detection], faces: list[Face]) -> list[str]:
    """Lines of text: each face's place, pose and strongest expressions; without one, what to try."""
    if not faces:
        height, best = image.shape[0], max(detections, key=lambda d: d.score, default=None)
        if best is None:
            return [
                f"no face: nothing in {image.shape[1]}x{height} px looks like one; is it upright, and large enough?"
            ]
        x, y = best.box.cx, best.box.cy
        where = f"at ({x:.0f}, {y:.0f}), {best.box.side:.0f} px wide, score {best.score:.2f}"
        return [f"no face: the best candidate, {where}, shows no eyes, nose and mouth in their places"]
    lines = []
    for number, face in enumerate(faces, 1):
        x, y, side = mesh_box(face.mesh)
        yaw, pitch, roll = head_pose(face.mesh)
        strongest = np.argsort(-face.blendshapes)[:4]
        shapes = ", ".join(f"{BLENDSHAPES[i]} {face.blendshapes[i]:.2f}" for i in strongest)
        lines.append(
            f"face {number}: at ({x:.0f}, {y:.0f}), {side:.0f} px, presence {face.score:.2f}, "
            f"yaw {yaw:.0f}, pitch {pitch:.0f}, roll {roll:.0f} degrees; {shapes}"
        )
    return lines


def draw_outline(face: Face | None, source_px: int, size: int) -> np.ndarray:
    """A face's features alone, without its picture, whose side was source_px: uint8 (size, size, 3)."""
    picture = np.full((size, size, 3), _GROUND, np.uint8)
    if face is not None:
        _draw_rings(picture, face.mesh[:, :2] * (size / source_px))
    return picture


def _draw_rings(picture: np.ndarray, points: np.ndarray) -> None:
    """The features of a face, points (478, 2) in px of the picture."""
    for ring in _RINGS:
        cv2.polylines(picture, [np.rint(points[ring]).astype(np.int32)], True, _MESH, 1, cv2.LINE_AA)
    for x, y in points[468:]:
        cv2.circle(picture, (round(float(x)), round(float(y))), 1, _IRIS, -1, cv2.LINE_AA)


def _draw_mesh(picture: np.ndarray, face: Face, scale: float, number: int) -> None:
    points = face.mesh[:, :2] * scale
    side = mesh_box(face.mesh)[2] * scale
    for ring in _RINGS:
        cv2.polylines(picture, [np.rint(points[ring]).astype(np.int32)], True, _MESH, 1, cv2.LINE_AA)
    for i, (x, y) in enumerate(points):
        centre, radius = (round(float(x)), round(float(y))), 2 if side > 350 and i >= 468 else 1
        cv2.circle(picture, centre, radius, _IRIS if i >= 468 else _MESH, -1)
    yaw, pitch, _ = (math.radians(angle) for angle in head_pose(face.mesh))
    start = points[4]
    end = start + 0.6 * side * np.array([-math.sin(yaw), math.sin(pitch)])
    tips = [tuple(int(v) for v in np.rint(point)) for point in (start, end)]
    cv2.arrowedLine(picture, *tips, _NOSE, max(1, round(side / 120)), cv2.LINE_AA, tipLength=0.2)
    left, bottom = int(points[:, 0].min()), int(points[:, 1].max())
    x, y = max(2, left), min(picture.shape[0] - 6, bottom + 24)
    _write(picture, str(number), (x, y), _FOUND, 0.9)
    _write(picture, f"presence {face.score:.2f}", (x + 20 * len(str(number)) + 4, y), _FOUND)


def _draw_panel(panel: np.ndarray, detections: list[Detection], faces: list[Face]) -> None:
    """Pose and all expression bars of the largest face, in the panel's own pixels."""
    if not faces:
        _write(panel, "no face found", (12, 30), _REFUSED, 0.6)
        _write(
            panel, f"{len(detections)} candidate{'s' if len(detections) != 1 else ''} of the detector", (12, 54), _TEXT
        )
        return
    face, (yaw, pitch, roll) = faces[0], head_pose(faces[0].mesh)
    _write(panel, f"{len(faces)} face{'s' if len(faces) > 1 else ''}; of the largest:", (12, 24), _TEXT, 0.5)
    _write(panel, f"yaw {yaw:+.0f}  pitch {pitch:+.0f}  roll {roll:+.0f} degrees", (12, 46), _NOSE)
    top, step = 66, (HEIGHT - 70) / (len(BLENDSHAPES) - 1)
    for row, (name, value) in enumerate(list(zip(BLENDSHAPES, face.blendshapes, strict=True))[1:]):
        y = round(top + row * step)
        _write(panel, name, (12, y + 9), _TEXT, 0.36)
        cv2.rectangle(panel, (170, y), (310, y + 10), (52, 55, 60), -1)
        cv2.rectangle(panel, (170, y), (170 + round(140 * float(np.clip(value, 0, 1))), y + 10), _BAR, -1)


def _write(
    picture: np.ndarray, text: str, at: tuple[int, int], colour: tuple[int, int, int], size: float = 0.45
) -> None:
    # A shadow of the same weight: heavier letters would also be wider in OpenCV 5.
    cv2.putText(picture, text, (at[0] + 1, at[1] + 1), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
