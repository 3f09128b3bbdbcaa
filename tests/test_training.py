"""Training as a user meets it: configurations compose, short runs work, resume is exact, failures are one line."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from tiny_runs import train_tiny

from vaegan.model import load_model

ROOT = Path(__file__).resolve().parents[1]
CONF = str(ROOT / "conf")
SMALL = [
    "data.size=32",
    "data.batch=8",
    "model.pca_start=false",
    "model.networks.latent=8",
    "model.networks.hidden=24",
    "model.networks.encoder_widths=[12,12,16,16,16,16,16]",
    "model.networks.encoder_strides=[4,1,2,1,1,1,1]",
    "model.networks.decoder_widths=[16,16,16,16,12,12,12]",
    "callbacks.pca_line=null",
    "callbacks.lpips=null",
    "trainer.threads=1",
    "trainer.log_every=1",
]
SMALL_D = ["model.discriminator.widths=[8,8,8,8]", "model.discriminator.hidden=[8,8]", "model.gan.start_step=1"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """120 small pictures of coloured blobs in a plain folder."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for i in range(120):
        coarse = generator.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC).save(folder / f"{i:03}.png")
    return folder


def start(folder: Path, pictures: Path, *overrides: str, **kwargs) -> subprocess.Popen:
    environment = {**os.environ, "VAEGAN_CACHE": str(pictures.parent / "cache"), "PYTHONUNBUFFERED": "1"}
    arguments = ["data=folder", f"data.name={pictures}", f"hydra.run.dir={folder}", *SMALL, *overrides]
    command = [sys.executable, "-W", "ignore", str(ROOT / "train.py"), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=environment, text=True, cwd=ROOT, **pipes, **kwargs)


def train(folder: Path, pictures: Path, *overrides: str) -> tuple[int, str]:
    process = start(folder, pictures, *overrides)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def composed(*overrides: str):
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose("config", overrides=list(overrides))


MODELS = [p.stem for p in (ROOT / "conf/model").glob("*.yaml")]
TRAINERS = [p.stem for p in (ROOT / "conf/trainer").glob("*.yaml")]
LOGGERS = [p.stem for p in (ROOT / "conf/logger").glob("*.yaml")]
OWN_DATA = {"tracker": "tracker", "motion64": "motion", "warp": "frames"}
DATA = [p.stem for p in (ROOT / "conf/data").glob("*.yaml") if p.stem not in OWN_DATA.values()]


@pytest.mark.parametrize("model", MODELS)
def test_every_choice_of_every_group_composes_with_every_model(model):
    choices = {"trainer": TRAINERS, "logger": LOGGERS, "data": [OWN_DATA[model]] if model in OWN_DATA else DATA}
    for group, names in choices.items():
        for name in names:
            cfg = composed(f"model={model}", f"{group}={name}", "++data.name=x")
            OmegaConf.to_container(cfg, resolve=True)
            assert cfg.name == cfg.model.name == model


def test_a_model_brings_its_data_unless_another_is_named():
    for model, data in OWN_DATA.items():
        assert composed(f"model={model}").data == composed(f"model={model}", f"data={data}").data
        assert composed(f"model={model}", "data=faces").data.name == "faces"
    assert composed("experiment=paper_vae").data.name == "faces"


@pytest.mark.parametrize("path", sorted((ROOT / "conf/experiment").glob("*.yaml")), ids=lambda p: p.stem)
def test_experiments_and_debug_settings_compose(path):
    for debug in [p.stem for p in (ROOT / "conf/debug").glob("*.yaml")]:
        OmegaConf.to_container(composed(f"experiment={path.stem}", f"debug={debug}").model, resolve=True)


def test_the_motion64_experiment_is_the_last_run_of_the_shipped_models_latent():
    card = (ROOT / "vaegan/pretrained/motion64/README.md").read_text()
    command = " ".join(re.search(r"`(python train\.py [^`]*)`", card)[1].split())
    of_its_start = ("start_from=", "model.gan.", "model.critics.")  # it went on from other weights
    settings = [word for word in command.split()[2:] if not word.startswith(of_its_start)]
    assert len(settings) >= 7
    assert composed("experiment=motion64") == composed(*settings)


def test_paper_experiments_hold_the_papers_numbers():
    for name in ("paper_vae", "paper_vaegan"):
        cfg = composed(f"experiment={name}")
        assert (cfg.data.size, cfg.model.networks.latent, cfg.model.networks.size) == (64, 200, 64)
        assert len(cfg.model.networks.encoder_widths) == len(cfg.model.networks.decoder_widths) == 7
    assert len(cfg.model.discriminator.widths) == 4


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_short_vaegan_run_learns_and_writes_a_model_folder(pictures, tmp_path, precision):
    settings = ["trainer.epochs=6", f"trainer.precision={precision}"]
    status, output = train(tmp_path / "run", pictures, "model=vaegan", *SMALL_D, *settings)
    assert status == 0, output
    assert "psnr" in output and "d_accuracy" in output
    rows = np.genfromtxt(tmp_path / "run/metrics.csv", delimiter=",", names=True)
    bce = rows["trainbce"][~np.isnan(rows["trainbce"])]
    assert bce[-5:].mean() < bce[:5].mean()
    model = load_model(tmp_path / "run/model")
    assert model.decode(model.encode(torch.rand(2, 3, 32, 32))).shape == (2, 3, 32, 32)
    assert model.training["images_seen"] == 6 * 14 * 8
    assert list((tmp_path / "run/grids").glob("*.png"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def test_resume_after_kill_equals_an_unbroken_run(pictures, tmp_path):
    common = ["model=vaegan", *SMALL_D, "trainer.epochs=2"]
    status, output = train(tmp_path / "straight", pictures, *common)
    assert status == 0, output

    process = start(tmp_path / "broken", pictures, *common, start_new_session=True)
    for line in process.stdout:
        if "epoch 1/2" in line:
            break
    deadline = time.monotonic() + 60
    while not (tmp_path / "broken/last.ckpt").exists() and time.monotonic() < deadline:
        os.sched_yield()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    killed = torch.load(tmp_path / "broken/last.ckpt", weights_only=True)["run"]["progress"]["step"]
    if killed > 14:
        pytest.skip("the run had finished before it was killed")
    status, output = train(tmp_path / "resumed", pictures, *common, f"resume={tmp_path / 'broken'}")
    assert status == 0, output
    straight, resumed = weights(tmp_path / "straight"), weights(tmp_path / "broken")
    assert straight.keys() == resumed.keys()
    for name, value in straight.items():
        assert torch.equal(value, resumed[name]), f"{name} differs after the resume"


def test_print_config_trains_nothing(pictures, tmp_path):
    status, output = train(tmp_path / "run", pictures, "model=vae", "print_config=true")
    assert status == 0 and "encoder_widths" in output
    assert not (tmp_path / "run/last.ckpt").exists()


def test_the_last_epoch_is_validated_and_an_lpips_is_of_its_own_epoch(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("VAEGAN_CACHE", str(pictures.parent / "cache"))

    class Distance(torch.nn.Module):
        def forward(self, one, other):
            return (one - other).abs().mean((1, 2, 3))

    monkeypatch.setattr("vaegan.training.callbacks.load_lpips", Distance)
    target = "vaegan.training.callbacks.PerceptualDistance"
    every = ["trainer.epochs=9", "trainer.validate_every=2", f"callbacks.lpips={{_target_:{target},every:2}}"]
    train_tiny(tmp_path / "run", pictures, *every)
    rows = np.genfromtxt(tmp_path / "run/metrics.csv", delimiter=",", names=True)
    validated = rows[~np.isnan(rows["valpsnr"])]
    assert (~np.isnan(validated["vallpips"])).tolist() == [False, True, False, True, True]
    card = (tmp_path / "run/model/README.md").read_text()
    table = [line.split("|")[1:-1] for line in card.splitlines() if line.startswith("| ")]
    column = [name.strip() for name in table[0]].index("lpips")
    assert [bool(row[column].strip()) for row in table[1:]] == [False, True, False, True, True]


def test_a_diverging_run_says_so(pictures, tmp_path):
    status, output = train(
        tmp_path / "run", pictures, "model=vae", "model.optimizer.lr=1e30", "model.optimizer.warmup_steps=1"
    )
    assert status == 1 and "training diverged" in output and "Traceback" not in output


@pytest.mark.parametrize("logger", ["tensorboard", "wandb"])
def test_other_loggers_write_what_can_be_read_back(pictures, tmp_path, logger, monkeypatch):
    pytest.importorskip(logger)
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    status, output = train(
        tmp_path / "run", pictures, "model=vae", f"logger={logger}", "trainer.epochs=1", "callbacks.preview=null"
    )
    assert status == 0, output
    if logger == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        (file,) = (tmp_path / "run").rglob("events.out.tfevents.*")
        events = EventAccumulator(str(file)).Reload()
        assert {"train/bce", "val/psnr"} <= set(events.Tags()["scalars"])
        assert "grid" in events.Tags()["images"]
    else:
        (file,) = (tmp_path / "run").rglob("offline-run-*/run-*.wandb")
        written = file.read_bytes()  # W&B's own record format: the names stand in it as they are
        assert b"train/bce" in written and b"val/psnr" in written
        assert list(file.parent.rglob("grid*.png"))


def test_without_data_training_says_so_and_uses_the_shipped_decoder(tmp_path):
    from vaegan.model import shipped_models

    if "paper-vaegan" not in shipped_models():
        pytest.skip("no model is shipped yet")
    environment = {k: v for k, v in os.environ.items() if k != "VAEGAN_DATA"}
    arguments = ["model=vae", "data.synthetic=256", f"hydra.run.dir={tmp_path / 'run'}", *SMALL[2:], "trainer.epochs=1"]
    command = [sys.executable, "-W", "ignore", str(ROOT / "train.py"), "data.batch=32", "trainer.fast=2", *arguments]
    result = subprocess.run(command, env=environment, text=True, capture_output=True, cwd=ROOT, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("training on data=synthetic") == 1
