"""Our VAE + GAN beside pythae's `VAEGAN`: the same networks, images and number of images seen, one table.

    pip install pythae
    python benchmarks/pythae_vaegan.py --images 66000 --output rival

Needs the data set `faces` below $VAEGAN_DATA, and AlexNet in $VAEGAN_MODELS for LPIPS. Trains one after the other:

* `ours`: `python train.py model=vaegan`, as it stands in conf/; only when D starts to have a say is scaled to the
  length of the run (a tenth of its steps, then three tenths of ramp, as in a run of 30 epochs).
* `pythae`: pythae's VAEGAN and its own CoupledOptimizerAdversarialTrainer (three Adam optimisers, updates of D and
  decoder skipped by its equilibrium rule), with our encoder, decoder and discriminator plugged in. Set as its authors
  set it for CelebA (examples/scripts/configs/celeba/vaegan_config.json): feature loss at the third layer of D, and
  adversarial_loss_scale 0.1; all else its defaults: batch 64, learning rates 1e-4 without schedule, equilibrium 0.68,
  margin 0.4, random start. (The default layer, -1, would be D's verdict itself, one number.)
* `pythae-tuned`: the same with what ours has beside the losses: batch 128, our learning rates with cosine decay at each
  epoch, the start from PCA.

All see the same crops with random mirroring. Figures are over all val stills, by the definitions of `vaegan evaluate`.
Images per second are those of the last epoch, validation not counted. Writes `pythae_vaegan.md`, `.json` and `.png` (a
row of reconstructions for each) to --output.
"""

import argparse
import csv
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from pythae.data.datasets import DatasetOutput
from pythae.models import VAEGAN, VAEGANConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
from pythae.trainers import CoupledOptimizerAdversarialTrainer, CoupledOptimizerAdversarialTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch.nn import functional as F

from vaegan.config import instantiate
from vaegan.critics.lpips import load_lpips, lpips_distance
from vaegan.errors import UserError
from vaegan.evaluation import metrics, stills
from vaegan.media import atomic_path, write_image
from vaegan.model import FaceModel, Framing, load_model
from vaegan.networks import SLOPE, VAE, Discriminator
from vaegan.reports import grid
from vaegan.tensors import to_float
from vaegan.training.pca_start import start_from_pca
from vaegan.training.run import train

CONF = Path(__file__).resolve().parents[1] / "conf"
ROWS = ("ours", "pythae", "pythae-tuned")
SHOWN = 10


class PluggedEncoder(BaseEncoder):
    """Our encoder, as pythae calls one."""

    def __init__(self, encoder: torch.nn.Module):
        super().__init__()
        self.ours = encoder

    def forward(self, x: torch.Tensor) -> ModelOutput:
        mu, logvar = self.ours(x.contiguous(memory_format=torch.channels_last))
        return ModelOutput(embedding=mu, log_covariance=logvar)


class PluggedDecoder(BaseDecoder):
    """Our decoder with its sigmoid, as pythae calls one."""

    def __init__(self, decoder: torch.nn.Module):
        super().__init__()
        self.ours = decoder

    def forward(self, z: torch.Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.ours(z)))


class PluggedDiscriminator(BaseDiscriminator):
    """Our discriminator: layers 1 to 4 are its convolutions, 5 to 7 the linear ones; the last gives a probability."""

    depth = 7

    def __init__(self, discriminator: Discriminator):
        super().__init__()
        self.ours = discriminator

    def forward(self, x: torch.Tensor, output_layer_levels: list[int] | None = None) -> ModelOutput:
        _, features = self.ours(x.contiguous(memory_format=torch.channels_last))
        h = features[-1].flatten(1)
        for linear in self.ours.linears[:-1]:
            h = F.leaky_relu(linear(h), SLOPE)
            features.append(h)
        features.append(torch.sigmoid(self.ours.linears[-1](h)))
        layers = {f"embedding_layer_{level}": features[level - 1] for level in output_layer_levels or ()}
        return ModelOutput(embedding=features[-1], **layers)


class Mirrored(torch.utils.data.Dataset):
    """Crops uint8 (N, S, S, 3) as pythae wants them: float (3, S, S) in [0, 1], every second one mirrored at random."""

    def __init__(self, crops: np.ndarray, seed: int):
        self.crops, self.random = crops, np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> DatasetOutput:
        crop = self.crops[index]
        crop = crop[:, ::-1] if self.random.random() < 0.5 else crop
        return DatasetOutput(data=to_float(np.ascontiguousarray(crop)).contiguous())


class Clock(TrainingCallback):
    """Seconds that the last epoch's steps took."""

    def __init__(self) -> None:
        self.seconds = self.began = 0.0

    def on_train_step_begin(self, training_config, **kwargs) -> None:
        self.began = time.perf_counter()

    def on_train_step_end(self, training_config, **kwargs) -> None:
        self.seconds = time.perf_counter() - self.began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=66_000, help="images seen by each, in whole epochs")
    parser.add_argument("--output", type=Path, required=True, help="folder for runs, table and pictures")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: torch's choice")
    parser.add_argument("--stills", type=int, help="measure on so many val stills only")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    plan = plan_runs(args.images)
    found = {}
    for row in args.rows:
        if row == "ours":
            model, rate = train_ours(plan, args.output / "ours")
        else:
            model, rate = train_pythae(plan, args.output / row, tuned=row == "pythae-tuned")
        model.save(args.output / row / "measured")
        found[row] = (model, rate)
        print(f"{row}: {rate:.0f} images/s", flush=True)
    write(args.output, found, plan, args.stills)


def plan_runs(images: int) -> DictConfig:
    """The configuration of `python train.py model=vaegan` for about so many images."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=["model=vaegan", "data=faces"])
    data = instantiate(cfg.data)
    data.setup()
    if data.source == "synthetic":
        raise UserError("no data set 'faces': set VAEGAN_DATA to the folder that holds it")
    epoch = len(data.train.crops) // cfg.data.batch * cfg.data.batch
    if images < epoch:
        cfg.data.limit = max(images // cfg.data.batch, 1) * cfg.data.batch
        epoch = cfg.data.limit
    cfg.trainer.epochs = max(round(images / epoch), 1)
    steps = cfg.trainer.epochs * epoch // cfg.data.batch
    cfg.model.gan.start_step, cfg.model.gan.ramp_steps = steps // 10, max(3 * steps // 10, 1)
    cfg.trainer.validate_every = cfg.trainer.epochs
    cfg.trainer.log_every = max(min(cfg.trainer.log_every, epoch // cfg.data.batch), 1)
    cfg.callbacks.lpips = cfg.callbacks.pca_line = cfg.callbacks.preview = None
    return cfg


def seen(plan: DictConfig) -> int:
    """Images that each run sees."""
    data = instantiate(plan.data)
    data.setup()
    return plan.trainer.epochs * len(data.train) * plan.data.batch


def train_ours(plan: DictConfig, folder: Path) -> tuple[FaceModel, float]:
    """`python train.py model=vaegan`; the model and images/s."""
    train(plan, folder)
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
        rates = [row["train/images_per_second"] for row in csv.DictReader(file) if row.get("train/images_per_second")]
    return load_model(folder / "model"), float(rates[-1])


def train_pythae(plan: DictConfig, folder: Path, tuned: bool) -> tuple[FaceModel, float]:
    """pythae's VAEGAN by its own trainer; the model and images/s."""
    torch.manual_seed(plan.seed)
    networks = OmegaConf.to_container(plan.model.networks, resolve=True)
    vae = VAE(**networks)
    discriminator = Discriminator(**OmegaConf.to_container(plan.model.discriminator, resolve=True))
    data = instantiate(plan.data)
    data.setup()
    crops = data.train.crops[: len(data.train) * plan.data.batch]
    optimizer, settings = plan.model.optimizer, {}
    if tuned:
        start_from_pca(vae, data.train.crops, noise=plan.model.weights.kl / 4)
        cosine = {"T_max": plan.trainer.epochs}
        for part, rate, betas in (
            ("encoder", optimizer.lr, optimizer.betas),
            ("decoder", optimizer.lr, optimizer.betas),
            ("discriminator", optimizer.d_lr, optimizer.d_betas),
        ):
            settings |= {
                f"{part}_learning_rate": rate,
                f"{part}_optimizer_params": {"betas": tuple(betas)},
                f"{part}_scheduler_cls": "CosineAnnealingLR",
                f"{part}_scheduler_params": cosine,
            }
        settings["per_device_train_batch_size"] = plan.data.batch
    config = CoupledOptimizerAdversarialTrainerConfig(
        output_dir=str(folder), num_epochs=plan.trainer.epochs, seed=plan.seed, no_cuda=True, **settings
    )
    model = VAEGAN(
        VAEGANConfig(
            input_dim=(3, networks["size"], networks["size"]),
            latent_dim=networks["latent"],
            reconstruction_layer=3,
            adversarial_loss_scale=0.1,
        ),
        encoder=PluggedEncoder(vae.encoder.to(memory_format=torch.channels_last)),
        decoder=PluggedDecoder(vae.decoder.to(memory_format=torch.channels_last)),
        discriminator=PluggedDiscriminator(discriminator.to(memory_format=torch.channels_last)),
    )
    clock = Clock()
    trainer = CoupledOptimizerAdversarialTrainer(
        model=model, train_dataset=Mirrored(crops, plan.seed), training_config=config, callbacks=[clock]
    )
    trainer.train()
    framing = Framing(plan.model.framing.scale, plan.model.framing.follow)
    return FaceModel(vae, framing, folder.name), len(crops) / clock.seconds


def write(folder: Path, found: dict[str, tuple[FaceModel, float]], plan: DictConfig, limit: int | None) -> None:
    """Measure all models on the same val stills; write and print the table, write the pictures."""
    from vaegan.data.storage import find_data_set

    perceptual = load_lpips()
    first = next(iter(found.values()))[0]
    crops = stills.read_stills(find_data_set("faces"), first, "val", limit, 0)
    chosen = np.linspace(0, len(crops) - 1, SHOWN).round().astype(int)
    pictures, figures = {"original": crops[chosen]}, {}
    for row, (model, rate) in found.items():
        rebuilt = stills.reconstruct(model, crops)
        x, y = to_float(rebuilt), to_float(crops)
        distances = [lpips_distance(perceptual, *pair) for pair in zip(x.split(64), y.split(64), strict=True)]
        values = {
            "psnr": metrics.psnr(x, y).mean(),
            "lpips": torch.cat(distances).mean(),
            "sharpness": metrics.sharpness(x, y).mean(),
        }
        figures[row] = {name: round(float(value), 4) for name, value in values.items()} | {"images_per_second": rate}
        pictures[row] = rebuilt[chosen]
    lines = [
        f"{seen(plan):,} images seen by each, {plan.trainer.epochs} epochs, {torch.get_num_threads()} threads; "
        f"{len(crops):,} val stills.",
        "",
        "| | PSNR, dB | LPIPS (alex) | sharpness, result / real | images/s |",
        "|---|---|---|---|---|",
    ]
    for row, f in figures.items():
        told = (
            "diverged | – | –"
            if math.isnan(f["psnr"])
            else f"{f['psnr']:.2f} | {f['lpips']:.3f} | {f['sharpness']:.2f}"
        )
        lines.append(f"| {row} | {told} | {f['images_per_second']:.0f} |")
    text = "\n".join(lines) + "\n"
    stored = json.dumps({"images": seen(plan), "epochs": plan.trainer.epochs, "figures": figures}, indent=1)
    for suffix, content in ((".md", text), (".json", stored + "\n")):
        with atomic_path(folder / f"pythae_vaegan{suffix}") as path:
            path.write_text(content, encoding="utf-8")
    write_image(folder / "pythae_vaegan.png", grid(pictures))
    print(text)


if __name__ == "__main__":
    main()
