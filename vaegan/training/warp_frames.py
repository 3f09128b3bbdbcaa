"""What the refiner learns from: two frames of one clip, and strangers moved by them, all on the device."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vaegan.faces.blendshapes import MIRRORED_BLENDSHAPES
from vaegan.faces.geometry import MIRRORED_POINTS
from vaegan.model import FaceModel
from vaegan.motion import delta
from vaegan.render.refiner import moved_placement
from vaegan.tensors import to_float

if TYPE_CHECKING:
    from vaegan.critics.embedder import Embedder
    from vaegan.data.pack import Pack

CHUNK = 512
"""Frames looked at together before training."""

CANDIDATES = 3
"""Of this many frames of the clip, take the one furthest from the photo as target, as often as `far` says."""


@dataclass
class Look:
    """N frames and what is known of them.

    picture: (N, 3, S, S) in [0, 1]. mesh: (N, 478, 2) in sides of the picture. shape: (N, 478, 2) in sides of the crop.
    placement: (N, 4), of the crop in the picture: centre x, y, side in sides of it, roll. blendshapes: (N, 52).
    z: (N, D). identity: (N, 128), unit vectors.
    """

    picture: Tensor
    mesh: Tensor
    shape: Tensor
    placement: Tensor
    blendshapes: Tensor
    z: Tensor
    identity: Tensor

    def __getitem__(self, rows: Tensor | slice) -> Look:
        return Look(*(getattr(self, part.name)[rows] for part in fields(self)))

    def joined(self, other: Look) -> Look:
        return Look(*(torch.cat([getattr(self, part.name), getattr(other, part.name)]) for part in fields(self)))


class WarpFrames:
    """The clip frames of a pack, looked at once by the motion model and the embedder, plain and mirrored.

    Args:
        pack: with frames. model: of the motion.
        far: share of the pairs whose target is the furthest of CANDIDATES frames.
    """

    def __init__(self, pack: Pack, model: FaceModel, embedder: Embedder, far: float, device: torch.device, half: bool):
        def frames(array: np.ndarray) -> Tensor:
            """The last rows, which are the clips', on the device."""
            return torch.as_tensor(array[len(array) - len(pack.frames) :]).to(device)

        self.picture = frames(pack.frames)
        self.mesh = frames(pack.frame_mesh).float()[..., :2]
        self.shape = frames(pack.mesh).float()[..., :2]
        self.placement = frames(pack.placement).float()
        self.blendshapes = frames(pack.blendshapes).float() / 255
        crops = frames(pack.crops)
        _, lengths = torch.unique_consecutive(frames(pack.clip), return_counts=True)
        starts = lengths.cumsum(0) - lengths
        self.first, self.length = starts[lengths > 1], lengths[lengths > 1]
        self.far, self.device = far, device
        self._turn = torch.tensor([-1.0, 1.0, 1.0, -1.0], device=device)  # of x, y, side and roll
        self._move = torch.tensor([1.0, 0.0, 0.0, 0.0], device=device)
        self._points = torch.from_numpy(MIRRORED_POINTS).to(device)
        self._shapes = torch.from_numpy(MIRRORED_BLENDSHAPES).to(device)
        z, identity = [], []
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            for at in range(0, len(crops), CHUNK):
                small = to_float(crops[at : at + CHUNK])
                z.append(torch.stack([model.encode(small), model.encode(small.flip(-1))], 1).float())
                large = to_float(self.picture[at : at + CHUNK])
                identity.append(embedder(large, self.mesh[at : at + CHUNK] * large.shape[-1]).float())
        self.z, self.identity = torch.cat(z).clone(), torch.cat(identity).clone()

    def look(self, rows: Tensor, mirrored: Tensor) -> Look:
        """Frames (N,), those of `mirrored` (N,) turned round with all that is known of them."""
        picture, mesh, shape = to_float(self.picture[rows]), self.mesh[rows], self.shape[rows]
        placement, blendshapes = self.placement[rows], self.blendshapes[rows]
        turn, move = self._turn[:2], self._move[:2]
        m = mirrored[:, None]
        turned = placement * self._turn + self._move
        return Look(
            torch.where(m[..., None, None], picture.flip(-1), picture),
            torch.where(m[..., None], mesh[:, self._points] * turn + move, mesh),
            torch.where(m[..., None], shape[:, self._points] * turn + move, shape),
            torch.where(m, turned, placement),
            torch.where(m, blendshapes[:, self._shapes], blendshapes),
            self.z[rows, mirrored.long()],
            self.identity[rows],
        )

    def draw(self, count: int, generator: torch.Generator | None = None) -> tuple[Look, Look]:
        """Photos and targets, `count` pairs of frames of one clip; frames far from each other come more often."""

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, device=self.device, generator=generator)

        clip = (uniform(count) * len(self.first)).long()
        first, length = self.first[clip], self.length[clip]
        photo = first + (uniform(count) * length).long()
        others = first[:, None] + (uniform(count, CANDIDATES) * length[:, None]).long()
        distance = delta(self.z[others, 0], self.z[photo, 0][:, None]).square().sum(-1)
        furthest = others.gather(1, distance.argmax(1, keepdim=True))[:, 0]
        target = torch.where(uniform(count) < self.far, furthest, others[:, 0])
        mirrored = uniform(count) < 0.5
        return self.look(photo, mirrored), self.look(target, mirrored)


def stranger(photo: Look, source: Look, target: Look) -> Look:
    """The photo after the movement from `source` to `target`: what is known of it; the picture is the photo's."""
    change = torch.cat(
        [
            (target.placement[:, :2] - source.placement[:, :2]) / source.placement[:, 2:3],
            (target.placement[:, 2:3] / source.placement[:, 2:3]).log(),
            target.placement[:, 3:] - source.placement[:, 3:],
        ],
        1,
    )
    return Look(
        photo.picture,
        photo.mesh,
        photo.shape,
        moved_placement(photo.placement, change),
        (photo.blendshapes + target.blendshapes - source.blendshapes).clamp(0, 1),
        photo.z + delta(target.z, source.z),
        photo.identity,
    )


def varied(photo: Tensor, target: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """The same change of exposure and colour for both pictures (N, 3, S, S); a `share` of the pairs also gets the
    softness of an enlarged picture and the blocks of a compressed one."""
    n, device = len(photo), photo.device
    both = torch.stack([photo, target], 1)
    gain = 1 + 0.15 * torch.randn(n, 1, 1, 1, 1, device=device)
    both = (both * gain + 0.06 * torch.randn(n, 1, 3, 1, 1, device=device)).clamp(0, 1)
    flat = both.flatten(0, 1)
    soft = F.interpolate(F.avg_pool2d(flat, 2), scale_factor=2, mode="bilinear", align_corners=False)
    chosen = torch.rand(2, n, 1, 1, 1, 1, device=device) < share
    strength = torch.rand(n, 1, 1, 1, 1, device=device)
    both = torch.where(chosen[0], torch.lerp(both, soft.view_as(both), strength), both)
    step = (0.01 + 0.05 * torch.rand(n, device=device)).repeat_interleave(2)
    both = torch.where(chosen[1], compressed(both.flatten(0, 1), step).view_as(both), both)
    return both[:, 0], both[:, 1]


def compressed(pictures: Tensor, step: Tensor) -> Tensor:
    """What JPEG leaves of pictures (N, 3, S, S): the DCT of 8 x 8 blocks in multiples of step (N,) times 1 + the
    frequency (ITU-T T.81, without chroma subsampling)."""
    k = torch.arange(8, device=pictures.device, dtype=torch.float32)
    dct = ((k + 0.5) * k[:, None] * torch.pi / 8).cos() * 0.5
    dct[0] *= 0.5**0.5
    n, c, height, width = pictures.shape
    blocks = pictures.view(n, c, height // 8, 8, width // 8, 8).transpose(3, 4)
    quantum = step.view(-1, 1, 1, 1, 1, 1) * (1 + k + k[:, None])
    kept = (dct @ blocks @ dct.T / quantum).round() * quantum
    return (dct.T @ kept @ dct).transpose(3, 4).reshape(n, c, height, width).clamp(0, 1)
