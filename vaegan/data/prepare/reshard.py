"""Shards of an existing data set, cropped anew inside their margin; the labels move along, no face is searched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vaegan.data.format import read_labels, read_shard
from vaegan.data.prepare.faces import crop_for, sample, tracker_for
from vaegan.data.prepare.parts import PreparedCrop, Rejected
from vaegan.data.prepare.settings import PrepareSettings
from vaegan.data.prepare.sources import Item
from vaegan.errors import UserError
from vaegan.faces.geometry import CropTransform
from vaegan.faces.tracker import Face
from vaegan.media import decode_image


def shard(item: Item, settings: PrepareSettings) -> Iterator[PreparedCrop | Rejected]:
    """The crops of one tar, in its order.

    Args:
        item: `rows` are the lines of index.csv that lie in this tar, by key.
    """
    rows = item.rows
    labels = read_labels(Path(item.path).parent, list(rows))
    number = {key: i for i, key in enumerate(rows)}
    seen = 0
    try:
        for key, where, data in read_shard(Path(item.path), rows):
            seen += 1
            name = f"{item.file}/{where.rpartition(':')[2]}"
            try:
                image = decode_image(data, name)
            except UserError as error:
                yield Rejected(name, "unreadable", str(error))
                continue
            if labels is None:
                face = next(iter(tracker_for(settings.tracker).detect(image)), None)
            else:
                i = number[key]
                face = Face(
                    labels.mesh[i] * image.shape[0], labels.blendshapes[i], float(rows[key].get("presence") or 1)
                )
            if face is None:
                yield Rejected(name, "no face")
            else:
                yield _recropped(item, name, image, face, rows[key], settings)
    except UserError as error:
        how = f"the tar is broken ({error.__cause__}); {seen} of {len(rows)} were read"
        yield Rejected(item.file, "unreadable", how)
        return
    if seen < len(rows):
        yield Rejected(item.file, "missing", "pictures that index.csv names", len(rows) - seen)


def _recropped(
    item: Item, name: str, image: np.ndarray, face: Face, old: dict[str, str], settings: PrepareSettings
) -> PreparedCrop | Rejected:
    person, split = old.get("person") or f"{item.source}:{name}", old.get("split", "")
    source = Item(item.path, old.get("file") or name, old.get("source") or item.source, person, split)
    where = {"video": old.get("video") or "", "frame": int(old.get("frame") or 0)}
    region = crop_for(face.mesh, settings)
    found = sample(source, image, face, region, settings, timestamp=float(old.get("timestamp") or 0), **where)
    if isinstance(found, Rejected):
        return found
    row, size = found.row, image.shape[0]
    # The old crop may itself reach outside its picture; where is not known, so all of it may lie in the new one.
    outside = (1 - float(old.get("cover") or 1)) * (size / region.side) ** 2
    row.cover = round(max(0.0, row.cover - outside), 3)
    if row.cover < settings.min_cover:
        return Rejected(row.file, "face at the border", f"perhaps only {row.cover:.0%} of the crop inside its picture")
    row.native_px = round(region.side * float(old.get("native_px") or size) / size)
    row.grey = int(old.get("grey") or row.grey)
    if old.get("file") and old.get("crop_side"):
        whole = CropTransform(*(float(old[f"crop_{name}"]) for name in ("x", "y", "side", "roll")))
        (x, y), ratio = whole.to_picture(np.array([[region.cx, region.cy]]), size)[0], whole.side / size
        row.crop_x, row.crop_y, row.crop_side = round(float(x), 3), round(float(y), 3), round(region.side * ratio, 3)
        row.crop_roll = round(whole.roll + region.roll, 5)
    return found
