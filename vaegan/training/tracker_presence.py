"""Fitting the landmarker's presence head again, alone: what is no face, with many more examples of that."""

import numpy as np
import torch
from torch import Tensor, nn

from vaegan.data.tracker_samples import LandmarkerBatches
from vaegan.faces.networks import FaceLandmarker
from vaegan.training.tracker_modules import as_input


def fit_presence_head(net: FaceLandmarker, batches: LandmarkerBatches, decay: float = 1e-4) -> dict[str, float]:
    """Logistic regression of `present` on the landmarker's features, from the head's present weights; in place.

    Args:
        net: trained, in evaluation mode; nothing but `net.presence` changes.
        batches: crops, best half of them without a face.
        decay: of the squared weights.

    Returns:
        Share of faces and of other crops taken for faces (probability above .75), before and after.
    """
    inputs, targets = [], []
    with torch.no_grad():
        for index in range(len(batches)):
            batch = batches[index]
            inputs.append(net.features(net.trunk(as_input(batch["crops"]) * 2 - 1)))
            targets.append(batch["present"])
    features, present = torch.cat(inputs), torch.from_numpy(np.concatenate(targets))
    head = net.presence.requires_grad_(True)
    before = _shares(head, features, present)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = nn.functional.binary_cross_entropy_with_logits(head(features)[:, 0], present)
        value = value + decay * head.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    after = _shares(head, features, present)
    return {**{f"{k}_before": v for k, v in before.items()}, **after}


def _shares(head: nn.Linear, features: Tensor, present: Tensor) -> dict[str, float]:
    with torch.no_grad():
        taken = (head(features)[:, 0].sigmoid() > 0.75).float()
    return {"faces_taken": float(taken[present > 0].mean()), "others_taken": float(taken[present == 0].mean())}
