"""Sources named by URL: looked through as if they were local, their files fetched by the process that needs them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from fsspec import AbstractFileSystem

from vaegan.data.format import LABELS
from vaegan.data.prepare.sources import Item
from vaegan.data.storage import answering, filesystem, is_url
from vaegan.errors import UserError

_TABLES = {".csv", ".txt", ".mat", ".json"}
"""What readers of data sets look into; of all else they need the name only."""

_VERSION = ("ETag", "etag", "mtime", "LastModified", "updated", "md5")
"""What services call that by which a changed file is known."""


def stand_in(url: str, folder: Path) -> Path:
    """A local tree that looks like the one at `url`, so that every layout of a data set is read alike.

    Tables are copied; pictures, videos and tars are files of the right size that take no room, dated by a hash of
    what the service says of them, so that a changed file is seen as changed.

    Returns:
        The tree, or the file where the URL names one.
    """
    fs, root = filesystem(url)
    with answering(url):
        found = fs.find(root, detail=True)
        single = len(found) == 1 and fs.isfile(root)
        for path, info in sorted(found.items()):
            name = PurePosixPath(path).name if single else path.removeprefix(root).lstrip("/")
            target = folder / name
            if ".." in PurePosixPath(name).parts or not name:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.suffix.lower() in _TABLES:
                fs.get_file(path, str(target))
            else:
                with open(target, "wb") as file:
                    file.truncate(int(info.get("size") or 0))
            told = [str(info[key]) for key in _VERSION if key in info]
            stamp = int.from_bytes(hashlib.sha256(" ".join(told).encode()).digest()[:4])
            os.utime(target, (stamp, stamp))
    if not found:
        raise UserError(f"{url}: no such file or folder")
    return folder / PurePosixPath(root).name if single else folder


@contextmanager
def at_hand(items: tuple[Item, ...]) -> Iterator[tuple[Item, ...]]:
    """The same items with local paths: those named by URL are fetched for as long as the context lasts.

    A file that is not there any more stays missing, as it would on a local disk.
    """
    if not any(is_url(item.path) for item in items):
        yield items
        return
    with tempfile.TemporaryDirectory(prefix="vaegan-") as folder:
        local = []
        for number, item in enumerate(items):
            target = Path(folder, str(number), PurePosixPath(item.path).name)
            target.parent.mkdir()
            local.append(replace(item, path=str(target)))
        fs, _ = filesystem(items[0].path)
        with answering(items[0].path):
            remote = [filesystem(item.path)[1] for item in items]
            if len(remote) == 1 and fs.isdir(remote[0]):
                fs.get(remote[0].rstrip("/") + "/", local[0].path + "/", recursive=True)
            else:
                _fetch(fs, remote, [item.path for item in local])
            if items[0].rows:
                beside = str(PurePosixPath(remote[0]).with_name(LABELS))
                if fs.exists(beside):
                    fs.get_file(beside, str(Path(local[0].path).with_name(LABELS)))
        yield tuple(local)


def _fetch(fs: AbstractFileSystem, remote: list[str], local: list[str]) -> None:
    """Copy files side by side; where one is gone, those that are there."""
    try:
        fs.get(remote, local)
    except FileNotFoundError:
        for source, target in zip(remote, local, strict=True):
            if fs.exists(source):
                fs.get_file(source, target)
