"""`prepare`: sources in, a data set out; killed at any moment, it goes on where it stopped."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from vaegan.data.prepare.engine import part_path, run_local
from vaegan.data.prepare.gather import Job, gather
from vaegan.data.prepare.merge import merge
from vaegan.data.prepare.parts import read_part
from vaegan.data.prepare.settings import Settings, Splits
from vaegan.errors import UserError

STATE = ".prepare"
"""Folder below the output with the parts of a run that is not finished."""


@dataclass
class Summary:
    """What came of it. pictures and people: by split; rejected: pictures or files by reason; lines: one on each source;
    resumed: jobs that an earlier run had done."""

    pictures: Counter
    people: Counter
    rejected: Counter
    lines: list[str]
    resumed: int
    jobs: int


def prepare(
    sources: Iterable[str | os.PathLike],
    output: str | os.PathLike,
    settings: Settings | None = None,
    *,
    kind: str = "auto",
    splits: Splits | None = None,
    workers: int | None = None,
    keep_near: bool = False,
    progress: Callable[[int, int, int, int], None] | None = None,
) -> Summary:
    """Turn photos, videos, known data sets or shards into a data set.

    Args:
        sources: folders, files or archives.
        output: a new or empty folder, or one in which an earlier run with the same settings was stopped.
        kind: what the sources are, one of gather.KINDS.
        workers: processes; None: one for each core.
        keep_near: keep near-duplicates.
        progress: told (files done, files in all, crops so far, files that an earlier run had done).

    Raises:
        UserError: a source or the output cannot be used, or no face was found. Finished work stays in the output.
    """
    from vaegan.faces.tracker import FaceTracker

    settings = settings or Settings()
    splits = splits or Splits()
    workers = workers or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else workers or os.cpu_count()
    settings = replace(settings, tracker=FaceTracker(settings.tracker or None).name)
    out = Path(output)
    sources = list(sources)
    state = _begin(out, {"settings": settings.as_dict(), "kind": kind, "sources": [str(s) for s in sources]})
    try:
        with FileLock(state / "lock", timeout=0):
            jobs, rejected, lines = gather(sources, kind, settings, state)
            resumed = _work(jobs, settings, state, workers, progress)
            parts = [read_part(part_path(state / "parts", job)) for job in jobs]
            fresh = state / "out"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            merged = merge(parts, rejected, fresh, out.resolve().name, settings, splits, keep_near)
            reasons = _reasons(merged.rejected)
            if not merged.rows:
                shutil.rmtree(state / "parts")
                raise UserError(_nothing(sources, reasons, merged.rejected))
            _publish(fresh, out)
    except Timeout as error:
        raise UserError(f"{out} is being prepared by another process: wait for it, or name another output") from error
    except UserError:
        _forget_if_empty(out, state)
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise UserError(
            f"{out} could not be written ({error.strerror}): make room and run the same command again, "
            "the faces found so far are kept"
        ) from error
    shutil.rmtree(state)
    people = {row.person: row.split for _, _, row in merged.rows}
    pictures = Counter(row.split for _, _, row in merged.rows)
    return Summary(pictures, Counter(people.values()), reasons, lines, resumed, len(jobs))


def _begin(out: Path, about: dict) -> Path:
    """The state folder, made or found again; refuses an output that holds something else."""
    state = out / STATE
    asked = json.dumps(about, indent=1)
    if (state / "job.json").is_file():
        if (state / "job.json").read_text(encoding="utf-8") != asked:
            raise UserError(
                f"{out} holds an unfinished run with other sources or settings: run that one again (see "
                f"{state / 'job.json'}), or delete {state}, or name another output"
            )
        return state
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a folder")
    if out.is_dir() and any(entry.name != STATE for entry in out.iterdir()):
        raise UserError(f"{out} is not empty: name a new folder, so that nothing in it is overwritten")
    try:
        (state / "parts").mkdir(parents=True, exist_ok=True)
        temporary = state / "job.json.new"
        temporary.write_text(asked, encoding="utf-8")
        os.replace(temporary, state / "job.json")
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): choose another output") from error
    return state


def _work(
    jobs: list[Job],
    settings: Settings,
    state: Path,
    workers: int,
    progress: Callable[[int, int, int, int], None] | None,
) -> int:
    """Do the jobs that have no part yet; returns how many had one."""
    folder = state / "parts"
    for unfinished in folder.glob(".*"):
        unfinished.unlink()
    todo = [job for job in jobs if not part_path(folder, job).is_file()]
    total = sum(len(job.items) for job in jobs)
    before = total - sum(len(job.items) for job in todo)
    done, crops = before, 0
    if progress:
        progress(done, total, crops, before)
    for items, found in run_local(todo, settings, folder, workers):
        done, crops = done + items, crops + found
        if progress:
            progress(done, total, crops, before)
    return len(jobs) - len(todo)


def _publish(fresh: Path, out: Path) -> None:
    """Move the finished files to their places; index.csv, which makes a folder a data set, last."""
    for path in sorted(fresh.iterdir(), key=lambda path: (path.name == "index.csv", path.name)):
        os.replace(path, out / path.name)


def _reasons(rejected) -> Counter:
    counts: Counter[str] = Counter()
    for entry in rejected:
        counts[entry.reason] += entry.count
    return counts


def _nothing(sources: list, reasons: Counter, rejected: list) -> str:
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    first = f"; first {rejected[0].file}" if rejected else ""
    return f"no usable face in {' '.join(map(str, sources))} ({told or 'no pictures'}{first}): nothing was written"


def _forget_if_empty(out: Path, state: Path) -> None:
    """After a failure, leave no folder that holds no work."""
    if not any((state / "parts").glob("*.part")):
        shutil.rmtree(state, ignore_errors=True)
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()
