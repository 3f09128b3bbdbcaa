"""The VAE and the discriminator trained in turns, as the paper alternates them, in Lightning's manual optimisation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchvision.utils import make_grid

from vaegan import losses
from vaegan.critics.lpips import load_lpips
from vaegan.ema import averaged
from vaegan.errors import UserError
from vaegan.model import FaceModel, Framing, load_model
from vaegan.motion import delta
from vaegan.networks import VAE, Discriminator
from vaegan.tensors import to_float, to_uint8
from vaegan.training.adversary import discriminator_terms, is_penalised, verdict
from vaegan.training.card import model_card
from vaegan.training.module import Finished, TrainingModule, take_weights
from vaegan.training.pca_start import start_from_pca
from vaegan.training.schedule import learning_rate_factor


class Autoencoder(TrainingModule):
    """One step: D on real crops and on detached reconstructions, then the VAE with D's verdict (paper, section 2).

    `self.progress.step` counts batches and is the curves' x axis; Lightning's `global_step` counts both optimisers'
    steps under manual optimisation and is used for nothing here.

    Args:
        name: "vae" or "vaegan".
        framing: `scale` and `follow` of the crops. networks: of the VAE. discriminator: None trains a plain VAE.
        pca_start: start as a PCA autoencoder of the training crops, where no other weights are given.
        weights: of the loss terms: `kl`, `adversarial`, `feature`, `lpips`, `r1`.
        optimizer: `lr`, `d_lr`, `betas`, `d_betas`, `warmup_steps`, `schedule` ("cosine" to zero at the end of the
            run, or "constant"), `clip` (gradient norm).
        gan: `form` ("bce" | "hinge"), `start_step`, `ramp_steps`, `samples` (decoded prior samples are fakes too),
            `r1_every` (steps between R1 penalties).
        ema_decay: of the averaged VAE that is validated and exported.

    Raises:
        UserError: networks that cannot be built so, or LPIPS without AlexNet.
    """

    def __init__(
        self,
        name: str,
        framing: dict[str, Any],
        networks: dict[str, Any],
        discriminator: dict[str, Any] | None,
        pca_start: bool,
        weights: dict[str, float],
        optimizer: dict[str, Any],
        gan: dict[str, Any],
        ema_decay: float,
    ):
        super().__init__(name)
        self.automatic_optimization = False
        try:
            self.vae = VAE(**networks).to(memory_format=torch.channels_last)
            self.discriminator = Discriminator(**discriminator) if discriminator else None
        except (TypeError, ValueError) as error:
            raise UserError(f"model configuration: {error}") from error
        if self.discriminator is not None:
            self.discriminator.to(memory_format=torch.channels_last)
        self.perceptual = load_lpips() if weights["lpips"] > 0 else None
        self.ema = averaged(self.vae, ema_decay)
        self.framing = Framing(float(framing["scale"]), bool(framing["follow"]))
        self.size, self.latent = self.vae.config["size"], self.vae.config["latent"]
        self.pca_start, self.weights, self.optimizer, self.gan = pca_start, weights, optimizer, gan
        self.pictures_needed = self.latent if pca_start else 0
        self._d_right: list[float] = []

    def begin(self, data: pl.LightningDataModule, start_from: str | None) -> None:
        if start_from:
            start = load_model(start_from)
            take_weights(self.vae, start.vae, start_from)
            self.images_before = int(start.training.get("images_seen", 0))
        elif self.pca_start:
            start_from_pca(self.vae, data.train.crops, noise=self.weights["kl"] / 4)
        self.ema.module.load_state_dict(self.vae.state_dict())

    def compiled(self) -> list[nn.Module]:
        return [self.vae] if self.discriminator is None else [self.vae, self.discriminator]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        o = self.optimizer
        found = [torch.optim.Adam(self.vae.parameters(), lr=o["lr"], betas=tuple(o["betas"]), fused=True)]
        if self.discriminator is not None:
            d = self.discriminator.parameters()
            found.append(torch.optim.Adam(d, lr=o["d_lr"], betas=tuple(o["d_betas"]), fused=True))
        return found

    def rate(self) -> float:
        """The factor on both learning rates at this step: linear warm-up, then cosine to zero or constant."""
        o = self.optimizer
        return learning_rate_factor(self.progress.step, self.progress.value, o["warmup_steps"], o["schedule"])

    def gan_ramp(self) -> float:
        """D's weight in the VAE's loss: 0 before `start_step`, then rising to 1 over `ramp_steps`."""
        since = self.progress.step - self.gan["start_step"] + 1
        return min(1.0, max(0.0, since / max(1, self.gan["ramp_steps"])))

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self._d_right = []

    def training_step(self, crops: Tensor, index: int) -> None:
        crops = crops.contiguous(memory_format=torch.channels_last)
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        for optimizer, lr in zip(optimizers, (self.optimizer["lr"], self.optimizer["d_lr"]), strict=False):
            optimizer.param_groups[0]["lr"] = lr * self.rate()

        logits, mu, logvar = self.vae(crops, self.noise)
        terms = {"bce": losses.reconstruction_bce(logits, crops), "kl": losses.kl_divergence(mu, logvar)}
        loss = terms["bce"] + self.weights["kl"] * terms["kl"]
        ramp = self.gan_ramp() if self.discriminator is not None else 0.0
        if self.weights["lpips"] > 0:
            terms["lpips"] = self.perceptual(2 * torch.sigmoid(logits) - 1, 2 * crops - 1).mean()
            loss = loss + self.weights["lpips"] * terms["lpips"]
        if ramp > 0:
            fakes = torch.sigmoid(logits)
            if self.gan["samples"]:
                drawn = torch.sigmoid(self.vae.decoder(self.noise(mu)))
                fakes = torch.cat([fakes, drawn])
            terms |= self._train_discriminator(optimizers[1], crops, fakes.detach())
            terms |= verdict(self.discriminator, crops, fakes, self.gan["form"], self.over_processes)
            loss = loss + ramp * (
                self.weights["adversarial"] * terms["adversarial"] + self.weights["feature"] * terms["feature"]
            )

        optimizers[0].zero_grad(set_to_none=True)
        self.manual_backward(loss)
        terms["grad_norm"] = torch.nn.utils.clip_grad_norm_(self.vae.parameters(), self.optimizer["clip"])
        self.refuse_divergence(terms["grad_norm"], "model.optimizer.lr or model.weights.adversarial")
        optimizers[0].step()
        self.ema.update_parameters(self.vae)

        terms["loss"] = loss
        terms["lr"] = torch.tensor(self.optimizer["lr"] * self.rate())
        if self.discriminator is not None:
            terms["d_lr"] = torch.tensor(self.optimizer["d_lr"] * self.rate())
        bar = {"bce", "kl", "adversarial", "feature", "d_loss", "d_accuracy", "lpips"}
        means = self.over_processes(torch.stack([value.detach().float().to(self.device) for value in terms.values()]))
        for name, value in zip(terms, means, strict=True):
            self.log(f"train/{name}", value, prog_bar=name in bar, on_step=True, on_epoch=False)
        self.count(len(crops))

    def _train_discriminator(self, optimizer: Any, crops: Tensor, fakes: Tensor) -> dict[str, Tensor]:
        """One step of D on real crops (N, 3, S, S) and detached fakes; returns its loss terms."""
        r1 = self.weights["r1"] if is_penalised(self.gan, self.weights["r1"], self.progress.step) else 0.0
        loss, terms = discriminator_terms(self.discriminator, crops, fakes, self.gan, r1)
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        terms["d_grad_norm"] = torch.nn.utils.clip_grad_norm_(self.discriminator.parameters(), self.optimizer["clip"])
        optimizer.step()
        self._d_right.append(float(terms["d_accuracy"]))
        return terms

    def on_train_epoch_end(self) -> None:
        if len(self._d_right) > 20 and min(self._d_right) >= 1.0:
            self.print(
                "D told every crop of this epoch apart: the VAE learns nothing from it any more; "
                "lower model.optimizer.d_lr or raise model.weights.r1"
            )

    def validation_step(self, crops: Tensor, index: int) -> None:
        """Figures of the averaged VAE, decoding the posterior mean."""
        mu, logvar = self.ema.module.encoder(crops.contiguous(memory_format=torch.channels_last))
        logits = self.ema.module.decoder(mu)
        pictures = torch.sigmoid(logits)
        figures = {
            "psnr": losses.psnr(pictures, crops).mean(),
            "bce": losses.reconstruction_bce(logits, crops),
            "kl": losses.kl_divergence(mu, logvar),
            "sharpness": losses.laplacian_variance(pictures).mean() / losses.laplacian_variance(crops).mean(),
        }
        for name, value in figures.items():
            shown = name in {"psnr", "sharpness"}
            self.log(f"val/{name}", value, prog_bar=shown, batch_size=len(crops), sync_dist=True)
        self.log_position(batch_size=len(crops))

    @torch.no_grad()
    def reconstruct(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        return self._decoded(self.ema.module.encoder(batch)[0]), batch

    @torch.no_grad()
    def picture_grid(self, data: pl.LightningDataModule, columns: int) -> np.ndarray:
        """Two rows of crops, their reconstructions, two rows of samples (the same latents in every run)."""
        real = self._chosen(data, 2 * columns)
        rebuilt, _ = self.reconstruct(real)
        z = torch.randn(2 * columns, self.latent, generator=torch.Generator().manual_seed(0))
        drawn = self._decoded(z.to(self.device))
        rows = [part[i : i + columns] for i in (0, columns) for part in (real, rebuilt)] + [drawn]
        return to_uint8(make_grid(torch.cat(rows).cpu(), nrow=columns, padding=2))

    @torch.no_grad()
    def preview(self, driver: Tensor, data: pl.LightningDataModule, photos: int) -> Tensor:
        """Driver, its reconstruction, then photos moved by it, side by side."""
        z, z_photos = (self.ema.module.encoder(crops)[0] for crops in (driver, self._chosen(data, photos)))
        moved = [self._decoded(z_photo + delta(z, z[:1])) for z_photo in z_photos]
        return torch.cat([driver, self._decoded(z), *moved], dim=3)

    def _decoded(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.ema.module.decoder(z))

    def _chosen(self, data: pl.LightningDataModule, count: int) -> Tensor:
        """Validation crops (count, 3, S, S), evenly spaced."""
        crops = data.val.crops
        return to_float(crops[np.linspace(0, len(crops) - 1, count).astype(int)], self.device)

    def export(self, folder: Path, run: Finished) -> Path:
        training = self.told(run)
        what = "VAE" if self.discriminator is None else "VAE + GAN"
        model = FaceModel(self.ema.module, self.framing, run.name, training)
        return model.save(folder / "model", card=model_card(what, run, training))
