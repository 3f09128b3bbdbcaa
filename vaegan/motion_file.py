"""Motion files: safetensors with a JSON header, and the limits that a motion must keep."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from vaegan.errors import UserError
from vaegan.media import atomic_path
from vaegan.media.files import VIDEO_ENDINGS
from vaegan.reference import READINGS

if TYPE_CHECKING:
    from vaegan.motion import Motion

FORMAT, VERSION = "vaegan-motion", 1
MAX_BYTES = 64 * 2**20
MAX_FRAMES = 150_000
MAX_LATENT = 4096
ARRAYS = {"times": "f8", "deltas": "f4", "placement": "f4", "pose": "f4", "found": "?"}
"""The arrays of a motion and how they are held in memory; in a file the deltas are float16."""

HEADS = "heads"
"""An array float16 (T, READINGS) that a file may have besides."""

M = TypeVar("M")


def write_motion(path: str | Path, motion: Motion) -> None:
    """Write a .motion file, whole or not at all; the fields that are no arrays go into its JSON header."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(getattr(motion, name)) for name in ARRAYS}
    arrays["deltas"] = arrays["deltas"].astype(np.float16)
    if motion.heads.size:
        arrays[HEADS] = motion.heads.astype(np.float16)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "model": motion.model_id,
        "framing": [float(motion.framing[0]), bool(motion.framing[1])],
        "fps": str(motion.fps),
        "reference": motion.reference,
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays, metadata={FORMAT: json.dumps(header)}))


def read_motion(path: str | Path, make: Callable[..., M]) -> M:
    """What `make` makes of the fields of a .motion file; nothing in the file is executed.

    Raises UserError when it is no motion file, or `make` raises ValueError.
    """
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
            if set(file.keys()) - {HEADS} != set(ARRAYS):
                raise ValueError(f"its arrays are not {', '.join(ARRAYS)}")
            for name in file.keys():  # noqa: SIM118 - the file is no mapping
                _check_slice(name, ARRAYS.get(name, "f4"), file.get_slice(name))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - as above
        scale, follow = header["framing"]
        return make(
            **arrays,
            model_id=header["model"],
            framing=(float(scale), bool(follow)),
            fps=Fraction(header["fps"]),
            reference=header["reference"],
        )
    except FileNotFoundError:
        raise UserError(f"{path}: no such motion file") from None
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        if path.suffix.lower() in VIDEO_ENDINGS:
            raise UserError(f"{path} is a video, not a motion: `transfer --save-motion` makes one of it") from None
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a usable motion file ({reason}); make it again with --save-motion") from None


def _check_slice(name: str, dtype: str, part) -> None:
    """Refuse an array by its header, before it is read."""
    allowed = {"f8": {"F64"}, "f4": {"F32", "F16"}, "?": {"BOOL"}}[dtype]
    if part.get_dtype() not in allowed:
        raise ValueError(f"{name} is {part.get_dtype()}, expected {' or '.join(sorted(allowed))}")
    if math.prod(part.get_shape()) > MAX_FRAMES * MAX_LATENT:
        raise ValueError(f"{name} is too large")


def problem(motion: Motion) -> str | None:
    """What is wrong with the fields of a motion, or None."""
    count = motion.times.size
    if not 1 <= count <= MAX_FRAMES:
        return f"{count} frames, expected 1 to {MAX_FRAMES}"
    latent = motion.deltas.shape[-1] if motion.deltas.ndim == 2 else 0
    if not 1 <= latent <= MAX_LATENT:
        return f"deltas have shape {motion.deltas.shape}"
    expected = {"times": (count,), "deltas": (count, latent), "placement": (count, 4), "pose": (count, 3)}
    read = (count, READINGS if motion.heads.size else 0)
    for name, shape in {**expected, "found": (count,), HEADS: read}.items():
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
