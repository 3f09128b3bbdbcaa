"""Reading data sets: a folder of tar shards with an index (DESIGN, section 5), or a plain folder of images."""

import csv
import hashlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaegan.errors import UserError
from vaegan.media import decode_image

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Entry:
    """One picture of a data set: its key, split, where it lies (shard name, or file), and the index columns."""

    key: str
    split: str
    shard: str
    columns: dict[str, str]


def find_data_set(name: str) -> Path | None:
    """The folder of a data set: `name` itself if it is a folder, else $VAEGAN_DATA/name, else None."""
    if Path(name).is_dir():
        return Path(name).resolve()
    root = os.environ.get("VAEGAN_DATA")
    if root and (Path(root) / name).is_dir():
        return (Path(root) / name).resolve()
    return None


def data_folder(name: str) -> Path:
    """The folder of a data set, or UserError that says how to name or make one."""
    folder = find_data_set(name)
    if folder is None:
        raise missing(name)
    return folder


SOURCES = {"imdb_wiki": "imdb_crop wiki_crop", "celeba": "celeba", "videos": "path/to/videos"}
"""Data sets that have a configuration of their own, and what they are prepared from."""


def missing(name: str) -> UserError:
    """The error for a data set that `find_data_set` does not find, with what to do."""
    root = os.environ.get("VAEGAN_DATA")
    if name not in SOURCES:
        return UserError(f"no data set '{name}': set VAEGAN_DATA to the folder that holds it, or give a path")
    first = "" if root else "set VAEGAN_DATA to a folder for data sets, then "
    command = f"vaegan prepare {SOURCES[name]} --output {root or '$VAEGAN_DATA'}/{name}"
    return UserError(f"no data set '{name}' yet: {first}make it with `{command}`")


def read_index(folder: Path, split: str, min_cover: float = 0.0) -> list[Entry]:
    """The entries of one split in index order; without index.csv every image below the folder.

    A folder without an index is split by the name of the file: one in twenty goes to "val".

    Args:
        min_cover: leave out crops that reach further outside their source picture (index column `cover`).
    Raises:
        UserError: no pictures, or an index that lacks columns.
    """
    index = folder / "index.csv"
    if not index.is_file():
        entries = [e for e in _plain_folder(folder) if e.split == split]
    else:
        try:
            with open(index, newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            entries = [
                Entry(row["key"], row["split"], row["shard"], row)
                for row in rows
                if row["split"] == split and float(row.get("cover") or 1) >= min_cover
            ]
        except (KeyError, ValueError, csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{index} is not a data set index ({error}): prepare the data set again") from error
    if not entries:
        raise UserError(f"no '{split}' pictures in {folder}: expected index.csv with tar shards, or image files")
    return entries


def _plain_folder(folder: Path) -> Iterator[Entry]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            name = path.relative_to(folder).as_posix()
            val = hashlib.sha256(name.encode()).digest()[0] < 13
            yield Entry(name, "val" if val else "train", name, {})


def fingerprint(folder: Path, entries: list[Entry]) -> str:
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


def read_pictures(folder: Path, entries: list[Entry]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (position in entries, uint8 (H, W, 3)) in the order in which they lie on disk.

    Raises UserError for a shard that is broken, lacks pictures of the index, or holds one that does not decode.
    """
    wanted: dict[str, dict[str, int]] = {}
    for position, entry in enumerate(entries):
        wanted.setdefault(entry.shard, {})[entry.key] = position
    for shard in sorted(wanted):
        path, positions = folder / shard, wanted[shard]
        if path.suffix != ".tar":
            yield positions[shard], _decode(path.read_bytes(), path)
            continue
        found = 0
        try:
            with tarfile.open(path) as tar:
                for member in tar:
                    position = positions.get(member.name.rsplit(".", 1)[0])
                    file = tar.extractfile(member) if position is not None else None
                    if file is not None:
                        found += 1
                        yield position, _decode(file.read(), f"{path}:{member.name}")
        except (tarfile.TarError, OSError, EOFError) as error:
            raise UserError(f"{path} is a broken shard ({error}): copy or prepare the data set again") from error
        if found < len(positions):
            raise UserError(f"{path} lacks {len(positions) - found} pictures that index.csv names: copy it again")


def _decode(data: bytes, where: Path | str) -> np.ndarray:
    try:
        return decode_image(data)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
