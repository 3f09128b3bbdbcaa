"""How well what a model reads off frames follows the truth, and a head that reads too little mended."""

import torch
from torch import Tensor

from vaegan import losses
from vaegan.faces.geometry import RIGID_POINTS
from vaegan.faces.regions import IRISES, LEFT_LIDS, RIGHT_LIDS
from vaegan.networks import Heads

OPENINGS = {"lip_gap": [0], "eye_gap": [1, 2], "iris_x": [3, 5]}
"""Figure -> columns of `losses.openings`."""


def heads_figures(
    mesh: Tensor, blendshapes: Tensor, true_mesh: Tensor, true_blendshapes: Tensor, clip: Tensor
) -> dict[str, Tensor]:
    """Pearson r and gain of the heads on frames of clips: lip gap, eye gap, iris x, and the 51 blendshapes.

    mesh, true_mesh: (T, 478, 3); blendshapes, true_blendshapes: (T, 52); clip: (T,) number of each frame's clip.
    """
    r, gain = following(losses.openings(mesh.float()), losses.openings(true_mesh.float()), clip)
    figures = {}
    for name, columns in OPENINGS.items():
        figures |= {f"{name}_r": r[columns].mean(), f"{name}_gain": gain[columns].mean()}
    r, gain = following(blendshapes[:, 1:].float(), true_blendshapes[:, 1:].float(), clip)
    weight = true_blendshapes[:, 1:].float().std(0)
    weight = weight / weight.sum()
    return {**figures, "blendshape_r": (r * weight).sum(), "blendshape_gain": (gain * weight).sum()}


def following(read: Tensor, true: Tensor, clip: Tensor) -> tuple[Tensor, Tensor]:
    """How well what is read follows the truth over the time of each clip: Pearson r and gain (slope of read on true).

    read, true: (T, K); clip: (T,) number of each frame's clip. Returns (K,) each, the mean over clips weighted by the
    truth's standard deviation there.
    """
    r_sum = gain_sum = weight_sum = torch.zeros(true.shape[1], device=true.device)
    for number in clip.unique():
        a, b = (part[clip == number] - part[clip == number].mean(0) for part in (read, true))
        spread = b.square().mean(0).sqrt()
        shared = (a * b).mean(0)
        r_sum = r_sum + spread * shared / (a.square().mean(0).sqrt() * spread).clamp_min(1e-9)
        gain_sum = gain_sum + spread * shared / spread.square().clamp_min(1e-9)
        weight_sum = weight_sum + spread
    return r_sum / weight_sum.clamp_min(1e-9), gain_sum / weight_sum.clamp_min(1e-9)


STRETCHED = ((RIGHT_LIDS + LEFT_LIDS, (1, 2)), (IRISES, (3, 4, 5, 6)))
"""Points that are stretched alike, and the columns of `losses.openings` that tell by how much. Lips are left as they
are: stretched, they follow a clip's lips less well."""

WIDEST = 1.5


@torch.no_grad()
def match_eyes(heads: Heads, z: Tensor, true_mesh: Tensor) -> list[float]:
    """Stretch how a model's mesh head moves lids and irises, until they vary as much as in the truth.

    Least squares on a code that does not tell everything reads too little: slope r^2, where r is the correlation. The
    head stays linear: what moves these points beside the affine map that fits the head's rigid points is multiplied by
    the ratio of standard deviations, true / read (reduced major axis regression), 1 to `WIDEST`.

    heads: changed in place. z: (N, D), true_mesh: (N, 478, 3) of faces not seen in training. Returns the factors.
    """
    read, true = losses.openings(heads(z)[0]), losses.openings(true_mesh.float())
    ratios = (true.std(0) / read.std(0).clamp_min(1e-9)).clamp(1, WIDEST)
    factors = torch.ones(heads.POINTS, 1, device=z.device)
    for points, columns in STRETCHED:
        factors[list(points)] = ratios[list(columns)].mean()
    factors[RIGID_POINTS] = 1  # they tell the head's pose
    mean = true_mesh.float().mean(0)
    mean = torch.cat([mean, torch.ones_like(mean[:, :1])], 1)  # (478, 4)
    fit = mean @ torch.linalg.pinv(mean[RIGID_POINTS])  # (478, R)
    for part in (heads.mesh.weight, heads.mesh.bias):
        rows = part.view(heads.POINTS, -1)  # a point's three coordinates, of every number of the code
        whole = fit @ rows[RIGID_POINTS]
        rows.copy_(whole + factors * (rows - whole))
    return [float(factors[points[1]]) for points, _ in STRETCHED]
