"""Figures of a validation of the motion autoencoder: stills rebuilt, what heads read off clips, strangers moved."""

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchvision.utils import make_grid

from vaegan import losses
from vaegan.critics.lpips import lpips_distance
from vaegan.data.pack_data import Batch
from vaegan.motion import delta
from vaegan.tensors import to_float, to_uint8
from vaegan.training.following import heads_figures, match_eyes

PHOTOS = 256
"""Stills, at least, that are moved as strangers, where there are as many."""


class MotionFigures:
    """Collects what the averaged networks make of the batches of one validation.

    Args:
        networks: `vae` and `heads`.
        perceptual, landmarker, embedder: critics; without the first there is no LPIPS, without both others nothing is
            said of strangers.
    """

    def __init__(
        self,
        networks: nn.ModuleDict,
        perceptual: nn.Module | None,
        landmarker: nn.Module | None,
        embedder: nn.Module | None,
    ):
        self.networks = networks
        self.perceptual, self.landmarker, self.embedder = perceptual, landmarker, embedder
        self.clear()

    def clear(self) -> None:
        self.frames: list[tuple[Tensor, ...]] = []
        self.photos: list[tuple[Tensor, ...]] = []
        self.stills: list[tuple[Tensor, Tensor]] = []

    def add(self, batch: Batch) -> tuple[int, dict[str, Tensor]]:
        """Keeps the batch's frames for `of_clips`; returns how many whole stills it has, and their figures."""
        crops = batch["crops"].contiguous(memory_format=torch.channels_last)
        mu = self.networks["vae"].encoder(crops)[0].float()
        still = batch["clip"] < 0
        frames = (~still).nonzero()[:, 0]
        if len(frames):
            mesh, shapes = self.networks["heads"](mu[frames])
            labels = batch["mesh"][frames], batch["blendshapes"][frames]
            self.frames.append((batch["clip"][frames], mu[frames], mesh, shapes, *labels))
        stills = (still & (batch["inside"].flatten(1).mean(1) > 0.99)).nonzero()[:, 0]
        if not len(stills):
            return 0, {}
        crops, mesh, shapes = crops[stills], batch["mesh"][stills], batch["blendshapes"][stills]
        self.stills.append((mu[stills], mesh))
        if sum(len(photos[0]) for photos in self.photos) < PHOTOS:
            self.photos.append((mu[stills], crops, mesh, shapes))
        pictures = self._decoded(mu[stills])
        figures = {
            "psnr": losses.psnr(pictures, crops).mean(),
            "sharpness": losses.laplacian_variance(pictures).mean() / losses.laplacian_variance(crops).mean(),
        }
        if self.perceptual is not None:
            figures["lpips"] = lpips_distance(self.perceptual, pictures, crops).float().mean()
        return len(stills), figures

    def of_clips(self) -> dict[str, Tensor]:
        """Of all frames added: how well the heads follow them, and what critics say of strangers moved by them."""
        if not self.frames:
            return {}
        clip, z, mesh, shapes, true_mesh, true_shapes = (torch.cat(parts) for parts in zip(*self.frames, strict=True))
        figures = heads_figures(mesh, shapes, true_mesh, true_shapes, clip)
        if self.photos and self.landmarker is not None and self.embedder is not None:
            figures |= self._of_strangers(clip, z, true_mesh, true_shapes)
        return figures

    def _of_strangers(self, clip: Tensor, z: Tensor, mesh: Tensor, shapes: Tensor) -> dict[str, Tensor]:
        """Validation stills moved by validation clips, each by one frame from the clip's first."""
        photos, crops, photo_mesh, photo_shapes = (torch.cat(parts) for parts in zip(*self.photos, strict=True))
        generator = torch.Generator().manual_seed(0)
        frame = torch.randint(len(z), (len(photos),), generator=generator).to(z.device)
        first = torch.searchsorted(clip, clip[frame])
        wanted = photo_mesh + mesh[frame] - mesh[first]
        pictures = self._decoded(photos + delta(z[frame], z[first]))
        _, logits = self.landmarker(pictures, wanted)
        asked = (photo_shapes + shapes[frame] - shapes[first]).clamp(0, 1)
        size = crops.shape[-1]
        faces = self.embedder(pictures, wanted.clamp(-0.2, 1.2) * size)
        real = self.embedder(crops, photo_mesh * size)
        error, still = (losses.blendshape_distance(b, asked) for b in (logits.sigmoid(), photo_shapes))
        return {
            "stranger_identity": 1 - losses.identity_distance(faces, real),
            "stranger_expression_error": error / still,
        }

    def match_eyes(self) -> None:
        """Stretch what the mesh head does with eyes, by the stills of the last validation."""
        if sum(len(mesh) for _, mesh in self.stills) >= PHOTOS:
            z, mesh = (torch.cat(parts) for parts in zip(*self.stills, strict=True))
            match_eyes(self.networks["heads"], z, mesh)

    def _decoded(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.networks["vae"].decoder(z).float())

    def _encoded(self, crops: Tensor) -> Tensor:
        return self.networks["vae"].encoder(crops.contiguous(memory_format=torch.channels_last))[0].float()

    @torch.no_grad()
    def picture_grid(self, data: pl.LightningDataModule, columns: int) -> np.ndarray:
        """Rows of `columns`: stills, rebuilt; driver's first frame, driver later, the stills moved by that."""
        pack, device = data.val.pack, next(self.networks.parameters()).device
        stills = np.flatnonzero(pack.clip < 0)
        chosen = stills[np.linspace(0, len(stills) - 1, columns).astype(int)]
        real = to_float(pack.crops[chosen], device)
        z = self._encoded(real)
        rows = [real, self._decoded(z)]
        frames = np.flatnonzero(pack.clip >= 0)
        if len(frames):
            later = frames[np.linspace(len(frames) // (2 * columns), len(frames) - 1, columns).astype(int)]
            first = np.searchsorted(pack.clip, pack.clip[later])
            before, after = (to_float(pack.crops[i], device) for i in (first, later))
            rows += [before, after, self._decoded(z + self._encoded(after) - self._encoded(before))]
        return to_uint8(make_grid(torch.cat(rows).cpu(), nrow=columns, padding=2))

    @torch.no_grad()
    def preview(self, driver: Tensor, data: pl.LightningDataModule, photos: int) -> Tensor:
        """Driver, its reconstruction, then photos moved by it, side by side."""
        crops = data.val.crops[data.val.pack.clip < 0]
        chosen = to_float(crops[np.linspace(0, len(crops) - 1, photos).astype(int)], driver.device)
        z, z_photos = self._encoded(driver), self._encoded(chosen)
        moved = [self._decoded(z_photo + delta(z, z[:1])) for z_photo in z_photos]
        return torch.cat([driver, self._decoded(z), *moved], dim=3)
