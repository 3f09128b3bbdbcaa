"""Motion: what a driver does, as differences of latents; made from a driver, saved, loaded, added, scaled, smoothed."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaegan.errors import UserError
from vaegan.media import VideoReader, atomic_path

if TYPE_CHECKING:
    from vaegan.driver import Recording
    from vaegan.faces.tracker import FaceTracker
    from vaegan.model import FaceModel

FORMAT, VERSION = "vaegan-motion", 1
MAX_BYTES = 64 * 2**20
MAX_FRAMES = 150_000
MAX_LATENT = 4096
SMOOTH_SECONDS = 0.2  # standard deviation of the Gaussian at strength 1: a nod of half a second nearly vanishes
ARRAYS = {"times": "f8", "deltas": "f4", "placement": "f4", "pose": "f4", "found": "?"}


@dataclass(frozen=True)
class Motion:
    """T frames of motion of one driver, in the latent space of one model.

    times: float64 (T,), seconds from the first frame, increasing
    deltas: float32 (T, D), z_t - z_ref by the posterior mean; the paper adds the differences of neighbouring frames
        one by one (section 1), and their running sum is exactly this
    placement: float32 (T, 4), against the reference frame: shift x, y of the face in its own sizes, log scale,
        roll in radians
    pose: float32 (T, 3), the driver's yaw, pitch, roll in degrees
    found: bool (T,), False where the face was lost: such frames repeat the last one
    model_id: the model whose latents these are; framing: its (scale, follow)
    fps: frames per second; reference: index of the frame with delta 0
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

    def __post_init__(self) -> None:
        for name, dtype in ARRAYS.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype))
        problem = _problem(self)
        if problem:
            raise ValueError(problem)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def lost(self) -> int:
        """Frames without a face."""
        return int(np.count_nonzero(~self.found))

    # ---- making one

    @classmethod
    def from_driver(
        cls,
        path: str | Path,
        model: FaceModel,
        tracker: FaceTracker | None = None,
        start: float = 0.0,
        end: float | None = None,
        fps: Fraction | None = None,
        reference: str | int = "first",
        photo_latent: np.ndarray | None = None,
    ) -> Motion:
        """Track and encode a driver (a video or a folder of frames), keeping nothing but the latents.

        start, end: seconds; fps: resample to this rate
        reference: see `choose_reference`; "best" needs photo_latent (D,)
        Raises UserError when the driver cannot be read or shows no face.
        """
        from vaegan.driver import Recording, encode_driver

        rate = VideoReader(path, start, end, fps).rate
        recording = Recording(model.latent_dim)
        for batch in encode_driver(path, model, tracker, start, end, rate):
            recording.add(batch)
        motion = cls.from_recording(recording, model, rate)
        return motion.relative_to(motion.choose_reference(reference, photo_latent))

    @classmethod
    def from_recording(cls, recording: Recording, model: FaceModel, fps: Fraction) -> Motion:
        """The motion of an encoded driver, at least one frame of which shows a face; the first such is the reference.

        Frames before it stand still.
        """
        rows = recording.rows()
        first = int(np.argmax(rows["found"]))
        seen = np.maximum(np.arange(len(rows)), first)
        deltas = rows["latent"][seen]
        deltas -= rows["latent"][first]
        box, anchor = rows["box"][seen], rows["box"][first]
        shift = (box[:, :2] - anchor[:2]) / anchor[2]
        return cls(
            times=rows["time"] - rows["time"][0],
            deltas=deltas,
            placement=np.column_stack([shift, np.log(box[:, 2] / anchor[2]), _wrapped(box[:, 3] - anchor[3])]),
            pose=rows["pose"][seen],
            found=rows["found"].copy(),
            model_id=model.id,
            framing=(model.framing.scale, model.framing.follow),
            fps=fps,
            reference=first,
        )

    # ---- changing one

    def choose_reference(self, reference: str | int, photo_latent: np.ndarray | None = None) -> int:
        """The index of the frame that shall show the photo as it is.

        "first": the first frame with a face
        "best": the frame nearest to photo_latent (D,) once the clip's mean is taken off, which is about what the
            driver's identity adds: what stays is pose and expression
        an int: that frame
        Raises UserError for a frame that does not exist or shows no face.
        """
        if reference == "first":
            return int(np.argmax(self.found))
        if reference == "best":
            if photo_latent is None:
                raise ValueError("reference 'best' needs the photo's latent")
            distance = np.linalg.norm(self._centred() - photo_latent, axis=1)
            return int(np.argmin(np.where(self.found, distance, np.inf)))
        if not isinstance(reference, int):
            raise UserError(f"reference {reference!r} is not known: use first, best or the number of a frame")
        if not 0 <= reference < len(self):
            raise UserError(f"reference frame {reference} does not exist: the driver's frames are 0 to {len(self) - 1}")
        if not self.found[reference]:
            raise UserError(f"reference frame {reference} shows no face: choose another, or use first or best")
        return reference

    def relative_to(self, index: int) -> Motion:
        """The same motion, measured from frame `index`."""
        placement = self.placement - self.placement[index]
        placement[:, :2] /= np.exp(self.placement[index, 2])
        placement[:, 3] = _wrapped(placement[:, 3])
        return replace(self, deltas=self.deltas - self.deltas[index], placement=placement, reference=index)

    def centred(self) -> Motion:
        """The same motion, measured from the clip's mean latent instead of a reference frame."""
        return replace(self, deltas=self._centred())

    def _centred(self) -> np.ndarray:
        return self.deltas - self.deltas[self.found].mean(axis=0)

    def smooth(self, strength: float) -> Motion:
        """Smooth over time without delay (zero phase), measured from the same reference frame afterwards.

        strength: 0 (as it is) to 1, times 0.2 s: the standard deviation of a Gaussian; the ends are mirrored.
        """
        if not 0 <= strength <= 1:
            raise UserError(f"smooth {strength} is out of range: use 0 to 1")
        sigma = strength * SMOOTH_SECONDS * float(self.fps)
        if sigma < 0.1 or len(self) < 3:
            return self
        smoothed = replace(
            self,
            deltas=_gaussian(self.deltas, sigma),
            placement=_gaussian(self.placement, sigma),
            pose=_gaussian(self.pose, sigma),
        )
        return smoothed.relative_to(self.reference)

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
        part = {name: getattr(self, name)[chosen] for name in ARRAYS}
        part["times"] = part["times"] - part["times"][0]
        first = int(np.argmax(part["found"]))
        return replace(self, **part, reference=first).relative_to(first)

    def resample(self, fps: Fraction) -> Motion:
        """The same motion at another frame rate, in even steps, values interpolated."""
        count = max(1, math.floor((self.times[-1] + 1 / float(self.fps)) * float(fps) + 1e-6))
        times = np.arange(count) / float(fps)
        if count == len(self) and np.allclose(times, self.times, atol=1e-4):
            return replace(self, times=times, fps=fps)
        reference = int(np.clip(round(self.times[self.reference] * float(fps)), 0, count - 1))
        return replace(self, **self._at(times), times=times, fps=fps, reference=reference).relative_to(reference)

    def __mul__(self, factor: float) -> Motion:
        """Scale deltas, placement and the head's turn away from the reference by `factor`."""
        middle = self.pose[self.reference]
        return replace(
            self,
            deltas=self.deltas * np.float32(factor),
            placement=self.placement * np.float32(factor),
            pose=middle + (self.pose - middle) * np.float32(factor),
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
        return replace(
            self,
            deltas=self.deltas + at["deltas"],
            placement=self.placement + at["placement"],
            pose=self.pose + at["pose"] - other.pose[other.reference],
            found=self.found & at["found"],
        )

    def _at(self, times: np.ndarray) -> dict[str, np.ndarray]:
        """Values at other times: linear between frames, held at both ends; found as at the nearest frame."""
        place = np.interp(times, self.times, np.arange(len(self)))
        left = np.floor(place).astype(int)
        right = np.minimum(left + 1, len(self) - 1)
        weight = (place - left)[:, None].astype(np.float32)
        values = {name: getattr(self, name) for name in ("deltas", "placement", "pose")}
        values = {name: v[left] * (1 - weight) + v[right] * weight for name, v in values.items()}
        return {**values, "found": self.found[np.rint(place).astype(int)]}

    # ---- files

    def check_model(self, model_id: str, source: str = "this motion") -> None:
        """Raise UserError when the motion belongs to another model than `model_id`."""
        if self.model_id != model_id:
            raise UserError(
                f"{source} was made with model {self.model_id}, not {model_id}: latents of two models do not mix; "
                "make it again from the driver with this model, or choose the other with --model"
            )

    def save(self, path: str | Path) -> None:
        """Write a .motion file: safetensors, deltas in float16, the rest of the fields in its JSON header."""
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in ARRAYS}
        arrays["deltas"] = arrays["deltas"].astype(np.float16)
        header = {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model_id,
            "framing": [float(self.framing[0]), bool(self.framing[1])],
            "fps": str(self.fps),
            "reference": self.reference,
        }
        with atomic_path(path) as temporary:
            Path(temporary).write_bytes(save(arrays, metadata={FORMAT: json.dumps(header)}))

    @classmethod
    def load(cls, path: str | Path) -> Motion:
        """Read a .motion file; nothing in it is executed. Raises UserError when it is not one, or not sound."""
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        try:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise ValueError(f"{size / 2**20:.0f} MiB, more than the {MAX_BYTES // 2**20} MiB a motion may have")
            with safe_open(path, framework="numpy") as file:
                header = json.loads((file.metadata() or {}).get(FORMAT, "null"))
                if not isinstance(header, dict) or header.get("format") != FORMAT:
                    raise ValueError("it lacks the header of a motion")
                if header.get("version") != VERSION:
                    raise ValueError(f"format version {header.get('version')!r}, this program reads {VERSION}")
                if set(file.keys()) != set(ARRAYS):
                    raise ValueError(f"its arrays are not {', '.join(ARRAYS)}")
                for name, dtype in ARRAYS.items():
                    _check_slice(name, dtype, file.get_slice(name))
                arrays = {name: file.get_tensor(name) for name in ARRAYS}
            scale, follow = header["framing"]
            return cls(
                **arrays,
                model_id=header["model"],
                framing=(float(scale), bool(follow)),
                fps=Fraction(header["fps"]),
                reference=header["reference"],
            )
        except FileNotFoundError:
            raise UserError(f"{path}: no such motion file") from None
        except (OSError, SafetensorError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: not a usable motion file ({reason}); make it again with --save-motion") from None


def _check_slice(name: str, dtype: str, part) -> None:
    """Refuse an array by its header, before it is read."""
    allowed = {"f8": {"F64"}, "f4": {"F32", "F16"}, "?": {"BOOL"}}[dtype]
    if part.get_dtype() not in allowed:
        raise ValueError(f"{name} is {part.get_dtype()}, expected {' or '.join(sorted(allowed))}")
    if math.prod(part.get_shape()) > MAX_FRAMES * MAX_LATENT:
        raise ValueError(f"{name} is too large")


def _problem(motion: Motion) -> str | None:
    """What is wrong with a motion's fields, or None."""
    count = motion.times.size
    if not 1 <= count <= MAX_FRAMES:
        return f"{count} frames, expected 1 to {MAX_FRAMES}"
    latent = motion.deltas.shape[-1] if motion.deltas.ndim == 2 else 0
    if not 1 <= latent <= MAX_LATENT:
        return f"deltas have shape {motion.deltas.shape}"
    expected = {"times": (count,), "deltas": (count, latent), "placement": (count, 4), "pose": (count, 3)}
    for name, shape in {**expected, "found": (count,)}.items():
        values = getattr(motion, name)
        if values.shape != shape:
            return f"{name} has shape {values.shape}, expected {shape}"
        if not np.isfinite(values).all():
            return f"{name} holds values that are not finite"
    if motion.times[0] < 0 or (np.diff(motion.times) <= 0).any():
        return "times do not increase"
    if not motion.found.any():
        return "no frame shows a face"
    if not isinstance(motion.model_id, str) or not motion.model_id.isprintable() or len(motion.model_id) > 200:
        return "the model's name is not one"
    if not (math.isfinite(motion.framing[0]) and 0.5 <= motion.framing[0] <= 10):
        return f"framing scale {motion.framing[0]} is not between 0.5 and 10"
    if not Fraction(1, 100) <= motion.fps <= 1000:
        return f"{motion.fps} frames per second is not a rate"
    if type(motion.reference) is not int or not 0 <= motion.reference < count:
        return f"reference frame {motion.reference!r} does not exist"
    return None


def _wrapped(radians: np.ndarray) -> np.ndarray:
    return (radians + np.pi) % (2 * np.pi) - np.pi


def _gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    """Convolve (T, K) along T with a Gaussian of `sigma` frames, the ends mirrored."""
    radius = math.ceil(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    padded = np.pad(values, ((radius, radius), (0, 0)), mode="reflect")
    return sum(w * padded[k : k + len(values)] for k, w in enumerate(weights))
