"""Distances between sets: FID, KID and Inception Score of pictures, FVD of videos. Only with the real networks.

Another network's features would give other numbers under the same name, so without these weights the figures are
left out.
"""

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vaegan.errors import UserError
from vaegan.faces.weights import find_weights

INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
BATCH = 32
KID_SUBSET = 100
VIDEO_FRAMES = 16


def load_inception(path: Path | None) -> dict[str, nn.Module] | str:
    """The Inception network of the FID paper (torch-fidelity's port) by its outputs, or the reason why not.

    Raises UserError when `path` is given and cannot be used.
    """
    found = path or find_weights(INCEPTION)
    if found is None:
        return f"FID, KID, Inception Score: {INCEPTION} is neither in VAEGAN_MODELS nor given with --inception"
    if importlib.util.find_spec("torch_fidelity") is None:
        reason = "FID, KID, Inception Score: they need the package torch-fidelity"
        if path is not None:
            raise UserError(f"{reason}: pip install torch-fidelity")
        return reason
    from torchmetrics.image.fid import NoTrainInceptionV3

    try:
        return {
            name: NoTrainInceptionV3("inception-v3-compat", [name], str(found)) for name in ("2048", "logits_unbiased")
        }
    except (OSError, RuntimeError, KeyError, ValueError, AttributeError, pickle.UnpicklingError) as error:
        raise UserError(f"{found} does not hold that Inception network ({str(error).splitlines()[0]})") from error


def inception_figures(inception: dict[str, nn.Module], pictures: np.ndarray, real: np.ndarray, seed: int) -> dict:
    """FID (Heusel et al. 2017), KID (Binkowski et al. 2018) and Inception Score (Salimans et al. 2016), torchmetrics.

    pictures, real: uint8 (N, S, S, 3), (M, S, S, 3). Few pictures bias FID upwards: compare equal numbers only.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    subset = min(KID_SUBSET, len(pictures), len(real))
    fid = FrechetInceptionDistance(inception["2048"])
    kid = KernelInceptionDistance(inception["2048"], subset_size=subset)
    score = InceptionScore(inception["logits_unbiased"])
    for at in range(0, max(len(pictures), len(real)), BATCH):
        for crops, is_real in ((pictures, False), (real, True)):
            batch = torch.from_numpy(np.ascontiguousarray(crops[at : at + BATCH].transpose(0, 3, 1, 2)))
            if len(batch):
                fid.update(batch, real=is_real)
                kid.update(batch, real=is_real)
                if not is_real:
                    score.update(batch)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return {"fid": float(fid.compute()), "kid": float(kid.compute()[0]), "inception": float(score.compute()[0])}


class VideoDistance:
    """FVD (Unterthiner et al. 2018) over windows of 16 frames, with the I3D network of StyleGAN-V as TorchScript.

    Raises:
        UserError: the file is no TorchScript network.
    """

    def __init__(self, path: Path):
        try:
            self.network = torch.jit.load(str(path), map_location="cpu").eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(f"{path} is not the TorchScript I3D network (i3d_torchscript.pt)") from error
        self.features: dict[str, list[Tensor]] = {}

    @torch.inference_mode()
    def add(self, system: str, frames: np.ndarray) -> None:
        """frames: uint8 (T, S, S, 3); what does not fill a window is left out."""
        for at in range(0, len(frames) - VIDEO_FRAMES + 1, VIDEO_FRAMES):
            window = torch.from_numpy(np.ascontiguousarray(frames[at : at + VIDEO_FRAMES].transpose(3, 0, 1, 2)))
            features = self.network(window[None].float(), rescale=True, resize=True, return_features=True)
            self.features.setdefault(system, []).append(features.flatten().double())

    def compute(self, system: str, real: str) -> float | None:
        """The distance of two systems; None with fewer than two windows of either."""
        from torchmetrics.image.fid import _compute_fid

        sets = [torch.stack(self.features.get(name, [])) for name in (system, real) if self.features.get(name)]
        if len(sets) < 2 or min(map(len, sets)) < 2:
            return None
        (mean, spread), (real_mean, real_spread) = ((x.mean(0), x.T.cov()) for x in sets)
        return float(_compute_fid(mean, spread, real_mean, real_spread))
