"""A training step recorded as a CUDA graph and replayed: the host no longer launches its thousands of small kernels."""

from collections import Counter
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

AS_IT_IS = 3
"""Calls of a kind before one is recorded: they choose algorithms and make what is made once."""

Step = Callable[..., dict[str, Tensor]]


class Replayed:
    """Calls `step(kind, tensors, numbers)`, and on a graphics card records it, once for each kind.

    A step of one kind has to launch the same kernels at every call: it reads what changes from tensors, never looks at
    a value, and moves nothing from the host. Random numbers go on as if it had been called.

    Args:
        step: takes its kind, tensors and numbers by name; returns tensors by name, which the next call overwrites.
    """

    def __init__(self, step: Step):
        self.step = step
        self._calls: Counter[Hashable] = Counter()
        self._recorded: dict[Hashable, tuple[torch.cuda.CUDAGraph, dict[str, Tensor], dict[str, Tensor]]] = {}
        self._stream = torch.cuda.Stream()

    def __call__(
        self, kind: Hashable, tensors: dict[str, Tensor], numbers: dict[str, float]
    ) -> tuple[dict[str, Tensor], bool]:
        """What the step returns, and whether it was replayed without a call of `step`.

        numbers: become tensors of no dimensions, so that a recorded step sees new ones.
        """
        self._calls[kind] += 1
        if self._calls[kind] <= AS_IT_IS:
            there = {name: torch.full((), value, device="cuda") for name, value in numbers.items()}
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                made = self.step(kind, tensors, there)
            torch.cuda.current_stream().wait_stream(self._stream)
            return made, False
        replayed = kind in self._recorded
        if not replayed:
            given = {name: tensor.clone() for name, tensor in tensors.items()}
            given |= {name: torch.full((), value, device="cuda") for name, value in numbers.items()}
            graph = torch.cuda.CUDAGraph()
            parts = {name: given[name] for name in tensors}, {name: given[name] for name in numbers}
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                made = self.step(kind, *parts)
            self._recorded[kind] = graph, given, made
        graph, given, made = self._recorded[kind]
        for name, tensor in tensors.items():
            given[name].copy_(tensor)
        for name, value in numbers.items():
            given[name].fill_(value)
        graph.replay()
        return made, replayed
