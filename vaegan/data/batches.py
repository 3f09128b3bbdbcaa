"""Shuffled batches of crops: stills, frames of clips, or both in a set ratio, evened out or not."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import WeightedRandomSampler

from vaegan.data.augment import Augment, draw_seed
from vaegan.tensors import to_float


class Batches(ABC):
    """The batches of one split, float (N, 3, S, S) in [0, 1], or (N, T, C, S, S) of clips.

    What epoch e holds depends on (seed, e) only, so that a resumed run sees what an unbroken one would have seen.

    Attributes:
        crops: uint8 (M, S, S, 3), pictures of the split, all or a sample, for figures and a start from their PCA.
        batch: pictures or clips in one; size: of an epoch. shuffle: off for validation, where the last batch may be
            smaller; in training an incomplete one is left out.
        epoch: which one iterating gives. rank, world: this process's share of it.
    """

    crops: np.ndarray
    batch: int
    size: int
    shuffle = True
    epoch, rank, world = 0, 0, 1

    @property
    def pictures(self) -> int:
        """How many there are."""
        return len(self.crops)

    @property
    def content(self) -> list[np.ndarray]:
        """Arrays whose hash tells the pictures from others."""
        return [self.crops]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that iterating gives; a training does so when each of its epochs begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        share = self.size // self.world
        return share // self.batch if self.shuffle else -(-share // self.batch)

    @abstractmethod
    def __iter__(self) -> Iterator[Tensor]: ...


class CropBatches(Batches):
    """Shuffled batches out of uint8 arrays: a gather and a conversion, no workers needed.

    Args:
        crops: uint8 (N, S, S, 3), each shown once an epoch. flip: mirror every second crop at random.
        limit: use at most this many crops, always the same ones (0 = all).
        more: uint8 (M, S, S, 3), frames of clips, which replace the share `more_share` (0..1) of each epoch. Of crops
            and frames each comes once before any comes again.
        weights, more_weights: (N,) and (M,), how often to draw each, with replacement (`balance.draw_weights`).
        augment: changes each crop by a draw of its own, a flip included.
    """

    def __init__(
        self,
        crops: np.ndarray,
        batch: int,
        *,
        shuffle: bool,
        flip: bool,
        seed: int = 0,
        limit: int = 0,
        more: np.ndarray | None = None,
        more_share: float = 0.0,
        weights: np.ndarray | None = None,
        more_weights: np.ndarray | None = None,
        augment: Augment | None = None,
    ):
        self.crops, self.batch, self.shuffle, self.flip, self.seed = crops, batch, shuffle, flip, seed
        self.more, self.more_share = more, more_share
        self.weights, self.more_weights, self.augment = weights, more_weights, augment
        self.size = min(limit or len(crops), len(crops))
        self._limited = None
        if shuffle and self.size < len(crops):
            self._limited = np.random.default_rng(seed).permutation(len(crops))[: self.size]

    @property
    def content(self) -> list[np.ndarray]:
        return [self.crops] if self.more is None else [self.crops, self.more]

    def __iter__(self) -> Iterator[Tensor]:
        order, turned = self._order()
        step = self.batch * self.world
        for i in range(len(self)):
            places = np.arange(i * step, min((i + 1) * step, len(order)))  # of all processes
            places = places[np.argsort(order[places], kind="stable")]  # neighbours on disk are read together
            places = places[self.rank :: self.world]
            crops, flipped = self._gather(order[places]), turned[places]
            crops[flipped] = mirrored(crops[flipped])
            batch = to_float(crops)
            yield batch if self.augment is None else self._augmented(batch, places)

    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """Which pictures this epoch shows, those of `more` counted on from len(crops), and which are mirrored."""
        if not self.shuffle:
            return np.arange(self.size), np.zeros(self.size, bool)
        generator = np.random.default_rng((self.seed, self.epoch))
        if self.more is None and self.weights is None:
            order = generator.permutation(self.size)
            turned = generator.random(self.size)[order] < 0.5
            order = order if self._limited is None else self._limited[order]
        else:
            frames = 0 if self.more is None else round(self.more_share * self.size)
            usable = np.arange(self.size) if self._limited is None else self._limited
            weights = None if self.weights is None else self.weights[usable]
            kept = usable[drawn(self.size, self.size - frames, generator, weights)]
            if frames:
                more = len(self.crops) + drawn(len(self.more), frames, generator, self.more_weights)
                kept = np.concatenate([kept, more])
            order = generator.permutation(kept)
            turned = generator.random(self.size) < 0.5
        return order, turned if self.flip and self.augment is None else np.zeros(self.size, bool)

    def _gather(self, chosen: np.ndarray) -> np.ndarray:
        """The pictures of ascending numbers, a copy."""
        if self.more is None:
            return self.crops[chosen]
        stills = int(np.searchsorted(chosen, len(self.crops)))
        return np.concatenate([self.crops[chosen[:stills]], self.more[chosen[stills:] - len(self.crops)]])

    def _augmented(self, batch: Tensor, places: np.ndarray) -> Tensor:
        for k, place in enumerate(places.tolist()):
            batch[k] = self.augment(batch[k : k + 1], draw_seed(self.seed, self.epoch, place))[0]
        return batch


def mirrored(pictures: np.ndarray) -> np.ndarray:
    """uint8 (..., H, W, 3) with left and right exchanged; ten times as fast as copying `pictures[..., ::-1, :]`."""
    if not pictures.size:
        return pictures
    width, channels = pictures.shape[-2:]
    return cv2.flip(np.ascontiguousarray(pictures).reshape(-1, width, channels), 1).reshape(pictures.shape)


def drawn(count: int, wanted: int, generator: np.random.Generator, weights: np.ndarray | None = None) -> np.ndarray:
    """`wanted` numbers below `count`, none twice before all came once; by `weights` (count,) with replacement."""
    if weights is None:
        rounds = [generator.permutation(count) for _ in range(-(-wanted // count))]
        return np.concatenate([np.empty(0, int), *rounds])[:wanted].astype(int)
    seeded = torch.Generator().manual_seed(int(generator.integers(2**63)))
    sampler = WeightedRandomSampler(torch.from_numpy(weights), wanted, replacement=True, generator=seeded)
    return np.fromiter(sampler, int, wanted)


def content_hash(*arrays: np.ndarray) -> str:
    """16 hexadecimal digits of the SHA-256 of arrays (N, ...), in their order: the same on every machine."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}".encode())
        for start in range(0, len(array), 256):
            digest.update(np.ascontiguousarray(array[start : start + 256]))
    return digest.hexdigest()[:16]
