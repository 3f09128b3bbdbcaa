"""Batches for training and validation: real crops from a data set, or faces sampled from a shipped decoder."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch

from vaegan.data.augment import Augment, AugmentSettings
from vaegan.data.balance import clip_weights, still_weights
from vaegan.data.batches import CropBatches
from vaegan.data.cache import cached_crops, resized
from vaegan.data.clip_batches import TakeSettings
from vaegan.data.clips import Clips, ClipSettings, read_clips
from vaegan.data.shards import find_data_set, missing, read_index
from vaegan.errors import UserError

if TYPE_CHECKING:
    from vaegan.data.stream import StreamBatches

__all__ = ["CropBatches", "FaceData"]

KINDS = ("stills", "clips", "pairs", "mixed", "stream")


@dataclass(frozen=True)
class _Crops:
    """train, val: uint8 (N, S, S, 3); more: frames to mix into training, or None; source: what it is called; weights,
    more_weights: how often to draw each, or None."""

    train: np.ndarray
    val: np.ndarray
    source: str
    weights: np.ndarray | None = None
    more: np.ndarray | None = None
    more_weights: np.ndarray | None = None


class FaceData(pl.LightningDataModule):
    """The crops that `conf/data/*.yaml` names.

    Args:
        kind: "stills"; "clips" or "pairs", whose frames are taken one by one here (`ClipData` gives whole clips);
            "mixed", stills and frames of clips; "stream", shards that are read as they are needed.
        name: a data set below $VAEGAN_DATA, a folder, or "synthetic".
        size: side of the crops in px. batch: crops a step. min_cover: see `read_index`.
        flip: mirror at random. limit: use only so many training crops (0 = all). seed: of order and flips.
        clips: which clips and how their frames are cut, see `ClipSettings`; stills need none.
        clip_share: share of the pictures of an epoch of "mixed" that are frames of clips, 0..1.
        balance: "none" | "source" | "person" | "expression" | "pose", see `draw_weights`. expression: its shares.
        augment: how far training crops are changed, see `AugmentSettings`; None: only mirrored.
        take: which clips or pairs `ClipData` takes; crops need none.
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
        balance: str = "none",
        expression: dict[str, float] | None = None,
        augment: dict[str, float] | None = None,
        take: dict[str, Any] | None = None,
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
        self.balance, self.expression = balance, expression or {}
        changes = AugmentSettings(**augment) if augment else None
        self.augment = Augment(changes, flip) if changes else None
        self.take = TakeSettings(**take) if take else None
        self.stream = stream
        self.train: CropBatches | StreamBatches | None = None
        self.val: CropBatches | None = None
        self.source = ""

    def setup(self, stage: str | None = None) -> None:
        if self.train is not None:
            return
        if self.kind == "stream":
            if self.balance != "none" or self.augment is not None:
                raise UserError("data=stream only mirrors pictures: leave data.balance and data.augment as they are")
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
            weights=crops.weights,
            more_weights=crops.more_weights,
            augment=self.augment,
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
        if self.kind in ("clips", "pairs"):
            train, val = self._clips("train"), self._clips("val")
            weights = clip_weights(train, self.balance, self.expression)
            return _Crops(train.frames, val.frames, Path(self.clips.name).name, weights)
        folder = None if self.name == "synthetic" else find_data_set(self.name)
        if folder is None:
            return self._sampled()
        entries = read_index(folder, "train", self.min_cover)
        crops = _Crops(
            cached_crops(folder, entries, self.size),
            cached_crops(folder, read_index(folder, "val", self.min_cover), self.size),
            folder.name,
            still_weights(folder, entries, self.balance, self.expression),
        )
        if self.kind == "stills" or self.clip_share == 0:
            return crops
        clips = self._clips("train")
        return replace(
            crops,
            source=f"{folder.name}+{Path(self.clips.name).name}",
            more=clips.frames,
            more_weights=clip_weights(clips, self.balance, self.expression),
        )

    def _clips(self, split: str) -> Clips:
        return read_clips(self.clips, split, self.size, self.min_cover)

    def _sampled(self) -> _Crops:
        if self.name not in ("synthetic", "faces") or self.kind != "stills":
            raise missing(self.name)
        if self.balance != "none":
            raise UserError(f"data.balance={self.balance} needs a data set with labels, and data=synthetic has none")
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
        raise missing(name)
    return folder
