"""Stills and pairs of frames of one clip in one batch, with labels and masks, out of packed parts."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaegan.data.batches import Batches
from vaegan.data.cache import cache_root, new_folder
from vaegan.data.module import TrainingData
from vaegan.data.pack import CROP, Pack, read_pack
from vaegan.errors import UserError
from vaegan.faces.blendshapes import MIRRORED_BLENDSHAPES
from vaegan.faces.geometry import MIRRORED_POINTS
from vaegan.tensors import to_float

Batch = dict[str, Any]
"""crops: float (N, 3, 64, 64) in [0, 1]; inside: float (N, 1, 64, 64), 0 beyond the source picture; mesh: float
(N, 478, 3) in sides of the crop; blendshapes: float (N, 52) in [0, 1]; clip: (N,) number of the clip, -1 for stills;
pairs: the last 2 * pairs rows are frames, row -2p + i and row -p + i of one clip."""


class PackBatches(Batches):
    """Batches of a pack; those of step s of epoch e depend on (seed, e, s) only.

    Args:
        pack: stills and frames. device: where the pack lies and batches are made.
        batch: pictures in one. paired: share of them that are frames in pairs, 0 to 1. steps: batches of an epoch.
        brightness, tint: standard deviations of a factor on all and of a shift of each colour, alike in a pair.
    """

    def __init__(
        self, pack: Pack, batch: int, paired: float, steps: int, seed: int, brightness: float, tint: float
    ) -> None:
        self.pack, self.batch, self.steps, self.seed = pack, batch, steps, seed
        self.brightness, self.tint = brightness, tint
        self.crops = pack.crops
        stills = int((pack.clip < 0).sum())
        counts = np.bincount(pack.clip[stills:]) if stills < len(pack) else np.zeros(1, int)
        firsts = stills + np.concatenate([[0], np.cumsum(counts)[:-1]])
        self.stills, self.counts, self.firsts = stills, counts[counts > 1], firsts[counts > 1]
        self.pairs = round(batch * paired / 2) if len(self.counts) else 0
        if not stills and 2 * self.pairs < batch:
            raise UserError("the pack holds no stills: pack some, or set data.paired=1")
        self._there: dict[str, Tensor] = {}

    def on(self, device: torch.device) -> "PackBatches":
        """Move the pack to where batches are made."""
        p = self.pack
        arrays = {"crops": p.crops, "inside": p.inside, "mesh": p.mesh, "blendshapes": p.blendshapes, "clip": p.clip}
        arrays |= {"firsts": self.firsts, "counts": self.counts}
        self._there = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        self._there["points"] = torch.from_numpy(MIRRORED_POINTS).to(device)
        self._there["shapes"] = torch.from_numpy(MIRRORED_BLENDSHAPES).to(device)
        return self

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        if not self._there:
            self.on(torch.device("cpu"))
        device = self._there["crops"].device
        generator = torch.Generator(device)
        for step in range(self.steps):
            generator.manual_seed(_seed(self.seed, self.epoch, step, self.rank))
            yield self._changed(self.rows(self._drawn(generator)), generator)

    def rows(self, rows: Tensor) -> Batch:
        """The pictures of these rows, unchanged."""
        t = self._there
        rows = rows.to(t["crops"].device)
        return {
            "crops": to_float(t["crops"][rows]),
            "inside": t["inside"][rows].float()[:, None],
            "mesh": t["mesh"][rows].float(),
            "blendshapes": t["blendshapes"][rows].float() / 255,
            "clip": t["clip"][rows],
            "pairs": self.pairs,
        }

    def _drawn(self, generator: torch.Generator) -> Tensor:
        device, p = self._there["crops"].device, self.pairs
        stills = torch.randint(max(1, self.stills), (self.batch - 2 * p,), generator=generator, device=device)
        if not p:
            return stills
        clips = torch.randint(len(self.counts), (p,), generator=generator, device=device)
        first, count = self._there["firsts"][clips], self._there["counts"][clips]
        chosen = torch.rand(2, p, generator=generator, device=device) * count
        return torch.cat([stills, *(first + chosen.long().clamp(max=count - 1))])

    def _changed(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Half of the pictures mirrored, labels and all, and others' colours."""
        n, p, device = len(batch["crops"]), self.pairs, batch["crops"].device
        turned = torch.rand(n, generator=generator, device=device) < 0.5
        gain = 1 + self.brightness * torch.randn(n, 1, 1, 1, generator=generator, device=device)
        shift = self.tint * torch.randn(n, 3, 1, 1, generator=generator, device=device)
        if p:
            for drawn in (turned, gain, shift):
                drawn[-p:] = drawn[-2 * p : -p]
        batch = mirrored_batch(batch, turned, self._there["points"], self._there["shapes"])
        batch["crops"] = (batch["crops"] * gain + shift).clamp(0, 1)
        return batch


def mirrored_batch(batch: Batch, turned: Tensor, points: Tensor, shapes: Tensor) -> Batch:
    """A batch with the rows `turned` (N,) bool mirrored: picture, mask, mesh and blendshapes alike.

    points (478,), shapes (52,): which point and blendshape each becomes, MIRRORED_POINTS and MIRRORED_BLENDSHAPES.
    """
    mesh = batch["mesh"][:, points]
    mesh = torch.cat([1 - mesh[..., :1], mesh[..., 1:]], -1)
    wide = turned[:, None, None, None]
    return {
        **batch,
        "crops": torch.where(wide, batch["crops"].flip(-1), batch["crops"]),
        "inside": torch.where(wide, batch["inside"].flip(-1), batch["inside"]),
        "mesh": torch.where(turned[:, None, None], mesh, batch["mesh"]),
        "blendshapes": torch.where(turned[:, None], batch["blendshapes"][:, shapes], batch["blendshapes"]),
    }


class PackRows(Batches):
    """Validation: every row of a pack in order, stills first, then the clips' frames."""

    def __init__(self, pack: Pack, batch: int) -> None:
        self.batches = PackBatches(pack, batch, 0.0, 1, 0, 0.0, 0.0)
        self.crops, self.batch, self.size, self.shuffle, self.pack = pack.crops, batch, len(pack), False, pack

    def __iter__(self) -> Iterator[Batch]:
        if not self.batches._there:
            self.batches.on(torch.device("cpu"))
        for start in range(0, len(self.pack), self.batch):
            yield self.batches.rows(torch.arange(start, min(start + self.batch, len(self.pack))))


def _seed(*parts: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "little")


@dataclass(kw_only=True, eq=False)
class PackData(TrainingData):
    """Stills and pairs of frames of one clip with mesh, blendshapes and masks: see `Batch`."""

    folder: str
    """Of packed parts (`vaegan pack`); "" packs `stills` and `clips` into the cache, once."""
    stills: dict[str, float]
    """Data sets with labels -> least share of a crop that lies inside its picture."""
    clips: list[str]
    """Folders of clips, or of people with two pictures each; below $VAEGAN_DATA, or paths."""
    size: int
    """Side of the crops, px: 64."""
    batch: int
    """Pictures in a batch."""
    paired: float
    """Share of these that are frames in pairs; the others are stills."""
    steps: int
    """Batches of an epoch: of one line of the curve."""
    every: int
    """Of a clip's frames one in `every` is taken."""
    limit: int
    """At most this many stills of a part and a twentieth as many clips; 0 = all."""
    val_limit: int
    """Likewise of those that validate."""
    brightness: float
    """Standard deviation of a factor on a picture."""
    tint: float
    """Standard deviation of a shift of each colour, of 1."""
    on_device: bool
    """Keep everything on the graphics card (2 GB), so that nothing waits for the host."""
    workers: int
    """Threads that decode the parts."""
    seed: int
    """Of order, flips and colours."""

    def read(self) -> None:
        if self.size != CROP:
            raise UserError(f"packed parts hold crops of {CROP} px: data.size={self.size} is not possible")
        folder = Path(self.folder) if self.folder else packed(self.stills, self.clips)
        self.source = "+".join([*self.stills, *self.clips])
        pack = read_pack(folder, "train", every=self.every, limit=self.limit, workers=self.workers)
        if len(pack) < self.batch:
            raise UserError(f"{folder} has {len(pack)} training pictures, fewer than one batch of {self.batch}")
        self.train = PackBatches(pack, self.batch, self.paired, self.steps, self.seed, self.brightness, self.tint)
        self.val = PackRows(read_pack(folder, "val", limit=self.val_limit, workers=self.workers), self.batch)

    def train_dataloader(self) -> PackBatches:
        if self.trainer is not None and self.on_device and not self.train._there:
            self.train.on(self.trainer.strategy.root_device)
            self.val.batches.on(self.trainer.strategy.root_device)
        return super().train_dataloader()

    def facts(self) -> dict[str, Any]:
        clips = int(self.train.pack.clip.max()) + 1
        facts = {"name": self.source, "size": self.size, "train": len(self.train.pack), "val": len(self.val.pack)}
        facts |= {"stills": self.train.stills, "clips": clips}
        return {**facts, "fingerprint": hashlib.sha256(self.train.pack.mesh[::97].tobytes()).hexdigest()[:16]}


def packed(stills: dict[str, float], clips: list[str]) -> Path:
    """The folder in the cache with these data sets packed, made when it is not there.

    Raises UserError when a data set is missing.
    """
    from vaegan.data.packer import label_tracker, write_pack  # needs PyAV, which packed parts do without

    tracker = label_tracker()
    stamp = json.dumps([stills, clips, tracker.backend.name, os.environ.get("VAEGAN_DATA", "")])
    folder = cache_root() / f"pack-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        with new_folder(folder) as unfinished:
            write_pack(unfinished, stills, clips, 2**31, tracker)
    return folder
