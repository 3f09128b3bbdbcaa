"""The one interface between data and training: what a training may rely on, whichever data set it is given."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl

from vaegan.data.augment import Augment, AugmentSettings
from vaegan.data.batches import Batches, CropBatches, content_hash
from vaegan.errors import UserError


class TrainingData(pl.LightningDataModule):
    """Reads its splits when training or validation begins.

    Attributes, after `setup`:
        train, val: `Batches`. source: what the data is called in model cards and records.

    Attributes that a training sets before: processes, process: how many share an epoch, and which this is. least:
        training pictures without which it cannot start.
    """

    processes, process, least = 1, 0, 0

    def __post_init__(self) -> None:
        super().__init__()
        self.train: Batches | None = None
        self.val: Batches | None = None
        self.source = ""

    @abstractmethod
    def read(self) -> None:
        """Set `train`, `val` and `source`. Raises UserError when there is nothing to read."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What a run's record says of the data: name, size and number of the crops, and a hash of what they are."""

    def setup(self, stage: str | None = None) -> None:
        if self.train is None:
            self.read()
            self.train.rank, self.train.world = self.process, self.processes

    def train_dataloader(self) -> Batches:
        if self.trainer is not None:
            self.train.set_epoch(self.trainer.current_epoch)
        return self.train

    def val_dataloader(self) -> Batches:
        return self.val


@dataclass(kw_only=True, eq=False)
class FaceData(TrainingData):
    """Faces to train on and to validate with."""

    size: int
    """Side of the crops, px."""
    batch: int
    """Crops, pairs or clips in a batch."""
    min_cover: float
    """Crops of which a smaller share lies inside their picture are left out, 0..1."""
    flip: bool
    """Mirror every second crop or clip at random."""
    limit: int
    """Train on at most this many, always the same ones; 0 = all."""
    seed: int
    """Of order, flips and augmentation."""

    def check_counts(self, train: int, val: int) -> None:
        """Raises UserError where so many pictures to train on and to validate with are too few."""
        step, used = self.batch * self.processes, min(train, self.limit or train)
        if not train or not val:
            raise UserError(
                f"{self.source} has {train + val} to learn from, {train} to train on and {val} to validate with: "
                "one picture of each is needed at least"
            )
        if train < self.least:
            raise UserError(
                f"a start from a PCA needs {self.least} training pictures, {self.source} has {train}: "
                "start at random with model.pca_start=false"
            )
        if used < step:
            each = f"{self.batch} for each of {self.processes} processes" if self.processes > 1 else f"{self.batch}"
            limited = f" (data.limit={self.limit})" if used < train else ""
            raise UserError(
                f"{self.source} has {used} training pictures{limited}, fewer than one batch of {each}: "
                f"data.batch={max(1, used // self.processes)} or less"
            )

    def facts(self) -> dict[str, Any]:
        train, val = self.train, self.val.crops
        return {
            "name": self.source,
            "size": self.size,
            "train": train.pictures,
            "val": len(val),
            "fingerprint": content_hash(val, *train.content),
        }


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
        self.check_counts(len(train), len(val))
        drawing |= {"flip": self.flip, "seed": self.seed, "augment": self.changes}
        self.train = CropBatches(train, self.batch, shuffle=True, limit=self.limit, **drawing)
        self.val = CropBatches(val, self.batch, shuffle=False, flip=False, limit=self.limit)
