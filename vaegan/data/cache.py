"""Pictures decoded once into one uint8 array on disk, which every later run maps into memory.

Two processes may ask for the same cache at once: the first builds it under a lock, the other waits for it.
The name of the cache holds a fingerprint of the shards, so that changed shards get a new one.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from filelock import FileLock
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from vaegan.data.format import Entry, read_pictures, set_fingerprint
from vaegan.errors import UserError
from vaegan.media import atomic_path
from vaegan.media.files import user_cache

T = TypeVar("T")


def cache_root() -> Path:
    """$VAEGAN_CACHE, else the user's cache."""
    return Path(os.environ.get("VAEGAN_CACHE") or user_cache())


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 (H, W, 3) -> its central square at (size, size, 3), Lanczos with antialiasing (Pillow)."""
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS, box=box))


def cached_crops(folder: Path, entries: list[Entry], size: int) -> np.ndarray:
    """The pictures of `entries` at `size` px, from the cache, which is built when it is not there yet.

    Returns:
        uint8 (N, size, size, 3), mapped read-only, in the order of `entries`.
    Raises:
        UserError: a shard is broken, the disk is full, the cache folder cannot be written.
    """
    target = cache_root() / f"{folder.name}-{size}-{set_fingerprint(folder, entries)}.npy"
    shape = (len(entries), size, size, 3)
    return built_once(target, lambda: mapped(target, shape), lambda: _build(target, folder, entries, size))


def built_once(target: Path, load: Callable[[], T | None], build: Callable[[], None]) -> T:
    """What `load` finds in the cache file `target`; where that is None, `build` makes the file first, under a lock.

    Raises:
        UserError: the cache cannot be written, or what was built does not read back.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        found = load()
        if found is None:
            with FileLock(f"{target}.lock"):
                found = load()
                if found is None:
                    build()
                    found = load()
    except OSError as error:
        raise UserError(f"cannot write the cache {target}: {error.strerror or error}; set VAEGAN_CACHE") from error
    if found is None:
        raise UserError(f"the cache {target} does not read back: delete it and try again")
    return found


def mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The uint8 array in `path`, or None when it is not there or is not whole."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return None
    except (ValueError, OSError, EOFError):
        print(f"{path} is damaged and is built again", file=sys.stderr)
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def check_room(folder: Path, needed: int) -> None:
    """Raises UserError when the disk of `folder` has no room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed + 2**26:
        raise UserError(f"{folder} has {free >> 20} MiB free, the cache needs {needed >> 20}: set VAEGAN_CACHE")


def _build(target: Path, folder: Path, entries: list[Entry], size: int) -> None:
    check_room(target.parent, len(entries) * size * size * 3)
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with atomic_path(target) as path, bar as progress:
        array = np.lib.format.open_memmap(path, "w+", np.uint8, (len(entries), size, size, 3))
        task = progress.add_task(f"decoding {folder.name}", total=len(entries))
        for position, image in read_pictures(folder, entries):
            array[position] = resized(image, size)
            progress.advance(task)
        array.flush()


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` unless another process was faster, or something goes wrong."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield unfinished
        if not target.is_dir():
            unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def npy_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The head of a .npy file of uint8, which leaves room for a longer first axis: written again when that is known."""
    file.seek(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
