"""How well what a model reads off frames follows the truth over time."""

import torch
from torch import Tensor

from vaegan import losses

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
