"""The moving average of a network's weights that is validated and shipped."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of `network`, buffers included, whose first steps count less.

    The decay of step n is min(decay, (1 + n) / (10 + n)), as in TensorFlow's ExponentialMovingAverage: a short run
    does not drag its random start along.
    """
    return AveragedModel(network, multi_avg_fn=_update(decay), use_buffers=True).requires_grad_(False)


def _update(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    @torch.no_grad()
    def update(average: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        n = float(count)
        if average[0].is_floating_point():
            torch._foreach_lerp_(average, current, 1 - min(decay, (1 + n) / (10 + n)))
        else:
            for a, c in zip(average, current, strict=True):
                a.copy_(c)

    return update
