"""Whose face it is, as a unit vector: MobileFaceNet (Chen et al. 2018) as a differentiable torch module."""

import json

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaegan.errors import UserError
from vaegan.faces.weights import require_weights
from vaegan.tensors import index

GRAPH, WEIGHTS = "mobilefacenet_torch.json", "mobilefacenet_torch.npz"
SIZE = 112

TARGET = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Where ArcFace (Deng et al. 2019) wants eyes, nose and mouth in its 112 x 112 px."""

POINTS = (468, 473, 4, 61, 291)
"""Mesh points that show them: the irises, the subject's right eye first; tip of the nose; corners of the mouth."""


class Embedder(nn.Module):
    """MobileFaceNet, frozen. Research only: its weights come without a licence.

    Args:
        supersample: samples along either side of an aligned pixel; 2 where faces are larger than 112 px, against
            aliasing, 1 for small crops.

    Raises:
        UserError: the weights are not at hand, or damaged.
    """

    def __init__(self, supersample: int = 1) -> None:
        super().__init__()
        self.supersample = supersample
        graph, weights = require_weights(GRAPH), require_weights(WEIGHTS)
        self.name = "mobilefacenet"
        try:
            self._nodes = [node for node in json.loads(graph.read_text()) if node[0] in _OPERATORS]
            with np.load(weights, allow_pickle=False) as file:
                for name in file:
                    self.register_buffer(name, torch.from_numpy(file[name]).float(), persistent=False)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{graph} and {weights} are no face embedder ({error}): fetch them again") from error
        self.register_buffer("_target", torch.tensor(TARGET), persistent=False)
        self.eval().requires_grad_(False)

    def weights_to_bfloat16(self) -> None:
        """The weights in bfloat16, for use under autocast; see `critics.weights_to_bfloat16`."""
        for name, buffer in self._buffers.items():
            if name != "_target":
                self._buffers[name] = buffer.bfloat16()

    def forward(self, pictures: Tensor, mesh: Tensor) -> Tensor:
        """Unit vectors (N, 128) of the faces in pictures: float (N, 3, H, W) in [0, 1].

        mesh: float (N, 478, 2 or 3), px of the pictures. Gradients flow to the pictures.
        """
        return self.embed(self.align(pictures, mesh))

    def embed(self, faces: Tensor) -> Tensor:
        """faces: float (N, 3, 112, 112) in [0, 1], aligned -> unit vectors (N, 128)."""
        values = {self._nodes[0][1][0]: faces * 255}
        buffers = self._buffers
        for operator, inputs, outputs, attributes in self._nodes:
            arguments = [buffers[name] if name in buffers else values[name] for name in inputs if name]
            values[outputs[0]] = _OPERATORS[operator](arguments, attributes)
        return F.normalize(values[self._nodes[-1][2][0]].float(), dim=1)

    def align(self, pictures: Tensor, mesh: Tensor) -> Tensor:
        """The square that puts eyes, nose and mouth where ArcFace wants them: float (N, 3, 112, 112).

        The similarity is the least-squares fit to the five points (Umeyama 1991, in the plane).
        """
        points = mesh[:, index(POINTS, mesh.device), :2].float()
        middle, target_middle = points.mean(1, keepdim=True), self._target.mean(0)
        p, q = points - middle, self._target - target_middle
        spread = q.square().sum()
        a = (q * p).sum((1, 2)) / spread  # crop to picture: scale * cos, scale * sin
        b = (q[:, 0] * p[..., 1] - q[:, 1] * p[..., 0]).sum(1) / spread
        steps = (torch.arange(SIZE * self.supersample, device=pictures.device) + 0.5) / self.supersample
        y, x = torch.meshgrid(steps - target_middle[1], steps - target_middle[0], indexing="ij")
        a, b = a[:, None, None], b[:, None, None]
        place = torch.stack([a * x - b * y + middle[..., :1], b * x + a * y + middle[..., 1:]], -1)
        height, width = pictures.shape[-2:]
        grid = torch.stack([2 * place[..., 0] / width, 2 * place[..., 1] / height], -1) - 1
        return F.avg_pool2d(F.grid_sample(pictures.float(), grid, "bilinear", "border", False), self.supersample)


def _convolve(x: list[Tensor], a: dict) -> Tensor:
    return F.conv2d(x[0], x[1], x[2] if len(x) > 2 else None, a["strides"], a["pads"][:2], a["dilations"], a["group"])


def _normalise(x: list[Tensor], a: dict) -> Tensor:
    return F.batch_norm(x[0], x[3], x[4], x[1], x[2], eps=a.get("epsilon", 1e-5))


_OPERATORS = {
    "Sub": lambda x, _: x[0] - x[1],
    "Mul": lambda x, _: x[0] * x[1],
    "Add": lambda x, _: x[0] + x[1],
    "Conv": _convolve,
    "PRelu": lambda x, _: F.prelu(x[0], x[1].flatten()),
    "Flatten": lambda x, _: x[0].flatten(1),
    "Gemm": lambda x, a: F.linear(x[0], x[1] if a.get("transB") else x[1].t(), x[2] if len(x) > 2 else None),
    "BatchNormalization": _normalise,
}
"""The operators of the network's ONNX graph, up to the vector that is brought to unit length."""
