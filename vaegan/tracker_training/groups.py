"""What our face tracker learns from, decoded and labelled by the teacher once, kept as memory-mapped arrays.

Five groups: the stills of `faces` and `faces-tight`; frames of the `train` and `dev` clips; whole pictures with context
(`raw/photos`). The labels are what the teacher says of just these pixels; training pictures come again with faces that
nobody has (`made_faces`), on which it is asked again.

Each is a folder of arrays that is built under a temporary name and renamed, so that two processes may build it at once
and a broken-off build leaves nothing that looks whole.
"""

import hashlib
import json
import logging
import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import cv2
import numpy as np

from vaegan.data.cache import new_folder, npy_header
from vaegan.data.format import INDEX, LABELS, read_index, read_labels, read_pictures, shape_codes
from vaegan.errors import UserError
from vaegan.faces.backend import Backend
from vaegan.faces.geometry import face_region, mesh_box
from vaegan.faces.tracker import MIN_PRESENCE, SETTLED, SETTLING_LOOKS, FaceTracker, region_change
from vaegan.media import VideoReader, read_image
from vaegan.tracker_training.made_faces import cover_with_hair, cover_with_hand, reshaped, with_other_face

log = logging.getLogger(__name__)

TRAIN, HELD_OUT = 0, 1
_MIDDLE = np.array([0.5, 0.5, 0.0], np.float32)

STILLS = ("faces", "faces-tight")
FORMAT = 3
"""Counts up when what is cached changes."""


@dataclass(frozen=True)
class Made:
    """How many pictures with other faces are made of each training picture (`count`), and in which share of these the
    largest face is given another person's features, a hand before it, hair over it."""

    count: int = 0
    features: float = 0.0
    hand: float = 0.0
    hair: float = 0.0


MADE = {
    "faces": Made(1, features=0.3, hand=0.3, hair=0.15),
    "clips-train": Made(3, features=0.4, hand=0.4, hair=0.2),
    "photos": Made(8, features=0.25, hand=0.4, hair=0.2),
}

DONORS = 200
"""Pictures that are remembered to take features from."""

CANDIDATES = 12
"""Of this many donors, take the one with the most similar mesh."""

MAX_DRIFT = 0.15
"""A face that the teacher sees further than this, in sides of its box, from where it must be is left out."""


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
        cache: folder of the caches; 10 GB for everything.
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
        files, side = sorted((data / "clips" / split).glob("[!.]*.*")), 192
        samples = _clips(files, split, every if split == "train" else 1, side)
    elif name == "photos":
        files, side = sorted((data / "raw" / "photos").glob("*/*/[!.]*.jpg")), 320
        samples = _photos(files, side)
    else:
        raise ValueError(f"no group {name!r}")
    if not files:
        raise UserError(f"{data} holds no data for {name!r}; set VAEGAN_DATA to the folder of the data sets")
    made = MADE.get(name, Made())
    stamp = json.dumps([FORMAT, every, side, astuple(made), [(f.name, f.stat().st_size) for f in files]])
    folder = cache / f"tracker-{name}-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        log.info("Labelling %s into %s (once)", name, folder)
        _write(_with_made(samples, made), folder, side)
    return folder


def _write(samples: Iterator[Sample], folder: Path, side: int) -> None:
    lists: dict[str, list] = {k: [] for k in ("sizes", "split", "sequence", "mesh", "owner", "blendshapes")}
    with new_folder(folder) as unfinished:
        with open(unfinished / "images.npy", "w+b") as pixels:
            npy_header(pixels, (0, side, side, 3))
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
                    lists["blendshapes"].append(shape_codes(blendshapes))
            npy_header(pixels, (len(lists["sizes"]), side, side, 3))
        types = {"sizes": np.int32, "split": np.uint8, "sequence": np.int32, "owner": np.int64}
        for name, values in lists.items():
            np.save(unfinished / f"{name}.npy", np.asarray(values, types.get(name)))


def _still_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar")) + [f for f in (folder / INDEX, folder / LABELS) if f.is_file()]


def _stills(folder: Path) -> Iterator[Sample]:
    """The labelled crops of one data set. Their labels were found in the original pictures, of which they are smaller
    parts; what the teacher says of the crop itself differs by half a percent of the face, so it is asked again."""
    teacher = FaceTracker("mediapipe").backend
    entries = read_index(folder, None)
    labels = read_labels(folder, [entry.key for entry in entries])
    if labels is None:
        raise UserError(f"{folder} has no {LABELS}: prepare it again")
    for i, image in read_pictures(folder, entries):
        mesh = labels.mesh[i] * image.shape[0]
        mesh, blendshapes = _asked(teacher, image, mesh) or (mesh, labels.blendshapes[i])
        yield Sample(image, TRAIN if entries[i].split == "train" else HELD_OUT, -1, [mesh], [blendshapes])


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


def _with_made(samples: Iterator[Sample], made: Made) -> Iterator[Sample]:
    """The samples, each of the training followed by those that are made of it."""
    rng, teacher = np.random.default_rng(0), FaceTracker("mediapipe").backend
    donors: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for sample in samples:
        yield sample
        if sample.split != TRAIN or not sample.meshes:
            continue
        for _ in range(made.count):
            image, meshes = reshaped(sample.image, sample.meshes, rng)
            mesh = max(meshes, key=lambda mesh: mesh_box(mesh)[2])
            features, hand, hair = rng.random(3) < (made.features, made.hand, made.hair)
            if features and donors:
                image = with_other_face(image, mesh, *_alike(donors, mesh, rng), rng)
            if hair:
                image = cover_with_hair(image, mesh, rng)
            if hand:
                image = cover_with_hand(image, mesh, rng)
            seen = [_asked(teacher, image, mesh) for mesh in meshes]
            if all(seen):
                found, blendshapes = (list(part) for part in zip(*seen, strict=True))
                yield Sample(image, TRAIN, sample.sequence, found, blendshapes)
        if made.features:
            mesh = max(sample.meshes, key=lambda mesh: mesh_box(mesh)[2])
            donor = (sample.image, mesh, face_region(mesh).to_crop(mesh, 1.0))
            if len(donors) < DONORS:
                donors.append(donor)
            else:
                donors[rng.integers(DONORS)] = donor


def _alike(donors: list, mesh: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of a few donors (picture, mesh, mesh in its region) picture and mesh of the one that looks the same way most."""
    here = face_region(mesh).to_crop(mesh, 1.0)
    few = [donors[i] for i in rng.integers(len(donors), size=CANDIDATES)]
    return min(few, key=lambda donor: np.abs(donor[2] - here).mean())[:2]


def _asked(teacher: Backend, image: np.ndarray, mesh: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Mesh and blendshapes that the teacher comes to rest at near `mesh`; None for no face, or another one."""
    before = face_region(mesh)
    region = before
    for _ in range(SETTLING_LOOKS):
        seen = teacher.landmarks(image, region.scaled(teacher.roi_scale))
        last, region = region, face_region(seen.mesh)
        shift, growth = region_change(before, region)
        if seen.score < MIN_PRESENCE or shift > MAX_DRIFT or growth > math.exp(MAX_DRIFT):
            return None
        shift, growth = region_change(last, region)
        if shift < SETTLED and growth < 1 + SETTLED:
            break
    return seen.mesh, seen.blendshapes


def _fit(image: np.ndarray, meshes: list[np.ndarray], side: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The picture at most `side` px long, and its meshes with it."""
    scale = min(1.0, side / max(image.shape[:2]))
    if scale == 1.0:
        return image, meshes
    width, height = (max(1, round(n * scale)) for n in image.shape[1::-1])
    ratio = np.array([width / image.shape[1], height / image.shape[0], scale])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), [m * ratio for m in meshes]
