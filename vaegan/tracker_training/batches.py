"""Batches that are drawn by number, whatever their pictures are."""

import numpy as np
from numpy.random import Generator
from torch.utils.data import Dataset


class DrawnBatches(Dataset):
    """Item k is the batch `start + k` of a run, made from (seed, start + k) alone, so that a resumed run sees what an
    unbroken one would have seen; `count` of them are offered."""

    def __init__(self, batch: int, seed: int, start: int, count: int) -> None:
        self.batch, self.seed, self.start, self.count = batch, seed, start, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.make(np.random.default_rng((self.seed, self.start + index)))

    def make(self, rng: Generator) -> dict[str, np.ndarray]:
        """One batch."""
        raise NotImplementedError
