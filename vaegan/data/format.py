"""The data set format: index.csv, tar shards and labels.npz. Nothing else reads or writes these files.

A data set is a folder, or a URL, with `index.csv` (a line a picture), the tars that it names (`KEY.webp`, ...) and
`labels.npz`: `key`, `blendshapes` (uint8, in 1/255) and the mesh as `mesh_mean + mesh_code @ mesh_basis.T`, in sides of
the crop. Sets that we prepare use a multiple of the identity as the basis, so that the code is the mesh itself in steps
of 1/16384 of the side (error below 0.003 px at 96 px); a true basis (72 components, error about 0.1 px) reads back
through the same function. A plain folder of pictures is read as a data set too, without labels.
"""

import csv
import hashlib
import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaegan.data.storage import fetched, joined
from vaegan.errors import UserError
from vaegan.faces.blendshapes import MIRRORED_BLENDSHAPES
from vaegan.faces.geometry import MESH_POINTS, mirrored_mesh
from vaegan.media import READ_SUFFIXES, decode_image

INDEX, LABELS = "index.csv", "labels.npz"
NEEDED = ("key", "split", "shard")
"""Columns without which an index is none."""

STEPS = 16384
"""Codes per side of the crop: int16 reaches two sides to either side of the crop's corner."""

DAMAGED = (OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, struct.error, zlib.error)
DAMAGED += (zipfile.BadZipFile,)
"""What numpy and zipfile raise for an .npz file with bytes flipped or missing."""

Columns = dict[str, str]
"""A line of index.csv."""


@dataclass(frozen=True)
class Entry:
    """One picture of a data set: its key, split, where it lies (shard name, or file), and the index columns."""

    key: str
    split: str
    shard: str
    columns: Columns


def index_lines(place: str | os.PathLike, split: str | None = None, min_cover: float = 0.0) -> Iterator[Columns]:
    """The lines of a data set's index.csv one by one, so that an index of millions needs no memory.

    Args:
        place: a folder or a URL. split: only this one.
        min_cover: leave out crops of which a smaller share lies in their picture (column `cover`), 0..1.

    Raises:
        UserError: there is no index, it cannot be read, or it lacks columns.
    """
    index = joined(place, INDEX)
    try:
        with fetched(index) as path, open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            lacking = [name for name in NEEDED if name not in (reader.fieldnames or ())]
            if lacking:
                raise ValueError(f"it lacks the column {lacking[0]}")
            for line in reader:
                if not all(line[name] and "\0" not in line[name] for name in NEEDED):
                    raise ValueError(f"line {reader.line_num} lacks a key, a split or a shard")
                if split in (None, line["split"]) and float(line.get("cover") or 1) >= min_cover:
                    yield line
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{index} is not a data set index ({error}): prepare the data set again") from error


def read_index(folder: Path, split: str | None, min_cover: float = 0.0) -> list[Entry]:
    """The entries of one split (None: of all) in index order; without index.csv every image below the folder.

    A folder without an index is split by the name of the file: one in twenty goes to "val", at least one of several.

    Raises:
        UserError: no pictures, or an index that lacks columns.
    """
    if (folder / INDEX).is_file():
        lines = index_lines(folder, split, min_cover)
        entries = [Entry(line["key"], line["split"], line["shard"], line) for line in lines]
    else:
        entries = [entry for entry in _plain_folder(folder) if split in (None, entry.split)]
    if not entries:
        which = f"'{split}' pictures" if split else "pictures"
        raise UserError(f"no {which} in {folder}: expected index.csv with tar shards, or image files")
    return entries


def _plain_folder(folder: Path) -> list[Entry]:
    """The pictures below a folder; hidden files and folders are left out (macOS puts ._NAME.jpg beside NAME.jpg)."""
    names = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.suffix.lower() in READ_SUFFIXES and not hidden and path.is_file():
            names.append(name.as_posix())
    digests = {name: hashlib.sha256(name.encode()).digest() for name in names}
    held = {name for name in names if digests[name][0] < 13}
    if not held and len(names) > 1:
        held = {min(names, key=digests.__getitem__)}
    return [Entry(name, "val" if name in held else "train", name, {}) for name in names]


def write_index(path: Path, lines: Iterable[Mapping[str, object]]) -> None:
    """Write index.csv; its columns are those of the first line."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = None
        for line in lines:
            if writer is None:
                writer = csv.DictWriter(file, list(line), lineterminator="\n")
                writer.writeheader()
            writer.writerow(line)


def set_fingerprint(folder: Path, entries: list[Entry]) -> str:
    """A short hash of which pictures these are and of the size and time of the files they lie in."""
    digest = hashlib.sha256()
    for shard in sorted({e.shard for e in entries}):
        try:
            status = (folder / shard).stat()
        except OSError as error:
            raise UserError(f"{folder / shard} is missing, but index.csv names it: copy the data set again") from error
        digest.update(f"{shard} {status.st_size} {status.st_mtime_ns}\n".encode())
    for entry in entries:
        digest.update(f"{entry.key}\n".encode())
    return digest.hexdigest()[:16]


def by_shard(entries: Iterable[Entry]) -> dict[str, dict[str, Entry]]:
    """Entries by shard, in order of the shards' names, and key."""
    shards: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        shards.setdefault(entry.shard, {})[entry.key] = entry
    return dict(sorted(shards.items()))


def read_pictures(folder: Path, entries: list[Entry]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (position in entries, uint8 (H, W, 3)) in the order in which they lie on disk.

    Raises UserError for a shard that is broken, lacks pictures of the index, or holds one that does not decode.
    """
    position = {(entry.shard, entry.key): i for i, entry in enumerate(entries)}
    for shard, wanted in by_shard(entries).items():
        found = 0
        for key, name, data in read_shard(folder / shard, wanted):
            found += 1
            try:
                yield position[shard, key], decode_image(data)
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
        if found < len(wanted):
            path = folder / shard
            raise UserError(f"{path} lacks {len(wanted) - found} pictures that index.csv names: copy it again")


def read_shard(path: Path, keys: Collection[str]) -> Iterator[tuple[str, str, bytes]]:
    """(key, PATH:MEMBER, encoded picture) of those of a shard's pictures that are wanted, in their order.

    Args:
        path: a tar; or a picture of a plain folder, which is wanted whatever `keys` says.

    Raises:
        UserError: the shard is broken; its `__cause__` says how.
    """
    try:
        if path.suffix != ".tar":
            yield (next(iter(keys)), str(path), path.read_bytes())
            return
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.rpartition(".")
                if member.isfile() and key in keys and f".{ending.lower()}" in READ_SUFFIXES:
                    yield key, f"{path}:{member.name}", tar.extractfile(member).read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"{path} is a broken shard ({error}): copy or prepare the data set again") from error


class ShardWriter:
    """Writes pictures into tars, a shard of each split open at a time; a context that closes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, tuple[str, tarfile.TarFile]] = {}

    def add(self, split: str, shard: str, key: str, webp: bytes) -> None:
        """Append a picture; all of one shard come one after the other within their split."""
        if split not in self._open or self._open[split][0] != shard:
            self._close(split)
            tar = tarfile.open(self.folder / shard, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - filled until full
            self._open[split] = (shard, tar)
        member = tarfile.TarInfo(f"{key}.webp")
        member.size = len(webp)
        self._open[split][1].addfile(member, io.BytesIO(webp))

    def _close(self, split: str) -> None:
        if split in self._open:
            self._open.pop(split)[1].close()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        for split in list(self._open):
            self._close(split)


@dataclass(frozen=True)
class Labels:
    """key: (N,) str; mesh: float32 (N, 478, 3) in sides of the crop, from its top left corner, z in the same scale;
    blendshapes: float32 (N, 52), 0..1, in MediaPipe's order (`faces.blendshapes`); inside: float16 (N, 4, 2), the
    corners of the source picture in sides of the crop, of sets whose crops reach outside it, else None."""

    key: np.ndarray
    mesh: np.ndarray
    blendshapes: np.ndarray
    inside: np.ndarray | None = None

    def mirrored(self) -> "Labels":
        """The labels of the same crops after a horizontal flip."""
        inside = None if self.inside is None else self.inside * (-1, 1) + (1, 0)
        return Labels(self.key, mirrored_mesh(self.mesh), self.blendshapes[:, MIRRORED_BLENDSHAPES], inside)


def read_labels(folder: Path, keys: list[str] | None = None) -> Labels | None:
    """The labels of a data set, None where it has none.

    Args:
        keys: read these, in this order; None: all, in the file's order.

    Raises:
        UserError: the file is broken, or a key has no label.
    """
    path = folder / LABELS
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            names, code, shapes = file["key"], file["mesh_code"], file["blendshapes"]
            mean, basis = file["mesh_mean"], file["mesh_basis"]
            inside = file.get("inside")
    except DAMAGED as error:
        raise UserError(f"{path} is not a label file ({error}): copy or prepare the data set again") from error
    if keys is not None:
        row = {name: i for i, name in enumerate(names.tolist())}
        missing = [key for key in keys if key not in row]
        if missing:
            raise UserError(f"{path} has no labels for {len(missing)} pictures, first {missing[0]}: prepare it again")
        chosen = np.array([row[key] for key in keys], int)
        names, code, shapes = names[chosen], code[chosen], shapes[chosen]
        inside = None if inside is None else inside[chosen]
    if basis.shape[0] == basis.shape[1] and not (basis - basis[0, 0] * np.eye(len(basis), dtype=basis.dtype)).any():
        mesh = mean + code * basis[0, 0]
    else:
        mesh = mean + code.astype(np.float32) @ basis.T
    mesh = mesh.reshape(-1, MESH_POINTS, 3).astype(np.float32)
    return Labels(names, mesh, shapes.astype(np.float32) / 255, inside)


def mesh_codes(mesh: np.ndarray) -> np.ndarray:
    """Mesh (..., 478, 3) in sides of the crop -> int16 codes; points two sides away are held there."""
    return np.clip(np.rint(mesh * STEPS), -32768, 32767).astype(np.int16)


def shape_codes(blendshapes: np.ndarray) -> np.ndarray:
    """Blendshapes (..., 52), 0..1 -> uint8 in 1/255."""
    return np.rint(np.clip(blendshapes, 0, 1) * 255).astype(np.uint8)


def write_labels(path: Path, keys: list[str], codes: np.ndarray, shapes: np.ndarray) -> None:
    """Write labels.npz, the same bytes for the same labels.

    Args:
        codes: int16 (N, 478, 3) of `mesh_codes`. shapes: uint8 (N, 52) of `shape_codes`.
    """
    arrays = {
        "key": np.array(keys, dtype=np.str_),
        "mesh_mean": np.zeros(MESH_POINTS * 3, np.float32),
        "mesh_basis": np.eye(MESH_POINTS * 3, dtype=np.float32) / STEPS,
        "mesh_code": codes.reshape(len(keys), -1),
        "blendshapes": shapes,
    }
    with zipfile.ZipFile(path, "w") as file:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, not now
            # The basis shrinks to nothing; codes hardly shrink, and are read at the speed of the disk as they are.
            entry.compress_type = zipfile.ZIP_DEFLATED if name in ("mesh_basis", "key") else zipfile.ZIP_STORED
            with file.open(entry, "w", force_zip64=True) as target:
                np.lib.format.write_array(target, np.ascontiguousarray(array), allow_pickle=False)
