"""Where on the face the refiner is looked at more closely: squares for a discriminator, weights of the pixels."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vaegan.faces.geometry import FACE_POINTS
from vaegan.render.refiner import SIZE
from vaegan.tensors import index

SQUARES = (((61, 291), 0.36), ((33, 133), 0.26), ((263, 362), 0.26))
"""Mouth, right and left eye: the points in whose middle the square lies, its side / side of the mesh box."""

SQUARE = 64
"""px of these squares."""


def squares_of(pictures: Tensor, mesh: Tensor) -> Tensor:
    """Mouth and eyes of pictures (N, 3, S, S), all mouths first: (3 N, 3, SQUARE, SQUARE). mesh: in their sides."""
    steps = (torch.arange(SQUARE, device=pictures.device) + 0.5) / SQUARE - 0.5
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    face = mesh[:, :FACE_POINTS]
    size = (face.amax(1) - face.amin(1)).amax(1)[:, None, None, None]
    found = []
    for points, side in SQUARES:
        place = grid * (side * size) + mesh[:, index(points, mesh.device)].mean(1)[:, None, None]
        found.append(F.grid_sample(pictures, 2 * place - 1, "bilinear", "border", False))
    return torch.cat(found)


def attention(mesh: Tensor) -> Tensor:
    """Weights (N, 1, SIZE, SIZE) of the pixels: 1 far away, 3 on the face, about 9 on mouth and eyes."""
    steps = (torch.arange(SIZE // 4, device=mesh.device) + 0.5) / (SIZE // 4)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    face = mesh[:, :FACE_POINTS]
    low, high = face.amin(1), face.amax(1)
    size = (high - low).amax(1)[:, None, None]
    regions = [((low + high) / 2, 0.5, 2.0)]
    regions += [(mesh[:, index(points, mesh.device)].mean(1), side / 2, 6.0) for points, side in SQUARES]
    weights = torch.ones(len(mesh), SIZE // 4, SIZE // 4, device=mesh.device)
    for centre, radius, weight in regions:
        distance = (grid - centre[:, None, None]).norm(dim=-1) / (radius * size)
        weights = weights + weight * (-distance.pow(4)).exp()
    return F.interpolate(weights[:, None], size=(SIZE, SIZE), mode="bilinear", align_corners=False)
