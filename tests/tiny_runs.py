"""Trainings of a few steps on coloured blobs, in this process: run folders with everything that a real run leaves."""

from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image
from standin import SquareTracker, film, talking

CONF = str(Path(__file__).resolve().parents[1] / "conf")
SMALL = [
    "model=vaegan",
    "data=folder",
    "data.size=32",
    "data.batch=8",
    "model.pca_start=false",
    "model.networks.latent=8",
    "model.networks.hidden=24",
    "model.networks.encoder_widths=[12,12,16,16,16,16,16]",
    "model.networks.encoder_strides=[4,1,2,1,1,1,1]",
    "model.networks.decoder_widths=[16,16,16,16,12,12,12]",
    "model.discriminator.widths=[8,8,8,8]",
    "model.discriminator.hidden=[8,8]",
    "model.gan.start_step=0",
    "callbacks.pca_line=null",
    "callbacks.lpips=null",
    "callbacks.preview=null",
    "trainer.epochs=2",
    "trainer.fast=3",
    "trainer.log_every=1",
]


def blobs(folder: Path, count: int = 120, seed: int = 0) -> Path:
    """`count` small pictures of coloured blobs; about one in twenty becomes a validation picture."""
    folder.mkdir()
    generator = np.random.default_rng(seed)
    for i in range(count):
        coarse = generator.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC).save(folder / f"{i:03}.png")
    return folder


def composed(pictures: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose("config", overrides=[*SMALL, f"data.name={pictures}", *overrides])


def train_tiny(folder: Path, pictures: Path, *overrides: str) -> Path:
    """Train into `folder`, six steps and two validations; returns `folder`."""
    from vaegan.training.run import train

    train(composed(pictures, *overrides), folder, "python train.py model=vaegan")
    return folder


def with_preview(monkeypatch, folder: Path) -> list[str]:
    """Overrides that turn the preview on, with a driver that a stand-in tracker finds a face in."""
    monkeypatch.setattr("vaegan.training.preview.FaceTracker", SquareTracker)
    driver = film(folder / "driver.mp4", talking(10))
    target = "vaegan.training.preview.TransferPreview"
    return [f"callbacks.preview={{_target_:{target},driver:'{driver}',photos:2,frames:75}}"]


def offline(monkeypatch, folder: Path) -> None:
    """Nobody is logged in to W&B, and what it keeps for itself goes to `folder`."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(folder / "nobody"))
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(folder / name.lower()))
    monkeypatch.setenv("WANDB_SILENT", "true")
