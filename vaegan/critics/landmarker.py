"""What expression a face has, as our own tracker's landmarker sees it: a frozen, differentiable torch module."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaegan.faces.geometry import FACE_POINTS, LEFT_EYE, RIGHT_EYE
from vaegan.faces.networks import fold_batch_norms
from vaegan.faces.own import load_networks
from vaegan.tensors import index


class Landmarker(nn.Module):
    """The landmarker of the shipped tracker, frozen.

    Args:
        jitter: standard deviation by which side and centre of the region looked at vary, in sides of it, so that a
            generator cannot learn one region by heart; 0 to measure.
    """

    def __init__(self, jitter: float = 0.0) -> None:
        super().__init__()
        self.network = load_networks()[1].requires_grad_(False)
        fold_batch_norms(self.network)
        self.network.to(memory_format=torch.channels_last)
        self.jitter = jitter

    def train(self, mode: bool = True) -> "Landmarker":
        """Always in evaluation mode: its statistics are frozen."""
        return super().train(False)

    def forward(self, pictures: Tensor, mesh: Tensor) -> tuple[Tensor, Tensor]:
        """What is seen where a face is expected.

        Args:
            pictures: float (N, 3, S, S) in [0, 1]; gradients flow to them.
            mesh: (N, 478, 2 or 3), the mesh expected, in sides of the picture: it only says where to look.

        Returns the mesh (N, 478, 2) in sides of the picture and the blendshapes' logits (N, 52).
        """
        size, kind = self.network.size, pictures.device.type
        with torch.autocast(kind, enabled=False):  # half precision would move points by a pixel
            side, centre, turn = self._region(mesh[..., :2].float().detach())
            steps = (torch.arange(size, device=pictures.device) + 0.5) / size - 0.5
            y, x = torch.meshgrid(steps, steps, indexing="ij")
            grid = torch.stack([x, y], -1).view(1, -1, 2) * side[:, None, None]
            place = (grid @ turn + centre[:, None]).view(-1, size, size, 2)
            crops = F.grid_sample(pictures.float(), place * 2 - 1, "bilinear", "border", False)
        seen, _, blendshapes = self.network(crops.contiguous(memory_format=torch.channels_last))
        with torch.autocast(kind, enabled=False):
            seen = (seen[..., :2].float() - 0.5) * side[:, None, None]
            return seen @ turn + centre[:, None], blendshapes.float()

    def _region(self, mesh: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mesh box turned to the eye line: side (N,), centre (N, 2), rotation to the picture (N, 2, 2)."""
        left, right = index(LEFT_EYE, mesh.device), index(RIGHT_EYE, mesh.device)
        line = mesh[:, left].mean(1) - mesh[:, right].mean(1)
        along = F.normalize(line, dim=1)
        turn = torch.stack([along, torch.stack([-along[:, 1], along[:, 0]], 1)], 1)  # rows: the region's axes
        upright = mesh[:, :FACE_POINTS] @ turn.transpose(1, 2)
        low, high = upright.amin(1), upright.amax(1)
        side = (high - low).amax(1) * self.network.roi_scale
        centre = ((low + high)[:, None] / 2 @ turn)[:, 0]
        if self.jitter:
            shaken = self.jitter * torch.randn(len(mesh), 3, device=mesh.device)
            side = side * (1 + shaken[:, 0])
            centre = centre + side[:, None] * shaken[:, 1:]
        return side, centre, turn
