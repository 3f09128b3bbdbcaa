"""Every picture of a prepared set or of a folder of photos, read past whatever is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from vaegan.data.check.looked import PROBE_PICTURES, Looked
from vaegan.data.format import LABELS, Labels, by_shard, read_index, read_labels, read_shard
from vaegan.data.prepare.faces import large_faces
from vaegan.data.prepare.sources import Item
from vaegan.errors import UserError
from vaegan.faces.geometry import head_pose
from vaegan.faces.tracker import FaceTracker
from vaegan.media import decode_image, read_image

LABELLED_PHOTOS = 1000
"""Pictures of a folder without labels that the landmarker sees, if there is one."""

MAX_YAW_APART = 4.0
"""Degrees, median; labels in their right order agree within one."""


def look_at_set(folder: Path, looked: Looked, begin: Callable[[int], Callable[[], None]]) -> None:
    """Look at a set with index.csv: the pictures of its shards in their order, with labels where it has them.

    Raises:
        UserError: there is no index that can be read.
    """
    entries = read_index(folder, None)
    rows = {entry.key: entry.columns for entry in entries}
    advance = begin(len(entries))
    looked.prepared = True
    labels, number = _labels(folder, rows, looked)
    probed = set(_spread(list(rows), PROBE_PICTURES))
    for shard, wanted in by_shard(entries).items():
        for key, data in _members(folder / shard, wanted, looked):
            row, where = rows[key], f"{shard}:{key}"
            advance()
            try:
                image = decode_image(data, where)
                native, cover = float(row.get("native_px") or min(image.shape[:2])), float(row.get("cover") or 1)
                pose = (float(row["yaw"]), float(row["pitch"])) if row.get("yaw") and row.get("pitch") else None
            except (UserError, ValueError) as error:
                looked.broken.append((where, str(error).removeprefix(where).strip(" :")))
                continue
            i = number.get(key)
            shapes = None if labels is None or i is None else labels.blendshapes[i]
            if pose is None and shapes is not None:
                pose = head_pose(labels.mesh[i])[:2]
            looked.add(
                image, key, where, row["split"], row.get("source") or folder.name, row.get("person") or key,
                group=row.get("video") or "", native_px=native, cover=cover, pose=pose, shapes=shapes,
                probe=key in probed,
            )  # fmt: skip


def _labels(folder: Path, rows: dict, looked: Looked) -> tuple[Labels | None, dict[str, int]]:
    """The labels and the place of each key in them; what is wrong with them is noted."""
    try:
        labels = read_labels(folder)
    except UserError as error:
        looked.broken.append((LABELS, str(error)))
        return None, {}
    if labels is None:
        return None, {}
    number = {key: i for i, key in enumerate(labels.key.tolist())}
    looked.unlabelled = sum(key not in number for key in rows)
    wrong = ~np.isfinite(labels.mesh).all((1, 2)) | (np.abs(labels.mesh[:, :468, :2] - 0.5).max((1, 2)) > 1.4)
    looked.broken += [
        (f"{LABELS}:{labels.key[i]}", "its mesh lies far outside the crop") for i in np.flatnonzero(wrong)
    ]
    compared = _spread([key for key in number if rows.get(key, {}).get("yaw")], 200)
    if compared:
        apart = [abs(head_pose(labels.mesh[number[key]])[0] - float(rows[key]["yaw"])) for key in compared]
        if np.median(apart) > MAX_YAW_APART:
            why = (
                f"the yaw of its meshes is {np.median(apart):.0f} degrees from index.csv's: they are of other pictures"
            )
            looked.broken.append((LABELS, why))
    return labels, number


def _members(path: Path, wanted: dict, looked: Looked) -> Iterator[tuple[str, bytes]]:
    """Key and bytes of the pictures of a shard, noting what is missing."""
    found = set()
    try:
        for key, _, data in read_shard(path, wanted):
            found.add(key)
            yield key, data
    except UserError as error:
        looked.broken.append((path.name, f"broken shard: {error.__cause__}"))
    if len(found) < len(wanted):
        lost = sorted(set(wanted) - found)
        looked.broken.append((path.name, f"lacks {len(lost)} pictures that index.csv names, first {lost[0]}"))


def look_at_photos(items: list[Item], looked: Looked, watcher: Watcher, advance: Callable[[], None]) -> None:
    """Look at loose photos; some of them are shown to the landmarker, where there is one."""
    shown = set(_spread([item.file for item in items], LABELLED_PHOTOS))
    probed = set(_spread([item.file for item in items], PROBE_PICTURES))
    for item in items:
        advance()
        try:
            image = read_image(item.path)
        except UserError as error:
            looked.broken.append((item.file, str(error).removeprefix(item.path).strip(" :")))
            continue
        pose, shapes = watcher.look(image) if item.file in shown else (None, None)
        looked.add(
            image, item.file, item.path, item.split or "unsplit", item.source, item.person, pose=pose, shapes=shapes,
            probe=item.file in probed,
        )  # fmt: skip


class Watcher:
    """The landmarker, if there is one; counts the pictures in which it saw no face."""

    def __init__(self) -> None:
        self.shown = self.faceless = 0

    @cached_property
    def tracker(self) -> FaceTracker | None:
        """None where no backend can be had: then the report says that poses and expressions are not known."""
        try:
            return FaceTracker(smoothing=False)
        except UserError:
            return None

    def look(self, image: np.ndarray) -> tuple[tuple[float, float] | None, np.ndarray | None]:
        """Yaw and pitch, and blendshapes, of the largest face; None where there is none."""
        if self.tracker is None:
            return None, None
        self.shown += 1
        found = large_faces(self.tracker.backend, image) or self.tracker.detect(image)
        face = next(iter(found), None)
        if face is None:
            self.faceless += 1
            return None, None
        return head_pose(face.mesh)[:2], face.blendshapes


def _spread(keys: list[str], count: int) -> list[str]:
    """At most `count` keys, evenly over the list."""
    if len(keys) <= count:
        return keys
    return [keys[i] for i in np.linspace(0, len(keys) - 1, count).round().astype(int)]
