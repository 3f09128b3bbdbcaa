"""Jobs run in several processes, each into its part; what is there already is not done again."""

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
from pathlib import Path

from vaegan.data.prepare.jobs import Job
from vaegan.data.prepare.remote import at_hand
from vaegan.data.prepare.settings import Settings
from vaegan.data.storage import joined
from vaegan.errors import UserError


def part_path(folder: str | Path, job: Job) -> str | Path:
    """Where the part of a job lies."""
    return joined(folder, f"{job.id}.part")


def run_job(job: Job, settings: Settings, folder: str | Path) -> tuple[int, int]:
    """Do one job, the same way on every engine; returns how many files it had and how many crops they gave."""
    from vaegan.data.prepare.faces import photo
    from vaegan.data.prepare.parts import write_part
    from vaegan.data.prepare.reshard import shard
    from vaegan.data.prepare.video import video

    with at_hand(job.items) as items:
        if job.kind == "photos":
            found = (photo(item, settings) for item in items)
        else:
            found = (video if job.kind == "video" else shard)(items[0], settings)
        return len(items), write_part(part_path(folder, job), found, items[0].source)


def run_local(jobs: list[Job], settings: Settings, folder: str | Path, workers: int) -> Iterator[tuple[int, int]]:
    """Do jobs in this many processes (1: in this one), yielding the counts of each as it ends.

    Raises:
        UserError: nothing can be written, or a process was killed (by the system, when memory ran out).
    """
    if workers == 1:
        yield from (run_job(job, settings, folder) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    waiting = iter(jobs)
    with ProcessPoolExecutor(min(workers, max(1, len(jobs))), context, _begin, (stop,)) as pool:
        try:
            running = {pool.submit(run_job, job, settings, folder) for job in itertools.islice(waiting, 4 * workers)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from [future.result() for future in done]
                running |= {pool.submit(run_job, job, settings, folder) for job in itertools.islice(waiting, len(done))}
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
