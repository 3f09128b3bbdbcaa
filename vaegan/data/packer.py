"""Data sets into packed parts (`vaegan.data.pack`): crops cut and clips labelled once, here, where PyAV is."""

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vaegan.data.clip_labels import ClipLabels, label_clip
from vaegan.data.format import read_index, read_labels, read_pictures
from vaegan.data.pack import CROP, LEAST_INSIDE, SCALE, TILES, MeshCode
from vaegan.data.storage import data_folder
from vaegan.errors import UserError
from vaegan.faces.geometry import framing
from vaegan.faces.tracker import FaceTracker
from vaegan.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES, VideoReader, atomic_path, encode_image, read_image

COMPONENTS = 128
"""Of the meshes' code; its error is a few hundredths of a pixel of the crop (docs/data.md)."""

FITTED = 20_000
"""Meshes that the code is fitted to, at most."""

CORNERS = 8
"""Of the polygon that two squares share, at most."""


def label_tracker() -> FaceTracker:
    """What labels clips: the teacher where its weights are at hand, else our own tracker; unsmoothed."""
    return FaceTracker(smoothing=False)


Progress = Callable[[Iterable, str, int], Iterable]


@dataclass
class _Still:
    crop: np.ndarray
    mesh: np.ndarray
    blendshapes: np.ndarray
    inside: np.ndarray
    val: bool


@dataclass
class _Clip:
    name: str
    files: dict[str, bytes]
    mesh: np.ndarray
    blendshapes: np.ndarray
    placement: np.ndarray
    usable: np.ndarray
    fps: float
    val: bool


def write_pack(
    out: Path,
    stills: dict[str, float],
    clips: list[str],
    part_bytes: int,
    tracker: FaceTracker,
    progress: Progress = lambda items, what, total: items,
) -> list[Path]:
    """Write `pack-00.tar`, ... into `out`; returns the parts.

    Args:
        stills: data sets with labels (names below $VAEGAN_DATA or folders) -> least `cover` of a crop, 0 to 1.
        clips: folders of clips with train/ and dev/ (or val/), or of people with two pictures each.
        part_bytes: size of a part, at most.
        tracker: labels the clips; "mediapipe" where the teacher is at hand.
        progress: wraps what takes long, as (items, what, how many).

    Raises:
        UserError: a data set is missing or has no labels, a folder of clips has none, a part would hold less than one
            clip, the disk is full.
    """
    found = [still for name, cover in stills.items() for still in _read_stills(name, cover, progress)]
    moving = [clip for name in clips for clip in _read_clips(name, tracker, progress)]
    if not found and not moving:
        raise UserError("nothing to pack: name data sets with labels, or folders of clips")
    meshes = np.concatenate([*(still.mesh[None] for still in found), *(clip.mesh[clip.usable] for clip in moving)])
    chosen = np.random.default_rng(0).permutation(len(meshes))[:FITTED]
    code = MeshCode.fitted(meshes[chosen].reshape(len(chosen), -1), min(COMPONENTS, len(chosen)))
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("pack-*.tar"):
        old.unlink()
    parts = []
    for number, items in enumerate(_parts(found, moving, code, part_bytes)):
        path = out / f"pack-{number:02d}.tar"
        with atomic_path(path) as temporary, tarfile.open(temporary, "w") as tar:
            for name, data in items.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        parts.append(path)
    return parts


def _read_stills(name: str, min_cover: float, progress: Progress) -> Iterator[_Still]:
    folder = data_folder(name)
    for split in ("train", "val"):
        entries = read_index(folder, split, min_cover)
        labels = read_labels(folder, [entry.key for entry in entries])
        if labels is None:
            raise UserError(f"{folder} has no labels.npz: prepare it again, labels and all")
        for i, picture in progress(read_pictures(folder, entries), f"{folder.name} {split}", len(entries)):
            size = picture.shape[0]
            place = framing(labels.mesh[i] * size, SCALE, True)
            corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
            if labels.inside is not None:
                _, shared = cv2.intersectConvexConvex(corners, labels.inside[i].astype(np.float32) * size)
                corners = corners[:1] if shared is None else shared[:, 0]
            polygon = place.to_crop(corners.astype(np.float64), 1.0)
            polygon = np.concatenate([polygon, np.repeat(polygon[-1:], CORNERS - len(polygon), 0)])
            mesh = place.to_crop(labels.mesh[i].astype(np.float64) * size, 1.0).astype(np.float32)
            shapes = np.rint(labels.blendshapes[i] * 255).astype(np.uint8)
            yield _Still(place.crop(picture, CROP), mesh, shapes, polygon.astype(np.float16), split == "val")


def _read_clips(name: str, tracker: FaceTracker, progress: Progress) -> Iterator[_Clip]:
    folder = data_folder(name)
    splits = {"train": False, "dev": True, "val": True}
    films = [
        (path, val)
        for split, val in splits.items()
        for path in sorted((folder / split).glob("*"))
        if path.suffix.lower() in VIDEO_SUFFIXES - {""} and not path.name.startswith(".")
    ]
    people = [path for path in sorted(folder.iterdir()) if path.name not in splits and any(_pictures(path))]
    if not films and not people:
        raise UserError(f"{folder} holds nothing to pack: clips belong in its folders train and dev")
    for path, val in progress(films, f"{folder.name}: clips", len(films)):
        with VideoReader(path) as reader:
            fps = float(reader.rate)
        yield _clip(f"{folder.name}-{path.stem}", {".mp4": path.read_bytes()}, label_clip(path, tracker), fps, val)
    for person in progress(people, f"{folder.name}: people", len(people)):
        pictures = _pictures(person)
        seen = [label_clip(path, tracker) for path in pictures]
        parts = zip(*((one.mesh, one.blendshapes, one.found) for one in seen), strict=True)
        labels = ClipLabels(*map(np.concatenate, parts))
        files = {f".{n}.jpg": encode_image(read_image(path), ".jpg") for n, path in enumerate(pictures)}
        yield _clip(f"{folder.name}-{person.name}", files, labels, 1.0, False)


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def _clip(name: str, files: dict[str, bytes], labels: ClipLabels, fps: float, val: bool) -> _Clip:
    """Frames are square here; the crop of every frame with a face, and whether enough of it lies in the frame."""
    count = len(labels.found)
    mesh, placement, usable = (
        np.zeros((count, 478, 3), np.float32),
        np.zeros((count, 4), np.float32),
        labels.found.copy(),
    )
    for i in np.flatnonzero(labels.found):
        seen = labels.mesh_at(i).astype(np.float64) * 1024
        place = framing(seen, SCALE, True)
        mesh[i] = place.to_crop(seen, 1.0)
        placement[i] = place.cx / 1024, place.cy / 1024, place.side / 1024, place.roll
        usable[i] = place.cover(1024, 1024) > LEAST_INSIDE
    return _Clip(name, files, mesh, labels.blendshapes, placement, usable, fps, val)


def _parts(stills: list[_Still], clips: list[_Clip], code: MeshCode, limit: int) -> Iterator[dict[str, bytes]]:
    """The files of each part."""
    shared = {"mesh.npz": _npz(mean=code.mean, basis=code.basis, step=code.step)}
    files, rows, size = dict(shared), [], len(shared["mesh.npz"])

    def finished() -> dict[str, bytes]:
        if rows:
            files["stills.npz"] = _npz(
                code=code.encode(np.stack([s.mesh for s in rows])),
                blendshapes=np.stack([s.blendshapes for s in rows]),
                inside=np.stack([s.inside for s in rows]),
                val=np.array([s.val for s in rows]),
            )
        return files

    def items() -> Iterator[tuple[dict[str, bytes], list[_Still], int]]:
        for n, start in enumerate(range(0, len(stills), TILES**2)):
            few = stills[start : start + TILES**2]
            sheet = _sheet([s.crop for s in few])
            yield {f"sheet-{n:03d}.jpg": sheet}, few, len(sheet) + len(few) * (2 * len(code.step) + 52 + 40)
        for clip in clips:
            labels = _npz(
                code=code.encode(clip.mesh),
                blendshapes=clip.blendshapes,
                placement=clip.placement,
                usable=clip.usable,
                fps=clip.fps,
                val=clip.val,
            )
            made = {f"clips/{clip.name}{suffix}": data for suffix, data in clip.files.items()}
            made[f"clips/{clip.name}.npz"] = labels
            yield made, [], sum(map(len, made.values()))

    for made, few, weight in items():
        weight += 1024 * len(made) + 4096
        if size + weight > limit:
            if len(files) == len(shared):
                raise UserError(
                    f"{next(iter(made))} alone is larger than a part of {limit / 1e6:.0f} MB: give larger parts"
                )
            yield finished()
            files, rows, size = dict(shared), [], len(shared["mesh.npz"])
        files |= made
        rows += few
        size += weight
    yield finished()


def _sheet(crops: list[np.ndarray]) -> bytes:
    """Up to 256 crops on one picture, as JPEG with full colour."""
    tiles = np.zeros((TILES**2, CROP, CROP, 3), np.uint8)
    tiles[: len(crops)] = crops
    sheet = tiles.reshape(TILES, TILES, CROP, CROP, 3).swapaxes(1, 2).reshape(TILES * CROP, TILES * CROP, 3)
    options = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
