"""What is kept for everybody who has the page open, and let go when it is closed: files, a photo in memory, a job."""

from __future__ import annotations

import secrets
import shutil
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaegan.app.work import Work

MOST = 32
"""Visitors that are remembered; beyond that the one who did nothing for the longest time starts anew."""


@dataclass
class Visitor:
    """One open page.

    folder, folders: for all that is made for it, and for each kind; uploads: what it has given
    held: by name, what is kept to answer quickly
    works: what is at work for it, by the tab
    """

    folder: Path
    uploads: set[Path] = field(default_factory=set)
    held: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    works: dict[str, Work] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def hold(self, name: str, key: Any, make) -> Any:
        """What `make` has made for this key; one thing is held by a name, and another key replaces it."""
        with self.lock:
            if name not in self.held or self.held[name][0] != key:
                self.held.pop(name, None)
                self.held[name] = key, make()
            return self.held[name][1]

    def drop(self, name: str) -> None:
        """Hold it no more."""
        with self.lock:
            _, held = self.held.pop(name, (None, None))
        getattr(held, "close", lambda: None)()

    def cancel(self, name: str) -> None:
        """Stop what is at work by that name, if anything is."""
        if name in self.works:
            self.works[name].cancel()

    def new_folder(self, name: str) -> Path:
        """An empty folder for what is made by that name, of another path than the one before, which is gone."""
        shutil.rmtree(self.folders.get(name, self.folder / name), ignore_errors=True)
        folder = self.folders[name] = self.folder / f"{name}-{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
        return folder


class Visitors:
    """All visitors by their session. root: folder of the page's temporary files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._own: set[Path] = set()
        self._known: OrderedDict[str, Visitor] = OrderedDict()
        self._lock = Lock()

    def keep_files(self) -> None:
        """What lies among the uploads by now belongs to the page itself."""
        self._own = {*self.root.iterdir()}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, session: str, *uploads: str | Path | None) -> Visitor:
        """The visitor of a session; uploads: files that belong to it from now on."""
        with self._lock:
            if session not in self._known:
                self._known[session] = Visitor(self.root / "visitors" / session)
            self._known.move_to_end(session)
            visitor = self._known[session]
            visitor.uploads |= {Path(path) for path in uploads if path and self._is_upload(Path(path))}
            leaving = [*self._known][:-MOST]
        for one in leaving:
            self.leave(one)
        return visitor

    def holding(self, name: str) -> int:
        """How many visitors hold something by that name."""
        with self._lock:
            return sum(name in visitor.held for visitor in self._known.values())

    def find(self, name: str, wanted: Callable[[Any], bool]) -> Any:
        """What one of them holds by that name and is wanted; None where nobody does."""
        with self._lock:
            held = [visitor.held.get(name, (None, None))[1] for visitor in self._known.values()]
        return next((one for one in held if one is not None and wanted(one)), None)

    def leave(self, session: str) -> None:
        """Stop what is at work for a session and delete its files, but for uploads that others have given as well."""
        with self._lock:
            visitor = self._known.pop(session, None)
            if visitor is None:
                return
            shared = set().union(*(other.uploads for other in self._known.values()))
            strays = [] if self._known else [path for path in self.root.iterdir() if path not in self._own]
        for work in visitor.works.values():
            work.cancel()
        for name in [*visitor.held]:
            visitor.drop(name)
        for path in visitor.uploads - shared:
            shutil.rmtree(path.parent, ignore_errors=True)
        shutil.rmtree(visitor.folder, ignore_errors=True)
        for path in strays:  # uploads that were broken off, or that nothing was done with
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def _is_upload(self, path: Path) -> bool:
        """Whether a file lies in a folder of its own among the uploads."""
        folder = path.parent
        return folder.parent == self.root and folder.name != "visitors" and folder not in self._own
