"""Contact sheets: random, sharpest, blurriest and most extreme pictures of a set."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from vaegan.data.check.looked import Looked, middle_square
from vaegan.data.format import INDEX, read_shard
from vaegan.errors import UserError
from vaegan.media import VideoReader, decode_image, read_image

CELL_PX, PER_ROW = 96, 12


def contact_sheets(folder: Path, looked: Looked, count: int = 2 * PER_ROW) -> dict[str, np.ndarray]:
    """Title -> uint8 (rows * 96, 12 * 96, 3); sheets of `count` random pictures, and of 12 for each extreme."""
    chosen = {"random": np.random.default_rng(0).permutation(len(looked))[:count]}
    for title, name, sign in (
        ("sharpest", "sharpness", -1),
        ("most blurred", "sharpness", 1),
        ("turned to the picture's left", "yaw", -1),
        ("turned to the picture's right", "yaw", 1),
        ("looking down", "pitch", -1),
        ("looking up", "pitch", 1),
        ("broadest smiles", "smile", -1),
        ("widest open mouths", "mouth", -1),
        ("eyes most closed", "eyes", -1),
        ("darkest", "light", 1),
    ):
        values = looked.column(name).astype(float)
        order = np.argsort(sign * values, kind="stable")
        order = order[np.isfinite(values[order])]
        if len(order):
            chosen[title] = _varied(order, looked.group)[:PER_ROW]
    pictures = _read(folder, [looked.where[i] for i in sorted({int(i) for each in chosen.values() for i in each})])
    return {title: _sheet([pictures.get(looked.where[i]) for i in each]) for title, each in chosen.items()}


def _varied(order: np.ndarray, groups: list[str]) -> np.ndarray:
    """The first of each video only, photos all."""
    seen, kept = set(), []
    for i in order:
        if not groups[i] or groups[i] not in seen:
            kept.append(int(i))
            seen.add(groups[i])
        if len(kept) == PER_ROW:
            break
    return np.array(kept, int)


def _sheet(pictures: list[np.ndarray | None]) -> np.ndarray:
    rows = max(1, -(-len(pictures) // PER_ROW))
    sheet = np.full((rows * CELL_PX, PER_ROW * CELL_PX, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        if picture is not None:
            y, x = i // PER_ROW * CELL_PX, i % PER_ROW * CELL_PX
            sheet[y : y + CELL_PX, x : x + CELL_PX] = middle_square(picture).crop(picture, CELL_PX)
    return sheet


def _read(folder: Path, wheres: list[str]) -> dict[str, np.ndarray]:
    """The pictures again, by where they lie: SHARD:KEY, PATH@SECONDS of a video, or PATH."""
    pictures: dict[str, np.ndarray] = {}
    shards: dict[str, set[str]] = {}
    for where in wheres:
        shard, _, key = where.partition(":")
        if (folder / INDEX).is_file():
            shards.setdefault(shard, set()).add(key)
            continue
        path, _, time = where.rpartition("@")
        try:
            if path and Path(path).is_file():
                pictures[where] = next(iter(VideoReader(path, start=float(time)))).image
            else:
                pictures[where] = read_image(where)
        except UserError:
            continue  # it was readable before; the sheet has a white cell
    for shard, keys in shards.items():
        with suppress(UserError):  # a broken tar: what follows in it was not looked at either
            for key, name, data in read_shard(folder / shard, keys):
                pictures[f"{shard}:{key}"] = decode_image(data, name)
    return pictures
