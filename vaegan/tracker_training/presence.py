"""Fitting the landmarker's presence head again, alone: what is no face, with many more examples of that."""

import numpy as np
import torch
from torch import Tensor, nn

from vaegan.faces.networks import FaceLandmarker
from vaegan.tensors import to_float
from vaegan.tracker_training.samples import LandmarkerBatches


def fit_presence_head(
    net: FaceLandmarker, batches: LandmarkerBatches, mined: np.ndarray, mined_weight: float, decay: float = 1e-4
) -> dict[str, float]:
    """Logistic regression of `present` on the landmarker's features, from the head's present weights; in place.

    Args:
        net: trained, in evaluation mode; nothing but `net.presence` changes.
        batches: crops, best half of them without a face.
        mined: uint8 (N, size, size, 3), crops without a face that were taken for one, or nearly.
        mined_weight: of each of these, where each of the others has 1: the more, the less sure it is of profiles.
        decay: of the squared weights.

    Returns:
        Share of faces, of other crops and of mined ones taken for faces (probability above .75), before and after.
    """
    features, present = [], []
    for index in range(len(batches)):
        batch = batches[index]
        features.append(_features(net, batch["crops"]))
        present.append(torch.from_numpy(batch["present"]))
    features += [_features(net, mined[start : start + 64]) for start in range(0, len(mined), 64)]
    features, face = torch.cat(features), torch.cat([*present, torch.zeros(len(mined))])
    found = torch.arange(len(face)) >= len(face) - len(mined)
    weight = torch.where(found, mined_weight, 1.0)
    kinds = {"faces": face > 0, "others": (face == 0) & ~found, "mined": found}
    head = net.presence.requires_grad_(True)
    before = _taken(head, features, kinds)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = nn.functional.binary_cross_entropy_with_logits(head(features)[:, 0], face, weight, reduction="sum")
        value = value / weight.sum() + decay * head.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return {f"{name}_before": share for name, share in before.items()} | _taken(head, features, kinds)


@torch.no_grad()
def _features(net: FaceLandmarker, crops: np.ndarray) -> Tensor:
    return net.features(net.trunk(to_float(crops) * 2 - 1))


@torch.no_grad()
def _taken(head: nn.Linear, features: Tensor, kinds: dict[str, Tensor]) -> dict[str, float]:
    taken = head(features)[:, 0].sigmoid() > 0.75
    return {f"{name}_taken": float(taken[which].float().mean()) for name, which in kinds.items() if which.any()}
