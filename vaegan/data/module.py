"""The one interface between data and training: what a training may rely on, whichever data set it is given."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pytorch_lightning as pl
from torch import Tensor

from vaegan.data.augment import Augment, AugmentSettings
from vaegan.data.batches import CropBatches, content_hash
from vaegan.errors import UserError


class Batches(Protocol):
    """The batches of one split, float (N, 3, S, S) in [0, 1], or (N, T, C, S, S) of clips.

    What epoch e holds depends on (seed, e) only, so that a resumed run sees what an unbroken one would have seen.

    crops: uint8 (M, S, S, 3), pictures of the split, all or a sample, for figures and a start from their PCA.
    pictures: how many there are. content: arrays whose hash tells them from other pictures.
    rank, world: this process's share of an epoch.
    """

    crops: np.ndarray
    pictures: int
    content: list[np.ndarray]
    rank: int
    world: int

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that iterating gives; a training does so when each of its epochs begins."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Tensor]: ...


@dataclass(kw_only=True, eq=False)
class FaceData(pl.LightningDataModule):
    """Faces to train on and to validate with.

    Attributes, after `setup`:
        train, val: `Batches`. source: what the data is called in model cards and records.
    """

    size: int
    """Side of the crops, px."""
    batch: int
    """Crops, pairs or clips in a batch."""
    min_cover: float
    """Crops of which a smaller share lies inside their picture are left out, 0..1."""
    flip: bool
    """Mirror every second crop or clip at random."""
    limit: int
    """Train on only so many, always the same ones; 0 = all."""
    seed: int
    """Of order, flips and augmentation."""

    def __post_init__(self) -> None:
        super().__init__()
        self.train: Batches | None = None
        self.val: Batches | None = None
        self.source = ""

    @abstractmethod
    def read(self) -> None:
        """Set `train`, `val` and `source`. Raises UserError when there is nothing to read."""

    def setup(self, stage: str | None = None) -> None:
        if self.train is None:
            self.read()

    def facts(self) -> dict[str, Any]:
        """What a run's record says of the data: name, size and number of the crops, and a hash of what they are."""
        train, val = self.train, self.val.crops
        return {
            "name": self.source,
            "size": self.size,
            "train": train.pictures,
            "val": len(val),
            "fingerprint": content_hash(val, *train.content),
        }

    def train_dataloader(self) -> Batches:
        if self.trainer is not None:
            self.train.rank, self.train.world = self.trainer.global_rank, self.trainer.world_size
            self.train.set_epoch(self.trainer.current_epoch)
        return self.train

    def val_dataloader(self) -> Batches:
        return self.val


@dataclass(kw_only=True, eq=False)
class CachedData(FaceData):
    """Faces that lie decoded in the cache, so that any of them can be drawn at any time, and changed."""

    balance: str
    """What is drawn evenly, one of `balance.KINDS`."""
    expression: dict[str, float]
    """The shares that balance=expression aims at, see `balance.draw_weights`."""
    augment: dict[str, Any]
    """How far training pictures are changed at most, see `AugmentSettings`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        changes = AugmentSettings(**self.augment)
        self.changes = Augment(changes, self.flip) if changes else None

    def crop_batches(self, train: np.ndarray, val: np.ndarray, **drawing: Any) -> None:
        """Set `train` and `val` to batches of uint8 (N, S, S, 3); `drawing`: further arguments of `CropBatches`."""
        if len(train) < self.batch:
            raise UserError(f"{self.source} has {len(train)} training pictures, fewer than one batch of {self.batch}")
        self.train = CropBatches(
            train,
            self.batch,
            shuffle=True,
            flip=self.flip,
            seed=self.seed,
            limit=self.limit,
            augment=self.changes,
            **drawing,
        )
        self.val = CropBatches(val, self.batch, shuffle=False, flip=False, limit=self.limit)
