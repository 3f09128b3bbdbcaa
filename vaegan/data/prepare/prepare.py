"""`prepare`: sources in, a data set out; killed at any moment, it goes on where it stopped."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial

from vaegan.data.prepare import jobs
from vaegan.data.prepare.merge import merge
from vaegan.data.prepare.output import Output, open_output
from vaegan.data.prepare.parts import read_part
from vaegan.data.prepare.settings import PrepareSettings, Splits
from vaegan.errors import UserError
from vaegan.jobs import run_jobs


@dataclass
class Summary:
    """pictures, people: by split; rejected: by reason; lines: one a source; resumed: jobs done by an earlier run."""

    pictures: Counter
    people: Counter
    rejected: Counter
    lines: list[str]
    resumed: int
    jobs: int


def prepare(
    sources: Iterable[str | os.PathLike],
    output: str | os.PathLike,
    settings: PrepareSettings | None = None,
    *,
    kind: str = "auto",
    splits: Splits | None = None,
    engine: str = "local",
    workers: int | None = None,
    keep_near: bool = False,
    progress: Callable[[int, int, int, int], None] | None = None,
) -> Summary:
    """Turn photos, videos, known data sets or shards into a data set.

    Args:
        sources: folders, files or archives, by path or URL.
        output: a new or empty folder, or one in which an earlier run with the same settings was stopped; or its URL.
        kind: what the sources are, one of jobs.KINDS.
        engine: "local" or "ray"; the output is the same to the byte.
        workers: processes; None: one for each core.
        keep_near: keep near-duplicates.
        progress: told (files done, files in all, crops so far, files that an earlier run had done).

    Raises:
        UserError: a source or the output cannot be used, or no face was found. Finished work stays in the output.
    """
    from vaegan.faces.tracker import FaceTracker

    settings = settings or PrepareSettings()
    splits = splits or Splits()
    workers = workers or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else workers or os.cpu_count()
    settings = replace(settings, tracker=FaceTracker(settings.tracker or None).name)
    sources = list(sources)
    about = {"settings": asdict(settings), "kind": kind, "sources": [str(s) for s in sources]}
    with open_output(output, about) as out:
        listed, rejected, lines = jobs.list_jobs(sources, kind, settings, out.scratch)
        resumed = _work(listed, settings, out, engine, workers, progress)
        parts = [read_part(jobs.part_path(out.parts, job)) for job in listed]
        fresh = out.scratch / "out"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        merged = merge(parts, rejected, fresh, out.name, settings, splits, keep_near)
        reasons = _reasons(merged.rejected)
        if not merged.rows:
            out.drop_parts()
            raise UserError(_nothing(sources, reasons, merged.rejected))
        out.publish(fresh)
    people = {row.person: row.split for _, _, row in merged.rows}
    pictures = Counter(row.split for _, _, row in merged.rows)
    return Summary(pictures, Counter(people.values()), reasons, lines, resumed, len(listed))


def _work(
    listed: list[jobs.Job],
    settings: PrepareSettings,
    out: Output,
    engine: str,
    workers: int,
    progress: Callable[[int, int, int, int], None] | None,
) -> int:
    """Do the jobs that have no part yet; returns how many had one."""
    finished = out.done()
    todo = [job for job in listed if f"{job.id}.part" not in finished]
    total = sum(len(job.items) for job in listed)
    before = total - sum(len(job.items) for job in todo)
    done, crops = before, 0
    if progress:
        progress(done, total, crops, before)
    done_job = partial(jobs.run_job, settings=settings, folder=out.parts)
    for items, found in run_jobs(done_job, todo, engine=engine, workers=workers):
        done, crops = done + items, crops + found
        if progress:
            progress(done, total, crops, before)
    return len(listed) - len(todo)


def _reasons(rejected) -> Counter:
    counts: Counter[str] = Counter()
    for entry in rejected:
        counts[entry.reason] += entry.count
    return counts


def _nothing(sources: list, reasons: Counter, rejected: list) -> str:
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    first = f"; first {rejected[0].file}" if rejected else ""
    return f"no usable face in {' '.join(map(str, sources))} ({told or 'no pictures'}{first}): nothing was written"
