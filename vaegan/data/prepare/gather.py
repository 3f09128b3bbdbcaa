"""From what the user names to jobs: sources told apart, archives unpacked, work cut into equal pieces."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from vaegan.data.prepare.named import READERS, recognise
from vaegan.data.prepare.parts import Rejected
from vaegan.data.prepare.settings import Settings
from vaegan.data.prepare.sources import Item, Listing, plain, shards
from vaegan.errors import UserError

KINDS = ("auto", "photos", "videos", *READERS, "shards")
PHOTOS_PER_JOB = 32
"""One to two seconds of work: what a kill may cost, and how evenly the work spreads."""

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Job:
    """What one process does at a time: some photos, one video or one shard. `id` names its part."""

    kind: str
    items: tuple[Item, ...]
    id: str


def gather(
    sources: Iterable[str | os.PathLike], kind: str, settings: Settings, state: Path
) -> tuple[list[Job], list[Rejected], list[str]]:
    """The jobs of all sources in order, files rejected at once, and a line on each source.

    Args:
        state: archives are unpacked below it.

    Raises:
        UserError: a source is missing or broken, or holds nothing to prepare.
    """
    jobs, rejected, lines, names = [], [], [], set()
    for given in sources:
        path = Path(given)
        if not path.exists():
            raise UserError(f"{given}: no such file or folder")
        name = _stem(path)
        while name in names:
            name += "+"
        names.add(name)
        root = _unpacked(path, state / "archives" / name) if _is_archive(path) else path.resolve()
        listing = read_source(root, name, kind)
        if not len(listing):
            reason = (
                f" (all {len(listing.rejected)} entries were rejected, first {_first(listing)})"
                if listing.rejected
                else ""
            )
            wanted = {"auto": "photos or videos", "photos": "photos", "videos": "videos"}.get(
                kind, f"pictures of {kind}"
            )
            raise UserError(f"{given} holds no {wanted}{reason}: check the path, or name its --kind")
        rejected += [replace(entry, source=name) for entry in listing.rejected]
        lines.append(f"{given}: {_counts(listing)}, read as {listing.kind}")
        photos = listing.photos
        batches = [photos[i : i + PHOTOS_PER_JOB] for i in range(0, len(photos), PHOTOS_PER_JOB)]
        jobs += [_job("photos", batch, settings) for batch in batches]
        jobs += [_job("video", [item], settings) for item in listing.videos]
        jobs += [_job("shard", [item], settings) for item in listing.shards]
    return jobs, rejected, lines


def read_source(root: Path, name: str, kind: str) -> Listing:
    """List a folder or file as `kind`, or as what it looks like."""
    if kind == "auto" and root.is_dir():
        kind = "shards" if (root / "index.csv").is_file() else recognise(root) or "auto"
    if kind in ("auto", "photos", "videos"):
        return plain(root, name, kind)
    if not root.is_dir():
        raise UserError(f"{root} is a file, where the folder of {kind} is expected")
    return shards(root, name) if kind == "shards" else READERS[kind](root, name)


def _job(kind: str, items: list[Item], settings: Settings) -> Job:
    """The id changes when the files, what is known of them, or the settings do."""
    digest = hashlib.sha256(json.dumps(settings.as_dict()).encode())
    for item in items:
        try:
            status = os.stat(item.path)
            stamp = [status.st_size, status.st_mtime_ns]
        except OSError:
            stamp = []  # the worker says what is wrong with it
        about = [item.path, item.file, item.source, item.person, item.split, item.face, sorted(item.rows)]
        digest.update(json.dumps([about, stamp]).encode())
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
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                _check_room(archive, sum(entry.file_size for entry in file.infolist()), temporary)
                file.extractall(temporary)  # zipfile keeps every name inside
        else:
            with tarfile.open(archive) as file:
                members = [member for member in file if member.isfile() or member.isdir()]
                _check_room(archive, sum(member.size for member in members), temporary)
                file.extractall(temporary, members, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(f"{archive} cannot be unpacked ({error}): fetch it again, or unpack it yourself") from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    os.replace(temporary, target)
    return target


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
