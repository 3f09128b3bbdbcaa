"""Batches for training and validation: real crops from a data set, or faces sampled from a shipped decoder."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch

from vaegan.data.batches import CropBatches
from vaegan.data.cache import cached_crops, resized
from vaegan.data.clips import ClipSettings, read_clips
from vaegan.data.shards import find_data_set, read_index
from vaegan.errors import UserError

if TYPE_CHECKING:
    from vaegan.data.stream import StreamBatches

__all__ = ["CropBatches", "FaceData"]

KINDS = ("stills", "clips", "mixed", "stream")


@dataclass(frozen=True)
class _Crops:
    """train, val: uint8 (N, S, S, 3); more: frames to mix into training, or None; source: what it is called."""

    train: np.ndarray
    val: np.ndarray
    source: str
    more: np.ndarray | None = None


class FaceData(pl.LightningDataModule):
    """The crops that `conf/data/*.yaml` names.

    Args:
        kind: "stills"; "clips", whose frames are taken one by one; "mixed", stills and frames of clips; "stream",
            shards that are read as they are needed.
        name: a data set below $VAEGAN_DATA, a folder, or "synthetic".
        size: side of the crops in px. batch: crops a step. min_cover: see `read_index`.
        flip: mirror at random. limit: use only so many training crops (0 = all). seed: of order and flips.
        clips: which clips and how their frames are cut, see `ClipSettings`; stills need none.
        clip_share: share of the pictures of an epoch of "mixed" that are frames of clips, 0..1.
        stream: how a stream is read, see `StreamSettings`.
        synthetic: how many faces `synthetic` samples. model: the shipped model that they are sampled from.
    """

    def __init__(
        self,
        *,
        kind: str,
        name: str,
        size: int,
        batch: int,
        min_cover: float,
        flip: bool,
        limit: int,
        seed: int,
        clips: dict[str, Any] | None,
        clip_share: float,
        synthetic: int,
        model: str,
        stream: dict[str, Any] | None = None,
    ):
        super().__init__()
        if kind not in KINDS:
            raise UserError(f"data.kind={kind}: choose one of {', '.join(KINDS)}")
        if not 0 <= clip_share <= 1:
            raise UserError(f"data.clip_share={clip_share:g} is no share: use 0 to 1")
        self.kind, self.name, self.size, self.batch, self.min_cover = kind, name, size, batch, min_cover
        self.flip, self.limit, self.seed, self.synthetic, self.model = flip, limit, seed, synthetic, model
        self.clips = ClipSettings(**clips) if clips else None
        self.clip_share = clip_share
        self.stream = stream
        self.train: CropBatches | StreamBatches | None = None
        self.val: CropBatches | None = None
        self.source = ""

    def setup(self, stage: str | None = None) -> None:
        if self.train is not None:
            return
        if self.kind == "stream":
            self._open_stream()
            return
        crops = self._crops()
        self.source = crops.source
        if len(crops.train) < self.batch:
            raise UserError(
                f"{self.source} has {len(crops.train)} training pictures, fewer than one batch of {self.batch}"
            )
        self.train = CropBatches(
            crops.train,
            self.batch,
            shuffle=True,
            flip=self.flip,
            seed=self.seed,
            limit=self.limit,
            more=crops.more,
            more_share=self.clip_share,
        )
        self.val = CropBatches(crops.val, self.batch, shuffle=False, flip=False, limit=self.limit)

    def _open_stream(self) -> None:
        from vaegan.data.stream import open_stream

        self.source = self.name.rstrip("/").rpartition("/")[2]
        self.train, val = open_stream(
            self.name,
            self.stream or {},
            size=self.size,
            batch=self.batch,
            min_cover=self.min_cover,
            flip=self.flip,
            limit=self.limit,
            seed=self.seed,
        )
        self.val = CropBatches(val, self.batch, shuffle=False, flip=False)

    def _crops(self) -> _Crops:
        if self.kind == "clips":
            train, val = (self._frames(split) for split in ("train", "val"))
            return _Crops(train, val, Path(self.clips.name).name)
        folder = None if self.name == "synthetic" else find_data_set(self.name)
        if folder is None:
            return self._sampled()
        train = read_index(folder, "train", self.min_cover)
        val = read_index(folder, "val", self.min_cover)
        crops = _Crops(cached_crops(folder, train, self.size), cached_crops(folder, val, self.size), folder.name)
        if self.kind == "stills" or self.clip_share == 0:
            return crops
        return _Crops(crops.train, crops.val, f"{folder.name}+{Path(self.clips.name).name}", self._frames("train"))

    def _frames(self, split: str) -> np.ndarray:
        return read_clips(self.clips, split, self.size, self.min_cover).frames

    def _sampled(self) -> _Crops:
        if self.name not in ("synthetic", "faces") or self.kind != "stills":
            raise UserError(_missing(self.name))
        if self.name == "faces":
            print(
                "no data set 'faces' (VAEGAN_DATA is not set): training on data=synthetic, "
                "faces sampled from the shipped decoder",
                file=sys.stderr,
            )
        crops = sampled_faces(self.model, self.synthetic, self.size, self.seed)
        return _Crops(crops[: -len(crops) // 10], crops[-len(crops) // 10 :], "synthetic")

    def train_dataloader(self) -> "CropBatches | StreamBatches":
        if self.trainer is not None:
            self.train.rank, self.train.world = self.trainer.global_rank, self.trainer.world_size
            self.train.set_epoch(self.trainer.current_epoch)
        return self.train

    def val_dataloader(self) -> CropBatches:
        return self.val


def sampled_faces(model: str, count: int, size: int, seed: int) -> np.ndarray:
    """Faces drawn from the prior of a shipped model: uint8 (count, size, size, 3)."""
    from vaegan.model import load_model

    decoder = load_model(model)
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for start in range(0, count, 256):
        z = torch.randn(min(256, count - start), decoder.latent_dim, generator=generator)
        pictures = decoder.decode(z).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
        batches.extend(pictures if decoder.size == size else (resized(p, size) for p in pictures))
    return np.stack(batches)


def data_folder(name: str) -> Path:
    """The folder of a data set, or UserError that says how to name one."""
    folder = find_data_set(name)
    if folder is None:
        raise UserError(_missing(name))
    return folder


def _missing(name: str) -> str:
    return f"no data set '{name}': set VAEGAN_DATA to the folder that holds it, or give a path"
