"""What our face tracker learns from, decoded and labelled by the teacher once, kept as memory-mapped arrays.

Five groups: the stills of `faces` and `faces-tight`; frames of the `train` and `dev` clips; whole pictures with context
(`raw/photos`). The labels are what the teacher says of just these pixels, for training pictures once more after their
faces were given another shape (`reshaped`): few people are in the clips, and a face's outline is a person's own.

Each is a folder of arrays that is built under a temporary name and renamed, so that two processes may build it at once
and a broken-off build leaves nothing that looks whole.
"""

import csv
import hashlib
import json
import logging
import math
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vaegan.data.tracker_augment import cover_with_hand
from vaegan.errors import UserError
from vaegan.faces.backend import Backend
from vaegan.faces.geometry import face_region
from vaegan.faces.tracker import MIN_PRESENCE, FaceTracker
from vaegan.media import VideoReader, decode_image, read_image

log = logging.getLogger(__name__)

TRAIN, HELD_OUT = 0, 1
_MIDDLE = np.array([0.5, 0.5, 0.0], np.float32)

STILLS = ("faces", "faces-tight")
FORMAT = 2
"""Counts up when what is cached changes."""

RESHAPED = {"faces": 1, "clips-train": 1, "photos": 4}
"""How many pictures with other faces are made of each training picture."""

COVERED = {"clips-train": 0.4, "photos": 0.4}
"""How often there is also a hand before such a face: what the teacher sees behind one is its own, too."""

LOOKS, MAX_DRIFT = 2, 0.15
"""The teacher looks that often, each time where it saw the face before; what it then says of a face that is further
than this, in sides of its box, from where it must be is not learned from."""


@dataclass(frozen=True)
class Group:
    """Pictures of one kind, and the faces in them.

    images: uint8 (N, S, S, 3), smaller pictures in the top left corner; sizes: (N, 2) width and height in px.
    split: (N,) TRAIN or HELD_OUT. sequence: (N,) number of the clip, pictures of one clip in order of time.
    mesh: float16 (M, 478, 3) in sides of S, x and y less 0.5 to keep float16 fine; owner: (M,) index of the picture.
    blendshapes: uint8 (M, 52), in 1 / 255.
    """

    name: str
    images: np.ndarray
    sizes: np.ndarray
    split: np.ndarray
    sequence: np.ndarray
    mesh: np.ndarray
    owner: np.ndarray
    blendshapes: np.ndarray

    def mesh_px(self, face: int) -> np.ndarray:
        """Mesh (478, 3) float32 of a face in px of its picture."""
        side = self.images.shape[1]
        return (self.mesh[face].astype(np.float32) + _MIDDLE) * side

    def picture(self, index: int) -> np.ndarray:
        """The picture (H, W, 3) without its padding."""
        width, height = self.sizes[index]
        return self.images[index, :height, :width]

    def faces(self, split: int) -> np.ndarray:
        """Indices of the faces of one split."""
        return np.flatnonzero(self.split[self.owner] == split)


@dataclass
class Sample:
    """One picture on its way into a group, with the faces that were found in it."""

    image: np.ndarray
    split: int
    sequence: int
    meshes: list[np.ndarray]
    blendshapes: list[np.ndarray]


def load_groups(data: Path, cache: Path, names: tuple[str, ...], every: int) -> dict[str, Group]:
    """The named groups ("faces", "faces-tight", "clips-train", "clips-dev", "photos"), built where they are missing.

    Args:
        data: folder of data sets ($VAEGAN_DATA).
        cache: folder of the caches; 8 GB for everything.
        every: of the training clips one frame in `every` is taken, of the others all.

    Raises:
        UserError: a data set is missing; or the teacher's weights, when something has to be labelled.
    """
    return {name: _load(_built(name, data, cache, every), name) for name in names}


def _load(folder: Path, name: str) -> Group:
    arrays = {f.stem: np.load(f, mmap_mode="r" if f.stem == "images" else None) for f in folder.glob("*.npy")}
    return Group(name=name, **arrays)


def _built(name: str, data: Path, cache: Path, every: int) -> Path:
    """The folder of a group's arrays; made when it is not there for exactly this data."""
    if name in STILLS:
        files, samples, side = _still_files(data / name), _stills(data / name), 96
    elif name in ("clips-train", "clips-dev"):
        split = name.removeprefix("clips-")
        files, side = sorted((data / "clips" / split).glob("*.*")), 192
        samples = _clips(files, split, every if split == "train" else 1, side)
    elif name == "photos":
        files, side = sorted((data / "raw" / "photos").glob("*/*/*.jpg")), 320
        samples = _photos(files, side)
    else:
        raise ValueError(f"no group {name!r}")
    if not files:
        raise UserError(f"{data} holds no data for {name!r}; set VAEGAN_DATA to the folder of the data sets")
    made = [RESHAPED.get(name, 0), COVERED.get(name, 0)]
    stamp = json.dumps([FORMAT, every, side, made, [(f.name, f.stat().st_size) for f in files]])
    folder = cache / f"tracker-{name}-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        log.info("Labelling %s into %s (once)", name, folder)
        _write(_with_reshaped(samples, RESHAPED.get(name, 0), COVERED.get(name, 0)), folder, side)
    return folder


def _write(samples: Iterator[Sample], folder: Path, side: int) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        lists: dict[str, list] = {k: [] for k in ("sizes", "split", "sequence", "mesh", "owner", "blendshapes")}
        with open(temporary / "pixels", "wb") as pixels:
            for n, sample in enumerate(samples):
                height, width = sample.image.shape[:2]
                padded = np.zeros((side, side, 3), np.uint8)
                padded[:height, :width] = sample.image
                pixels.write(padded.tobytes())
                lists["sizes"].append((width, height))
                lists["split"].append(sample.split)
                lists["sequence"].append(sample.sequence)
                for mesh, blendshapes in zip(sample.meshes, sample.blendshapes, strict=True):
                    lists["mesh"].append((mesh / side - _MIDDLE).astype(np.float16))
                    lists["owner"].append(n)
                    lists["blendshapes"].append(np.rint(np.clip(blendshapes, 0, 1) * 255).astype(np.uint8))
        _to_npy(temporary, (len(lists["sizes"]), side, side, 3))
        types = {"sizes": np.int32, "split": np.uint8, "sequence": np.int32, "owner": np.int64}
        for name, values in lists.items():
            np.save(temporary / f"{name}.npy", np.asarray(values, types.get(name)))
        if folder.is_dir():  # another process was faster
            shutil.rmtree(temporary)
        else:
            temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _to_npy(folder: Path, shape: tuple[int, ...]) -> None:
    """Turn the streamed raw pixels into an array file; its length was not known before."""
    raw = np.memmap(folder / "pixels", np.uint8, "r", shape=shape)
    target = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
    for start in range(0, shape[0], 1024):
        target[start : start + 1024] = raw[start : start + 1024]
    target.flush()
    del raw, target
    (folder / "pixels").unlink()


def _still_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar")) + [f for f in (folder / "index.csv", folder / "labels.npz") if f.is_file()]


def _stills(folder: Path) -> Iterator[Sample]:
    """The labelled crops of one data set. Their labels were found in the original pictures, of which they are smaller
    parts; what the teacher says of the crop itself differs by half a percent of the face, so it is asked again."""
    teacher = FaceTracker("mediapipe").backend
    labels = np.load(folder / "labels.npz")
    row = {key: i for i, key in enumerate(labels["key"])}
    codes, blendshapes = labels["mesh_code"], labels["blendshapes"].astype(np.float32) / 255
    with open(folder / "index.csv", newline="") as file:
        split = {r["key"]: TRAIN if r["split"] == "train" else HELD_OUT for r in csv.DictReader(file)}
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key = Path(member.name).stem
                if key not in row:
                    continue
                image = decode_image(tar.extractfile(member).read())
                code = labels["mesh_mean"] + codes[row[key]].astype(np.float32) @ labels["mesh_basis"].T
                mesh = code.reshape(478, 3) * image.shape[0]
                seen = _asked(teacher, image, mesh)
                yield Sample(image, split[key], -1, *([[one] for one in seen or (mesh, blendshapes[row[key]])]))


def _clips(files: list[Path], split: str, every: int, side: int) -> Iterator[Sample]:
    """Frames of clips with the teacher's mesh as it is found in tracking, unsmoothed."""
    teacher = FaceTracker("mediapipe", smoothing=False)
    for number, path in enumerate(files):
        teacher.reset()
        with VideoReader(path) as frames:
            for index, frame in enumerate(frames):
                face = teacher.track(frame.image) if index % every == 0 else None
                if face is not None:
                    image, meshes = _fit(frame.image, [face.mesh], side)
                    yield Sample(image, TRAIN if split == "train" else HELD_OUT, number, meshes, [face.blendshapes])


def _photos(files: list[Path], side: int) -> Iterator[Sample]:
    """Whole pictures with all their faces; the people are split by a hash of their names."""
    teacher = FaceTracker("mediapipe")
    for path in files:
        image = read_image(path)
        faces = teacher.detect(image)
        held_out = hashlib.sha256(path.parent.name.encode()).digest()[0] < 32  # one person in eight
        image, meshes = _fit(image, [face.mesh for face in faces], side)
        yield Sample(image, HELD_OUT if held_out else TRAIN, -1, meshes, [face.blendshapes for face in faces])


def _with_reshaped(samples: Iterator[Sample], count: int, covered: float) -> Iterator[Sample]:
    """The samples, each of the training followed by `count` in which its faces have another shape, and a share
    `covered` of these also a hand before one of them."""
    rng, teacher = np.random.default_rng(0), FaceTracker("mediapipe").backend
    for sample in samples:
        yield sample
        if sample.split != TRAIN or not sample.meshes:
            continue
        for _ in range(count):
            image, meshes = reshaped(sample.image, sample.meshes, rng)
            if covered and rng.random() < covered:
                image = cover_with_hand(image, meshes[rng.integers(len(meshes))], rng)
            seen = [_asked(teacher, image, mesh) for mesh in meshes]
            if all(seen):
                found, blendshapes = (list(part) for part in zip(*seen, strict=True))
                yield Sample(image, TRAIN, sample.sequence, found, blendshapes)


def _asked(teacher: Backend, image: np.ndarray, mesh: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Mesh and blendshapes that the teacher sees about where `mesh` is; None where it sees no face, or another."""
    before = face_region(mesh)
    region = before
    for _ in range(LOOKS):
        seen = teacher.landmarks(image, region.scaled(teacher.roi_scale))
        region = face_region(seen.mesh)
        shift = math.hypot(region.cx - before.cx, region.cy - before.cy) / before.side
        if seen.presence < MIN_PRESENCE or max(shift, abs(math.log(region.side / before.side))) > MAX_DRIFT:
            return None
    return seen.mesh, seen.blendshapes


def reshaped(
    image: np.ndarray, meshes: list[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
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

    height, width = image.shape[:2]
    pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), 2).reshape(-1, 2)
    maps = origin(pixels.astype(np.float32)).reshape(height, width, 2) - 0.5
    out = cv2.remap(image, maps, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    moved = []
    for mesh in meshes:
        points = mesh[:, :2]
        for _ in range(10):  # the inverse of `origin`: it is near the identity, so this comes to rest
            points = points - (origin(points) - mesh[:, :2])
        moved.append(np.column_stack([points, mesh[:, 2]]).astype(np.float32))
    return out, moved


def _fit(image: np.ndarray, meshes: list[np.ndarray], side: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The picture at most `side` px long, and its meshes with it."""
    scale = min(1.0, side / max(image.shape[:2]))
    if scale == 1.0:
        return image, meshes
    width, height = (max(1, round(n * scale)) for n in image.shape[1::-1])
    ratio = np.array([width / image.shape[1], height / image.shape[0], scale])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), [m * ratio for m in meshes]
