"""Every loss term: formula, scale, source. The same functions serve training and validation.

One scale for all: a term is summed over what one picture has (pixels, latent numbers) and averaged over the batch,
so that its value does not depend on the batch; weights stand in conf/.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def reconstruction_bce(logits: Tensor, crops: Tensor) -> Tensor:
    """-sum_pixels [x log p + (1 - x) log(1 - p)], mean over the batch, in float32 (paper, section 2; nats a picture).

    logits: (N, 3, S, S); crops: (N, 3, S, S) in [0, 1]. The value has a floor above zero: the entropy of x itself.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), crops.float(), reduction="sum") / len(crops)


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)), sum over latent, mean over batch (Kingma & Welling 2013, appendix B; nats)."""
    mu, logvar = mu.float(), logvar.float()
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum() / len(mu)


def discriminator_loss(real: Tensor, fake: Tensor, form: str = "bce") -> Tensor:
    """What D minimises, from its logits on real and fake crops (N,), mean over the batch.

    bce: softplus(-real) + softplus(fake), the paper's (Goodfellow et al. 2014, eq. 1);
    hinge: relu(1 - real) + relu(1 + fake) (Lim & Ye 2017, arXiv:1705.02894).
    """
    real, fake = real.float(), fake.float()
    if form == "bce":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    if form == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    raise ValueError(f"adversarial form must be 'bce' or 'hinge', not {form!r}")


def adversarial_loss(fake: Tensor, form: str = "bce") -> Tensor:
    """What the VAE minimises, from D's logits on its pictures (N,), mean over the batch.

    bce: softplus(-fake), the non-saturating form (Goodfellow et al. 2014, section 3); hinge: -fake.
    """
    fake = fake.float()
    if form == "bce":
        return F.softplus(-fake).mean()
    if form == "hinge":
        return -fake.mean()
    raise ValueError(f"adversarial form must be 'bce' or 'hinge', not {form!r}")


def r1_penalty(real_logits: Tensor, crops: Tensor) -> Tensor:
    """0.5 * |d D(x) / d x|^2 on real crops, mean over the batch (Mescheder et al. 2018, eq. 9).

    crops must require gradients and real_logits must come from them.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), crops, create_graph=True)
    return 0.5 * gradient.square().sum() / len(crops)


def feature_matching(fake: list[Tensor], real: list[Tensor]) -> Tensor:
    """sum_layers mean |f_l(fake) - f_l(real)| / mean |f_l(real)|: D's own measure of likeness.

    After the learned similarity of Larsen et al. 2016 (eq. 7); absolute differences, each layer relative to its own
    size, so that the weight keeps its meaning while D's features grow. real is not differentiated.
    """
    total = fake[0].new_zeros((), dtype=torch.float32)
    for f, r in zip(fake, real, strict=True):
        f, r = f.movedim(1, -1), r.detach().movedim(1, -1)  # keeps the gradient in the memory order of f, channels last
        distance, size = (f - r).abs().mean(dtype=torch.float32), r.abs().mean(dtype=torch.float32)
        total = total + distance / size.clamp_min(1e-6)
    return total


def d_accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """Share of crops, real and fake alike, that D calls right; 0.5 is a coin's."""
    return 0.5 * ((real > 0).float().mean() + (fake < 0).float().mean())


def psnr(pictures: Tensor, crops: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, one per picture: (N,), over all pixels and channels of crops in [0, 1]."""
    return -10 * torch.log10((pictures.float() - crops.float()).square().flatten(1).mean(1).clamp_min(1e-10))


def laplacian_variance(crops: Tensor) -> Tensor:
    """Sharpness: variance of the 4-neighbour Laplacian of the grey crop (Rec. 601 luma), one per picture: (N,)."""
    luma = crops.new_tensor([0.299, 0.587, 0.114], dtype=torch.float32)
    grey = torch.einsum("nchw,c->nhw", crops.float(), luma)[:, None]
    kernel = grey.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return F.conv2d(grey, kernel).flatten(1).var(1)
