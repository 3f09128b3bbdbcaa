"""The figures of one result that has just been made: frame by frame as it is made, before any video encoding."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from vaegan.errors import UserError
from vaegan.evaluation import metrics
from vaegan.evaluation.embedders import FaceEmbedder, MobileFaceNet
from vaegan.evaluation.observer import ANALYSIS_PX
from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.faces.geometry import head_pose
from vaegan.faces.tracker import Face, FaceTracker
from vaegan.frames import Frame, Outcome
from vaegan.pipeline import Transfer
from vaegan.render.view import resize
from vaegan.storyboard import Thinned

EMBED_EVERY = 5
CURVE_POINTS = 400
FEWEST = 3
"""Frames that it takes to speak of movement."""
JAW_OPEN = BLENDSHAPES.index("jawOpen")


@dataclass(frozen=True)
class ResultFigures:
    """What was measured; None where it could not be, with a line in left_out. Definitions: `vaegan.evaluation.metrics`.

    tracker, embedder: what measured. frames; faceless: in how many of them no face is seen; driver_lost: in how many
    of them the driver's was not. identity: of the result; identity_still: of the photo at the model's size, the most
    there can be where the model draws it; identity_driver: of the driver with the photo. pose_spread in degrees and
    expression_spread: how far the driver moves. smoothed: how much the driver's motion shakes before and after
    smoothing, in face sizes, see `vaegan.reference.shaking`. pose_gap: yaw, pitch, roll in degrees, photo - reference
    frame.
    curves: (time in s, driver's and result's yaw, pitch, smile, mouth) at up to CURVE_POINTS moments; NaN: no face
    """

    tracker: str
    embedder: str | None
    frames: int
    faceless: int
    driver_lost: int
    identity: float | None
    identity_still: float | None
    identity_driver: float | None
    pose_r: float | None
    pose_gain: float | None
    pose_spread: float | None
    expression_r: float | None
    expression_gain: float | None
    expression_spread: float | None
    smile_bias: float | None
    jitter: float | None
    smoothed: tuple[float, float] | None
    pose_gap: tuple[float, float, float]
    left_out: list[str]
    curves: list[tuple[float, np.ndarray, np.ndarray]] = field(repr=False)


class ResultMeasure:
    """Sees every frame of a result once and keeps sums of it, whatever its length.

    Args:
        run: the transfer whose frames come; its photo and settings say what was to come out.

    Raises:
        UserError: the tracker or embedder at hand is damaged.
    """

    def __init__(self, run: Transfer):
        self.run = run
        # Unsmoothed, so that jitter is the result's own; two, because each follows one face.
        self.of_result, self.of_driver = FaceTracker(smoothing=False), FaceTracker(smoothing=False)
        self.left_out: list[str] = []
        self.embedder = self._find_embedder()
        self.frames = self.faceless = self.lost = self.driver_seen = 0
        self.pose, self.expression = metrics.RunningMotion(2 if run.model.framing.follow else 3), None
        self.jitter = None
        if run.show_driver:
            self.expression, self.jitter = metrics.RunningMotion(len(BLENDSHAPES) - 1), metrics.RunningJitter()
        else:
            self.left_out.append(
                "expression, smile, steadiness, the driver's likeness: the driver is a motion file, which holds head "
                "angles but no pictures; give the video it was made from to have them"
            )
        self.likeness: dict[str, list[float]] = {"result": [0.0, 0], "driver": [0.0, 0]}
        self.curves: Thinned[tuple[float, np.ndarray, np.ndarray]] = Thinned(CURVE_POINTS)
        self.smiles, self.driver_smiles = array("f"), array("f")  # of every frame; NaN: no face
        self._look_at_photo()

    def _find_embedder(self) -> FaceEmbedder | None:
        try:
            return MobileFaceNet()
        except UserError as error:
            self.left_out.append(f"likeness to the photo: {error}")
            return None

    def _look_at_photo(self) -> None:
        run = self.run
        large = run.photo.picture(ANALYSIS_PX)
        face = _largest(self.of_result, large)
        self.photo_smile = None if face is None else _smile(face)
        self.photo_vector = self.still = None
        if face is None:
            self.left_out.append("likeness and smile: the tracker that measures sees no face in the photo's crop")
        elif self.embedder is not None:
            self.photo_vector = self.embedder(large, face.mesh)
            if run.renderer != "decode":
                return
            small = resize(resize(large, run.model.size), ANALYSIS_PX)
            at_size = _largest(self.of_result, small)
            if at_size is not None:
                self.still = float(self.embedder(small, at_size.mesh) @ self.photo_vector)

    def add(self, frame: Frame) -> None:
        """One frame, in its order."""
        picture = resize(frame.crop, ANALYSIS_PX)
        face = self.of_result.track(picture)
        seen = self.of_driver.track(resize(frame.driver, ANALYSIS_PX)) if frame.driver is not None else None
        if self.frames % EMBED_EVERY == 0:
            self._compare_with_photo("result", picture, face)
            self._compare_with_photo("driver", frame.driver, seen)
        self.frames += 1
        self.faceless += face is None
        self.lost += not frame.found
        driver_pose = _pose_of(frame, seen)
        self.driver_seen += driver_pose is not None
        if face is not None and driver_pose is not None:
            axes = len(self.pose.spread)
            self.pose.add(np.array(head_pose(face.mesh))[:axes], driver_pose[:axes])
        if self.expression is not None:
            self.jitter.add(None if face is None else face.mesh, None if seen is None else seen.mesh)
            if face is not None and seen is not None:
                self.expression.add(face.blendshapes[1:], seen.blendshapes[1:])
            for smiles, whose in ((self.smiles, face), (self.driver_smiles, seen)):
                smiles.append(np.nan if whose is None else _smile(whose))
        self.curves.add(lambda: (frame.time, _curve(driver_pose, seen), _curve(face and head_pose(face.mesh), face)))

    def _compare_with_photo(self, whose: str, picture: np.ndarray | None, face: Face | None) -> None:
        if self.photo_vector is not None and face is not None:
            self.likeness[whose][0] += float(self.embedder(resize(picture, ANALYSIS_PX), face.mesh) @ self.photo_vector)
            self.likeness[whose][1] += 1

    def _smile_bias(self, reference: int) -> float | None:
        """Mean smile of the result less what photo and driver ask for. reference: the driver's frame."""
        result, driver, s = np.array(self.smiles), np.array(self.driver_smiles), self.run.settings
        if s.motion == "absolute" or self.photo_smile is None or reference >= len(driver):
            return None
        change = s.strength * s.expression * s.mouth * (driver - driver[reference])
        off = result - self.photo_smile - change
        return float(np.nanmean(off)) if np.isfinite(off).any() else None

    def figures(self, outcome: Outcome) -> ResultFigures:
        """What all frames come to. outcome: of the transfer, once its last frame is made."""
        left_out, smile_bias = list(self.left_out), self._smile_bias(outcome.motion.reference)
        if self.expression is not None and self.run.settings.motion == "absolute":
            left_out.append("smile: what is to come out is known only with --motion relative")
        if self.driver_seen < FEWEST:
            left_out.append(f"movement: the driver's face is seen in fewer than {FEWEST} frames")
        likeness = {whose: total / count if count else None for whose, (total, count) in self.likeness.items()}
        if self.photo_vector is not None and likeness["result"] is None:
            likeness["result"] = 0.0  # as between strangers, as in `likeness.identity`
        return ResultFigures(
            tracker=self.of_result.name,
            embedder=self.embedder and self.embedder.name,
            frames=self.frames,
            faceless=self.faceless,
            driver_lost=self.lost,
            identity=likeness["result"],
            identity_still=self.still,
            identity_driver=likeness["driver"],
            **self._followed("pose", self.pose),
            **self._followed("expression", self.expression),
            smile_bias=smile_bias,
            jitter=_finite(self.jitter and self.jitter.value()),
            smoothed=outcome.shaking if outcome.shaking and None not in outcome.shaking else None,
            pose_gap=tuple(map(float, self.run.photo.pose - outcome.reference_pose)),
            left_out=left_out,
            curves=self.curves.kept,
        )

    def _followed(self, name: str, moved: metrics.RunningMotion | None) -> dict[str, float | None]:
        if moved is None or self.driver_seen < FEWEST:
            return {f"{name}_r": None, f"{name}_gain": None, f"{name}_spread": None}
        spread = float(moved.spread.mean())
        return {f"{name}_r": moved.correlation(), f"{name}_gain": moved.gain(), f"{name}_spread": spread}


def _pose_of(frame: Frame, seen: Face | None) -> np.ndarray | None:
    """The driver's angles: as seen in what the model saw of it; of a motion file, as they stand there."""
    if frame.driver is None:
        return frame.pose
    return None if seen is None else np.array(head_pose(seen.mesh))


def _curve(pose: tuple | np.ndarray | None, face: Face | None) -> np.ndarray:
    """Yaw, pitch, smile, mouth, float32; NaN where not known."""
    yaw, pitch = (np.nan, np.nan) if pose is None else pose[:2]
    smile, mouth = (np.nan, np.nan) if face is None else (_smile(face), face.blendshapes[JAW_OPEN])
    return np.array([yaw, pitch, smile, mouth], np.float32)


def _largest(tracker: FaceTracker, picture: np.ndarray) -> Face | None:
    return next(iter(tracker.detect(picture)), None)


def _smile(face: Face) -> float:
    return float(face.blendshapes[1:][metrics.SMILE].mean())


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
