"""Finding faces in stills and following one through a video, with either backend."""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from vaegan.errors import UserError
from vaegan.faces.backend import Backend, Detection, Face
from vaegan.faces.geometry import LEFT_EYE, RIGHT_EYE, CropTransform, face_region, mesh_box
from vaegan.faces.tiles import tilings
from vaegan.faces.weights import find_weights

MIN_PRESENCE = 0.5
"""Below this the landmarker itself says that it does not see a face."""

FIRST_PRESENCE, NEW_PRESENCE = 0.1, 0.75
"""A detection gets a second look, at the region of its own first mesh, for the first of these and is a face from the
second on; between a half and that it gets a third. Hair, lettering and hands that a detector takes for faces hover
around a half."""

SURE_PRESENCE, NUDGES = 0.8, ((0.05, 1.0), (0.0, 0.9))
"""At the end a new face must be one by this much, also when its region lies higher by these sides and has these
times the size: presence then falls on what only looks like a face; of 3,321 faces it fell below .9 on one."""

SMALLEST, SMALLEST_SHARE = 20, 0.08
"""A new face smaller than both, in px and in heights of the picture, is none: it might be the knot of a tie."""

SETTLED, SETTLING_LOOKS = 0.01, 6
"""A new face is looked at again until its region moves and grows by less than the first, a share of its side, at most
the second times: a clip's crop hangs on its first frame, and half a face behind a hand is not seen at first sight."""

MAX_SHIFT, MAX_GROWTH = 0.4, 1.5
"""More movement than this between frames, in face sizes and as a ratio of sizes, is a cut or a lost face, not a head:
at 25 frames/s a nod of the whole head stays below a tenth."""

RETRIED_FRAMES, REMEMBERED_FRAMES = 5, 25
"""Frames for which a lost face is looked for in its last region, and for which it is then still preferred to others
that a detector finds; later the largest face is taken."""

TILED_EVERY = 25
"""Of frames in a row that show no face, one in so many is searched in tiles, too: half a second for a 4K one."""

SAME_PLACE = 0.4
"""Regions whose middles are closer than this, in sides of the larger, show the same face."""

MAX_PX = 4096
"""Larger pictures are halved until their longer side is below this; no face needs more."""


class FaceTracker:
    """Finds faces and their meshes.

    Args:
        backend: "own" | "mediapipe"; None: mediapipe where its weights and its package are at hand, else own.
        smoothing: steady the meshes of `track` with a filter that does not lag; stills are never smoothed.

    Raises:
        UserError: no such backend, or what it needs is missing.
    """

    def __init__(self, backend: str | None = None, smoothing: bool = True):
        self.backend = _make_backend(backend)
        self.smoothing = smoothing
        self.reset()

    @property
    def name(self) -> str:
        """Which backend is at work."""
        return self.backend.name

    def reset(self) -> None:
        """Forget the face that `track` follows: the next frame begins another video."""
        self._last: CropTransform | None = None
        self._missed = 0
        self._filter: OneEuro | None = None

    def detect(self, image: np.ndarray, besides: Sequence[Face] = (), tiled: bool = True) -> list[Face]:
        """All faces of a picture, largest first; leaves alone what `track` remembers.

        Args:
            image: uint8 (H, W, 3) RGB; grey, with alpha or 16 bits is converted.
            besides: faces that are known, and left out.
            tiled: search a big picture that shows none in tiles, too.
        """
        small, scale = _prepared(image)
        known = [_enlarged(face, scale) for face in besides]
        faces = [_enlarged(face, 1 / scale) for face in self._all(small, known)]
        if not faces and not besides and tiled:
            faces = self._tiled(_plain(image))
        return sorted(faces, key=lambda face: -mesh_box(face.mesh)[2])

    def follow(self, image: np.ndarray, region: CropTransform) -> Face | None:
        """The face that was in a region a frame ago, where it still is near; leaves alone what `track` remembers."""
        image, scale = _prepared(image)
        region = CropTransform(region.cx * scale, region.cy * scale, region.side * scale, region.roll)
        seen = self._near(image, region)
        return seen if seen is None else _enlarged(seen, 1 / scale)

    def track(self, image: np.ndarray) -> Face | None:
        """The face of the next frame of a video: the one followed so far, else the largest; None where there is none.

        Blendshapes are never smoothed: a blink lasts three frames.
        """
        image, scale = _prepared(image)
        seen = self._follow(image)
        if seen is None:
            self._filter = None
            tiled = self._missed % TILED_EVERY == 0
            seen = self._choose(self._all(image) or (self._tiled(image) if tiled else []))
        if seen is None:
            self._missed += 1
            return None
        self._missed = 0
        self._last = face_region(seen.mesh)
        mesh = seen.mesh
        if self.smoothing:
            self._filter = self._filter or OneEuro()
            mesh = self._filter(mesh, self._last.side)
        return _enlarged(replace(seen, mesh=mesh), 1 / scale)

    def _follow(self, image: np.ndarray) -> Face | None:
        """The face near where it was a frame ago, unless it is gone or has jumped."""
        return None if self._last is None or self._missed > RETRIED_FRAMES else self._near(image, self._last)

    def _near(self, image: np.ndarray, region: CropTransform) -> Face | None:
        seen = self.backend.landmarks(image, region.scaled(self.backend.roi_scale))
        if seen.score < MIN_PRESENCE:
            return None
        shift, growth = region_change(region, face_region(seen.mesh))
        return None if shift > MAX_SHIFT or growth > MAX_GROWTH else seen

    def _all(self, image: np.ndarray, known: Sequence[Face] = ()) -> list[Face]:
        """Every face of a picture once, in no order, but those that are known."""
        return self._seen(image, self.backend.detect(image), known)

    def _tiled(self, image: np.ndarray) -> list[Face]:
        """The same of a big picture in which the faces are too small to be found at once."""
        for tiles in tilings(*image.shape[1::-1]):
            found = [
                replace(one, box=replace(one.box, cx=one.box.cx + left, cy=one.box.cy + top))
                for left, top, side in tiles
                for one in self.backend.detect(np.ascontiguousarray(image[top : top + side, left : left + side]))
            ]
            if faces := self._seen(image, found):
                return faces
        return []

    def _seen(self, image: np.ndarray, detections: list[Detection], known: Sequence[Face] = ()) -> list[Face]:
        """The faces among what a detector took for some, each once, but those that are known."""
        found: list[Face] = []
        taken = [face_region(face.mesh) for face in known]
        for detection in sorted(detections, key=lambda detection: -detection.score):
            if any(detection.box.near(region, SAME_PLACE) for region in taken):
                continue
            seen = self._confirmed(image, detection.box)
            others = [*taken, *(face_region(face.mesh) for face in found)]
            if seen is None or any(face_region(seen.mesh).near(region, SAME_PLACE) for region in others):
                continue
            if not self.backend.easily_fooled or self._sure(image, seen):
                found.append(seen)
        return found

    def _confirmed(self, image: np.ndarray, region: CropTransform) -> Face | None:
        """The face that a detector says is in a region, None where the landmarker does not see it there."""
        for look, enough in enumerate((FIRST_PRESENCE, MIN_PRESENCE, NEW_PRESENCE)):
            # After the first look the region is the one that the mesh itself asks for, as in a video.
            seen = self.backend.landmarks(image, region.scaled(self.backend.roi_scale))
            region = face_region(seen.mesh)
            if seen.score < enough or not 1 < region.side < 4 * max(image.shape):
                return None
            if look and seen.score >= NEW_PRESENCE:
                return self._settled(image, seen)
        return None

    def _settled(self, image: np.ndarray, seen: Face) -> Face:
        """The face as it is seen once its region has come to rest, or as it was last seen well."""
        for _ in range(SETTLING_LOOKS):
            region = face_region(seen.mesh)
            again = self.backend.landmarks(image, region.scaled(self.backend.roi_scale))
            if again.score < NEW_PRESENCE:
                return seen
            seen = again
            shift, growth = region_change(region, face_region(seen.mesh))
            if shift < SETTLED and growth < 1 + SETTLED:
                break
        return seen

    def _sure(self, image: np.ndarray, seen: Face) -> bool:
        """Whether what was seen is a face: large enough, still one a little beside its place, and not on its head."""
        side = face_region(seen.mesh).side
        if side < SMALLEST and side < SMALLEST_SHARE * image.shape[0]:
            return False
        return seen.score >= SURE_PRESENCE and self._steady(image, seen) and self._upright(image, seen)

    def _steady(self, image: np.ndarray, seen: Face) -> bool:
        """Whether the face is still one when it is looked at a little beside its place."""
        region = face_region(seen.mesh)
        nudged = (
            CropTransform(region.cx, region.cy - up * region.side, region.side * size, region.roll)
            for up, size in NUDGES
        )
        return all(
            self.backend.landmarks(image, look.scaled(self.backend.roi_scale)).score >= SURE_PRESENCE for look in nudged
        )

    def _upright(self, image: np.ndarray, seen: Face) -> bool:
        """Whether the face is the way round in which it was seen.

        In a face that stands on its head a landmarker may take the eyes for eyes and the forehead for the mouth:
        then it sees a better one in the region that is turned by half a circle about the eyes.
        """
        region, eyes = face_region(seen.mesh), seen.mesh[[*RIGHT_EYE, *LEFT_EYE], :2].mean(0)
        cx, cy = (2 * eyes - (region.cx, region.cy)).tolist()
        turned = CropTransform(cx, cy, region.side, region.roll + math.pi).scaled(self.backend.roi_scale)
        return self.backend.landmarks(image, turned).score <= seen.score

    def _choose(self, faces: list[Face]) -> Face | None:
        """Of several faces the one that was followed, if it is near where it was; else the largest."""
        if not faces:
            return None
        if self._last is not None and self._missed <= REMEMBERED_FRAMES:

            def distance(face: Face) -> float:
                region = face_region(face.mesh)
                return math.hypot(region.cx - self._last.cx, region.cy - self._last.cy) / self._last.side

            nearest = min(faces, key=distance)
            if distance(nearest) < 1.5:
                return nearest
        return max(faces, key=lambda face: face_region(face.mesh).side)


class OneEuro:
    """The one-euro filter (Casiez, Roussel & Vogel 2012) on a mesh: steady when still, transparent when moving.

    Speeds are in face sizes a frame, so that neither the picture's size nor the frame rate need be known. The three
    numbers were chosen on the dev clips: the mesh trails by .08 of a frame on average, blinks and mouth keep 99 % of
    their amplitude, second differences of resting points fall to .85; a lag of .3 frames would have bought .65.
    """

    min_cutoff = 0.1
    """Cutoff of a resting point in cycles a frame."""
    beta = 100.0
    """Growth of the cutoff with speed: at a hundredth of the face a frame nine tenths of a step pass at once."""
    speed_cutoff = 1.0
    """Cutoff of the speed's own filter in cycles a frame."""

    def __init__(self) -> None:
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | None = None

    def __call__(self, mesh: np.ndarray, size: float) -> np.ndarray:
        """The smoothed mesh (478, 3); `size` is the face's side in px."""
        if self._value is None:
            self._value, self._speed = mesh, np.zeros_like(mesh)
            return mesh
        step = mesh - self._value
        self._speed = self._speed + _alpha(self.speed_cutoff) * (step / size - self._speed)
        pace = np.linalg.norm(self._speed[:, :2], axis=1, keepdims=True)
        self._value = self._value + _alpha(self.min_cutoff + self.beta * pace) * step
        return self._value


def _alpha(cutoff):
    return 1 / (1 + 1 / (2 * np.pi * cutoff))


def _make_backend(name: str | None) -> Backend:
    if name is None:
        from vaegan.faces.mediapipe import PACKAGE, WEIGHTS

        ready = find_weights(WEIGHTS) is not None and importlib.util.find_spec(PACKAGE) is not None
        name = "mediapipe" if ready else "own"
    if name == "mediapipe":
        from vaegan.faces.mediapipe import MediapipeBackend

        return MediapipeBackend()
    if name == "own":
        from vaegan.faces.own import OwnBackend

        return OwnBackend()
    raise UserError(f"no face tracker is called {name!r}: choose own or mediapipe")


def _plain(image: np.ndarray) -> np.ndarray:
    """The picture as uint8 (H, W, 3)."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"expected a uint8 (H, W, 3) picture, got {image.dtype} {image.shape}")
    if image.ndim == 2 or image.shape[2] < 3:
        image = np.repeat(image.reshape(*image.shape[:2], -1)[..., :1], 3, axis=2)
    return image[..., :3]


def _prepared(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture as uint8 (H, W, 3) of bounded size, and its scale against the original."""
    image, scale = _plain(image), 1.0
    while max(image.shape) * scale > MAX_PX:
        scale /= 2
    if scale < 1:
        extent = [max(1, round(n * scale)) for n in image.shape[1::-1]]
        image = cv2.resize(image, extent, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image), scale


def region_change(before: CropTransform, now: CropTransform) -> tuple[float, float]:
    """How far a region has moved, in its sides, and by which factor it has grown or shrunk, 1 or more."""
    shift = math.hypot(now.cx - before.cx, now.cy - before.cy) / before.side
    return shift, max(now.side / before.side, before.side / max(now.side, 1e-6))


def _enlarged(face: Face, factor: float) -> Face:
    return face if factor == 1 else replace(face, mesh=(face.mesh * factor).astype(np.float32))
