"""Jobs on several machines: the same function on Ray Data."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from vaegan.errors import UserError


def run_ray(function: Callable[[Any], Any], items: list, workers: int) -> Iterator[Any]:
    """See `run_jobs`; this many Ray tasks at a time.

    Where $RAY_ADDRESS names a cluster, the jobs run there: its machines must have this package, reach the files under
    the same names, and find the landmarker's weights. Else a Ray of `workers` processes is started here, and stopped
    at the end.
    """
    if not items:
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
        ray.data.DataContext.get_current().enable_progress_bars = False  # commands have their own
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = [{"item": pickle.dumps(item)} for item in items]
        blocks = min(len(rows), max(256, 16 * workers))
        tasks = ray.data.from_items(rows, override_num_blocks=blocks).map(
            _done, fn_args=(function,), num_cpus=1, compute=ray.data.TaskPoolStrategy(size=workers)
        )
        for row in tasks.iter_rows():
            if row["error"]:
                raise UserError(row["error"])
            yield pickle.loads(row["result"])
    finally:
        if started:
            ray.shutdown()


def _done(row: dict, function: Callable[[Any], Any]) -> dict:
    """One job on a worker. What the user can mend is brought back as text: Ray would wrap an exception in its own."""
    import cv2

    cv2.setNumThreads(1)
    try:
        return {"result": pickle.dumps(function(pickle.loads(row["item"]))), "error": ""}
    except UserError as error:
        return {"result": b"", "error": str(error)}
