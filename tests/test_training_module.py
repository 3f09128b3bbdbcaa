"""A model that did not exist yesterday is one YAML and one class; a run ends by its steps or by its clock."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from tiny_runs import CONF, blobs, train_tiny

from vaegan.training.module import Finished, TrainingModule
from vaegan.training.run import train


class MeanFace(TrainingModule):
    """Learns the mean of the pictures."""

    def __init__(self, name: str, size: int, lr: float):
        super().__init__(name)
        self.mean = torch.nn.Parameter(torch.zeros(3, size, size))
        self.lr = lr

    def configure_optimizers(self):
        return torch.optim.SGD([self.mean], self.lr)

    def training_step(self, crops, index):
        loss = (self.mean - crops).square().mean()
        self.log("train/loss", loss)
        self.count(len(crops))
        return loss

    def validation_step(self, crops, index):
        self.log("val/psnr", -10 * (self.mean - crops).square().mean().log10(), batch_size=len(crops))

    def export(self, folder: Path, run: Finished) -> Path:
        (folder / "model").mkdir()
        np.save(folder / "model/mean.npy", self.mean.detach().cpu().numpy())
        return folder / "model"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The folder of conf/model/toy.yaml, and its class in a module of the package."""
    module = ModuleType("vaegan.training.toy")
    monkeypatch.setattr(MeanFace, "__module__", module.__name__)
    module.MeanFace = MeanFace
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys.modules["vaegan.training"], "toy", module, raising=False)
    (tmp_path / "more/model").mkdir(parents=True)
    (tmp_path / "more/model/toy.yaml").write_text(
        "_target_: vaegan.training.toy.MeanFace\nname: toy\nsize: ${data.size}\nlr: 500.0\n"
    )
    return tmp_path / "more"


def test_a_new_model_is_one_yaml_and_one_class(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))
    pictures = blobs(tmp_path / "pictures")
    given = ["model=toy", "data=folder", f"data.name={pictures}", "data.size=32", "data.batch=8", "trainer.epochs=2"]
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("config", overrides=[*given, f"hydra.searchpath=[file://{toy}]"])
    psnr = train(cfg, tmp_path / "run")
    assert cfg.name == "toy" and psnr > 5
    assert np.load(tmp_path / "run/model/mean.npy").mean() > 0.3
    rows = np.genfromtxt(tmp_path / "run/metrics.csv", delimiter=",", names=True)
    assert rows["valpsnr"][~np.isnan(rows["valpsnr"])][-1] == pytest.approx(psnr, rel=1e-5)
    assert not list((tmp_path / "run").glob("grids/*"))
    assert "epoch 2/2" in capsys.readouterr().out


def test_a_run_that_counts_steps_ends_within_an_epoch_with_a_validation(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))
    pictures = blobs(tmp_path / "pictures")
    run = train_tiny(tmp_path / "run", pictures, "trainer.fast=0",
                     "trainer.steps=5", "trainer.validate_every=7")  # fmt: skip
    rows = np.genfromtxt(run / "metrics.csv", delimiter=",", names=True)
    assert rows["step"].max() == 5 and rows["images"].max() == 40
    assert rows["step"][~np.isnan(rows["valpsnr"])].tolist() == [5]
    rates = rows["trainlr"][~np.isnan(rows["trainlr"])]
    assert rates[-1] < rates.max() / 2


def test_a_run_ends_when_its_time_is_up_and_its_rate_is_zero_then(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))
    pictures = blobs(tmp_path / "pictures")
    run = train_tiny(tmp_path / "run", pictures, "trainer.epochs=100000", "trainer.max_time='00:00:00:02'")
    rows = np.genfromtxt(run / "metrics.csv", delimiter=",", names=True)
    rates = rows["trainlr"][~np.isnan(rows["trainlr"])]
    assert 3 < rows["step"].max() < 1000
    assert rates[-1] < 0.1 * rates.max()
    assert not np.isnan(rows["valpsnr"][rows["step"] == rows["step"].max()]).all()
    assert "of 2 s, step" in capsys.readouterr().out
    assert (run / "model/weights.safetensors").is_file()
