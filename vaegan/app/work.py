"""One long job of a visitor, in a thread of its own: how far it is, and an end to it at any time."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from vaegan.errors import UserError

M_ARENA_MAX = -8
"""Of mallopt, in malloc.h."""

TOLD_SECONDS = 0.25
"""Between two lines about how far it is."""


class Cancelled(Exception):
    """The visitor has called it off."""


@dataclass(frozen=True)
class State:
    """frames done of total, at rate frames a second; result: what the job returned; error: a line; over: no more"""

    done: int = 0
    total: int | None = None
    rate: float = 0.0
    result: Any = None
    error: str | None = None
    cancelled: bool = False
    over: bool = False


class Work:
    """Runs `job(on_progress)`; on_progress(done, total) is where it can be stopped."""

    def __init__(self, job: Callable[[Callable[[int, int | None], None]], Any]) -> None:
        self._job, self._stop, self._changed = job, Event(), Event()
        self._state, self._began = State(), None
        self._thread = Thread(target=self._run, daemon=True, name="work")
        self._failure: BaseException | None = None

    def states(self) -> Iterator[State]:
        """Start it, and say how far it is until it is over. Not looking any further cancels it."""
        self._thread.start()
        try:
            while True:
                self._changed.wait(TOLD_SECONDS)
                state = self._state
                if self._failure is not None:
                    raise self._failure
                yield state
                if state.over:
                    return
                time.sleep(TOLD_SECONDS)
                self._changed.clear()
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Stop it; returns once nothing of it is left."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._attempt()
        finally:
            release()

    def _attempt(self) -> None:
        try:
            self._end(State(result=self._job(self._advance)))
        except Cancelled:
            self._end(State(cancelled=True))
        except UserError as error:
            self._end(State(error=str(error)))
        except OSError as error:
            self._end(State(error=f"could not write ({error.strerror}): free some space"))
        except BaseException as error:
            self._failure = error
            self._changed.set()

    def _advance(self, done: int, total: int | None) -> None:
        if self._stop.is_set():
            raise Cancelled
        now = time.perf_counter()
        self._began = self._began or (now, done)
        seconds, first = now - self._began[0], self._began[1]
        self._state = State(done, total, (done - first) / seconds if seconds else 0.0)

    def _end(self, state: State) -> None:
        self._state = State(**{**vars(state), "over": True})
        self._changed.set()


def share_memory() -> None:
    """Let all threads allocate from two arenas, where the C library is glibc: each would keep what it once used."""
    _libc("mallopt", M_ARENA_MAX, 2)


def release() -> None:
    """Give what the C library holds and nobody uses back to the system."""
    gc.collect()
    _libc("malloc_trim", 0)


def _libc(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)
