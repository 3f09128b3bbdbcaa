"""The discriminator's step and its verdict, as both autoencoders take them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vaegan import losses


def is_penalised(gan: dict[str, Any], r1: float, step: int) -> bool:
    """Whether D's loss has the R1 penalty at this step."""
    return r1 > 0 and step % gan["r1_every"] == 0


def discriminator_terms(
    discriminator: nn.Module, crops: Tensor, fakes: Tensor, gan: dict[str, Any], r1: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """D's loss on real crops (N, 3, S, S) and detached fakes, and its terms.

    Args:
        gan: `form` of the loss, `r1_every`: steps between two R1 penalties. r1: its weight in this step, or 0.
    """
    penalised = r1 > 0
    real_input = crops.detach().requires_grad_(penalised)
    real, _ = discriminator(real_input)
    fake, _ = discriminator(fakes)
    terms = {"d_loss": losses.discriminator_loss(real, fake, gan["form"])}
    loss = terms["d_loss"]
    if penalised:
        terms["r1"] = losses.r1_penalty(real, real_input)
        loss = loss + r1 * gan["r1_every"] * terms["r1"]
    terms["d_accuracy"] = losses.d_accuracy(real.detach(), fake.detach())
    return loss, terms


def verdict(
    discriminator: nn.Module,
    crops: Tensor,
    fakes: Tensor,
    form: str,
    over_processes: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """`adversarial` loss of all fakes and `feature` distance of the first of them, one a crop; D stays as it is."""
    discriminator.requires_grad_(False)
    logits, features = discriminator(fakes)
    with torch.no_grad():
        _, wanted = discriminator(crops)
    discriminator.requires_grad_(True)
    return {
        "adversarial": losses.adversarial_loss(logits, form),
        "feature": losses.feature_matching([f[: len(crops)] for f in features], wanted, over_processes),
    }
