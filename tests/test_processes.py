"""`trainer=ddp`: two processes learn what one does at the same batch, and end together when one of them dies."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_training import ROOT
from tiny_runs import SMALL, blobs, train_tiny

from vaegan.data.batches import CropBatches
from vaegan.training import record

SETTINGS = ["model.optimizer.schedule=constant", "model.gan.samples=true", "callbacks.grids=null"]


def children(pid: int) -> dict[str, int]:
    """The processes that a process has started, by their rank."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        entries = Path(f"/proc/{child}/environ").read_text().split("\0")
        found |= {entry.partition("=")[2]: int(child) for entry in entries if entry.startswith("LOCAL_RANK=")}
    return found


def curve(folder: Path, steps: int) -> list[dict[str, float]]:
    """Its rows up to a step, without the speed."""
    with open(folder / "metrics.csv", newline="") as file:
        rows = [{k: float(v) for k, v in row.items() if v and "per_second" not in k} for row in csv.DictReader(file)]
    return [row for row in rows if row["step"] <= steps]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to find a process")
def test_two_processes_learn_what_one_does_and_end_together(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))
    pictures = blobs(tmp_path / "pictures")
    one = train_tiny(tmp_path / "one", pictures, *SETTINGS)

    typed = [*SMALL, f"data.name={pictures}", *SETTINGS, "data.batch=4", "trainer.epochs=1000", "hydra.run.dir=two"]
    devices = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    command = [sys.executable, str(ROOT / "train.py"), *typed, *devices]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=tmp_path, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}, **pipes)
    try:
        told = next(line for line in process.stdout if "epoch 3/" in line)
        started = children(process.pid)
        os.kill(started["1"], signal.SIGKILL)
        _, said = process.communicate(timeout=200)
    finally:
        process.kill()
    assert "training: bce " in told and process.returncode == 1
    assert said == (
        "error: process 1 of this run has ended (killed by SIGKILL), and the others with it; go on with resume=two\n"
    )
    assert not any(Path(f"/proc/{pid}").exists() for pid in started.values())
    about = record.read(tmp_path / "two")
    assert (about["status"], about["processes"]) == ("failed", 2)

    alone, together = curve(one, 6), curve(tmp_path / "two", 6)
    assert len(alone) == len(together) == 8
    for row, other in zip(alone, together, strict=True):
        assert other == pytest.approx(row, rel=2e-5)


def test_the_processes_share_what_one_would_see_at_a_step():
    crops = np.random.default_rng(0).integers(0, 255, (40, 4, 4, 3), dtype=np.uint8)
    alone = CropBatches(crops, 8, shuffle=True, flip=True)
    parts = [CropBatches(crops, 4, shuffle=True, flip=True) for _ in range(2)]
    for rank, part in enumerate(parts):
        part.rank, part.world = rank, 2
    assert len(alone) == len(parts[0]) == 5
    for whole, first, second in zip(alone, *parts, strict=True):
        assert np.array_equal(whole[0::2], first) and np.array_equal(whole[1::2], second)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["model=tracker"], "model=tracker trains in one process"),
        (["data.batch=100"], "fewer than one batch of 100 for each of 2 processes"),
    ],
)
def test_what_processes_cannot_share_is_told_by_one_of_them(tmp_path, monkeypatch, settings, says):
    """`fit` as one process runs it."""
    from types import SimpleNamespace

    from hydra import compose, initialize_config_dir

    from vaegan.config import CONF
    from vaegan.errors import UserError
    from vaegan.training.run import build

    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))
    model = [] if "model=tracker" in settings else [*SMALL, f"data.name={blobs(tmp_path / 'p')}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=[*model, *settings])
    with pytest.raises(UserError, match=says):
        build(cfg, SimpleNamespace(world_size=2, global_rank=0))[1].setup()
