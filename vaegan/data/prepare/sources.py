"""What there is to prepare: files of folders and archives, each with its person and its authors' split."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vaegan.data.format import by_shard, read_index
from vaegan.data.prepare.parts import Rejected
from vaegan.errors import UserError
from vaegan.media import READ_SUFFIXES
from vaegan.media.files import VIDEO_ENDINGS

PHOTOS = READ_SUFFIXES
VIDEOS = VIDEO_ENDINGS
UNREAD = {
    *(".jxl", ".jp2", ".j2k", ".psd", ".svg", ".eps", ".tga", ".exr", ".hdr", ".ico", ".xcf"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw", ".raw"),
}
"""Endings of pictures that nothing here reads: told, not passed over."""
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
"""Folders that divide a set, and the split that each stands for."""


@dataclass(frozen=True)
class Item:
    """A photo, a video or a shard.

    path: absolute, or a URL. file: what index.csv calls it, relative to its source. person: never empty;
    SOURCE:FILE where nothing is known. split: the authors', or "". face: (x, y) near which the face lies that is
    meant, in px, or `relative` to the picture's size; None: the largest face. rows: of a shard, the index lines by
    key. stamp: size and time of the file. start, end: of a long video, the range that is meant, s.
    """

    path: str
    file: str
    source: str
    person: str
    split: str = ""
    face: tuple[float, float] | None = None
    relative: bool = False
    rows: dict[str, dict[str, str]] = field(default_factory=dict, hash=False)
    stamp: tuple[int, ...] = ()
    start: float = 0.0
    end: float | None = None


MIDDLE = (0.5, 0.5)
"""`face` of data sets whose pictures were cut out around the face that is meant."""


@dataclass
class Listing:
    """What a source holds. kind: the layout it was read as."""

    kind: str
    photos: list[Item] = field(default_factory=list)
    videos: list[Item] = field(default_factory=list)
    shards: list[Item] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.photos) + len(self.videos) + len(self.shards)


def files_below(folder: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Every file below a folder with its relative name, in an order that does not depend on the disk.

    Hidden files and folders are left out, links to folders are not followed.
    """
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                path = Path(root, name)
                yield path, PurePosixPath(path.relative_to(folder).as_posix())


def named_person(name: str) -> str:
    """A person known by name: the same in every source, so that nobody is in two splits under two spellings."""
    return "n:" + "_".join(name.replace("_", " ").split())


def plain(root: Path, source: str, kind: str) -> Listing:
    """A folder of photos, videos or both, or a single file; `kind`: auto, photos or videos.

    Photos in several folders are taken to be sorted by person (the folder that holds the photo); videos by the first
    folder below the source (PERSON/CLIP.mp4, PERSON/VIDEO/CLIP.mp4). Folders called train, val or test divide the
    set. With kind "videos" a folder of pictures is a video, frame by frame.
    """
    single = root.is_file()
    found = [(root, PurePosixPath(root.name))] if single else list(files_below(root))
    photos = [(path, name) for path, name in found if path.suffix.lower() in PHOTOS]
    videos = [(path, name) for path, name in found if path.suffix.lower() in VIDEOS]
    if kind == "videos":
        frames = sorted({(path.parent, name.parent) for path, name in photos}, key=lambda entry: str(entry[1]))
        videos = videos + [entry for entry in frames if not single]
    unread = [(name, path.suffix) for path, name in found if path.suffix.lower() in UNREAD]
    listing = Listing(kind if kind != "auto" else "photos" if not videos else "videos" if not photos else "mixed")
    listing.rejected = [
        Rejected(str(name), "unreadable", f"{suffix[1:].upper()} pictures are not read here; convert them to JPEG")
        for name, suffix in unread
    ]
    for taken, items, files, level in (
        (kind != "videos", listing.photos, photos, slice(-1, None)),
        (kind != "photos", listing.videos, videos, slice(1)),
    ):
        people = {_inner(name)[level] for _, name in files}
        for path, name in files if taken else ():
            folder = _inner(name)[level]
            person = named_person(folder[0]) if folder and len(people) > 1 else f"{source}:{name}"
            items.append(Item(str(path), str(name), source, person, _split_folder(name)))
    return listing


def _inner(name: PurePosixPath) -> tuple[str, ...]:
    """The folders of a file below a folder train, val or test."""
    folders = name.parts[:-1]
    return folders[1:] if _split_folder(name) else folders


def _split_folder(name: PurePosixPath) -> str:
    return SPLIT_FOLDERS.get(name.parts[0].lower(), "") if len(name.parts) > 1 else ""


def shards(root: Path, source: str) -> Listing:
    """A data set in our own format: index.csv and tars.

    Raises:
        UserError: the index is broken or names tars that are not there.
    """
    listing = Listing("shards")
    for name, entries in by_shard(read_index(root, None)).items():
        rows = {key: entry.columns for key, entry in entries.items()}
        if not (root / name).is_file():
            raise UserError(f"{root / name} is missing, but index.csv names it: copy the data set again")
        listing.shards.append(Item(str(root / name), name, source, source, rows=rows))
    return listing
