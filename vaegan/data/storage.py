"""Where data lies: data sets by name, local paths, and URLs (s3://, gs://, https://, memory://, ...) through fsspec."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from vaegan.errors import UserError
from vaegan.media import atomic_path


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


def is_url(place: str | os.PathLike) -> bool:
    """Whether a source or an output is named by URL."""
    return "://" in str(place)


def joined(folder: str | os.PathLike, *names: str) -> str | Path:
    """The place of a file in a folder, of the folder's kind."""
    return "/".join((str(folder).rstrip("/"), *names)) if is_url(folder) else Path(folder, *names)


def filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """What serves a URL, and the path in it.

    Raises:
        UserError: nothing here speaks its protocol.
    """
    try:
        return url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UserError(f"{url}: {error}") from error


@contextmanager
def answering(url: str) -> Iterator[None]:
    """What a storage service refuses becomes one line that names the URL."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each service has its own exceptions, few of them an OSError
        what = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{url}: {what}; check the address and your credentials, and run the same command again") from (
            error
        )


@contextmanager
def writing(place: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary local file that becomes `place`, whole or not at all."""
    if not is_url(place):
        with atomic_path(place) as temporary:
            yield temporary
        return
    fs, path = filesystem(str(place))
    with tempfile.TemporaryDirectory(prefix="vaegan-") as folder:
        temporary = Path(folder, PurePosixPath(path).name)
        yield temporary
        with answering(str(place)):
            unfinished = str(PurePosixPath(path).with_name(f".{temporary.name}.{os.getpid()}"))
            fs.put_file(str(temporary), unfinished)
            fs.mv(unfinished, path)


@contextmanager
def fetched(place: str | os.PathLike) -> Iterator[Path]:
    """A local file with what lies there: itself, or a copy that goes with the context."""
    if not is_url(place):
        yield Path(place)
        return
    fs, path = filesystem(str(place))
    with tempfile.TemporaryDirectory(prefix="vaegan-") as folder:
        copy = Path(folder, PurePosixPath(path).name)
        with answering(str(place)):
            fs.get_file(path, str(copy))
        yield copy
