"""The frames of clips at 256 px with their labels, out of packed parts: what the refiner of `warp` learns from."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaegan.data.batches import Batches
from vaegan.data.module import TrainingData
from vaegan.data.pack import Pack, read_pack
from vaegan.data.pack_data import packed


class FrameSteps(Batches):
    """The steps of an epoch; the training draws its pairs of frames from `pack` itself, on the device.

    pack: without stills. steps: of an epoch.
    """

    def __init__(self, pack: Pack, steps: int) -> None:
        self.pack, self.steps = pack, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[int]:
        yield from range(self.epoch * self.steps, (self.epoch + 1) * self.steps)


@dataclass(kw_only=True, eq=False)
class FramesData(TrainingData):
    """Clips to draw pairs of frames from; those of the split `val` validate."""

    folder: str
    """Of packed parts (`vaegan pack`); "" packs `clips` into the cache, once."""
    clips: list[str]
    """Folders of clips, or of people with two pictures each; below $VAEGAN_DATA, or paths."""
    steps: int
    """Of an epoch: of one line of the curve."""
    every: int
    """Of a clip's frames one in `every` is taken; a frame takes 200 kB."""
    limit: int
    """At most a twentieth as many clips of a part; 0 = all."""
    workers: int
    """Threads that decode the parts."""

    def read(self) -> None:
        folder = Path(self.folder) if self.folder else packed({}, self.clips)
        parts = {
            split: read_pack(folder, split, True, self.every, self.limit, self.workers, with_stills=False)
            for split in ("train", "val")
        }
        train = parts["train"]
        self.source = f"{'+'.join(self.clips)}: {len(train.frames):,} frames of {_clips(train)} clips"
        self.train, self.val = FrameSteps(parts["train"], self.steps), FrameSteps(parts["val"], 1)

    def facts(self) -> dict[str, Any]:
        train, val = self.train.pack, self.val.pack
        digest = hashlib.sha256(train.frame_mesh[::97].tobytes()).hexdigest()[:16]
        facts = {"name": self.source, "train": len(train.frames), "val": len(val.frames), "clips": _clips(train)}
        return {**facts, "fingerprint": digest}


def _clips(pack: Pack) -> int:
    return len(np.unique(pack.clip))
