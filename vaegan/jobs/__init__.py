"""One function done to many items, in processes of this machine or on Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from vaegan.jobs.local import run_local
from vaegan.jobs.ray import run_ray

Item, Result = TypeVar("Item"), TypeVar("Result")

ENGINES = ("local", "ray")


def run_jobs(
    function: Callable[[Item], Result], items: Iterable[Item], *, engine: str = "local", workers: int
) -> Iterator[Result]:
    """`function(item)` of every item, in the order in which they end.

    Args:
        function: can be pickled, as can items and results; done in processes in which OpenCV has one thread.
        engine: one of ENGINES. workers: processes; 1 with "local": this one.

    Raises:
        UserError: what `function` raises as one, or a worker was killed; Ray is not installed or not reachable.
    """
    return {"local": run_local, "ray": run_ray}[engine](function, list(items), workers)
