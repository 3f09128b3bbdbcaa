"""Augmentation of whole clips through torchvision's transforms v2: one draw for all frames of a clip or a pair."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from vaegan.data.flow import dense_flow
from vaegan.errors import UserError


@dataclass(frozen=True)
class AugmentSettings:
    """How far pictures are changed at most; 0 leaves a thing alone.

    rotate: degrees to either side. scale: share by which a face grows or shrinks. shift: share of the crop's side, in
    x and y. brightness, contrast, saturation: share of the factor above or below 1. hue: of the colour circle, up to
    0.5. noise: standard deviation of the grain, in units of [0, 1].
    """

    rotate: float
    scale: float
    shift: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    noise: float

    def __post_init__(self) -> None:
        limits = {"rotate": 45, "scale": 0.5, "shift": 0.5, "hue": 0.5}
        for name, value in self.__dict__.items():
            if not 0 <= value <= limits.get(name, 1):
                raise UserError(f"data.augment.{name}={value} is out of range: use 0 to {limits.get(name, 1)}")

    def __bool__(self) -> bool:
        return any(self.__dict__.values())


class Augment:
    """Changes a clip (T, 3, S, S) in [0, 1]: every frame alike, every clip by its own draw.

    Args:
        settings: how far. flip: mirror every second clip.
    """

    def __init__(self, settings: AugmentSettings, flip: bool):
        self.settings, self.flip = settings, flip
        self.noise = Grain(settings.noise)
        self._moves: dict[int, v2.Transform] = {}

    def __call__(self, clip: Tensor, seed: int, flow: str = "none") -> Tensor:
        """The clip changed by the draw `seed`, float (T, 3, S, S) in [0, 1]; with `flow`, see `dense_flow`, its two
        channels are added. They are found before the grain, which stands still, is."""
        moves = self._moves.setdefault(clip.shape[-1], _moves(self.settings, self.flip, clip.shape[-1]))
        with drawing(seed):
            clip = moves(clip)
            grainy = self.noise(clip)
        return grainy if flow == "none" else torch.cat([grainy, dense_flow(clip, flow)], 1)


def _moves(s: AugmentSettings, flip: bool, size: int) -> v2.Transform:
    steps: list[v2.Transform] = [v2.RandomHorizontalFlip(0.5)] if flip else []
    if s.rotate or s.scale or s.shift:
        # Mirrored borders, wide enough for the farthest draw: no black corners, no streaks.
        turn = math.radians(s.rotate)
        reach = (0.5 + s.shift) * (math.cos(turn) + math.sin(turn)) / (1 - s.scale) - 0.5
        pad = math.ceil(size * reach) + 1
        shift = s.shift * size / (size + 2 * pad)
        sizes = (1 - s.scale, 1 + s.scale)
        steps += [
            *(v2.Pad(part, padding_mode="reflect") for part in _parts(pad, size)),
            v2.RandomAffine(s.rotate, (shift, shift), sizes, interpolation=InterpolationMode.BILINEAR),
            v2.CenterCrop(size),
        ]
    if s.brightness or s.contrast or s.saturation or s.hue:
        steps.append(v2.ColorJitter(s.brightness, s.contrast, s.saturation, s.hue))
    return v2.Compose(steps or [v2.Identity()])


def _parts(pad: int, size: int) -> Iterator[int]:
    """`pad` in steps that a mirror can fill."""
    while pad > 0:
        yield min(pad, size - 1)
        pad, size = pad - (size - 1), 3 * size - 2


class Grain(v2.Transform):
    """Gaussian noise of a strength drawn up to `sigma`, the same field on every frame, kept in [0, 1]."""

    def __init__(self, sigma: float):
        super().__init__()
        self.sigma = sigma

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        clip = flat_inputs[0]
        return {"field": self.sigma * torch.rand(()) * torch.randn(clip.shape[-3:])} if self.sigma else {}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        return (inpt + params["field"]).clamp_(0, 1) if params else inpt


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Inside, torch draws from `seed`, on the CPU; outside, as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def draw_seed(*numbers: int) -> int:
    """A seed of its own for every tuple of numbers >= 0."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
