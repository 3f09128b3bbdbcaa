"""Raw videos, tracked and cropped once into the cache: every frame with a face, with its time, shot and labels.

The crops are those that `vaegan prepare` would make, and the same code cuts the shots; they are not compressed on the
way, and stay on this machine.
"""

import csv
import hashlib
import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rich.console import Console
from rich.progress import Progress

from vaegan.data.cache import built_once, cache_root, check_room, mapped, npy_header
from vaegan.data.format import shape_codes
from vaegan.data.prepare.settings import PrepareSettings
from vaegan.data.prepare.sources import SPLIT_FOLDERS, VIDEOS, files_below
from vaegan.data.prepare.video import Shots
from vaegan.errors import UserError
from vaegan.faces.geometry import head_pose
from vaegan.media import VideoReader, atomic_path

FORMAT = 1
"""Counts up when what is cached changes."""


@dataclass(frozen=True)
class Cropping:
    """How frames are cropped. size: px; fps: frames/s at most; scale, follow: the framing (design, section 3);
    min_cover: frames whose crop reaches further outside the picture are left out."""

    size: int
    fps: float
    scale: float
    follow: bool
    min_cover: float


@dataclass(frozen=True)
class Tracked:
    """F frames in order of videos and time.

    frames: uint8 (F, S, S, 3), mapped read-only; video: (F,) index of the file; shot: (F,) number of the shot in its
    file; time: (F,) s; yaw: (F,) degrees; shapes: uint8 (F, 52), blendshapes in 1/255.
    """

    frames: np.ndarray
    video: np.ndarray
    shot: np.ndarray
    time: np.ndarray
    yaw: np.ndarray
    shapes: np.ndarray


def video_files(folder: Path, split: str) -> list[Path]:
    """The videos of one split, sorted: by the folders train, val (or dev) and test; where there are none, one person
    (first folder, else file) in twenty, by a hash of the name, is "val".

    Raises UserError when there are none.
    """
    files = sorted(path for path, _ in files_below(folder) if path.suffix.lower() in VIDEOS)
    first = {p: p.relative_to(folder).parts[0] for p in files}
    if "val" in {SPLIT_FOLDERS.get(name) for name in first.values()}:
        found = [p for p in files if SPLIT_FOLDERS.get(first[p]) == split]
    else:
        found = [p for p in files if (hashlib.sha256(first[p].encode()).digest()[0] < 13) == (split == "val")]
    if not found:
        raise UserError(f"no '{split}' videos in {folder}: expected train/ and val/ with videos, or many people")
    return found


def people(folder: Path, files: list[Path]) -> list[str]:
    """Who each video shows: column `person` of clips.csv, else the folder in the split's folder, else the file."""
    table = folder / "clips.csv"
    named: dict[str, str] = {}
    if table.is_file():
        with open(table, newline="", encoding="utf-8") as file:
            named = {row.get("file", ""): row.get("person", "") for row in csv.DictReader(file)}
    names = []
    for path in files:
        relative = path.relative_to(folder)
        parts = relative.parts[1:] if relative.parts[0] in SPLIT_FOLDERS else relative.parts
        names.append(named.get(relative.as_posix()) or parts[0])
    return names


def tracked_frames(folder: Path, split: str, files: list[Path], framed: Cropping) -> Tracked:
    """The frames of `files` that show a face, from the cache, which is built when it is not there yet.

    Raises:
        UserError: no face in any of them, the disk is full, the cache folder cannot be written.
    """
    stamp = [FORMAT, framed.__dict__, [(p.relative_to(folder).as_posix(), *_status(p)) for p in files]]
    mark = hashlib.sha256(json.dumps(stamp, sort_keys=True).encode()).hexdigest()[:16]
    target = cache_root() / f"{folder.name}-{split}-{framed.size}-{mark}.npy"
    return built_once(target, lambda: _load(target, framed.size), lambda: _build(target, folder, files, framed))


def _status(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _load(target: Path, size: int) -> Tracked | None:
    try:
        with np.load(target.with_suffix(".npz"), allow_pickle=False) as file:
            columns = {f.name: file[f.name] for f in fields(Tracked) if f.name != "frames"}
    except (FileNotFoundError, ValueError, KeyError, EOFError):
        return None
    frames = mapped(target, (len(columns["time"]), size, size, 3))
    return None if frames is None else Tracked(frames, **columns)


def _build(target: Path, folder: Path, files: list[Path], framed: Cropping) -> None:
    rows: list[tuple] = []
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with atomic_path(target) as path, bar as progress:
        task = progress.add_task(f"finding the faces in {folder.name}", total=len(files))
        with open(path, "w+b") as out:
            npy_header(out, (0, framed.size, framed.size, 3))
            for number, file in enumerate(files):
                check_room(target.parent, 2**26)
                try:
                    rows += [(number, *row) for row in _read(file, framed, out)]
                except UserError as error:
                    print(f"left out: {error}", file=sys.stderr)
                progress.advance(task)
            npy_header(out, (len(rows), framed.size, framed.size, 3))
        if not rows:
            raise UserError(f"no face found in the {len(files)} videos of {folder}: is the whole face in the picture?")
        video, shot, time, yaw, shapes = (np.array(column) for column in zip(*rows, strict=True))
        with atomic_path(target.with_suffix(".npz")) as table, open(table, "wb") as out:
            np.savez(out, video=video, shot=shot, time=time, yaw=yaw.astype(np.float32), shapes=shapes)


def _read(path: Path, framed: Cropping, out: BinaryIO) -> list[tuple]:
    """Append the crops of a video to `out`; returns shot, time, yaw and blendshapes of each."""
    rows, start = [], out.tell()
    shots = Shots(PrepareSettings(scale=framed.scale, follow=framed.follow))
    try:
        rate = VideoReader(path).rate
        for frame in VideoReader(path, fps=min(rate, framed.fps)):
            face, region, shot = shots.look(frame.time, frame.image)
            if face is None or region.cover(frame.image.shape[1], frame.image.shape[0]) < framed.min_cover:
                continue
            out.write(region.crop(frame.image, framed.size).tobytes())
            rows.append((shot, frame.time, head_pose(face.mesh)[0], shape_codes(face.blendshapes)))
    except UserError:
        out.seek(start)
        out.truncate()
        raise
    return rows
