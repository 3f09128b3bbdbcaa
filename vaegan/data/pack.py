"""Packed parts: stills, clips and their labels in tar files of a set size, read without PyAV and without a network.

A part `pack-00.tar` stands by itself. It holds

* `stills.npz` and sheets `sheet-000.jpg`: following crops of stills at 64 px, 16 x 16 on a sheet;
* `clips/NAME.mp4` (or two `.jpg` of one person), untouched, and `clips/NAME.npz`: labels of its frames;
* `mesh.npz`: the linear code of all meshes of the part, in sides of the following crop.

A label is a mesh code, 52 blendshapes, and what of the crop lies inside the source picture, as a polygon.
"""

import io
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from vaegan.data.format import DAMAGED
from vaegan.errors import UserError
from vaegan.faces.geometry import CropTransform

CROP, FRAME, TILES = 64, 256, 16
"""Side of a still's crop and of a clip's frame in px; crops along a side of a sheet."""

SCALE = 1.25
"""Side of the crop / side of the mesh box, following."""

LEAST_INSIDE = 0.9
"""Of a clip's frame, share of the crop that has to lie inside the picture."""


@dataclass
class Pack:
    """What models with heads learn from, in memory: first N - F stills, then F frames of clips, clip by clip, in time.

    crops: uint8 (N, 64, 64, 3); inside: bool (N, 64, 64), False beyond the source picture
    mesh: float16 (N, 478, 3) in sides of the crop, from its top left corner; blendshapes: uint8 (N, 52) in 1/255
    clip: int32 (N,) number of the clip, -1 for stills
    frames: uint8 (F, 256, 256, 3), or (0, ...) where they were not asked for; frame_mesh: float16 (F, 478, 3) in
        sides of the frame; placement: float32 (F, 4), the crop in the frame: centre x, y and side in sides of the
        frame, roll in radians; time: float32 (F,) s
    """

    crops: np.ndarray
    inside: np.ndarray
    mesh: np.ndarray
    blendshapes: np.ndarray
    clip: np.ndarray
    frames: np.ndarray
    frame_mesh: np.ndarray
    placement: np.ndarray
    time: np.ndarray

    def __len__(self) -> int:
        return len(self.crops)


# ---- reading


def read_pack(
    folder: Path,
    split: str = "train",
    frames: bool = False,
    every: int = 1,
    limit: int = 0,
    workers: int = 8,
    with_stills: bool = True,
) -> Pack:
    """Decode the parts of a pack.

    Args:
        folder: with `pack-*.tar`. split: "train" or "val".
        frames: decode the 256 px frames, too: 200 kB each. every: of a clip's frames one in `every` is taken.
        limit: at most this many stills and a twentieth as many clips; 0 for all. workers: threads that decode.
        with_stills: False leaves the stills out.

    Raises:
        UserError: no parts there, or a part is damaged.
    """
    parts = sorted(Path(folder).glob("pack-*.tar"))
    if not parts:
        raise UserError(f"{folder} holds no packed parts (pack-00.tar, ...): make them with vaegan pack {folder}")
    cv2.setNumThreads(1)
    stills, clips = [], []
    with ThreadPoolExecutor(workers) as threads:
        for part in parts:
            try:
                with tarfile.open(part, "r:") as tar:
                    content = {member.name: tar.extractfile(member).read() for member in tar}
                code = MeshCode(**_arrays(content["mesh.npz"]))
                if with_stills:
                    stills += _stills(content, code, split, limit, threads)
                labels = [name for name in content if name.startswith("clips/") and name.endswith(".npz")]
                names = sorted(name.removeprefix("clips/").removesuffix(".npz") for name in labels)
                jobs = [(content, name, code, split, frames, every) for name in names]
                clips += [clip for clip in threads.map(_clip, jobs[: limit // 20 or None]) if clip is not None]
            except (*DAMAGED, tarfile.TarError, cv2.error) as error:
                raise UserError(f"{part} is damaged ({error}): pack it again, or copy it again") from error
    rows = stills + clips
    if not rows:
        raise UserError(f"{folder} has nothing of the split '{split}'")
    numbers = [np.full(len(row.crops), -1, np.int32) for row in stills]
    numbers += [np.full(len(row.crops), number, np.int32) for number, row in enumerate(clips)]
    for row, number in zip(rows, numbers, strict=True):
        row.clip = number
    return Pack(**{f.name: np.concatenate([getattr(row, f.name) for row in rows]) for f in fields(Pack)})


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file}


@dataclass(frozen=True)
class MeshCode:
    """mesh = mean (1434,) + code (N, K) @ basis (K, 1434); codes are int16 in steps of `step` (K,)."""

    mean: np.ndarray
    basis: np.ndarray
    step: np.ndarray

    @classmethod
    def fitted(cls, meshes: np.ndarray, components: int) -> "MeshCode":
        """meshes: float32 (N, 1434)."""
        mean = meshes.mean(0)
        _, vectors = np.linalg.eigh(np.cov(meshes - mean, rowvar=False))
        basis = np.ascontiguousarray(vectors[:, ::-1][:, :components].T.astype(np.float32))
        spread = np.abs((meshes - mean) @ basis.T).max(0)
        return cls(mean, basis, (1.2 * spread / 32767).astype(np.float32))

    def encode(self, meshes: np.ndarray) -> np.ndarray:
        code = (meshes.reshape(-1, self.mean.size) - self.mean) @ self.basis.T / self.step
        return np.clip(np.rint(code), -32768, 32767).astype(np.int16)

    def decode(self, code: np.ndarray) -> np.ndarray:
        return (self.mean + (code * self.step) @ self.basis).reshape(-1, 478, 3).astype(np.float32)


def _stills(content: dict, code: MeshCode, split: str, limit: int, threads: ThreadPoolExecutor) -> list[Pack]:
    if "stills.npz" not in content:
        return []
    labels = _arrays(content["stills.npz"])
    chosen = np.flatnonzero(labels["val"] == (split == "val"))[: limit or None]
    if not len(chosen):
        return []
    sheets = list(threads.map(_picture, (content[n] for n in sorted(content) if n.startswith("sheet-"))))
    tiles = np.concatenate([_cut(sheet) for sheet in sheets])
    empty = _frame_arrays(0, 0)
    inside = np.stack(list(threads.map(_polygon, labels["inside"][chosen])))
    mesh = code.decode(labels["code"][chosen]).astype(np.float16)
    return [Pack(tiles[chosen], inside, mesh, labels["blendshapes"][chosen], chosen, **empty)]


def _picture(data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("a picture in it cannot be decoded")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _cut(sheet: np.ndarray) -> np.ndarray:
    """A sheet (16 * 64, 16 * 64, 3) into its crops (256, 64, 64, 3), row by row."""
    return sheet.reshape(TILES, CROP, TILES, CROP, 3).swapaxes(1, 2).reshape(-1, CROP, CROP, 3)


def _polygon(corners: np.ndarray) -> np.ndarray:
    """bool (64, 64): what lies inside corners (K, 2), in sides of the crop."""
    mask = np.zeros((CROP, CROP), np.uint8)
    fixed = np.rint((corners.astype(np.float64) * CROP - 0.5) * 16).clip(-(2**24), 2**24).astype(np.int32)
    cv2.fillConvexPoly(mask, fixed, 1, shift=4)
    return mask.astype(bool)


def _frame_arrays(count: int, pictures: int) -> dict[str, np.ndarray]:
    return {
        "frames": np.empty((pictures, FRAME, FRAME, 3), np.uint8),
        "frame_mesh": np.empty((count, 478, 3), np.float16),
        "placement": np.empty((count, 4), np.float32),
        "time": np.empty(count, np.float32),
    }


def _clip(job: tuple) -> Pack | None:
    content, name, code, split, frames, every = job
    labels = _arrays(content[f"clips/{name}.npz"])
    if bool(labels["val"]) != (split == "val"):
        return None
    wanted = np.flatnonzero(labels["usable"])
    wanted = wanted[wanted % every == 0] if len(labels["usable"]) > 2 else wanted
    if len(wanted) < 2:
        return None
    mesh = code.decode(labels["code"][wanted])
    arrays = _frame_arrays(len(wanted), len(wanted) if frames else 0)
    crops = np.empty((len(wanted), CROP, CROP, 3), np.uint8)
    inside = np.empty((len(wanted), CROP, CROP), bool)
    row = {int(frame): i for i, frame in enumerate(wanted)}
    done = 0
    for number, picture in _pictures(content, name):
        i = row.get(number)
        if i is None:
            continue
        side = picture.shape[0]
        place = CropTransform(*(labels["placement"][number, :3] * side), labels["placement"][number, 3])
        crops[i] = place.crop(picture, CROP)
        corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float64)
        inside[i] = _polygon(place.to_crop(corners, 1.0))
        if frames:
            arrays["frames"][i] = picture if side == FRAME else cv2.resize(picture, (FRAME, FRAME))
        arrays["frame_mesh"][i] = place.to_picture(mesh[i].astype(np.float64), 1.0) / side
        done += 1
        if done == len(wanted):
            break
    if done < len(wanted):
        raise ValueError(f"{name} has fewer frames than labels")
    arrays["placement"][:] = labels["placement"][wanted]
    arrays["time"][:] = wanted / float(labels["fps"])
    shapes = labels["blendshapes"][wanted]
    return Pack(crops, inside, mesh.astype(np.float16), shapes, np.zeros(len(wanted)), **arrays)


def _pictures(content: dict[str, bytes], name: str) -> Iterator[tuple[int, np.ndarray]]:
    """The frames of a packed clip, numbered, uint8 (S, S, 3)."""
    stills = sorted(key for key in content if key.startswith(f"clips/{name}.") and key.endswith(".jpg"))
    for number, key in enumerate(stills):
        yield number, _picture(content[key])
    if stills:
        return
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:  # OpenCV reads files only
        file.write(content[f"clips/{name}.mp4"])
        file.flush()
        capture = cv2.VideoCapture(file.name)
        number = 0
        while True:
            there, picture = capture.read()
            if not there:
                break
            yield number, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            number += 1
        capture.release()
