"""Batches for training and validation: real crops from a data set, or faces sampled from a shipped decoder."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from vaegan.data.cache import cached_crops
from vaegan.data.shards import find_data_set, read_index
from vaegan.errors import UserError


class CropBatches:
    """Shuffled batches out of one uint8 array: a gather and a conversion, no workers needed.

    The order of epoch e depends on (seed, e) only, so that a resumed run sees what an unbroken one would have seen.
    Iterating yields float (N, 3, S, S) in [0, 1].

    Args:
        crops: uint8 (N, S, S, 3). flip: mirror every second crop at random. shuffle: off for validation, where the
        last batch may be smaller; in training an incomplete batch is left out. rank, world: this process's share.
    """

    def __init__(self, crops: np.ndarray, batch: int, *, shuffle: bool, flip: bool, seed: int = 0, limit: int = 0):
        self.crops, self.batch, self.shuffle, self.flip, self.seed = crops, batch, shuffle, flip, seed
        self.limit = limit or len(crops)
        self.epoch, self.rank, self.world = 0, 0, 1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        share = min(self.limit, len(self.crops)) // self.world
        return share // self.batch if self.shuffle else -(-share // self.batch)

    def __iter__(self) -> Iterator[Tensor]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.crops)) if self.shuffle else np.arange(len(self.crops))
        mirrored = generator.random(len(order)) < 0.5 if self.flip else np.zeros(len(order), bool)
        order = order[: self.limit][self.rank :: self.world]
        for i in range(len(self)):
            chosen = np.sort(order[i * self.batch : (i + 1) * self.batch])
            crops = self.crops[chosen]
            turned = mirrored[chosen]
            crops[turned] = crops[turned, :, ::-1]
            yield torch.from_numpy(crops).permute(0, 3, 1, 2).float().div_(255)


class FaceData(pl.LightningDataModule):
    """The crops that `conf/data/*.yaml` names.

    Args:
        name: a data set below $VAEGAN_DATA, a folder, or "synthetic".
        size: side of the crops in px. batch: crops a step. min_cover: see `read_index`.
        flip: mirror at random. limit: use only so many training crops (0 = all). seed: of order and flips.
        synthetic: how many faces `synthetic` samples.
        model: the shipped model that `synthetic` samples from.
    """

    def __init__(
        self, name: str, size: int, batch: int, min_cover: float, flip: bool, limit: int, seed: int, synthetic: int,
        model: str,
    ):  # fmt: skip
        super().__init__()
        self.name, self.size, self.batch, self.min_cover = name, size, batch, min_cover
        self.flip, self.limit, self.seed, self.synthetic, self.model = flip, limit, seed, synthetic, model
        self.train: CropBatches | None = None
        self.val: CropBatches | None = None
        self.source = ""

    def setup(self, stage: str | None = None) -> None:
        if self.train is not None:
            return
        train, val = self._arrays()
        if len(train) < self.batch:
            raise UserError(f"{self.source} has {len(train)} training pictures, fewer than one batch of {self.batch}")
        self.train = CropBatches(train, self.batch, shuffle=True, flip=self.flip, seed=self.seed, limit=self.limit)
        self.val = CropBatches(val, self.batch, shuffle=False, flip=False, limit=self.limit)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        folder = None if self.name == "synthetic" else find_data_set(self.name)
        if folder is None:
            if self.name not in ("synthetic", "faces"):
                raise UserError(
                    f"no data set '{self.name}': set VAEGAN_DATA to the folder that holds it, or give a path"
                )
            if self.name == "faces":
                print(
                    "no data set 'faces' (VAEGAN_DATA is not set): training on data=synthetic, "
                    "faces sampled from the shipped decoder",
                    file=sys.stderr,
                )
            self.source = "synthetic"
            crops = sampled_faces(self.model, self.synthetic, self.size, self.seed)
            return crops[: -len(crops) // 10], crops[-len(crops) // 10 :]
        self.source = folder.name
        train = read_index(folder, "train", self.min_cover)
        val = read_index(folder, "val", self.min_cover)
        return cached_crops(folder, train, self.size), cached_crops(folder, val, self.size)

    def train_dataloader(self) -> CropBatches:
        if self.trainer is not None:
            self.train.rank, self.train.world = self.trainer.global_rank, self.trainer.world_size
            self.train.set_epoch(self.trainer.current_epoch)
        return self.train

    def val_dataloader(self) -> CropBatches:
        return self.val


def sampled_faces(model: str, count: int, size: int, seed: int) -> np.ndarray:
    """Faces drawn from the prior of a shipped model: uint8 (count, size, size, 3)."""
    from vaegan.data.cache import resized
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
        raise UserError(f"no data set '{name}': set VAEGAN_DATA to the folder that holds it, or give a path")
    return folder
