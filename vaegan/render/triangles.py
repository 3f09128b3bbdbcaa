"""The triangles between the landmarks, and the ring around them beyond which nothing of the face's own moves.

Triangles that a motion would turn over are flattened instead (position-based dynamics, Mueller et al. 2007, with the
signed area as the constraint), so that the picture never folds.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaegan.faces.geometry import FACE_POINTS
from vaegan.faces.regions import INNER_LIPS, IRISES, LEFT_LIDS, RIGHT_LIDS

POINTS = 478
RING = 32
"""Points of the ring around the face, numbered after the mesh; there the landmarks' own movement has come to rest. As
many follow that lie half way between it and the face's oval."""

ALL = POINTS + 2 * RING

SMALLEST_AREA = 2e-5
"""Twice the area, in squared sides of the mesh box, below which a triangle is flattened no further."""

OUTSIDE, FACE, MOUTH, EYE = range(4)
"""Regions: outside the oval, skin, between the inner lips, between the lids."""


@cache
def triangulation(device: torch.device) -> tuple[Tensor, Tensor]:
    """Triangles int64 (T, 3), all turned alike in a frontal face, and the region, uint8 (T,), of each.

    Delaunay triangles of the mean mesh of frontal faces with open mouth and eyes, so that no edge crosses an opening.
    """
    triangles = mesh_data()["triangles"].astype(np.int64)
    region = np.where((triangles < POINTS).all(1), FACE, OUTSIDE).astype(np.uint8)
    openings = ((INNER_LIPS, MOUTH), (RIGHT_LIDS + IRISES[:5], EYE), (LEFT_LIDS + IRISES[5:], EYE))
    for points, name in openings:
        region[np.isin(triangles, points).all(1)] = name
    return torch.from_numpy(triangles).to(device), torch.from_numpy(region).to(device)


@cache
def _oval(device: torch.device) -> tuple[Tensor, Tensor]:
    """For each point of the ring the two oval points (RING, 2) inward of it, and the share (RING, 1) of the second."""
    mesh = mesh_data()
    oval, share = mesh["oval"].astype(np.int64), mesh["share"][:, None]
    return torch.from_numpy(oval).to(device), torch.from_numpy(share).to(device)


@cache
def mesh_data() -> dict[str, np.ndarray]:
    """triangles int16 (T, 3); oval int16 (RING, 2), share float32 (RING,), see `_oval`; reach float32 (478,): in sides
    of the mesh box, how far the expression takes a landmark, 99.9th percentile over pairs of frames of 440 clips."""
    with np.load(Path(__file__).parent / "mesh.npz", allow_pickle=False) as file:
        return dict(file)


def with_ring(mesh: Tensor, ring: Tensor) -> Tensor:
    """mesh (N, 478, 2) and ring (N, RING, 2) -> all points (N, ALL, 2)."""
    oval, share = _oval(mesh.device)
    inward = torch.lerp(mesh[:, oval[:, 0]], mesh[:, oval[:, 1]], share)
    return torch.cat([mesh, ring, (ring + inward) / 2], 1)


def flatten_turned(points: Tensor, iterations: int, fixed_work: bool) -> Tensor:
    """points (N, ALL, 2) in sides of the mesh box -> moved as little as needed that no triangle is turned over.

    Irises give way four times as easily as the rest, the outer ring does not.
    """
    triangles, _ = triangulation(points.device)
    ease = torch.ones(ALL, device=points.device)
    ease[FACE_POINTS:POINTS], ease[POINTS : POINTS + RING] = 4.0, 0.0
    if not fixed_work:
        flat = torch.view_as_complex(points.contiguous()).numpy()
        flat = _flatten_few(flat, triangles.T.contiguous().numpy(), ease.numpy(), iterations)
        return torch.view_as_real(torch.from_numpy(flat))
    slot = triangles + torch.arange(len(points), device=points.device)[:, None, None] * ALL
    weight = ease[triangles]
    for _ in range(iterations):
        a, b, c = points[:, triangles].unbind(2)
        u, v = b - a, c - a
        lacking = (SMALLEST_AREA - (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])).clamp_min(0)
        of_b = torch.stack([v[..., 1], -v[..., 0]], -1)
        of_c = torch.stack([-u[..., 1], u[..., 0]], -1)
        gradient = torch.stack([-of_b - of_c, of_b, of_c], -2)  # of twice the area, by each corner
        total = (gradient.square().sum(-1) * weight).sum(-1) + 1e-6
        step = 1.5 * (lacking / total)[..., None, None] * weight[..., None] * gradient
        count = (lacking > 0)[..., None].expand(step.shape[:-1]).float()
        moves = torch.cat([step, count[..., None]], -1).reshape(-1, 3)
        summed = torch.zeros(points.shape[0] * ALL, 3, device=points.device)
        summed.index_add_(0, slot.reshape(-1), moves)
        points = points + (summed[:, :2] / summed[:, 2:].clamp_min(1)).view_as(points)
    return points


def _flatten_few(points: np.ndarray, triangles: np.ndarray, ease: np.ndarray, iterations: int) -> np.ndarray:
    """The same, where few triangles are turned: no work for the others.

    points: complex64 (N, ALL), x + iy. triangles: (3, T).
    """
    for _ in range(iterations):
        a, b, c = points.take(triangles, 1).swapaxes(0, 1)
        u, v = b - a, c - a
        lacking = SMALLEST_AREA - (u.conj() * v).imag
        turned = np.flatnonzero(lacking > 0)
        if not len(turned):
            break
        u, v, lacking = u.take(turned), v.take(turned), lacking.take(turned)
        face, turned = np.divmod(turned, triangles.shape[1])
        corner = triangles.take(turned, 1)
        gradient = 1j * np.stack([v - u, -v, u])
        step = ease.take(corner) * gradient
        step *= 1.5 * lacking / ((step * gradient.conj()).real.sum(0) + 1e-6)
        slot, step = (corner + face * ALL).ravel(), step.ravel()
        summed = np.bincount(slot, step.real, points.size) + 1j * np.bincount(slot, step.imag, points.size)
        summed /= np.maximum(np.bincount(slot, minlength=points.size), 1)
        points = points + summed.reshape(points.shape).astype(points.dtype)
    return points
