"""Parts put together: duplicates and scraps left out, people divided into splits, shards, index and labels written."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vaegan.data.format import INDEX, LABELS, ShardWriter, write_index, write_labels
from vaegan.data.prepare.parts import CropRow, Part, Rejected
from vaegan.data.prepare.settings import SPLITS, PrepareSettings, Splits
from vaegan.data.quality import near_duplicates
from vaegan.faces.geometry import MESH_POINTS

SHARD_PICTURES = 4096


@dataclass
class Merged:
    """What was written. rows: (key, shard, row) in order; rejected: everything that was left out."""

    rows: list[tuple[str, str, CropRow]]
    rejected: list[Rejected]


def merge(
    parts: list[Part],
    rejected: list[Rejected],
    out: Path,
    name: str,
    settings: PrepareSettings,
    splits: Splits,
    keep_near: bool,
) -> Merged:
    """Write shards, labels.npz, index.csv, rejected.csv and dataset.json into an empty folder.

    Args:
        parts: in the order of the sources: everything that is written follows from it.
        keep_near: do not drop near-duplicates.
    """
    rejected = rejected + [entry for part in parts for entry in part.rejected]
    rows = [row for part in parts for row in part.rows]
    keep = np.ones(len(rows), bool)
    _drop_short_shots(rows, keep, settings.min_shot, rejected)
    if not keep_near and len(rows):
        _drop_near(rows, np.concatenate([part.hashes for part in parts]), keep, rejected)
    kept = [row for row, wanted in zip(rows, keep, strict=True) if wanted]
    divide(kept, splits)
    named = _name(kept, name)
    sequence = [i for split in SPLITS for i, row in enumerate(kept) if row.split == split]
    _write_pictures(parts, keep, named, sequence, out)
    named = [named[i] for i in sequence]
    write_index(
        out / INDEX, ({"key": key, "split": row.split, "shard": shard} | asdict(row) for key, shard, row in named)
    )
    rejected.sort(key=lambda entry: (entry.source, entry.file, entry.reason))
    _write_rejected(out / "rejected.csv", rejected)
    about = {"name": name, "settings": asdict(settings), "pictures": Counter(row.split for row in kept)}
    (out / "dataset.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return Merged(named, rejected)


def _write_pictures(
    parts: list[Part], keep: np.ndarray, named: list[tuple[str, str, CropRow]], sequence: list[int], out: Path
) -> None:
    """Shards in the order of the sources, labels in that of the index; `sequence` says which place comes when."""
    position = np.empty(len(named), int)
    position[sequence] = np.arange(len(named))
    keys = [named[i][0] for i in sequence]
    if not keys:
        return
    codes = np.lib.format.open_memmap(out / "codes.npy", "w+", np.int16, (len(keys), MESH_POINTS, 3))
    shapes = np.zeros((len(keys), 52), np.uint8)
    samples = itertools.compress((sample for part in parts for sample in part.samples()), keep)
    with ShardWriter(out) as shards:
        for place, (key, shard, _), sample in zip(position, named, samples, strict=True):
            shards.add(sample.row.split, shard, key, sample.image)
            codes[place], shapes[place] = sample.mesh, sample.shapes
    write_labels(out / LABELS, keys, codes, shapes)
    del codes
    (out / "codes.npy").unlink()


def _drop_short_shots(rows: list[CropRow], keep: np.ndarray, seconds: float, rejected: list[Rejected]) -> None:
    """A shot counts from its first frame to one frame's time after its last."""
    for video, group in itertools.groupby(range(len(rows)), key=lambda i: (rows[i].source, rows[i].video)):
        shot = list(group)
        if not video[1]:
            continue
        times = [rows[i].timestamp for i in shot]
        frame = min(np.diff(times)) if len(times) > 1 else 0.0
        if len(shot) < 2 or times[-1] - times[0] + frame < seconds - 1e-6:
            keep[shot] = False
            what = f"shot {video[1].rpartition('#')[2]} of {len(shot)} frames at {times[0]:.2f} s"
            rejected.append(Rejected(rows[shot[0]].file, "shot too short", what, len(shot), rows[shot[0]].source))


def _drop_near(rows: list[CropRow], hashes: np.ndarray, keep: np.ndarray, rejected: list[Rejected]) -> None:
    """Photos that repeat an earlier picture, and shots whose first, middle and last frames all do so of one other.

    Frames of one video resemble each other and stay.
    """
    units: list[list[int]] = []
    for (_, video), group in itertools.groupby(
        (i for i in range(len(rows)) if keep[i]), key=lambda i: (rows[i].source, rows[i].video)
    ):
        members = list(group)
        units += [members] if video else [[i] for i in members]
    probes = [(unit, i) for unit, members in enumerate(units) for i in _probes(members)]
    owner = np.array([unit for unit, _ in probes])
    matches: dict[tuple[int, int], set[int]] = {}
    for earlier, later in near_duplicates(hashes[[i for _, i in probes]]) if probes else ():
        one, other = rows[probes[earlier][1]], rows[probes[later][1]]
        if owner[earlier] != owner[later] and not (one.video and (one.source, one.file) == (other.source, other.file)):
            matches.setdefault((int(owner[later]), int(owner[earlier])), set()).add(later)
    for (later, earlier), found in sorted(matches.items()):
        members = units[later]
        if keep[members[0]] and len(found) == len(_probes(members)):
            keep[members] = False
            one, other = rows[members[0]], rows[units[earlier][0]]
            rejected.append(
                Rejected(one.file, "near-duplicate", f"of {other.video or other.file}", len(members), one.source)
            )


def _probes(members: list[int]) -> list[int]:
    return sorted({members[0], members[len(members) // 2], members[-1]})


def divide(rows: list[CropRow], splits: Splits) -> None:
    """Give every row its split, in place.

    A person's place in [0, 1) is a hash of the name, so that it neither depends on who else is there nor changes when
    more people come. Where a share is not 0 but nobody fell into it, the person nearest to it is moved there.
    """
    given = dict(splits.given)
    free = []
    for row in rows:
        named = given.get(row.person) or given.get(row.person.partition(":")[2]) or given.get(row.file)
        named = named or given.get(row.file.rpartition("/")[2])
        if given:
            row.split = named or "train"
        elif not (splits.authors and row.split):
            free.append(row)
    place = {row.person: _place(row.person) for row in free}
    chosen: dict[str, str] = {}
    low = 0.0
    for split, share in splits.shares:
        people = [person for person, at in place.items() if low <= at < low + share]
        left = sorted((at, person) for person, at in place.items() if person not in chosen and at >= low)
        if share and not people and len(left) > 1:
            people = [left[0][1]]
        chosen |= dict.fromkeys(people, split)
        low += share
    for row in free:
        row.split = chosen.get(row.person, "train")


def _place(person: str) -> float:
    return int.from_bytes(hashlib.sha256(person.encode()).digest()[:8]) / 2**64


def _name(rows: list[CropRow], name: str) -> list[tuple[str, str, CropRow]]:
    """Keys and shards: numbers of each split in order; a shot is not torn apart unless it is longer than a shard."""
    size = Counter((row.split, row.source, row.video) for row in rows if row.video)
    count: Counter[str] = Counter()
    shard: Counter[str] = Counter()
    filled: Counter[str] = Counter()
    last: dict[str, tuple] = {}
    named = []
    for row in rows:
        shot = (row.split, row.source, row.video) if row.video else None
        begins = 1 if shot is None else size[shot] if last.get(row.split) != shot else 1
        if filled[row.split] and filled[row.split] + begins > SHARD_PICTURES:
            shard[row.split] += 1
            filled[row.split] = 0
        last[row.split] = shot
        named.append((f"{row.split}{count[row.split]:06d}", f"{name}-{row.split}-{shard[row.split]:04d}.tar", row))
        count[row.split] += 1
        filled[row.split] += 1
    return named


def _write_rejected(path: Path, rejected: list[Rejected]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("source", "file", "reason", "detail", "count"))
        writer.writerows((entry.source, entry.file, entry.reason, entry.detail, entry.count) for entry in rejected)
