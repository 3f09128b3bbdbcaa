"""Training of the refiner that mends the warped photo: pairs of frames of one clip, and strangers, in one batch."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from vaegan import losses
from vaegan.critics import weights_to_bfloat16
from vaegan.critics.embedder import Embedder
from vaegan.critics.landmarker import Landmarker
from vaegan.critics.lpips import load_lpips, lpips_distance
from vaegan.data.pack_frames import FramesData
from vaegan.errors import UserError
from vaegan.faces.geometry import FACE_POINTS
from vaegan.model import load_model
from vaegan.render.field import at_rest, dense_field
from vaegan.render.refiner import SIZE, Refiner, compose, in_place, mesh_in_place, pull, refiner_inputs
from vaegan.render.refiner_folder import load_refiner, save_refiner
from vaegan.tensors import to_uint8
from vaegan.training.module import Finished, TrainingModule, take_weights
from vaegan.training.patch_discriminator import PatchDiscriminator
from vaegan.training.schedule import learning_rate_factor
from vaegan.training.warp_card import refiner_card
from vaegan.training.warp_frames import Look, WarpFrames, stranger, varied
from vaegan.training.warp_regions import SQUARES, attention, squares_of

LOST, SHUT = 0.08, 25.0
"""What one point and one opening count at most: beyond, the landmarker has lost the face."""

FLATTENING = (12, 8)
"""Iterations that keep photo and moved mesh from turning over; fixed, so that the device is not asked."""


class RefinerTraining(TrainingModule):
    """One step: both discriminators on real and refined pictures, then the refiner with all its critics.

    Args:
        name: of the kind of model. motion_model: name or folder of the model whose latents move the photo.
        refiner: widths. discriminators: widths of the one for pictures and of the one for mouths and eyes.
        pairs, strangers: of a batch; strangers are at most half of the pairs.
        critics: of the pairs, how many landmarker and embedder look at; they look at all strangers.
        true_mesh: share of the pairs moved by the target's own mesh instead of W (z_t - z_p).
        far: share of the pairs whose target is the furthest of some frames. varied: of those blurred or compressed.
        weights: of the loss terms. optimizer: `lr`, `d_lr`, `betas`, `warmup_steps`, `clip`.
        gan: `start`, `ramp`: shares of the run after which the discriminators have a say, and over which it grows.
        ema_decay: of the averaged refiner that is validated and exported. ema_every: steps between its updates.
        log_every: steps between two looks at the losses, each of which waits for the device.

    Raises:
        UserError: a model without heads, or critics whose weights are not at hand.
    """

    objective = "lpips"
    parallel = False  # each process would draw the same pairs
    takes = FramesData

    def __init__(
        self,
        name: str,
        motion_model: str,
        refiner: dict[str, Any],
        discriminators: dict[str, list[int]],
        pairs: int,
        strangers: int,
        critics: int,
        true_mesh: float,
        far: float,
        varied: float,
        weights: dict[str, float],
        optimizer: dict[str, Any],
        gan: dict[str, float],
        ema_decay: float,
        ema_every: int,
        log_every: int,
    ):
        super().__init__(name)
        self.automatic_optimization = False
        if not 0 < strangers <= pairs // 2 or not 0 < critics <= pairs:
            raise UserError("model.strangers is at most half of model.pairs, and model.critics at most all of them")
        model = load_model(motion_model)
        if not model.has_heads:
            raise UserError(f"model.motion_model={motion_model} has no heads: use motion64, or train with them")
        # Frozen networks are no part of the checkpoint.
        self._frozen = {
            "model": model,
            "landmarker": Landmarker(jitter=0.03),
            "embedder": Embedder(),
            "lpips": load_lpips(),
        }
        try:
            self.refiner = Refiner(**refiner).to(memory_format=torch.channels_last)
            self.of_pictures = PatchDiscriminator(discriminators["pictures"]).to(memory_format=torch.channels_last)
            self.of_squares = PatchDiscriminator(discriminators["squares"]).to(memory_format=torch.channels_last)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"model configuration: {error}") from error
        self.average = copy.deepcopy(self.refiner).requires_grad_(False)
        self.ema_decay = ema_decay
        self.pairs, self.strangers, self.critics = pairs, strangers, critics
        self.true_mesh, self.far, self.varied = true_mesh, far, varied
        self.weights, self.optimizer, self.gan = weights, optimizer, gan
        self.ema_every, self.log_every = ema_every, log_every
        self.seed = torch.initial_seed()
        self.frames: dict[str, WarpFrames] = {}
        self.register_buffer("point_weights", losses.point_weights(), persistent=False)

    # ---- Lightning and run.py

    def begin(self, data: pl.LightningDataModule, start_from: str | None) -> None:
        if start_from:
            start, about = load_refiner(start_from)
            take_weights(self.refiner, start, start_from)
            self.images_before = int(about.get("images_seen", 0))
        self.average.load_state_dict(self.refiner.state_dict())

    def compiled(self) -> list[nn.Module]:
        return [self.refiner, self.of_pictures, self.of_squares]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        o = self.optimizer
        critics = [*self.of_pictures.parameters(), *self.of_squares.parameters()]
        return [
            torch.optim.Adam(parameters, lr=lr, betas=tuple(o["betas"]), fused=True, capturable=self.cuda_graph)
            for parameters, lr in ((self.refiner.parameters(), o["lr"]), (critics, o["d_lr"]))
        ]

    def on_fit_start(self) -> None:
        """Everything frozen and every frame goes to the device, and is looked at once."""
        for name in ("landmarker", "embedder", "lpips"):
            self._frozen[name].to(self.device, memory_format=torch.channels_last)
        model = self._frozen["model"]
        model.vae.to(self.device)
        model.head_maps.to(self.device)
        half = self.device.type == "cuda" and "bf16" in str(self.trainer.precision)
        for part in ("train", "val"):
            pack = getattr(self.trainer.datamodule, part).pack
            self.frames[part] = WarpFrames(pack, model, self._frozen["embedder"], self.far, self.device, half)
        if half:
            self._frozen["embedder"].weights_to_bfloat16()
            weights_to_bfloat16(self._frozen["landmarker"])
            weights_to_bfloat16(self._frozen["lpips"])

    def training_step(self, batch: Any, index: int) -> None:
        torch.manual_seed(self.seed + self.progress.step)  # so that a resumed run draws what an unbroken one would
        numbers = {"lr": self.optimizer["lr"] * self.rate(), "d_lr": self.optimizer["d_lr"] * self.rate()}
        numbers["gan"] = self.gan_ramp()
        with torch.autocast(self.device.type, enabled=False):
            terms = self.run_step(numbers["gan"] > 0, {}, numbers)
        self._average()
        if self.progress.step % self.log_every == 0:
            self.refuse_divergence(terms["grad_norm"], "model.optimizer.lr or model.weights.adversarial")
            for name, value in terms.items():
                self.log(f"train/{name}", value.detach(), prog_bar=name in {"loss", "lpips"}, on_epoch=False)
        self.count(self.pairs + self.strangers)

    def _average(self) -> None:
        """As `vaegan.ema`, whose count lies on the device and would have to be waited for."""
        updates, rest = divmod(self.progress.step + 1, self.ema_every)
        if not rest:
            decay = min(self.ema_decay, (1 + updates) / (10 + updates))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.parameters()), list(self.refiner.parameters()), 1 - decay)

    # ---- a step

    def rate(self) -> float:
        """The factor on both learning rates at this step."""
        return learning_rate_factor(self.progress.step, self.progress.value, self.optimizer["warmup_steps"])

    def gan_ramp(self) -> float:
        """The discriminators' weight in the refiner's loss: 0 before `start`, then rising to 1."""
        return min(1.0, max(0.0, (self.progress.value - self.gan["start"]) / max(1e-9, self.gan["ramp"])))

    def step_of(self, against: bool, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> dict[str, Tensor]:
        """As `TrainingModule.step_of`; against: whether the discriminators have a say."""
        half = "bf16" in str(self.trainer.precision)
        amp = partial(torch.autocast, self.device.type, torch.bfloat16, enabled=half)
        optimizers = self.optimizers()
        for optimizer, lr in zip(optimizers, ("lr", "d_lr"), strict=True):
            optimizer.param_groups[0]["lr"] = numbers[lr]
        photo, wanted = self.frames["train"].draw(self.pairs)
        photo.picture, wanted.picture = varied(photo.picture, wanted.picture, self.varied)
        photo, wanted, moved = self._with_strangers(photo, wanted, self.true_mesh)
        made, mask, _ = self.rendered(self.refiner, photo, wanted, moved, amp)
        seen = torch.cat([wanted.mesh[: self.pairs], moved[self.pairs :]])  # where faces are in what was made
        real, w = wanted.picture[: self.pairs], self.weights
        squares, real_squares = squares_of(made, seen), squares_of(real, seen[: self.pairs])

        terms = {
            "l1": losses.weighted_l1(made[: self.pairs], real, attention(seen[: self.pairs])),
            "mask": mask.mean(),
        }
        of_pairs = self._of_pairs(len(made))
        with amp():
            terms["lpips"] = lpips_distance(self._frozen["lpips"], made[: self.pairs], real).mean()
            terms["lpips_squares"] = lpips_distance(self._frozen["lpips"], squares[of_pairs], real_squares).mean()
        terms |= self._criticised(made, wanted, seen, amp)
        verdicts = {}
        if against:
            verdicts = self._discriminated(optimizers[1], made, squares, real, real_squares, of_pairs, amp)
            terms |= {name: verdicts[name] for name in ("adversarial", "feature")}
        loss = sum(w[name] * (numbers["gan"] if name in verdicts else 1.0) * value for name, value in terms.items())
        optimizers[0].zero_grad(set_to_none=True)
        self.manual_backward(loss)
        terms["grad_norm"] = nn.utils.clip_grad_norm_(self.refiner.parameters(), self.optimizer["clip"])
        optimizers[0].step()
        return terms | verdicts | {"loss": loss}

    def _with_strangers(self, photo: Look, wanted: Look, true_mesh: float) -> tuple[Look, Look, Tensor]:
        """Photos and what is wanted, strangers after the pairs, and the moved meshes (N, 478, 2) in the view."""
        n = self.strangers
        others = slice(len(photo.z) - n, len(photo.z))
        goal = stranger(photo[others], photo[:n], wanted[:n])
        heads = self._frozen["model"].head_maps
        with torch.no_grad():
            change = (heads(wanted.z)[0] - heads(photo.z)[0])[..., :2]
        shape = torch.cat([photo.shape + change, photo.shape[others] + change[:n]])
        wanted = wanted.joined(goal)
        moved = mesh_in_place(shape, wanted.placement)
        true = torch.rand(len(photo.z), 1, 1, device=self.device) < true_mesh
        moved = torch.cat([torch.where(true, wanted.mesh[: len(true)], moved[: len(true)]), moved[len(true) :]])
        return photo.joined(photo[others]), wanted, moved

    def rendered(
        self, refiner: nn.Module, photo: Look, wanted: Look, moved: Tensor, amp: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Refined pictures, masks, and the warped photos without refinement."""
        n = len(moved)
        with torch.no_grad():
            with amp():
                logits = self._frozen["model"].vae.decoder(torch.cat([photo.z, wanted.z]))
            decoded = in_place(torch.sigmoid(logits.float()), wanted.placement.repeat(2, 1), SIZE // 2)
            still = at_rest(photo.mesh, FLATTENING[0], fixed_work=True)
            field = dense_field(still, moved, SIZE, iterations=FLATTENING[1], fixed_work=True)
            warped = pull(photo.picture, field.position)
            inputs = refiner_inputs(warped, field, decoded[n:], decoded[:n])
        with amp():
            outputs = refiner(inputs.contiguous(memory_format=torch.channels_last))
        return *compose(warped, field.region, outputs.float()), warped

    def _of_pairs(self, count: int) -> Tensor:
        """Rows of the squares of `count` pictures that have a true one."""
        rows = torch.arange(self.pairs, device=self.device)
        return torch.cat([rows + count * k for k in range(len(SQUARES))])

    def _criticised(self, made: Tensor, wanted: Look, seen: Tensor, amp: Any) -> dict[str, Tensor]:
        """What landmarker and embedder say of some pairs and of all strangers, the latter `strangers` times as loud."""
        rows = slice(self.pairs - self.critics, None)
        made, seen, wanted = made[rows], seen[rows], wanted[rows]
        with amp():
            mesh, logits = self._frozen["landmarker"](made, seen)
            identity = self._frozen["embedder"](made, seen * SIZE)
        size = (seen[:, :FACE_POINTS].amax(1) - seen[:, :FACE_POINTS].amin(1)).amax(1)[:, None, None]
        mesh, seen, shapes = mesh.float() / size, seen / size, torch.sigmoid(logits.float())

        def heard(distance: Callable[[slice], Tensor]) -> Tensor:
            pairs, strangers = distance(slice(self.critics)), distance(slice(self.critics, None))
            loud = self.weights["strangers"] * self.strangers
            return (self.critics * pairs + loud * strangers) / (self.critics + loud)

        return {
            "mesh": losses.mesh_distance(mesh, seen, self.point_weights, LOST),
            "openings": heard(lambda part: losses.opening_distance(mesh[part], seen[part], SHUT)),
            "expression": heard(lambda part: losses.blendshape_distance(shapes[part], wanted.blendshapes[part])),
            "identity": losses.identity_distance(identity, wanted.identity),
        }

    def _discriminated(
        self,
        optimizer: Any,
        made: Tensor,
        squares: Tensor,
        real: Tensor,
        real_squares: Tensor,
        of_pairs: Tensor,
        amp: Any,
    ) -> dict[str, Tensor]:
        """One step of both discriminators, then their verdict on what was made."""
        critics = (self.of_pictures, self.of_squares)
        kinds = ((real, made, slice(self.pairs)), (real_squares, squares, of_pairs))
        with amp():
            verdicts = [(d(x)[0], d(y.detach())[0]) for d, (x, y, _) in zip(critics, kinds, strict=True)]
        d_loss = sum(losses.discriminator_loss(*verdict, form="hinge") for verdict in verdicts)
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(d_loss)
        optimizer.step()
        adversarial = feature = 0.0
        for critic, (x, y, paired) in zip(critics, kinds, strict=True):
            critic.requires_grad_(False)
            with amp():
                verdict, features = critic(y)
                with torch.no_grad():
                    _, true = critic(x)
            adversarial = adversarial + losses.adversarial_loss(verdict, "hinge")
            feature = feature + losses.feature_matching([f[paired] for f in features], true)
            critic.requires_grad_(True)
        return {"adversarial": adversarial, "feature": feature, "d_loss": d_loss.detach()}

    # ---- what is looked at

    @torch.no_grad()
    def _validated(self, count: int) -> tuple[Look, Look, Tensor, Tensor, Tensor]:
        """The same pairs and strangers of held clips each time: photos, wanted, meshes, refined and warped."""
        generator = torch.Generator(self.device).manual_seed(0)
        photo, wanted = self.frames["val"].draw(count, generator)
        photo, wanted, moved = self._with_strangers(photo, wanted, 0.0)
        with torch.autocast(self.device.type, enabled=False):
            amp = partial(torch.autocast, self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")
            made, _, warped = self.rendered(self.average, photo, wanted, moved, amp)
        return photo, wanted, moved, made, warped

    def validation_step(self, batch: Any, index: int) -> None:
        n = self.pairs
        photo, wanted, moved, made, warped = self._validated(n)
        seen = torch.cat([wanted.mesh[:n], moved[n:]])
        real = wanted.picture[:n]
        figures = {
            name: lpips_distance(self._frozen["lpips"], pictures[:n], real).mean()
            for name, pictures in (("lpips", made), ("lpips_warped", warped), ("lpips_photo", photo.picture))
        }
        for name, pictures in (("", made), ("_warped", warped), ("_photo", photo.picture)):
            where = photo.mesh[n:] if name == "_photo" else seen[n:]
            _, logits = self._frozen["landmarker"](pictures[n:], where)
            figures[f"expression{name}"] = losses.blendshape_distance(torch.sigmoid(logits), wanted.blendshapes[n:])
        identity = self._frozen["embedder"](made[n:], seen[n:] * SIZE)
        figures["identity"] = (identity * photo.identity[n:]).sum(1).mean()
        for name, value in figures.items():
            self.log(f"val/{name}", value, prog_bar=name in {"lpips", "expression"}, batch_size=len(made))
        self.log_position(batch_size=len(made))

    def picture_grid(self, data: pl.LightningDataModule, columns: int) -> np.ndarray:
        """Rows: photo, driver, warped, refined, of pairs; then the same of strangers, whose driver is the pair's."""
        photo, wanted, _, made, warped = self._validated(self.pairs)
        n, k = self.pairs, min(columns, self.strangers)
        rows = [photo.picture[:k], wanted.picture[:k], warped[:k], made[:k]]
        rows += [photo.picture[n : n + k], wanted.picture[:k], warped[n : n + k], made[n : n + k]]
        return np.concatenate([np.concatenate(list(to_uint8(row)), 1) for row in rows])

    def export(self, folder: Path, run: Finished) -> Path:
        about = {"motion_model": self._frozen["model"].id, **self.told(run)}
        return save_refiner(self.average, about, folder / "model", card=refiner_card(run, about))
