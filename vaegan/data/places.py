"""Where data lies: local paths, or URLs (s3://, gs://, https://, memory://, ...) through fsspec."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from vaegan.errors import UserError
from vaegan.media import atomic_path


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
def opened(place: str | os.PathLike) -> Iterator[IO[bytes]]:
    """A file to read from, wherever it lies."""
    if not is_url(place):
        with open(place, "rb") as file:
            yield file
        return
    fs, path = filesystem(str(place))
    with answering(str(place)), fs.open(path, "rb") as file:
        yield file


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
