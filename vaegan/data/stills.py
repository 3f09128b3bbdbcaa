"""Stills to train on: a prepared data set, a plain folder of pictures, or faces that a shipped model draws."""

import os
import sys
from dataclasses import dataclass, field

import numpy as np
import torch

from vaegan.data.balance import still_weights
from vaegan.data.cache import cached_crops, resized
from vaegan.data.format import read_index
from vaegan.data.module import CachedData
from vaegan.data.storage import find_data_set, missing
from vaegan.errors import UserError
from vaegan.model import load_model
from vaegan.tensors import to_uint8

SYNTHETIC = "synthetic"
"""The name under which faces are sampled, whatever lies on the disk."""

OPTIONAL = "faces"
"""The data set that trainings take unless told otherwise: where it is missing, they are shown sampled faces."""


@dataclass(kw_only=True, eq=False)
class StillsData(CachedData):
    """Single pictures, shuffled: float (N, 3, S, S) in [0, 1]."""

    name: str = field()  # no default: Lightning's class has a `name` of its own, None
    """A data set below $VAEGAN_DATA, a folder, or "synthetic"."""
    synthetic: int = 0
    """Faces to sample where there is no data set; 0 = none, a missing one is an error."""
    model: str = ""
    """The shipped model that they are sampled from."""

    def read(self) -> None:
        folder = None if self.name == SYNTHETIC else find_data_set(self.name)
        if folder is None:
            self._sample()
            return
        self.source = folder.name
        found = read_index(folder, None, self.min_cover)
        entries, held = ([entry for entry in found if entry.split == split] for split in ("train", "val"))
        self.check_counts(len(entries), len(held))
        train, val = (cached_crops(folder, chosen, self.size) for chosen in (entries, held))
        weights = still_weights(folder, entries, self.balance, self.expression)
        self.crop_batches(train, val, weights=weights, **self.more())

    def more(self) -> dict:
        """What is mixed into the stills, as arguments of `CropBatches`."""
        return {}

    def _sample(self) -> None:
        if self.name not in (SYNTHETIC, OPTIONAL) or not self.synthetic:
            raise missing(self.name)
        if self.balance != "none":
            raise UserError(f"data.balance={self.balance} needs a data set with labels, and data=synthetic has none")
        if self.name == OPTIONAL and self.process == 0:
            root = os.environ.get("VAEGAN_DATA")
            why = f"VAEGAN_DATA={root} holds none" if root else "VAEGAN_DATA is not set"
            print(
                f"no data set 'faces' ({why}): training on data=synthetic, faces sampled from the shipped decoder",
                file=sys.stderr,
            )
        self.source = SYNTHETIC
        crops = sampled_faces(self.model, self.synthetic, self.size, self.seed)
        self.crop_batches(crops[: -len(crops) // 10], crops[-len(crops) // 10 :])


def sampled_faces(model: str, count: int, size: int, seed: int) -> np.ndarray:
    """Faces drawn from the prior of a shipped model: uint8 (count, size, size, 3)."""
    decoder = load_model(model)
    generator = torch.Generator().manual_seed(seed)
    faces = []
    for start in range(0, count, 256):
        z = torch.randn(min(256, count - start), decoder.latent_dim, generator=generator)
        faces += [resized(face, size) if decoder.size != size else face for face in to_uint8(decoder.decode(z))]
    return np.stack(faces)
