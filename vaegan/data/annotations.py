"""The labels of a data set as JSON Lines (a face a line) or COCO (boxes and keypoints), and back.

Coordinates are px of the stored crop, from its top left corner. COCO has no place for depth and expression: they stand
in a field `vaegan` of each annotation, which other tools carry along or drop; what was dropped stays as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vaegan.data.format import (
    INDEX,
    LABELS,
    Columns,
    Entry,
    by_shard,
    mesh_codes,
    read_index,
    read_labels,
    read_pictures,
    read_shard,
    shape_codes,
    write_index,
    write_labels,
)
from vaegan.errors import UserError
from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.faces.geometry import FACE_POINTS, MESH_POINTS, head_pose
from vaegan.media import atomic_path

FORMATS = ("jsonl", "coco")
TOLD = ("split", "source", "person", "file", "video", "frame", "timestamp")
"""Columns of index.csv that JSON Lines repeat."""
TAKEN = ("split", "source", "person")
"""Those of them that are taken back."""
POSE = ("yaw", "pitch", "roll")

DECIMALS = 4
"""Of coordinates in px: finer than the steps of labels.npz, so that what goes out comes back the same."""


@dataclass
class ToldFace:
    """A face in a file. mesh: (478, 3) in sides of the crop, blendshapes: (52,), both nan where it says nothing."""

    key: str
    mesh: np.ndarray
    blendshapes: np.ndarray
    columns: Columns = field(default_factory=dict)


def write_annotations(folder: Path, output: Path, format: str, pictures: Path | None = None) -> int:
    """Write every face of a data set, of all its splits; returns how many.

    Args:
        format: one of FORMATS. pictures: a new folder for copies of the crops, under the names that COCO gives them.

    Raises:
        UserError: the set has no labels, or nothing can be written.
    """
    entries = _entries(folder)
    rows = [entry.columns for entry in entries]
    labels = read_labels(folder, [entry.key for entry in entries])
    if labels is None:
        raise UserError(f"{folder} has no {LABELS}, so there is nothing to export: prepare it, or import annotations")
    side = next(image for _, image in read_pictures(folder, entries[:1])).shape[0]
    faces = (
        ToldFace(
            row["key"], np.round(mesh.astype(np.float64) * side, DECIMALS), np.round(shapes.astype(np.float64), 4), row
        )
        for row, mesh, shapes in zip(rows, labels.mesh, labels.blendshapes, strict=True)
    )
    with atomic_path(output) as path:
        with open(path, "w", encoding="utf-8") as file:
            lines = _to_json_lines(faces, side) if format == "jsonl" else _to_coco(rows, faces, folder.name, side)
            file.writelines(f"{line}\n" for line in lines)
        if pictures is not None:
            _copy_pictures(folder, entries, pictures)
    return len(rows)


def read_annotations(folder: Path, file: Path, format: str) -> tuple[int, int]:
    """Take labels, and from JSON Lines also split, source and person, into a data set.

    Faces that the file does not name keep what they have. Head poses in index.csv follow the meshes.

    Returns:
        How many faces the file names, and how many of them were changed by it.

    Raises:
        UserError: the file cannot be read, names pictures that are not there, or leaves some without labels.
    """
    rows = {entry.key: entry.columns for entry in _entries(folder)}
    labels = read_labels(folder)
    keys = list(rows) if labels is None else labels.key.tolist()
    number = {key: i for i, key in enumerate(keys)}
    codes = np.zeros((len(keys), MESH_POINTS, 3), np.int16) if labels is None else mesh_codes(labels.mesh)
    shapes = np.zeros((len(keys), 52), np.uint8) if labels is None else shape_codes(labels.blendshapes)
    known = np.full(len(keys), labels is not None)
    named, changed = set(), set()
    for face in _from_json_lines(file) if format == "jsonl" else _from_coco(file):
        i, row = number.get(face.key), rows.get(face.key)
        if i is None or row is None:
            raise UserError(f"{file} names {face.key}, which is not in {folder}: was it made for this data set?")
        if face.key in named:
            raise UserError(f"{file} names {face.key} twice; a crop has one face")
        named.add(face.key)
        silent, mute = np.isnan(face.mesh), np.isnan(face.blendshapes)
        if (silent.any() or mute.any()) and not known[i]:
            raise UserError(f"{file}: {face.key} lacks points, depth or blendshapes, and {folder} has none to keep")
        code = mesh_codes(np.nan_to_num(face.mesh))
        # One step is 0.006 px: the rounding of labels that were not stored as steps, not somebody's correction.
        code = np.where(silent | (np.abs(code.astype(int) - codes[i]) <= known[i]), codes[i], code)
        shape = np.where(mute, shapes[i], shape_codes(np.nan_to_num(face.blendshapes)))
        if not known[i] or (code != codes[i]).any():
            row |= {
                name: str(round(angle, 1)) for name, angle in zip(POSE, head_pose(code), strict=True) if name in row
            }
            changed.add(face.key)
        if (shape != shapes[i]).any() or face.columns.items() - row.items():
            changed.add(face.key)
        codes[i], shapes[i], known[i] = code, shape, True
        row |= face.columns
    if not known.all():
        first = keys[int(known.argmin())]
        raise UserError(f"{file} leaves {int((~known).sum())} pictures of {folder} without labels, first {first}")
    if changed:
        with atomic_path(folder / LABELS) as path:
            write_labels(path, keys, codes, shapes)
        with atomic_path(folder / INDEX) as path:
            write_index(path, rows.values())
    return len(named), len(changed)


def _entries(folder: Path) -> list[Entry]:
    if not (folder / INDEX).is_file():
        raise UserError(f"{folder} is not a data set with an {INDEX}: prepare it first")
    return read_index(folder, None)


def _box(mesh: np.ndarray) -> list[float]:
    """x, y, width, height of the face's points."""
    low, high = mesh[:FACE_POINTS, :2].min(0), mesh[:FACE_POINTS, :2].max(0)
    return np.round([*low, *(high - low)], 2).tolist()


def _to_json_lines(faces: Iterator[ToldFace], side: int) -> Iterator[str]:
    for face in faces:
        yield json.dumps(
            {
                "key": face.key,
                "image": f"{face.key}.webp",
                "shard": face.columns["shard"],
                "side": side,
                **{name: face.columns[name] for name in TOLD if name in face.columns},
                "bbox": _box(face.mesh),
                "mesh": face.mesh.tolist(),
                "blendshapes": dict(zip(BLENDSHAPES, face.blendshapes.tolist(), strict=True)),
            },
            ensure_ascii=False,
        )


def _from_json_lines(file: Path) -> Iterator[ToldFace]:
    with _annotations(file) as lines:
        for number, line in enumerate(lines, 1):
            try:
                told = json.loads(line)
                mesh = np.full((MESH_POINTS, 3), np.nan)
                if "mesh" in told:
                    mesh[:] = np.asarray(told["mesh"], float) / float(told["side"])
                shapes = _shapes(told.get("blendshapes", {}))
                yield ToldFace(
                    str(told["key"]), mesh, shapes, {name: str(told[name]) for name in TAKEN if name in told}
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"{file}, line {number}: not a face of a data set ({_said(error)})") from error


def _to_coco(rows: list[Columns], faces: Iterator[ToldFace], name: str, side: int) -> Iterator[str]:
    """Written piece by piece: a list of a million meshes would not fit into memory."""
    points = [f"mesh{i}" for i in range(MESH_POINTS)]
    face = {"id": 1, "name": "face", "supercategory": "person", "keypoints": points, "skeleton": []}
    yield f'{{"info": {json.dumps({"description": name})}, "categories": {json.dumps([face])}, "images": ['
    for i, row in enumerate(rows, 1):
        about = {"id": i, "file_name": f"{row['key']}.webp", "width": side, "height": side, "shard": row["shard"]}
        yield json.dumps(about) + "," * (i < len(rows))
    yield '], "annotations": ['
    for i, face in enumerate(faces, 1):
        box = _box(face.mesh)
        about = {
            "id": i,
            "image_id": i,
            "category_id": 1,
            "bbox": box,
            "area": round(box[2] * box[3], 2),
            "iscrowd": 0,
            "num_keypoints": MESH_POINTS,
            "keypoints": [n for x, y in face.mesh[:, :2].tolist() for n in (x, y, 2)],
            "vaegan": {
                "depth": face.mesh[:, 2].tolist(),
                "blendshapes": dict(zip(BLENDSHAPES, face.blendshapes.tolist(), strict=True)),
            },
        }
        yield json.dumps(about) + "," * (i < len(rows))
    yield "]}"


def _from_coco(file: Path) -> Iterator[ToldFace]:
    with _annotations(file) as stream:
        try:
            content = json.load(stream)
            images = {image["id"]: image for image in content["images"]}
            for told in content["annotations"]:
                image = images[told["image_id"]]
                flat = np.asarray(told.get("keypoints") or np.zeros(3 * MESH_POINTS), float).reshape(MESH_POINTS, 3)
                ours = told.get("vaegan") or {}
                mesh = np.full((MESH_POINTS, 3), np.nan)
                seen = flat[:, 2] > 0
                mesh[seen, :2] = flat[seen, :2]
                if "depth" in ours:
                    mesh[:, 2] = ours["depth"]
                key = str(image["file_name"]).rsplit("/", 1)[-1].rsplit(".", 1)[0]
                yield ToldFace(key, mesh / float(image["width"]), _shapes(ours.get("blendshapes", {})))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{file} is not a COCO file of faces with {MESH_POINTS} keypoints ({_said(error)})"
            ) from error


def _shapes(told: dict[str, Any]) -> np.ndarray:
    """Blendshapes by name -> (52,), nan where they are not told."""
    return np.array([float(told.get(name, np.nan)) for name in BLENDSHAPES])


def _annotations(file: Path):
    try:
        return open(file, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error


def _said(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())


def _copy_pictures(folder: Path, entries: list[Entry], target: Path) -> None:
    """The crops out of their tars, as they are."""
    with atomic_path(target, folder=True) as new:
        for shard, wanted in by_shard(entries).items():
            for _, name, data in read_shard(folder / shard, wanted):
                (new / name.rpartition(":")[2]).write_bytes(data)
