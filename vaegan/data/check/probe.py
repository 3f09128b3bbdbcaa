"""A small autoencoder, trained for a few hundred steps: is there anything to learn?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vaegan.data.check.looked import PROBE_PX

STEPS, BATCH, RATE = 300, 32, 2e-3
LEAST = 0.3
"""Share of the variance that faces pass by far within these steps (see docs/data.md), and noise never."""

FEWEST = 64


@dataclass(frozen=True)
class Probe:
    """explained: 1 - squared error / variance about the mean picture, on pictures that were held out."""

    explained: float
    steps: int
    held_out: int

    @property
    def learns(self) -> bool:
        return self.explained >= LEAST


def run_probe(thumbnails: np.ndarray, held_out: np.ndarray, steps: int = STEPS) -> Probe | None:
    """Train on some pictures, measure on others; the same figures for the same pictures.

    Args:
        thumbnails: uint8 (N, 32, 32, 3). held_out: (N,) bool, which are not trained on; where none is, a tenth.

    Returns:
        None where there are too few pictures.
    """
    if len(thumbnails) < FEWEST:
        return None
    import torch
    from torch import nn

    from vaegan.tensors import to_float

    if not 8 <= held_out.sum() <= len(held_out) // 2:
        held_out = np.arange(len(thumbnails)) % 10 == 0
    crops = to_float(thumbnails)
    train, test = crops[torch.from_numpy(~held_out)], crops[torch.from_numpy(held_out)]
    state = torch.get_rng_state()
    try:
        torch.manual_seed(0)
        side = PROBE_PX // 8
        model = nn.Sequential(
            *(nn.Conv2d(3, 16, 4, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.SiLU()),
            *(nn.Conv2d(32, 64, 4, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(64 * side**2, 64)),
            *(nn.Linear(64, 64 * side**2), nn.Unflatten(1, (64, side, side)), nn.SiLU()),
            *(nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.SiLU()),
            nn.ConvTranspose2d(16, 3, 4, 2, 1),
        )
        mean = train.mean(0)
        optimiser = torch.optim.Adam(model.parameters(), RATE)
        for _ in range(steps):
            batch = train[torch.randint(len(train), (BATCH,))] - mean
            loss = (model(batch) - batch).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.inference_mode():
            rest = test - mean
            error = (model(rest) - rest).square().mean()
            explained = 1 - float(error / (test - test.mean(0)).square().mean().clamp(min=1e-6))
    finally:
        torch.set_rng_state(state)
    return Probe(explained, steps, len(test))
