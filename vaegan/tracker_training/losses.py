"""The loss terms of the tracker's landmarker and detector."""

import torch
from torch import Tensor, nn

from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.faces.geometry import FACE_POINTS
from vaegan.faces.regions import BROWS, EYES, LIPS

OUTER_EYES = (33, 263)
FOREHEAD, CHIN = 10, 152

# Inner lips and eyelids above and below: their distance is what a blink or a word is.
OPENINGS = ((13, 14), (82, 87), (312, 317), (159, 145), (158, 153), (160, 144), (386, 374), (385, 380), (387, 373))


def coordinate_weights() -> Tensor:
    """Weight (478, 3) of each coordinate: eyes and lips 3, brows 2, others 1; half of that for z; mean 1."""
    weights = torch.ones(478, 3)
    for points, weight in ((BROWS, 2.0), (LIPS, 3.0), (EYES, 3.0)):
        weights[list(points)] = weight
    weights[:, 2] /= 2
    return weights / weights.mean()


def blendshape_weights(spread: Tensor) -> Tensor:
    """Weight (52,) of each blendshape's squared error: the inverse of its standard deviation (not below .02), so that
    each counts by how much it moves, scaled so that knowing nothing costs 1; twice that for jaw, blinks and smiles."""
    weights = 1 / (spread.clamp_min(0.02) * spread.mean())
    for i, name in enumerate(BLENDSHAPES):
        if name.startswith(("jawOpen", "eyeBlink", "mouthSmile")):
            weights[i] *= 2
    return weights


def landmarker_losses(
    first: Tensor,
    mesh: Tensor,
    presence: Tensor,
    blendshapes: Tensor,
    target: dict[str, Tensor],
    point_weights: Tensor,
    blendshape_weights: Tensor,
) -> dict[str, Tensor]:
    """The loss terms, each a mean over the crops with a face (`presence`: over all).

    points, first_points: weighted L1 in outer-eye distances (in space, so that profiles do not count more), of the
    mesh and of the first look's. openings: L1 between the mouth's and eyelids' openings, likewise. box: L1 of the
    mesh box's four sides, likewise: crops hang on it. pose: L1 between unit vectors along the head's three axes.
    blendshapes: weighted squared error. presence: binary cross-entropy.
    """
    there, true = target["present"], target["mesh"]
    faces = there.sum().clamp_min(1)
    eyes = (true[:, OUTER_EYES[0]] - true[:, OUTER_EYES[1]]).norm(dim=1)
    unit = there / eyes.clamp_min(0.05) / faces

    def in_eyes(error: Tensor) -> Tensor:
        return (error.flatten(1).mean(1) * unit).sum()

    upper, lower = zip(*OPENINGS, strict=True)
    openings = (mesh[:, upper] - mesh[:, lower]) - (true[:, upper] - true[:, lower])
    axes = (head_axes(mesh) - head_axes(true)).abs().mean((1, 2))
    squared = ((blendshapes.float().sigmoid() - target["blendshapes"]).square() * blendshape_weights).mean(1)
    return {
        "points": in_eyes((mesh - true).abs() * point_weights),
        "first_points": in_eyes((first - true).abs() * point_weights),
        "openings": in_eyes(openings[..., :2].norm(dim=2)),
        "box": in_eyes((_box(mesh) - _box(true)).abs()),
        "pose": (axes * there).sum() / faces,
        "blendshapes": (squared * there).sum() / faces,
        "presence": nn.functional.binary_cross_entropy_with_logits(presence.float(), there),
    }


def _box(mesh: Tensor) -> Tensor:
    """Mesh (N, 478, 3) to the least and greatest x and y (N, 4) of the face's points."""
    low, high = mesh[:, :FACE_POINTS, :2].aminmax(dim=1)
    return torch.cat([low, high], 1)


def head_axes(mesh: Tensor) -> Tensor:
    """Mesh (N, 478, 3) to unit vectors (N, 3, 3) from eye to eye, from forehead to chin, and across both."""
    across = nn.functional.normalize(mesh[:, OUTER_EYES[1]] - mesh[:, OUTER_EYES[0]], dim=1, eps=1e-6)
    down = nn.functional.normalize(mesh[:, CHIN] - mesh[:, FOREHEAD], dim=1, eps=1e-6)
    return torch.stack([across, down, torch.linalg.cross(across, down)], 1)


def detector_losses(maps: Tensor, heat: Tensor, box: Tensor) -> dict[str, Tensor]:
    """heat: the focal loss of CornerNet (Law & Deng 2018, eq. 1) per face; box: L1 of the centre in sides of the face,
    of the log side and of the roll's sine and cosine, averaged over the cells near centres.

    maps: (N, 6, h, w); heat (N, h, w), -1 = anything is right; box (N, 6, h, w), its first channel the weight.
    """
    logits = maps[:, 0]
    p = logits.sigmoid()
    centre = heat == 1
    there = -nn.functional.logsigmoid(logits) * (1 - p).square() * centre
    elsewhere = -nn.functional.logsigmoid(-logits) * p.square() * (1 - heat.clamp_min(0)).pow(4) * (heat >= 0) * ~centre
    weight = box[:, 0]
    side = box[:, 3].exp().clamp_min(0.5)
    error = (maps[:, 1:] - box[:, 1:]).abs()
    error = (error[:, 0] + error[:, 1]) / side + error[:, 2] + 0.5 * (error[:, 3] + error[:, 4])
    return {
        "heat": (there + elsewhere).sum() / centre.sum().clamp_min(1),
        "box": (error * weight).sum() / weight.sum().clamp_min(1),
    }
