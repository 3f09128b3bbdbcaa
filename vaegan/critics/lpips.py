"""LPIPS: learned perceptual distance (Zhang et al. 2018), stock `lpips` 0.1, net="alex"."""

import warnings

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vaegan.errors import UserError
from vaegan.faces.weights import require_weights

ALEXNET = "alexnet_features.safetensors"


def load_lpips() -> nn.Module:
    """The frozen network; it takes two batches (N, 3, S, S) in [-1, 1] and is differentiable.

    AlexNet's convolutions come from ALEXNET of $VAEGAN_MODELS, the weights of its features from the package lpips
    itself.

    Raises:
        UserError: AlexNet's weights are not at hand, or are not AlexNet's.
    """
    import lpips

    path = require_weights(ALEXNET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips calls torchvision in a way that is going out of use
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    try:
        weights = load_file(path)
        with torch.no_grad():
            for name, value in network.net.named_parameters():
                value.copy_(weights[f"features.{name.split('.', 1)[1]}"])
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path} does not hold AlexNet's convolutions ({error}): fetch it again") from error
    return network.eval().requires_grad_(False)


def lpips_distance(network: nn.Module, pictures: Tensor, real: Tensor) -> Tensor:
    """`load_lpips`'s distance (N,) of pictures (N, 3, S, S) in [0, 1] from real ones, at their own size."""
    return network(2 * pictures - 1, 2 * real - 1).flatten()
