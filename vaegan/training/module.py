"""The VAE and the discriminator trained in turns, as the paper alternates them, in Lightning's manual optimisation."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from vaegan import losses
from vaegan.ema import averaged
from vaegan.errors import UserError
from vaegan.networks import VAE, Discriminator
from vaegan.training.schedule import learning_rate_factor


class FaceTraining(pl.LightningModule):
    """One step: D on real crops and on detached reconstructions, then the VAE with D's verdict (paper, section 2).

    `self.step_count` counts batches and is the curves' x axis; Lightning's `global_step` counts both optimisers'
    steps under manual optimisation and is used for nothing here.

    Args:
        vae: the networks to train. discriminator: None trains a plain VAE.
        weights: of the loss terms: `kl`, `adversarial`, `feature`, `lpips`, `r1`.
        optimizer: `lr`, `d_lr`, `betas`, `d_betas`, `warmup_steps`, `schedule` ("cosine" to zero at the end of the
            run, or "constant"), `clip` (gradient norm).
        gan: `form` ("bce" | "hinge"), `start_step`, `ramp_steps`, `samples` (decoded prior samples are fakes too),
            `r1_every` (steps between R1 penalties).
        ema_decay: of the averaged VAE that is validated and exported.
        total_steps: length of the schedule.
        perceptual: stock LPIPS module for the `lpips` term, or None.
    """

    def __init__(
        self,
        vae: VAE,
        discriminator: Discriminator | None,
        weights: dict[str, float],
        optimizer: dict[str, Any],
        gan: dict[str, Any],
        ema_decay: float,
        total_steps: int,
        perceptual: torch.nn.Module | None = None,
    ):
        super().__init__()
        self.automatic_optimization = False
        self.vae, self.discriminator, self.perceptual = vae, discriminator, perceptual
        self.ema = averaged(vae, ema_decay)
        self.weights, self.optimizer, self.gan = weights, optimizer, gan
        self.total_steps = total_steps
        self.step_count = 0
        self.images_seen = 0
        self.images_before = 0
        self._rng: Tensor | None = None
        self._d_right: list[float] = []

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
        progress = self.step_count / max(1, self.total_steps)
        return learning_rate_factor(self.step_count, progress, o["warmup_steps"], o["schedule"])

    def gan_ramp(self) -> float:
        """D's weight in the VAE's loss: 0 before `start_step`, then rising to 1 over `ramp_steps`."""
        return min(1.0, max(0.0, (self.step_count - self.gan["start_step"] + 1) / max(1, self.gan["ramp_steps"])))

    def on_train_epoch_start(self) -> None:
        self.trainer.datamodule.train.set_epoch(self.current_epoch)
        self._d_right = []

    def training_step(self, crops: Tensor, index: int) -> None:
        crops = crops.contiguous(memory_format=torch.channels_last)
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        for optimizer, lr in zip(optimizers, (self.optimizer["lr"], self.optimizer["d_lr"]), strict=False):
            optimizer.param_groups[0]["lr"] = lr * self.rate()

        logits, mu, logvar = self.vae(crops)
        terms = {"bce": losses.reconstruction_bce(logits, crops), "kl": losses.kl_divergence(mu, logvar)}
        loss = terms["bce"] + self.weights["kl"] * terms["kl"]
        ramp = self.gan_ramp() if self.discriminator is not None else 0.0
        if self.weights["lpips"] > 0:
            terms["lpips"] = self.perceptual(2 * torch.sigmoid(logits) - 1, 2 * crops - 1).mean()
            loss = loss + self.weights["lpips"] * terms["lpips"]
        if ramp > 0:
            fakes = torch.sigmoid(logits)
            if self.gan["samples"]:
                drawn = torch.sigmoid(self.vae.decoder(torch.randn_like(mu)))
                fakes = torch.cat([fakes, drawn])
            terms |= self._train_discriminator(optimizers[1], crops, fakes.detach())
            self.discriminator.requires_grad_(False)
            verdict, features = self.discriminator(fakes)
            with torch.no_grad():
                _, wanted = self.discriminator(crops)
            terms["adversarial"] = losses.adversarial_loss(verdict, self.gan["form"])
            terms["feature"] = losses.feature_matching([f[: len(crops)] for f in features], wanted)
            self.discriminator.requires_grad_(True)
            loss = loss + ramp * (
                self.weights["adversarial"] * terms["adversarial"] + self.weights["feature"] * terms["feature"]
            )

        optimizers[0].zero_grad(set_to_none=True)
        self.manual_backward(loss)
        terms["grad_norm"] = torch.nn.utils.clip_grad_norm_(self.vae.parameters(), self.optimizer["clip"])
        if not torch.isfinite(terms["grad_norm"]):
            raise UserError(
                f"training diverged: the gradient is not finite at step {self.step_count}; lower model.optimizer.lr "
                "or model.weights.adversarial, and go on from the last checkpoint"
            )
        optimizers[0].step()
        self.ema.update_parameters(self.vae)

        terms["loss"] = loss
        terms["lr"] = torch.tensor(self.optimizer["lr"] * self.rate())
        if self.discriminator is not None:
            terms["d_lr"] = torch.tensor(self.optimizer["d_lr"] * self.rate())
        self.step_count += 1
        self.images_seen += len(crops) * self.trainer.world_size
        bar = {"bce", "kl", "adversarial", "feature", "d_loss", "d_accuracy", "lpips"}
        for name, value in terms.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name in bar, on_step=True, on_epoch=False)
        self.log("step", float(self.step_count), on_step=True, on_epoch=False)
        self.log("images", float(self.images_seen), on_step=True, on_epoch=False)

    def _train_discriminator(self, optimizer: Any, crops: Tensor, fakes: Tensor) -> dict[str, Tensor]:
        """One step of D on real crops (N, 3, S, S) and detached fakes; returns its loss terms."""
        penalised = self.weights["r1"] > 0 and self.step_count % self.gan["r1_every"] == 0
        real_input = crops.detach().requires_grad_(penalised)
        real, _ = self.discriminator(real_input)
        fake, _ = self.discriminator(fakes)
        terms = {"d_loss": losses.discriminator_loss(real, fake, self.gan["form"])}
        loss = terms["d_loss"]
        if penalised:
            terms["r1"] = losses.r1_penalty(real, real_input)
            loss = loss + self.weights["r1"] * self.gan["r1_every"] * terms["r1"]
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        terms["d_grad_norm"] = torch.nn.utils.clip_grad_norm_(self.discriminator.parameters(), self.optimizer["clip"])
        optimizer.step()
        terms["d_accuracy"] = losses.d_accuracy(real.detach(), fake.detach())
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
        self.log("step", float(self.step_count), batch_size=len(crops))
        self.log("images", float(self.images_seen), batch_size=len(crops))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["progress"] = {
            "step_count": self.step_count,
            "images_seen": self.images_seen,
            "images_before": self.images_before,
            "rng": torch.get_rng_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        progress = checkpoint["progress"]
        self.step_count, self.images_seen = progress["step_count"], progress["images_seen"]
        self.images_before = progress["images_before"]
        self._rng = progress["rng"]

    def on_train_start(self) -> None:
        if self._rng is not None:
            torch.set_rng_state(self._rng.cpu())
            self._rng = None
