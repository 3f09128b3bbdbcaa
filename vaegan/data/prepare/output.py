"""Where a data set is made: a local folder or a URL, with the state of a run that is not finished in it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from vaegan.data.format import INDEX
from vaegan.data.storage import answering, filesystem, is_url, joined
from vaegan.errors import UserError
from vaegan.media import atomic_path

STATE = ".prepare"
"""Folder below the output with the parts of a run that is not finished."""


class Output(Protocol):
    """A place for a data set, as a context in which it is made.

    When that ends well nothing of the state is left; when it fails, only if no part is finished.
    parts: where the parts lie; scratch: a local folder for all else that is in work.
    """

    name: str
    parts: str | Path
    scratch: Path

    def __enter__(self) -> Output: ...
    def __exit__(self, *exception) -> None: ...
    def done(self) -> set[str]:
        """Names of the parts that are finished."""

    def publish(self, fresh: Path) -> None:
        """Move the finished files of `fresh` to their places; index.csv, which makes a data set, last."""

    def drop_parts(self) -> None:
        """Throw finished parts away: nothing came of them."""


def open_output(output: str | os.PathLike, about: dict) -> Output:
    """The output of a run, begun or found again.

    Args:
        about: sources and settings; an unfinished run with others is not continued.

    Raises:
        UserError: it holds something else, or cannot be written.
    """
    asked = json.dumps(about, indent=1)
    return _Remote(str(output), asked) if is_url(output) else _Local(Path(output), asked)


def _refuse(place: str, what: str, state: str) -> None:
    if what == "other":
        raise UserError(
            f"{place} holds an unfinished run with other sources or settings: run that one again (see "
            f"{joined(state, 'job.json')}), or delete {state}, or name another output"
        )
    raise UserError(f"{place} is not empty: name a new folder, so that nothing in it is overwritten")


class _Local:
    def __init__(self, out: Path, asked: str) -> None:
        self.out, self.name = out, out.resolve().name
        self.scratch = out / STATE
        self.parts: str | Path = out.resolve() / STATE / "parts"  # workers of other engines run in other folders
        self._begin(asked)
        self._lock = FileLock(self.scratch / "lock", timeout=0)

    def _begin(self, asked: str) -> None:
        job = self.scratch / "job.json"
        if job.is_file():
            if job.read_text(encoding="utf-8") != asked:
                _refuse(str(self.out), "other", str(self.scratch))
            return
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"{self.out} is a file: name a folder")
        if self.out.is_dir() and any(entry.name != STATE for entry in self.out.iterdir()):
            _refuse(str(self.out), "full", str(self.scratch))
        try:
            Path(self.parts).mkdir(parents=True, exist_ok=True)
            with atomic_path(job) as temporary:
                temporary.write_text(asked, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{self.out} cannot be written ({error.strerror}): choose another output") from error

    def __enter__(self) -> _Local:
        try:
            self._lock.acquire()
        except Timeout as error:
            raise UserError(
                f"{self.out} is being prepared by another process: wait for it, or name another output"
            ) from error
        for unfinished in Path(self.parts).glob(".*"):
            unfinished.unlink()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._lock.release()
        if error is None or (isinstance(error, UserError) and not self.done()):
            shutil.rmtree(self.scratch, ignore_errors=True)
            if not any(self.out.iterdir()):
                self.out.rmdir()
        elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(
                f"{self.out} could not be written ({error.strerror}): make room and run the same command again, "
                "the faces found so far are kept"
            ) from error

    def done(self) -> set[str]:
        return {path.name for path in Path(self.parts).glob("*.part")}

    def publish(self, fresh: Path) -> None:
        for path in sorted(fresh.iterdir(), key=_index_last):
            os.replace(path, self.out / path.name)

    def drop_parts(self) -> None:
        shutil.rmtree(self.parts)


class _Remote:
    """At a URL: the parts lie there too, so that another machine can go on; the result is made on this machine.

    Object stores know no locks: that nobody else prepares into the same URL is the user's care.
    """

    def __init__(self, url: str, asked: str) -> None:
        self.url, self.name = url.rstrip("/"), url.rstrip("/").rpartition("/")[2]
        self.parts: str | Path = joined(self.url, STATE, "parts")
        self.fs, self.root = filesystem(self.url)
        state = joined(self.root, STATE)
        job = f"{state}/job.json"
        with answering(self.url):
            if self.fs.exists(job):
                if self.fs.cat_file(job).decode() != asked:
                    _refuse(self.url, "other", joined(self.url, STATE))
            elif self.fs.exists(self.root) and self.fs.find(self.root):
                _refuse(self.url, "full", "")
            else:
                self.fs.makedirs(f"{state}/parts", exist_ok=True)
                self.fs.pipe_file(job, asked.encode())

    def __enter__(self) -> _Remote:
        self._folder = tempfile.TemporaryDirectory(prefix="vaegan-")
        self.scratch = Path(self._folder.name)
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._folder.cleanup()
        if error is None or (isinstance(error, UserError) and not self.done()):
            self._remove(f"{self.root}/{STATE}")
            if not self.fs.find(self.root):
                self._remove(self.root)

    def done(self) -> set[str]:
        with answering(self.url):
            names = (path.rpartition("/")[2] for path in self.fs.find(f"{self.root}/{STATE}/parts"))
            return {name for name in names if name.endswith(".part") and not name.startswith(".")}

    def publish(self, fresh: Path) -> None:
        with answering(self.url):
            for path in sorted(fresh.iterdir(), key=_index_last):
                self.fs.put_file(str(path), f"{self.root}/{path.name}")

    def drop_parts(self) -> None:
        self._remove(f"{self.root}/{STATE}/parts")

    def _remove(self, path: str) -> None:
        with answering(self.url):
            if self.fs.exists(path):
                self.fs.rm(path, recursive=True)


def _index_last(path: Path) -> tuple[bool, str]:
    return path.name == INDEX, path.name
