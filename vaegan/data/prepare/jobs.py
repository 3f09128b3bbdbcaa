"""From what the user names to jobs: sources told apart, archives unpacked, work cut into equal pieces."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vaegan.data.format import INDEX
from vaegan.data.prepare.parts import Rejected, write_part
from vaegan.data.prepare.public_datasets import READERS, recognise
from vaegan.data.prepare.remote import at_hand, stand_in
from vaegan.data.prepare.settings import PrepareSettings
from vaegan.data.prepare.sources import Item, Listing, plain, shards
from vaegan.data.storage import answering, filesystem, is_url, joined
from vaegan.errors import UserError
from vaegan.media import VideoReader, atomic_path

KINDS = ("auto", "photos", "videos", *READERS, "shards")
PHOTOS_PER_JOB = 32
"""One to two seconds of work: what a kill may cost, and how evenly the work spreads."""

RANGE = 60.0
"""Seconds of a range: longer videos are worked on in ranges, side by side; a shot ends where its range does."""
LONG_BYTES = 4_000_000
"""Smaller files are not opened to see how long they last."""
_SEEKABLE = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".3gp"}
"""Formats that say how long they last, and in which one can begin anywhere."""

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Job:
    """What one process does at a time: some photos, one video or a range of it, or one shard. `id` names its part."""

    kind: str
    items: tuple[Item, ...]
    id: str


def part_path(folder: str | Path, job: Job) -> str | Path:
    """Where the part of a job lies."""
    return joined(folder, f"{job.id}.part")


def run_job(job: Job, settings: PrepareSettings, folder: str | Path) -> tuple[int, int]:
    """Do one job into its part in `folder`; returns how many files it had and how many crops they gave."""
    from vaegan.data.prepare.faces import photo
    from vaegan.data.prepare.reshard import shard
    from vaegan.data.prepare.video import video

    with at_hand(job.items) as items:
        if job.kind == "photos":
            found = (photo(item, settings) for item in items)
        else:
            found = (video if job.kind == "video" else shard)(items[0], settings)
        return len(items), write_part(part_path(folder, job), found, items[0].source)


def list_jobs(
    sources: Iterable[str | os.PathLike], kind: str, settings: PrepareSettings, state: Path
) -> tuple[list[Job], list[Rejected], list[str]]:
    """The jobs of all sources in order, files rejected at once, and a line on each source.

    Args:
        state: archives are unpacked below it.

    Raises:
        UserError: a source is missing or broken, or holds nothing to prepare.
    """
    jobs, rejected, lines, names = [], [], [], set()
    for given in sources:
        name = _stem(Path(str(given).rstrip("/")))
        while name in names:
            name += "+"
        names.add(name)
        if is_url(given):
            listing = _remote(str(given), name, kind, state)
        else:
            path = Path(given)
            if not path.exists():
                raise UserError(f"{given}: no such file or folder")
            root = _unpacked(path, state / "archives" / name) if _is_archive(path) else path.resolve()
            listing = _stamped(read_source(root, name, kind))
        if not len(listing):
            count = len(listing.rejected)
            all_of_them = f" (all {count} entries were rejected, first {_first(listing)})" if count else ""
            wanted = {"auto": "photos or videos", "photos": "photos", "videos": "videos"}
            what = wanted.get(kind, f"pictures of {kind}")
            raise UserError(f"{given} holds no {what}{all_of_them}: check the path, or name its --kind")
        rejected += [replace(entry, source=name) for entry in listing.rejected]
        lines.append(f"{given}: {_counts(listing)}, read as {listing.kind}")
        photos = listing.photos
        batches = [photos[i : i + PHOTOS_PER_JOB] for i in range(0, len(photos), PHOTOS_PER_JOB)]
        jobs += [_job("photos", batch, settings) for batch in batches]
        jobs += [_job("video", [part], settings) for item in listing.videos for part in _ranges(item)]
        jobs += [_job("shard", [item], settings) for item in listing.shards]
    return jobs, rejected, lines


def read_source(root: Path, name: str, kind: str) -> Listing:
    """List a folder or file as `kind`, or as what it looks like."""
    if kind == "auto" and root.is_dir():
        kind = "shards" if (root / INDEX).is_file() else recognise(root) or "auto"
    if kind in ("auto", "photos", "videos"):
        return plain(root, name, kind)
    if not root.is_dir():
        raise UserError(f"{root} is a file, where the folder of {kind} is expected")
    return shards(root, name) if kind == "shards" else READERS[kind](root, name)


def _remote(url: str, name: str, kind: str, state: Path) -> Listing:
    """What a URL holds. Archives are fetched and unpacked here; other files by the processes that work on them."""
    if url.lower().endswith(_ARCHIVES):
        archive = state / "archives" / f"{name}.fetched" / url.rpartition("/")[2]
        target = archive.parent.with_name(name)
        if not target.is_dir():
            fs, path = filesystem(url)
            archive.parent.mkdir(parents=True, exist_ok=True)
            with answering(url):
                fs.get_file(path, str(archive))
        return _stamped(read_source(_unpacked(archive, target), name, kind))
    folder = state / "named" / name
    shutil.rmtree(folder, ignore_errors=True)
    root = stand_in(url, folder)
    listing = _stamped(read_source(root, name, kind))
    base = url.rstrip("/")

    def at_url(item: Item) -> Item:
        path = Path(item.path)
        return replace(item, path=base if path == root else f"{base}/{path.relative_to(root).as_posix()}")

    for items in (listing.photos, listing.videos, listing.shards):
        items[:] = map(at_url, items)
    return listing


def _stamped(listing: Listing) -> Listing:
    """The listing, every item with its file's size and time."""
    for items in (listing.photos, listing.videos, listing.shards):
        items[:] = (replace(item, stamp=_stamp(item.path)) for item in items)
    return listing


def _stamp(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()  # the worker says what is wrong with it
    return status.st_size, status.st_mtime_ns


def _ranges(video: Item) -> list[Item]:
    """The video, or its ranges where it is long; the last one lasts half to one and a half of the others."""
    if is_url(video.path) or Path(video.path).suffix.lower() not in _SEEKABLE or not video.stamp:
        return [video]
    if video.stamp[0] < LONG_BYTES:
        return [video]
    try:
        count = round((VideoReader(video.path).duration or 0) / RANGE)
    except UserError:
        return [video]  # the worker says what is wrong with it
    if count < 2:
        return [video]
    ends = [RANGE * i for i in range(1, count)]
    return [replace(video, start=a, end=b) for a, b in zip([0.0, *ends], [*ends, None], strict=True)]


def _job(kind: str, items: list[Item], settings: PrepareSettings) -> Job:
    """The id changes when the files, what is known of them, or the settings do."""
    digest = hashlib.sha256(json.dumps(asdict(settings)).encode())
    for item in items:
        about = [item.path, item.file, item.source, item.person, item.split, item.face, sorted(item.rows)]
        digest.update(json.dumps([about, item.stamp, item.start, item.end]).encode())
    return Job(kind, tuple(items), digest.hexdigest()[:24])


def _is_archive(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(_ARCHIVES)


def _stem(path: Path) -> str:
    name = path.resolve().name
    ending = next((ending for ending in sorted(_ARCHIVES, key=len, reverse=True) if name.lower().endswith(ending)), "")
    return (name.removesuffix(name[len(name) - len(ending) :]) if ending else name) or "source"


def _unpacked(archive: Path, target: Path) -> Path:
    """The folder that an archive was unpacked into: beside the parts, once, and gone with them.

    Raises:
        UserError: it is broken or cut short, points outside itself, or there is no room for it.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target, folder=True) as temporary:
        try:
            if archive.suffix.lower() == ".zip" or zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as file:
                    _check_room(archive, sum(entry.file_size for entry in file.infolist()), temporary)
                    file.extractall(temporary)  # zipfile keeps every name inside
            else:
                with tarfile.open(archive) as file:
                    members = [member for member in file if member.isfile() or member.isdir()]
                    _check_room(archive, sum(member.size for member in members), temporary)
                    _inside(members, temporary)
                    file.extractall(
                        temporary, members, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {})
                    )
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            what = str(error).splitlines()[0].strip(" :") if str(error) else "it is cut short"
            raise UserError(f"{archive} cannot be unpacked ({what}): fetch it again, or unpack it yourself") from error
    return target


def _inside(members: list[tarfile.TarInfo], folder: Path) -> None:
    """What the filter "data" sees to as well, which Python 3.11 has from 3.11.4 on only."""
    for member in members:
        if not (folder / member.name).resolve().is_relative_to(folder.resolve()):
            raise tarfile.TarError(f"{member.name} would lie outside the folder it is unpacked into")


def _check_room(archive: Path, needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed + 2**26 > free:
        raise UserError(f"{archive} unpacks to {needed >> 20} MiB, {folder} has {free >> 20} free: make room")


def _first(listing: Listing) -> str:
    one = listing.rejected[0]
    return f"{one.file}: {one.reason}{f', {one.detail}' if one.detail else ''}"


def _counts(listing: Listing) -> str:
    parts = {"photos": listing.photos, "videos": listing.videos, "shards": listing.shards}
    return ", ".join(f"{len(items):,} {name}" for name, items in parts.items() if items)
