"""Motion: what a driver does, as differences of latents; made from a driver, saved, loaded, added, scaled, smoothed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from vaegan.directions import shipped_directions
from vaegan.errors import UserError
from vaegan.faces.geometry import CropTransform
from vaegan.motion_file import ARRAYS, HEADS, problem, read_motion, write_motion
from vaegan.portrait import watch
from vaegan.reference import READINGS, choose_reference, read_heads
from vaegan.shots import Shots
from vaegan.smoothing import between, gaussian, sigmas
from vaegan.sources import VideoSource

if TYPE_CHECKING:
    from torch import Tensor

    from vaegan.directions import Directions
    from vaegan.faces.tracker import FaceTracker
    from vaegan.model import FaceModel
    from vaegan.portrait import DriverFrame

VALUES = ("deltas", "placement", "pose", HEADS)
"""The arrays that change smoothly from frame to frame."""

Latents = TypeVar("Latents", np.ndarray, "Tensor")


def delta(z: Latents, z_ref: Latents) -> Latents:
    """The motion of latents z (N, D) from the reference latent z_ref (D,) or (1, D), section 1 of the paper.

    The paper adds the differences of neighbouring frames one by one, and their running sum is exactly this.
    """
    return z - z_ref


@dataclass(frozen=True)
class Motion:
    """T frames of motion of one driver, in the latent space of one model.

    times: float64 (T,), seconds from the first frame, increasing
    deltas: float32 (T, D), see `delta`
    placement: float32 (T, 4), against the reference frame: shift x, y of the face in its own sizes, log scale,
        roll in radians
    pose: float32 (T, 3), the driver's yaw, pitch, roll in degrees
    found: bool (T,), False where the face was lost: such frames repeat the last one
    model_id: the model whose latents these are; framing: its (scale, follow)
    fps: frames per second; reference: index of the frame with delta 0
    heads: float32 (T, READINGS), what the model's heads read off the driver, see `vaegan.reference`; (T, 0): not known
    """

    times: np.ndarray
    deltas: np.ndarray
    placement: np.ndarray
    pose: np.ndarray
    found: np.ndarray
    model_id: str
    framing: tuple[float, bool]
    fps: Fraction
    reference: int = 0
    heads: np.ndarray | None = None

    def __post_init__(self) -> None:
        heads = np.zeros((len(self.times), 0)) if self.heads is None else self.heads
        object.__setattr__(self, "heads", np.asarray(heads, np.float32))
        for name, dtype in ARRAYS.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype))
        wrong = problem(self)
        if wrong:
            raise ValueError(wrong)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def lost(self) -> int:
        """Frames without a face."""
        return int(np.count_nonzero(~self.found))

    def steps(self, part: slice) -> Steps:
        """Some of its frames."""
        return Steps(*(getattr(self, name)[part] for name in (*ARRAYS, HEADS)))

    @classmethod
    def from_driver(
        cls,
        path: str | Path,
        model: FaceModel | str | Path = "motion64",
        tracker: FaceTracker | None = None,
        start: float = 0.0,
        end: float | None = None,
        fps: Fraction | None = None,
        reference: str | int | None = None,
        photo_latent: np.ndarray | None = None,
        face: int | None = None,
    ) -> Motion:
        """Track and encode a driver (a video or a folder of frames), keeping nothing but the latents.

        model: a loaded model, a shipped name or a model folder
        start, end: seconds; fps: resample to this rate; face: index of `vaegan.portrait.watch`; reference: see
            `vaegan.reference.choose_reference`; None: best with photo_latent (D,), else first
        Raises UserError when the driver cannot be read or shows no face.
        """
        if tracker is None:
            from vaegan.faces.tracker import FaceTracker

            tracker = FaceTracker()
        if isinstance(model, (str, Path)):
            from vaegan.model import load_model

            model = load_model(model)
        source = VideoSource(path, start, end, fps)
        recorder = MotionRecorder(model, source.rate)
        for frames in watch(source, model, tracker, index=face, reference=reference):
            recorder.add(frames)
        motion = recorder.motion()
        if reference is None:
            reference = "first" if photo_latent is None else "best"
        read = None if photo_latent is None else read_heads(model, photo_latent[None])[0]
        return motion.relative_to(choose_reference(motion, reference, photo_latent, read))

    def relative_to(self, index: int) -> Motion:
        """The same motion, measured from frame `index`."""
        placement = self.placement - self.placement[index]
        placement[:, :2] /= np.exp(self.placement[index, 2])
        placement[:, 3] = _wrapped(placement[:, 3])
        return replace(self, deltas=delta(self.deltas, self.deltas[index]), placement=placement, reference=index)

    def centred(self) -> Motion:
        """The same motion, measured from the clip's mean latent instead of a reference frame."""
        return replace(self, deltas=delta(self.deltas, self.deltas[self.found].mean(axis=0)))

    def smooth(self, strength: float, steady: float = 0.0) -> Motion:
        """Smooth over time without delay (zero phase), measured from the same reference frame afterwards.

        strength: 0 (as it is) to 1, times 0.2 s: the standard deviation of a Gaussian; the ends are mirrored.
        steady: likewise, of the placement alone, which is where a camera's shake is
        """
        for name, value in (("smooth", strength), ("steady", steady)):
            if not 0 <= value <= 1:
                raise UserError(f"{name} {value} is out of range: use 0 to 1")
        if len(self) < 3:
            return self
        widths = sigmas(strength, steady, float(self.fps))
        smoothed = {name: gaussian(getattr(self, name), sigma) for name, sigma in widths.items()}
        return replace(self, **smoothed).relative_to(self.reference) if smoothed else self

    def slice(self, start: float = 0.0, end: float | None = None) -> Motion:
        """The frames from `start` to before `end` (seconds), measured from the first of them that shows a face.

        Raises UserError when no frame, or no face, is left.
        """
        chosen = (self.times >= start - 1e-6) & (self.times < (math.inf if end is None else end) - 1e-6)
        if not (chosen & self.found).any():
            raise UserError(
                f"no face between {start:g} s and {'the end' if end is None else f'{end:g} s'} of the motion, "
                f"which lasts {self.times[-1] + 1 / float(self.fps):.2f} s: change --start or --end"
            )
        part = {name: getattr(self, name)[chosen] for name in (*ARRAYS, HEADS)}
        part["times"] = part["times"] - part["times"][0]
        first = int(np.argmax(part["found"]))
        return replace(self, **part, reference=first).relative_to(first)

    def resample(self, fps: Fraction, speed: float = 1.0, seconds: float = math.inf) -> Motion:
        """The first `seconds` at another frame rate, in even steps, `speed` times as fast; values interpolated."""
        lasts = min(seconds, self.times[-1] + 1 / float(self.fps))
        count = max(1, math.floor(lasts / speed * float(fps) + 1e-6))
        times = np.arange(count) / float(fps)
        if speed == 1 and count == len(self) and np.allclose(times, self.times, atol=1e-4):
            return replace(self, times=times, fps=fps)
        reference = int(np.clip(round(self.times[self.reference] / speed * float(fps)), 0, count - 1))
        values = self._at(times * speed)
        return replace(self, **values, times=times, fps=fps, reference=reference).relative_to(reference)

    def only(self, part: str, directions: Directions | None = None) -> Motion:
        """Its `pose`, `expression`, `mouth` or `eyes` alone. directions: the model's; None where it ships."""
        directions = directions or shipped_directions(self.model_id)
        self.check_model(directions.model_id)
        return replace(self if part == "pose" else 0.0 * self, deltas=directions.part(self.deltas, part))

    def without(self, part: str, directions: Directions | None = None) -> Motion:
        """All of it but the part that `only` keeps."""
        return self + -1.0 * self.only(part, directions)

    def __mul__(self, factor: float) -> Motion:
        """Scale deltas, placement and the head's turn away from the reference by `factor`."""
        f, pose, heads = np.float32(factor), self.pose[self.reference], self.heads[self.reference]
        return replace(
            self,
            deltas=self.deltas * f,
            placement=self.placement * f,
            pose=pose + (self.pose - pose) * f,
            heads=heads + (self.heads - heads) * f,
        )

    __rmul__ = __mul__

    def __add__(self, other: Motion) -> Motion:
        """Both motions at once, at this one's times: the other is interpolated there and holds its last value.

        Raises UserError when they belong to two models.
        """
        if not isinstance(other, Motion):
            return NotImplemented
        other.check_model(self.model_id)
        at = other._at(self.times)
        known = self.heads.size and other.heads.size
        return replace(
            self,
            deltas=self.deltas + at["deltas"],
            placement=self.placement + at["placement"],
            pose=self.pose + at["pose"] - other.pose[other.reference],
            heads=self.heads + at["heads"] - other.heads[other.reference] if known else None,
            found=self.found & at["found"],
        )

    def _at(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """Values at other times, see `vaegan.smoothing.between`; found as at the nearest frame."""
        values = {name: between(self.times, getattr(self, name), times) for name in VALUES}
        return {**values, "found": self.found[self.nearest(times)]}

    def nearest(self, times: np.ndarray) -> np.ndarray:
        """The frames nearest to some times: int (N,)."""
        return np.rint(np.interp(times, self.times, np.arange(len(self)))).astype(int)

    def check_model(self, model_id: str, source: str = "this motion") -> None:
        """Raise UserError when the motion belongs to another model than `model_id`."""
        if self.model_id != model_id:
            raise UserError(
                f"{source} was made with model {self.model_id}, not {model_id}: latents of two models do not mix; "
                "make it again from the driver with this model, or choose the other with --model"
            )

    def save(self, path: str | Path) -> None:
        """Write a .motion file, a few kB a second. Raises UserError when it cannot be written."""
        write_motion(path, self)

    @classmethod
    def load(cls, path: str | Path) -> Motion:
        """Read a .motion file; nothing in it is executed. Raises UserError when it is not one, or not sound."""
        return read_motion(path, cls)


@dataclass(frozen=True)
class Steps:
    """Some frames of a motion: the arrays of `Motion` for them."""

    times: np.ndarray
    deltas: np.ndarray
    placement: np.ndarray
    pose: np.ndarray
    found: np.ndarray
    heads: np.ndarray


class MotionRecorder:
    """A driver's motion, frame by frame: measured from the first frame with a face, before which nothing moves.

    Keeps about 1.1 kB a frame in one block: small arrays between the large pictures that come and go would make the
    process grow by five times what they hold. keep: False forgets all but the last ones after `refer_to`.
    """

    def __init__(self, model: FaceModel, rate: Fraction, keep: bool = True) -> None:
        self.model, self.rate, self.keep, self._forgets = model, rate, keep, False
        fields = [("time", "f8"), ("found", "?"), ("box", "f8", 4), ("pose", "f4", 3), ("crop", "f8", 4)]
        fields.append(("heads", "f4", (READINGS if model.has_heads else 0,)))
        self._type = np.dtype([*fields, ("z", "f4", model.latent_dim)])
        self._bytes, self._shots = bytearray(), Shots(model, delta)
        self._index, self._began, self._reference = 0, None, None

    def add(self, frames: list[DriverFrame]) -> Steps:
        """The next frames of the driver. Returns how they move."""
        rows, framing = np.zeros(len(frames), self._type), self.model.framing
        for row, frame in zip(rows, frames, strict=True):
            row["time"], row["found"] = frame.time, frame.found
            if (seen := frame.portrait) is not None:
                row["box"], row["pose"], row["z"] = seen.box, seen.pose, seen.z
                row["crop"] = seen.crop.cx, seen.crop.cy, seen.crop.side, seen.crop.roll
                if framing.follow:  # the crop holds still when the jaw drops, the mesh box grows
                    row["box"] = row["crop"] / (1, 1, framing.scale, 1)
        rows["heads"] = read_heads(self.model, rows["z"].copy())
        self._shots.join(rows, frames)
        if self._began is None:
            self._began = frames[0].time
        if self._reference is None and rows["found"].any():
            at = int(np.argmax(rows["found"]))
            self._reference, self._index = rows[at].copy(), len(self) + at
        if self._forgets:
            self._bytes, self._index = bytearray(), 0
        self._bytes += rows.tobytes()
        return self._steps(rows)

    def __len__(self) -> int:
        return len(self._bytes) // self._type.itemsize

    def refer_to(self, index: int) -> None:
        """Measure from frame `index` of those kept, these as well as those to come."""
        self._reference, self._index, self._forgets = self._rows()[index].copy(), index, not self.keep

    def remember(self) -> None:
        """Keep all frames again, until `refer_to` is called."""
        self._forgets = False

    @property
    def reference_pose(self) -> np.ndarray | None:
        """Yaw, pitch, roll in degrees of the reference frame, (3,); None before it."""
        return None if self._reference is None else self._reference["pose"]

    def crops(self) -> Iterator[CropTransform | None]:
        """The region of each frame that the model saw; None before the first face."""
        return (CropTransform(*crop) if crop[2] else None for crop in self._rows()["crop"])

    def motion(self) -> Motion:
        """The motion of all frames so far. Raises ValueError when none shows a face."""
        steps, framing = vars(self._steps(self._rows())), (self.model.framing.scale, self.model.framing.follow)
        return Motion(**steps, model_id=self.model.id, framing=framing, fps=self.rate, reference=self._index)

    def _rows(self) -> np.ndarray:
        # They lie in the recording's own memory: nothing can be added as long as they are in use.
        return np.frombuffer(self._bytes, self._type)

    def _steps(self, rows: np.ndarray) -> Steps:
        """(N,) rows, against the reference; those before it are moved by nothing."""
        reference = np.ones((), self._type) if self._reference is None else self._reference
        unseen = rows["crop"][:, 2] == 0
        z, box, pose, heads = (rows[name].copy() for name in ("z", "box", "pose", HEADS))
        for name, values in (("z", z), ("box", box), ("pose", pose), (HEADS, heads)):
            values[unseen] = reference[name]
        shift = (box[:, :2] - reference["box"][:2]) / reference["box"][2]
        size = np.log(box[:, 2] / reference["box"][2])
        placement = np.column_stack([shift, size, _wrapped(box[:, 3] - reference["box"][3])]).astype(np.float32)
        times = rows["time"] - self._began
        return Steps(times, delta(z, reference["z"]), placement, pose, rows["found"].copy(), heads)


def _wrapped(radians: np.ndarray) -> np.ndarray:
    return (radians + np.pi) % (2 * np.pi) - np.pi
