"""Frozen torch networks that judge pictures, for training and for measuring: LPIPS, a face embedder, our landmarker."""

from torch import nn


def weights_to_bfloat16(network: nn.Module) -> nn.Module:
    """The weights of a frozen network's layers in bfloat16, for use under autocast, in place.

    Autocast remembers casts of weights that are trained, and casts frozen ones at every call: half of the work of
    launching a step of many small networks. Buffers, which hold geometry, stay as they are.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.bfloat16()
    return network
