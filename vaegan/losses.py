"""Every loss term: formula, scale, source. The same functions serve training and validation.

One scale for all: a term is summed over what one picture has (pixels, latent numbers) and averaged over the batch,
so that its value does not depend on the batch; weights stand in conf/.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from vaegan.faces.regions import BROWS, EYES, LEFT_BROW, LEFT_LIDS, LIPS, RIGHT_BROW, RIGHT_LIDS
from vaegan.tensors import index


def reconstruction_bce(logits: Tensor, crops: Tensor, weights: Tensor | None = None) -> Tensor:
    """-sum_pixels w [x log p + (1 - x) log(1 - p)], mean over the batch, in float32 (paper, section 2; nats a picture).

    logits: (N, 3, S, S); crops: (N, 3, S, S) in [0, 1]; weights: (N, 1, S, S), None for w = 1. The value has a floor
    above zero: the entropy of x itself.
    """
    if weights is None:
        return F.binary_cross_entropy_with_logits(logits.float(), crops.float(), reduction="sum") / len(crops)
    each = F.binary_cross_entropy_with_logits(logits.float(), crops.float(), reduction="none")
    return (each * weights).sum() / len(crops)


def region_weights(mesh: Tensor, size: int, features: float, brows: float) -> Tensor:
    """Weights of a picture's pixels: 1, more by `features` at mouth and eyes and by `brows` at the brows; mean 1.

    w = 1 + sum_r k_r exp(-(|p - c_r|^2 / s_r^2)^2), c_r the middle of a region's points, s_r .6 to .8 of its width.

    mesh: (N, 478, 2 or 3) in sides of the picture; returns (N, 1, size, size).
    """
    steps = (torch.arange(size, device=mesh.device) + 0.5) / size
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    total = torch.ones(len(mesh), size, size, device=mesh.device)
    for points, width, gain in _REGIONS:
        place = mesh[:, index(points, mesh.device), :2].float()
        centre = place.mean(1)[:, :, None, None]
        radius = (place.amax(1) - place.amin(1)).amax(1)[:, None, None] * width
        distance = ((x - centre[:, 0]).square() + (y - centre[:, 1]).square()) / (radius.square() + 1e-6)
        total = total + (brows if gain == "brows" else features) * torch.exp(-distance.square())
    return (total / total.mean((1, 2), keepdim=True))[:, None]


_REGIONS = (
    (LIPS, 0.6, "features"),
    (RIGHT_LIDS, 0.8, "features"),
    (LEFT_LIDS, 0.8, "features"),
    (RIGHT_BROW, 0.7, "brows"),
    (LEFT_BROW, 0.7, "brows"),
)


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)), sum over latent, mean over batch (Kingma & Welling 2013, appendix B; nats)."""
    mu, logvar = mu.float(), logvar.float()
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum() / len(mu)


def point_weights() -> Tensor:
    """(478,), mean 1: points of lips and eyes weigh four times, of brows twice what others do."""
    weights = torch.ones(478)
    weights[list(BROWS)] = 2
    weights[list(LIPS + EYES)] = 4
    return weights / weights.mean()


def mesh_distance(mesh: Tensor, target: Tensor, weights: Tensor, at_most: float | None = None) -> Tensor:
    """sum_points w |2 (m - t)|^2, mean over the batch; the factor 2 makes the crop [-1, 1].

    mesh, target: (N, 478, D) in sides of the crop; weights: (478,) of `point_weights`; at_most: of one point's squared
    distance, so that a face that is not seen at all does not outweigh the others.
    """
    each = (2 * (mesh.float() - target.float())).square().sum(-1)
    return ((each if at_most is None else each.clamp(max=at_most)) * weights).sum(1).mean()


def blendshape_distance(blendshapes: Tensor, target: Tensor) -> Tensor:
    """sum_shapes (b - t)^2, mean over the batch; both (N, 52) in [0, 1]."""
    return (blendshapes.float() - target.float()).square().sum(1).mean()


OPENING_POINTS = (13, 14, 159, 145, 386, 374, 33, 133, 468, 362, 263, 473, 78, 308)
"""Inner lips above and below; right lids; left lids; outer corner, inner corner and iris of the right eye; inner
corner, outer corner and iris of the left; corners of the inner lips."""


def openings(mesh: Tensor) -> Tensor:
    """What opens and looks, of meshes (N, 478, 2 or 3): (N, 8), in the mesh's unit.

    Lip gap; gap of the right and of the left eye; how far the right iris lies from the middle of its eye's corners
    along their line and across it, the left iris likewise; width of the mouth.
    """
    p = mesh[:, index(OPENING_POINTS, mesh.device), :2].float().view(-1, len(OPENING_POINTS) // 2, 2, 2)
    pairs, right, left = p[:, :3], p[:, 3:5].flatten(1, 2), p[:, 4:6].flatten(1, 2)
    gaps = (pairs[:, :, 0] - pairs[:, :, 1]).norm(dim=2)
    one, two = torch.stack([right[:, 0], left[:, 1]], 1), torch.stack([right[:, 1], left[:, 2]], 1)
    line = F.normalize(two - one, dim=2)
    off = torch.stack([right[:, 2], left[:, 3]], 1) - (one + two) / 2
    along, across = (off * line).sum(2), off[..., 1] * line[..., 0] - off[..., 0] * line[..., 1]
    irises = torch.stack([along, across], 2).flatten(1)
    mouth = (p[:, 6, 0] - p[:, 6, 1]).norm(dim=1, keepdim=True)
    return torch.cat([gaps, irises, mouth], 1)


def opening_distance(mesh: Tensor, target: Tensor, at_most: float | None = None) -> Tensor:
    """sum_openings (64 (o(m) - o(t)))^2, mean over the batch: squared px of a 64 px crop.

    A mesh distance alone hardly sees that lips or lids a pixel apart are shut. mesh, target: (N, 478, 2 or 3) in sides
    of the crop; at_most: of one opening's squared distance.
    """
    each = (64 * (openings(mesh) - openings(target))).square()
    return (each if at_most is None else each.clamp(max=at_most)).sum(1).mean()


def identity_distance(embeddings: Tensor, target: Tensor) -> Tensor:
    """1 - cosine of face embeddings, unit vectors (N, D), mean over the batch (ArcFace's measure, Deng et al. 2019)."""
    return (1 - (embeddings * target).sum(1)).mean()


def cycle_distance(z: Tensor, target: Tensor) -> Tensor:
    """|E(D(z)) - z|^2, mean over the batch: what is decoded is encoded again where it came from (N, D)."""
    return (z.float() - target.float()).square().sum(1).mean()


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


def feature_matching(
    fake: list[Tensor], real: list[Tensor], over_processes: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """sum_layers mean |f_l(fake) - f_l(real)| / mean |f_l(real)|: D's own measure of likeness.

    After the learned similarity of Larsen et al. 2016 (eq. 7); absolute differences, each layer relative to its own
    size, so that the weight keeps its meaning while D's features grow. real is not differentiated.
    over_processes: means of what several processes hold, so that the size is that of all their pictures.
    """
    total = fake[0].new_zeros((), dtype=torch.float32)
    for f, r in zip(fake, real, strict=True):
        f, r = f.movedim(1, -1), r.detach().movedim(1, -1)  # keeps the gradient in the memory order of f, channels last
        distance, size = (f - r).abs().mean(dtype=torch.float32), r.abs().mean(dtype=torch.float32)
        size = size if over_processes is None else over_processes(size)
        total = total + distance / size.clamp_min(1e-6)
    return total


def d_accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """Share of crops, real and fake alike, that D calls right; 0.5 is a coin's."""
    return 0.5 * ((real > 0).float().mean() + (fake < 0).float().mean())


def psnr(pictures: Tensor, crops: Tensor) -> Tensor:
    """PSNR: -10 log10(mean (x - y)^2) in dB over all pixels and channels of one crop; the mean is over crops.

    Identical crops count as 100 dB.
    """
    return -10 * torch.log10((pictures.float() - crops.float()).square().flatten(1).mean(1).clamp_min(1e-10))


def laplacian_variance(crops: Tensor) -> Tensor:
    """Sharpness: variance of the 4-neighbour Laplacian of the grey crop (Rec. 601 luma), one per picture: (N,)."""
    luma = crops.new_tensor([0.299, 0.587, 0.114], dtype=torch.float32)
    grey = torch.einsum("nchw,c->nhw", crops.float(), luma)[:, None]
    kernel = grey.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return F.conv2d(grey, kernel).flatten(1).var(1)


def weighted_l1(pictures: Tensor, real: Tensor, weights: Tensor) -> Tensor:
    """mean of weights * |pictures - real|; pictures, real (N, 3, S, S) in [0, 1], weights (N, 1, S, S)."""
    return ((pictures - real).abs() * weights).mean()
