"""Paths that are fit to be read, and outputs that appear whole or not at all."""

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from vaegan.errors import UserError

# What a full disk, quota or file-size limit, a vanished share or a read-only file system answers to a write.
_WRITE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}

VIDEO_ENDINGS = {
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".ts", ".mts", ".3gp"),
    *(".m2ts", ".mxf", ".vob", ".3g2", ".asf", ".divx", ".dv", ".f4v", ".m2v", ".mpe", ".rm", ".rmvb"),
}
"""By which a file is taken for a video."""

YOUNG = 1.0
"""Seconds for which a temporary file that nobody has locked may still be about to be."""


def user_cache() -> Path:
    """$XDG_CACHE_HOME/vaegan, else ~/.cache/vaegan: what is kept here from call to call, unless told otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vaegan"


def input_file(path: str | os.PathLike, what: str) -> Path:
    """Return `path`, made absolute, when it is a readable file with something in it.

    Args:
        path: the file. It is never taken for a URL or a device: video libraries would open those too.
        what: "a picture" or "a video", for the message.

    Raises:
        UserError: it is missing, a folder, a device, empty or not readable.
    """
    file = Path(path).absolute()
    try:
        if not file.exists():
            raise UserError(f"{path}: no such file")
        if file.is_dir():
            raise UserError(f"{path} is a folder, where {what} is expected; name a file in it")
        if not file.is_file():
            raise UserError(f"{path} is not a regular file; save {what} to disk first")
        if file.stat().st_size == 0:
            raise UserError(f"{path} is empty (zero bytes); copy or download it again")
        with file.open("rb"):
            return file
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from error


def check_output(output: str | os.PathLike, *inputs: str | os.PathLike, suffixes: set[str] | None = None) -> Path:
    """Return `output` as a path when it can be written and is none of the inputs: asked before the work starts.

    Args:
        output: the file or folder to be made.
        inputs: files or folders that are read to make it.
        suffixes: endings that are allowed, in lower case; `None` allows all.

    Raises:
        UserError: its folder is missing or not writable, it is one of the inputs, or its ending is not known.
    """
    path = Path(output)
    if suffixes is not None and path.suffix.lower() not in suffixes:
        known = ", ".join(sorted(filter(None, suffixes))) + (", or no ending for a folder of PNG" * ("" in suffixes))
        raise UserError(f"{output}: do not know how to write {path.suffix or 'a name without an ending'}; use {known}")
    for given in inputs:
        try:
            same = os.path.samefile(path, given) if path.exists() else path.absolute() == Path(given).absolute()
        except (OSError, ValueError):
            continue  # an input that cannot be looked at is reported by whoever reads it
        if same:
            raise UserError(f"{output} is also an input and would be overwritten; choose another output name")
    with atomic_path(path, dry_run=True):
        return path


@contextmanager
def output_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Make a folder for results; an exception before anything lies in it takes it away again."""
    path = Path(path)
    new = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    except BaseException:
        if new and not any(path.iterdir()):
            path.rmdir()
        raise


@contextmanager
def atomic_path(path: str | os.PathLike, *, folder: bool = False, dry_run: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same ending, which becomes `path` when the block succeeds.

    After any exception, `KeyboardInterrupt` included, the temporary file is gone and `path` is what it was before.
    What a killed process has left for the same `path` is taken away first: temporary files are locked while they are
    written, and those of the dead no longer are.

    Args:
        path: the file to be made; an existing file is replaced.
        folder: make a folder instead; it must not exist yet, or be empty.
        dry_run: only find out whether something can be made there, and leave nothing.

    Raises:
        UserError: the folder around it is missing or not writable, `path` is a folder, or writing failed because
            the disk is full or gone.
    """
    target = Path(path)
    parent = target.parent
    if not target.name:
        raise UserError(f"{path}: name a file to write")
    try:
        target.exists()
    except OSError as error:
        raise UserError(f"{path}: {reason(error)}; choose another output") from error
    if not parent.is_dir():
        raise UserError(f"{path}: there is no folder {parent}; make it first or choose another output")
    if target.is_dir() and not dry_run and not folder:
        raise UserError(f"{path} is a folder; name a file to write in it")
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"{path} is a folder with files in it; name a new or an empty one")
    _clear(target)
    temporary = target.with_name(f".{target.stem[:20]}.{secrets.token_hex(4)}{target.suffix}")
    lock = None
    try:
        try:
            temporary.mkdir() if folder else temporary.touch(exist_ok=False)
            lock = _locked(temporary)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot write in {parent}: {reason(error)}; choose another output") from error
        yield temporary
        if not dry_run:
            if folder and target.is_dir():
                target.rmdir()  # empty, as seen above; not every system renames over a folder
            os.replace(temporary, target)
    except OSError as error:
        if error.errno not in _WRITE_ERRORS:
            raise
        raise UserError(f"{path} could not be written: {reason(error)}; make room or choose another disk") from error
    finally:
        _remove(temporary)
        if lock is not None:
            os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _locked(path: Path) -> int | None:
    """A descriptor that holds a lock on `path` until it is closed, or its process dies.

    None where the system has no locks. Raises BlockingIOError when somebody else holds it.
    """
    if fcntl is None:
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


def _clear(target: Path) -> None:
    """Take away the temporary files of killed processes that were making `target`."""
    ours = re.compile(re.escape(f".{target.stem[:20]}.") + "[0-9a-f]{8}" + re.escape(target.suffix))
    try:
        left = [entry for entry in target.parent.iterdir() if ours.fullmatch(entry.name)]
    except OSError:
        return
    for path in left:
        with suppress(OSError):
            lock = _locked(path)
            if lock is not None:
                if time.time() - path.stat().st_mtime > YOUNG:
                    _remove(path)
                os.close(lock)


def reason(error: BaseException) -> str:
    """What went wrong, in the system's words, on one line and without the path, which the caller has named."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
