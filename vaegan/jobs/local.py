"""Jobs in several processes of this machine."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from typing import Any

from vaegan.errors import UserError


def run_local(function: Callable[[Any], Any], items: list, workers: int) -> Iterator[Any]:
    """See `run_jobs`. A killed process (by the system, when memory ran out) ends all of them."""
    if workers == 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    waiting = iter(items)
    with ProcessPoolExecutor(min(workers, max(1, len(items))), context, _begin, (stop,)) as pool:
        try:
            running = {pool.submit(function, item) for item in itertools.islice(waiting, 4 * workers)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from [future.result() for future in done]
                running |= {pool.submit(function, item) for item in itertools.islice(waiting, len(done))}
        except BaseException as error:
            stop.set()  # a long video would keep Ctrl-C waiting
            if isinstance(error, BrokenProcessPool):
                raise UserError(
                    "a worker process was killed, most likely because memory ran out: "
                    "run the same command again with fewer --workers, it goes on where it stopped"
                ) from error
            raise


def _begin(stop: Event) -> None:
    """One thread a process; Ctrl-C is the main process's to answer; nobody outlives it."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for asked in (multiprocessing.parent_process().join, stop.wait):
        threading.Thread(target=_leave_after, args=(asked,), daemon=True).start()


def _leave_after(asked: Callable) -> None:
    asked()
    os._exit(1)
