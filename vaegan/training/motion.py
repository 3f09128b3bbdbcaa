"""A VAE + GAN whose latent carries motion: what is added to a stranger's latent must mean the same there.

The networks are the paper's. Beside its losses, two linear heads read mesh and blendshapes off the latent, and for
strangers z_p + z_b - z_a, a and b two frames of one clip, frozen critics say whether what is drawn has the photo's
identity and the movement that was asked for.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from vaegan import losses
from vaegan.critics import weights_to_bfloat16
from vaegan.critics.embedder import Embedder
from vaegan.critics.landmarker import Landmarker
from vaegan.critics.lpips import load_lpips, lpips_distance
from vaegan.data.pack_data import Batch, PackData
from vaegan.ema import averaged
from vaegan.errors import UserError
from vaegan.model import FaceModel, Framing, load_model
from vaegan.networks import VAE, Discriminator, Heads
from vaegan.training.adversary import discriminator_terms, is_penalised, verdict
from vaegan.training.card import model_card
from vaegan.training.module import Finished, TrainingModule, freeze, take_weights
from vaegan.training.motion_figures import MotionFigures
from vaegan.training.pca_start import start_from_pca
from vaegan.training.schedule import learning_rate_factor

CHECK_EVERY = 50
"""Steps between two looks whether the gradient is finite: each look waits for the graphics card."""

EMA_EVERY = 4
"""Steps between two updates of the average."""

PCA_CROPS = 6000


class StepKind(NamedTuple):
    """What a step does: critics judge, D is trained and judges, its R1 penalty is due; pairs in the batch."""

    judged: bool
    against: bool
    penalised: bool
    pairs: int


class MotionAutoencoder(TrainingModule):
    """One step: D on real crops, reconstructions and strangers, then VAE and heads with all verdicts.

    Args:
        name: of the kind of model.
        framing: `scale` and `follow` of the crops. networks: of the VAE. discriminator: of D.
        regions: by how much more than 1 pixels weigh: `features` (mouth, eyes), `brows`.
        weights: of the loss terms, 0 switches one off: `kl`, `lpips`; of the heads `mesh`, `depth`, `blendshapes`,
            `openings`; of the critics `critic_mesh`, `critic_blendshapes`, `critic_openings`, `identity`; `cycle`; of
            D `adversarial`, `feature`, `r1`; `rebuilt`, the share of the critics' terms that reconstructions have
            where strangers have 1.
        strangers: whether z_p + z_b - z_a is drawn and judged at all.
        pca_start: start as a PCA autoencoder of some training crops, where no other weights are given.
        optimizer: as of `Autoencoder`, betas alike.
        gan, critics: `start` and `ramp`, shares of the run after and over which their terms come in; gan also `form`
            and `r1_every`; critics also `share`, of reconstructions they look at, and `jitter` of where they look.
        ema_decay: of the averaged networks that are validated and exported.
        frozen: parts that keep the weights they start with: some of `encoder`, `decoder`, `heads`.

    Raises:
        UserError: networks that cannot be built so, or a critic whose weights are not at hand.
    """

    takes = PackData

    def __init__(
        self,
        name: str,
        framing: dict[str, Any],
        networks: dict[str, Any],
        discriminator: dict[str, Any],
        regions: dict[str, float],
        weights: dict[str, float],
        strangers: bool,
        pca_start: bool,
        optimizer: dict[str, Any],
        gan: dict[str, Any],
        critics: dict[str, float],
        ema_decay: float,
        frozen: Sequence[str] = (),
    ):
        super().__init__(name)
        self.automatic_optimization = False
        try:
            vae, self.discriminator = VAE(**networks), Discriminator(**discriminator)
        except (TypeError, ValueError) as error:
            raise UserError(f"model configuration: {error}") from error
        self.networks = nn.ModuleDict({"vae": vae, "heads": Heads(vae.config["latent"])})
        self.networks["vae"].to(memory_format=torch.channels_last)
        self.discriminator.to(memory_format=torch.channels_last)
        parts = {"encoder": vae.encoder, "decoder": vae.decoder, "heads": self.networks["heads"]}
        self.trained = freeze(self.networks, parts, frozen)
        self.framing = Framing(float(framing["scale"]), bool(framing["follow"]))
        self.size = vae.config["size"]
        self.regions, self.weights, self.strangers = regions, weights, strangers
        self.pca_start, self.optimizer, self.gan, self.critics = pca_start, optimizer, gan, critics
        self.ema = averaged(self.networks, ema_decay**EMA_EVERY)
        self.seed = torch.initial_seed()
        w = weights
        self.perceptual = load_lpips().to(memory_format=torch.channels_last) if w["lpips"] > 0 else None
        judged = w["critic_mesh"] + w["critic_blendshapes"] + w["critic_openings"] > 0
        self.landmarker = Landmarker(critics["jitter"]) if judged else None
        self.embedder = Embedder() if w["identity"] > 0 else None
        self.register_buffer("point_weights", losses.point_weights(), persistent=False)
        self.figures = MotionFigures(self.ema.module, self.perceptual, self.landmarker, self.embedder)

    # ---- start and end

    def begin(self, data: pl.LightningDataModule, start_from: str | None) -> None:
        if start_from:
            start = load_model(start_from)
            take_weights(self.networks["vae"], start.vae, start_from)
            if start.has_heads:
                self.networks["heads"].load_state_dict(start.head_maps.state_dict())
            self.images_before = int(start.training.get("images_seen", 0))
        elif self.pca_start:
            crops = data.train.crops[:: max(1, len(data.train.crops) // PCA_CROPS)]
            start_from_pca(self.networks["vae"], crops, noise=self.weights["kl"] / 4)
        if not start_from or not start.has_heads:
            mean = torch.from_numpy(data.train.pack.mesh[:20_000].astype(np.float32).mean(0))
            self.networks["heads"].mesh.bias.data.copy_(mean.flatten())
        self.ema.module.load_state_dict(self.networks.state_dict())

    def compiled(self) -> list[nn.Module]:
        return [self.networks["vae"], self.discriminator]

    def export(self, folder: Path, run: Finished) -> Path:
        training = self.told(run)
        if self.networks["heads"].mesh.weight.requires_grad:  # frozen heads stay
            self.figures.match_eyes()
        average = self.ema.module
        model = FaceModel(average["vae"], self.framing, run.name, training, average["heads"])
        return model.save(
            folder / "model", card=model_card("VAE + GAN with heads for mesh and blendshapes", run, training)
        )

    # ---- training

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        o, how = self.optimizer, {"fused": True, "capturable": self.cuda_graph}
        return [
            torch.optim.Adam(self.trained, lr=o["lr"], betas=tuple(o["betas"]), **how),
            torch.optim.Adam(self.discriminator.parameters(), lr=o["d_lr"], betas=tuple(o["d_betas"]), **how),
        ]

    def on_fit_start(self) -> None:
        if "bf16" in str(self.trainer.precision):
            for critic in (self.perceptual, self.landmarker):
                if critic is not None:
                    weights_to_bfloat16(critic)
            if self.embedder is not None:
                self.embedder.weights_to_bfloat16()

    def on_train_start(self) -> None:
        super().on_train_start()
        self.ema.n_averaged = self.ema.n_averaged.cpu()  # it is read at every update, which must not halt the card

    def rate(self) -> float:
        """The factor on both learning rates at this step."""
        o = self.optimizer
        return learning_rate_factor(self.progress.step, self.progress.value, o["warmup_steps"], o["schedule"])

    def ramp(self, of: dict[str, float]) -> float:
        """0 before the share `start` of the run, then rising to 1 over the share `ramp`."""
        return min(1.0, max(0.0, (self.progress.value - of["start"] + 1e-6) / max(1e-6, of["ramp"])))

    def training_step(self, batch: Batch, index: int) -> None:
        step = self.progress.step
        torch.manual_seed(self.seed + step)  # so that a resumed run draws what an unbroken one would
        judging = self.weights["adversarial"] + self.weights["feature"] > 0
        numbers = {"lr": self.optimizer["lr"] * self.rate(), "d_lr": self.optimizer["d_lr"] * self.rate()}
        numbers |= {"gan": self.ramp(self.gan) if judging else 0.0, "critics": self.ramp(self.critics)}
        kind = StepKind(
            numbers["critics"] > 0, numbers["gan"] > 0, is_penalised(self.gan, self.weights["r1"], step), batch["pairs"]
        )
        tensors = {name: batch[name] for name in ("crops", "inside", "mesh", "blendshapes")}
        tensors["crops"] = tensors["crops"].contiguous(memory_format=torch.channels_last)
        shown = self.run_step(kind, tensors, numbers)
        if step % CHECK_EVERY == 0:
            self.refuse_divergence(shown["grad_norm"], "model.optimizer.lr")
        if step % EMA_EVERY == 0:
            self.ema.update_parameters(self.networks)
        if step % self.trainer.log_every_n_steps == 0:
            for name, value in shown.items():
                self.log(f"train/{name}", value.detach(), on_step=True, on_epoch=False)
            self.log("train/lr", numbers["lr"], on_step=True, on_epoch=False)
        self.count(len(batch["crops"]))

    def step_of(self, kind: StepKind, batch: Batch, numbers: dict[str, Any]) -> dict[str, Tensor]:
        """As `TrainingModule.step_of`: the loss terms, weighted."""
        optimizers = self.optimizers()
        for optimizer, lr in zip(optimizers, ("lr", "d_lr"), strict=True):
            optimizer.param_groups[0]["lr"] = numbers[lr]
        w, crops = self.weights, batch["crops"]
        n = len(crops)
        vae, heads = self.networks["vae"], self.networks["heads"]
        mu, logvar = (part.float() for part in vae.encoder(crops))
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        stranger = self._strangers(mu, batch, kind.pairs) if self.strangers and kind.pairs else None
        drawn = z if stranger is None else torch.cat([z, stranger["z"]])
        logits = vae.decoder(drawn).float()
        pictures = torch.sigmoid(logits)
        terms = self._rebuilding(logits[:n], pictures[:n], mu, logvar, heads(mu), batch)
        if kind.judged:
            ramp = numbers["critics"]
            terms |= {name: ramp * value for name, value in self._judged(pictures, stranger, batch).items()}
            if stranger is not None and w["cycle"] > 0:
                again, _ = vae.encoder(pictures[n:].contiguous(memory_format=torch.channels_last))
                terms["cycle"] = ramp * w["cycle"] * losses.cycle_distance(again, stranger["z"])
        shown = {}
        if kind.against:
            shown = self._train_discriminator(optimizers[1], crops, pictures.detach(), kind.penalised)
            fakes = pictures.contiguous(memory_format=torch.channels_last)
            said = verdict(self.discriminator, crops, fakes, self.gan["form"])
            terms |= {name: numbers["gan"] * w[name] * value for name, value in said.items()}
        loss = sum(terms.values())
        optimizers[0].zero_grad(set_to_none=True)
        self.manual_backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.trained, self.optimizer["clip"])
        optimizers[0].step()
        return terms | shown | {"loss": loss, "grad_norm": norm}

    def _strangers(self, mu: Tensor, batch: Batch, p: int) -> dict[str, Tensor]:
        """Photos, mostly stills, with the motion of each of p pairs, there and back: latents, and what is asked."""
        n, device = len(mu), mu.device
        photo = torch.randint(max(1, n - 2 * p), (2 * p,), device=device)
        photo[: p // 2] = torch.randint(n, (p // 2,), device=device)
        first, second = torch.arange(n - 2 * p, n - p, device=device), torch.arange(n - p, n, device=device)
        before, after = torch.cat([first, second]), torch.cat([second, first])

        def moved(values: Tensor) -> Tensor:
            return values[photo] + values[after] - values[before]

        return {
            "z": moved(mu),
            "mesh": moved(batch["mesh"]),
            "blendshapes": moved(batch["blendshapes"]).clamp(0, 1),
            "photo": photo,
        }

    def _rebuilding(
        self,
        logits: Tensor,
        pictures: Tensor,
        mu: Tensor,
        logvar: Tensor,
        read: tuple[Tensor, Tensor],
        batch: Batch,
    ) -> dict[str, Tensor]:
        """Weighted terms of the crops themselves: reconstruction, code, heads."""
        w, crops, inside, mesh = self.weights, batch["crops"], batch["inside"], batch["mesh"]
        weights = losses.region_weights(mesh, self.size, **self.regions) * inside
        terms = {
            "bce": losses.reconstruction_bce(logits, crops, weights),
            "kl": w["kl"] * losses.kl_divergence(mu, logvar),
        }
        if w["lpips"] > 0:
            seen = pictures * inside + crops * (1 - inside)
            terms["lpips"] = w["lpips"] * lpips_distance(self.perceptual, seen, crops).float().mean()
        if w["mesh"] > 0:
            terms["mesh"] = w["mesh"] * losses.mesh_distance(read[0][..., :2], mesh[..., :2], self.point_weights)
            depth = losses.mesh_distance(read[0][..., 2:], mesh[..., 2:], torch.ones_like(self.point_weights))
            terms["depth"] = w["depth"] * depth
        if w["blendshapes"] > 0:
            terms["blendshapes"] = w["blendshapes"] * losses.blendshape_distance(read[1], batch["blendshapes"])
        if w["openings"] > 0:
            terms["openings"] = w["openings"] * losses.opening_distance(read[0].float(), mesh)
        return terms

    def _judged(self, pictures: Tensor, stranger: dict[str, Tensor] | None, batch: Batch) -> dict[str, Tensor]:
        """Weighted verdicts of the frozen critics on strangers, and the landmarker's on a share of reconstructions."""
        w, n = self.weights, len(batch["crops"])
        step = max(1, round(1 / self.critics["share"])) if self.critics["share"] > 0 else n + 1
        rebuilt = torch.arange(0, max(0, n - step + 1), step, device=pictures.device)
        rebuilt = rebuilt + torch.randint(step, (1,), device=pictures.device)
        groups = [(w["rebuilt"], pictures[:n][rebuilt], batch["mesh"][rebuilt], batch["blendshapes"][rebuilt])]
        if stranger is not None:
            groups.append((1.0, pictures[n:], stranger["mesh"], stranger["blendshapes"]))
        groups = [group for group in groups if len(group[1]) and group[0] > 0]
        if not groups:
            return {}
        share, looked, mesh, shapes = zip(*groups, strict=True)
        counts = [len(part) for part in looked]
        looked, mesh = torch.cat(looked), torch.cat(mesh)
        terms: dict[str, Tensor] = {}
        if self.landmarker is not None:
            seen, logits = (part.split(counts) for part in self.landmarker(looked, mesh))
            for k, wanted, m, b, s in zip(share, mesh.split(counts), seen, logits, shapes, strict=True):
                found = {
                    "critic_mesh": losses.mesh_distance(m, wanted[..., :2], self.point_weights, at_most=0.05),
                    "critic_blendshapes": losses.blendshape_distance(b.sigmoid(), s),
                    "critic_openings": losses.opening_distance(m, wanted, at_most=4.0),
                }
                for name, value in found.items():
                    terms[name] = terms.get(name, 0.0) + k * w[name] * value
        if self.embedder is not None and stranger is not None:
            photo = stranger["photo"]
            with torch.no_grad():
                real = self.embedder(batch["crops"][photo], batch["mesh"][photo] * self.size)
            faces = self.embedder(pictures[n:], stranger["mesh"].clamp(-0.2, 1.2) * self.size)
            terms["identity"] = w["identity"] * losses.identity_distance(faces, real)
        return terms

    def _train_discriminator(self, optimizer: Any, crops: Tensor, fakes: Tensor, penalised: bool) -> dict[str, Tensor]:
        """One step of D on real crops (N, 3, S, S) and detached fakes; returns its loss terms."""
        fakes = fakes.contiguous(memory_format=torch.channels_last)
        device = crops.device.type
        with torch.autocast(device, enabled=torch.is_autocast_enabled(device) and not penalised):
            r1 = self.weights["r1"] if penalised else 0.0
            loss, terms = discriminator_terms(self.discriminator, crops, fakes, self.gan, r1)
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        optimizer.step()
        return terms

    # ---- validation

    def on_validation_epoch_start(self) -> None:
        self.figures.clear()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Figures of the averaged networks: reconstructions of stills here, motion of clips at the end."""
        count, figures = self.figures.add(batch)
        if count:
            for name, value in figures.items():
                self.log(f"val/{name}", value, batch_size=count, on_epoch=True, on_step=False, sync_dist=True)
            self.log_position(batch_size=count)

    def on_validation_epoch_end(self) -> None:
        with self.trainer.precision_plugin.forward_context():
            figures = self.figures.of_clips()
        for name, value in figures.items():
            self.log(f"val/{name}", value)

    def picture_grid(self, data: pl.LightningDataModule, columns: int) -> np.ndarray:
        return self.figures.picture_grid(data, columns)

    def preview(self, driver: Tensor, data: pl.LightningDataModule, photos: int) -> Tensor:
        return self.figures.preview(driver, data, photos)
