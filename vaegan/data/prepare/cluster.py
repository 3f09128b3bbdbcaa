"""The engine for several machines: the same job function on Ray Data."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

from vaegan.data.prepare.jobs import Job
from vaegan.data.prepare.settings import Settings
from vaegan.errors import UserError


def run_ray(jobs: list[Job], settings: Settings, folder: str | Path, workers: int) -> Iterator[tuple[int, int]]:
    """Do jobs in this many Ray tasks at a time, yielding the counts of each as it ends.

    Where $RAY_ADDRESS names a cluster, the jobs run there: its machines must have this package, reach the sources and
    the output under the same names, and find the landmarker's weights. Else a Ray of `workers` processes is started
    here, and stopped at the end.

    Raises:
        UserError: Ray is not installed or not reachable, or a job cannot be done.
    """
    if not jobs:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers otherwise
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError("the engine ray is not installed: pip install 'vaegan[ray]', or use --engine local") from error
    address = os.environ.get("RAY_ADDRESS") or "local"
    started = not ray.is_initialized()
    if started:
        here = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **here)
        except Exception as error:  # Ray raises plain ones, as when it needs more than 30 s on a busy machine
            what = " ".join(str(error).split())
            raise UserError(f"Ray ({address}) did not start: {what} Try again, or check RAY_ADDRESS") from error
    try:
        _quiet(ray)
        rows = [{"job": pickle.dumps(job)} for job in jobs]
        blocks = min(len(rows), max(256, 16 * workers))
        tasks = ray.data.from_items(rows, override_num_blocks=blocks).map(
            _done, fn_args=(settings, folder), num_cpus=1, compute=ray.data.TaskPoolStrategy(size=workers)
        )
        for row in tasks.iter_rows():
            if row["error"]:
                raise UserError(row["error"])
            yield row["items"], row["crops"]
    finally:
        if started:
            ray.shutdown()


def _done(row: dict, settings: Settings, folder: str | Path) -> dict:
    """One job on a worker. What the user can mend is brought back as text: Ray would wrap an exception in its own."""
    import cv2

    from vaegan.data.prepare.engine import run_job

    cv2.setNumThreads(1)
    try:
        items, crops = run_job(pickle.loads(row["job"]), settings, folder)
    except UserError as error:
        return {"items": 0, "crops": 0, "error": str(error)}
    return {"items": items, "crops": crops, "error": ""}


def _quiet(ray) -> None:
    """The command has a progress bar of its own."""
    import logging

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
