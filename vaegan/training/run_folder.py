"""The folder of a run: nobody else's while the run lasts, and never one in which another run lies."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from vaegan.errors import UserError
from vaegan.training import record

CHECKPOINT = "last.ckpt"
WRITTEN = (record.NAME, record.CONFIG, CHECKPOINT, "metrics.csv", "model", "grids", "preview", "tensorboard", "wandb")
"""What runs write into their folders."""

_LOCK = ".lock"


@contextmanager
def claimed(folder: Path, resumed: bool = False, named: bool = True) -> Iterator[Path]:
    """Hold `folder` for one run; gone again where it was made for this and nothing was written into it.

    Args:
        resumed: go on with the run that lies there. named: whether the user chose this name; else the next free one
            is taken (NAME-2, ...) where it is in use.

    Raises:
        UserError: another training writes there, or a run or other files lie there.
    """
    for number in count(1):
        chosen = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        made = not chosen.exists()
        chosen.mkdir(parents=True, exist_ok=True)
        lock = FileLock(chosen / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            if not named and not resumed:
                continue
            raise UserError(f"{shown(chosen)}: another training writes there; wait, or name another folder") from None
        try:
            taken = None if resumed else occupied(chosen)
            if taken and not named:
                continue
            if taken:
                raise UserError(taken)
            yield chosen
            return
        finally:
            lock.release()
            tidied(chosen, made)


def occupied(folder: Path) -> str | None:
    """What is wrong with a folder as that of a new run; None: nothing."""
    there = [written for written in WRITTEN if (folder / written).exists()]
    if not there:
        return None
    name = shown(folder)
    elsewhere = f"name another folder, hydra.run.dir={name}-2"
    if not {record.NAME, CHECKPOINT} & set(there):
        return f"{name} holds {there[0]}, which a run would overwrite: {elsewhere}"
    about = record.read(folder)
    status = {"running": "not ended"}.get(about.get("status", ""), about.get("status", "of an earlier version"))
    seen = f", {about['images_seen']:,} pictures" if "images_seen" in about else ""
    if not (folder / CHECKPOINT).exists():
        return f"{name} holds a run ({status}{seen}) without a checkpoint: delete it, or {elsewhere}"
    return f"{name} holds a run ({status}{seen}): resume={name} goes on with it; for a new one {elsewhere}"


def tidied(folder: Path, made: bool) -> None:
    """Remove our lock from a folder with nothing else in it, and the folder itself if it was `made` for this run."""
    try:
        if {path.name for path in folder.iterdir()} <= {_LOCK}:
            (folder / _LOCK).unlink(missing_ok=True)
            if made:
                folder.rmdir()
    except OSError:
        return


def how_to_go_on(folder: Path) -> str:
    """The line for a run that was stopped."""
    if (folder / CHECKPOINT).exists():
        return f"stopped; go on with: python train.py resume={shown(folder)}"
    return f"stopped before the first checkpoint, so that nothing can go on with {shown(folder)}: delete it"


def shown(path: Path) -> str:
    """A path as it would be typed here."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
