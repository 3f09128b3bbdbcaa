"""Whatever the logger, a run leaves the same figures, pictures and record; W&B works offline and never ends a run."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from logger_files import read_tensorboard, read_wandb
from logger_files import wandb_records as all_wandb_records
from tiny_runs import blobs, composed, offline, train_tiny, with_preview

from vaegan.data.batches import content_hash
from vaegan.errors import UserError
from vaegan.evaluation.compare.runs import read_run
from vaegan.media import VideoReader
from vaegan.model import load_model
from vaegan.training import record as run_record
from vaegan.training.autoencoder import Autoencoder
from vaegan.training.loggers import logged_in
from vaegan.training.run import build_loggers, train

ROOT = Path(__file__).resolve().parents[1]
LOGGED = {
    *("train/bce", "train/kl", "train/adversarial", "train/feature", "train/r1", "train/d_loss", "train/loss"),
    *("train/lr", "train/d_lr", "train/grad_norm", "train/d_grad_norm", "train/d_accuracy", "train/images_per_second"),
    *("val/psnr", "val/bce", "val/kl", "val/sharpness", "images"),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("loggers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(folder / "cache"))
        yield blobs(folder / "pictures")


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    module = pytest.importorskip("wandb")
    offline(monkeypatch, tmp_path)
    yield module
    module.teardown()


def wandb_records(folder: Path, kind: str) -> list:
    found = all_wandb_records(next(folder.glob("wandb/offline-run-*")))
    return [getattr(one, kind) for one in found if one.WhichOneof("record_type") == kind]


def test_a_run_folder_holds_every_figure_grids_a_video_and_the_record(pictures, tmp_path, monkeypatch):
    run = train_tiny(tmp_path / "run", pictures, *with_preview(monkeypatch, tmp_path))
    log = read_run(run)
    assert {name for row in log.rows.values() for name in row} >= LOGGED
    assert list(log.rows) == [1, 2, 3, 4, 5, 6] and log.rows[6]["images"] == 48
    assert log.rows[6]["val/psnr"] > 0
    assert log.rows[2]["train/d_lr"] == pytest.approx(0.4 * log.rows[2]["train/lr"])
    assert log.grid.shape == (2 + 6 * 34, 2 + 8 * 34, 3)
    with VideoReader(run / "preview/epoch-0002.mp4") as video:
        assert (video.width, video.height, len(list(video))) == (4 * 32, 32, 10)
    assert log.config["data"]["seed"] == 0 and log.config["name"] == "vaegan"  # resolved

    record = log.record
    assert (record["status"], record["images_seen"], record["resumed"]) == ("finished", 48, [])
    assert record["seconds"] > 0 and record["command"].startswith("python train.py")
    assert record["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    assert record["data"]["train"] + record["data"]["val"] == 120
    if (ROOT / ".git").exists():
        head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout
        assert record["git"]["commit"] == head.strip() and record["git"]["dirty"] in (True, False)


@pytest.mark.parametrize("logger", ["tensorboard", "wandb"])
def test_other_loggers_hold_what_the_files_hold(pictures, tmp_path, monkeypatch, logger, request):
    module = request.getfixturevalue("wandb") if logger == "wandb" else pytest.importorskip("tensorboard")
    run = train_tiny(
        tmp_path / "run", pictures, f"logger={logger}", "trainer.log_every=1", *with_preview(monkeypatch, tmp_path)
    )
    if logger == "wandb":
        module.teardown()  # its service writes a little longer than the run lasts
    files = read_run(run)
    wandb_folder = next(run.glob("wandb/offline-run-*"), None)
    other = read_wandb(wandb_folder) if logger == "wandb" else read_tensorboard(run / "tensorboard")
    assert other.rows.keys() == files.rows.keys()
    for step, row in files.rows.items():
        logged = {name: value for name, value in other.rows[step].items() if name in row}
        assert logged == pytest.approx(row, rel=1e-5)
    assert np.array_equal(other.grid, files.grid)
    assert other.config == files.config
    assert other.record == files.record and other.record["status"] == "finished"


def test_tensorboard_shows_the_preview_moving(pictures, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train_tiny(tmp_path / "run", pictures, "logger=tensorboard", *with_preview(monkeypatch, tmp_path))
    (file,) = run.rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file), size_guidance={"images": 0}).Reload()
    first, last = events.Images("transfer")
    assert (first.step, last.step) == (3, 6)
    (tmp_path / "shown.gif").write_bytes(last.encoded_image_string)
    with VideoReader(tmp_path / "shown.gif") as video:
        assert len(list(video)) == 10


def test_wandb_gets_group_tags_video_and_the_model_as_an_artifact(pictures, tmp_path, monkeypatch, wandb):
    overrides = ["logger=wandb", "name=mine", "logger.wandb.job_type=sweep", *with_preview(monkeypatch, tmp_path)]
    run = train_tiny(tmp_path / "run", pictures, *overrides)
    wandb.teardown()
    begun = wandb_records(run, "run")[0]
    assert (begun.project, begun.run_group, begun.job_type, begun.display_name) == ("vaegan", "mine", "sweep", "mine")
    assert "vaegan" in begun.tags
    (artifact,) = wandb_records(run, "artifact")
    assert (artifact.type, artifact.name) == ("model", "mine")
    sent = {entry.path for entry in artifact.manifest.contents}
    assert sent == {"config.yaml", "weights.safetensors", "README.md"} or not sent  # long manifests go to a file
    assert load_model(run / "model").name == "model"
    (video, _) = sorted(run.glob("wandb/offline-run-*/files/media/videos/transfer*.mp4"))
    with VideoReader(video) as reader:
        assert reader.width == 4 * 32
    (ended,) = wandb_records(run, "exit")
    assert ended.exit_code == 0


def test_jobs_of_one_process_stay_apart_in_wandb(pictures, tmp_path, wandb):
    for seed in (0, 1):
        train_tiny(tmp_path / str(seed), pictures, "logger=wandb", f"seed={seed}", "trainer.epochs=1")
        assert wandb.run is None
    wandb.teardown()
    ids = {wandb_records(tmp_path / str(seed), "run")[0].run_id for seed in (0, 1)}
    assert len(ids) == 2
    for seed in (0, 1):
        log = read_wandb(next((tmp_path / str(seed)).glob("wandb/offline-run-*")))
        assert log.config["seed"] == seed and list(log.rows) == [1, 2, 3]


def test_a_run_goes_on_when_wandb_does_not_start(pictures, tmp_path, capfd, wandb):
    run = train_tiny(tmp_path / "run", pictures, "logger=wandb", "logger.wandb.mode=online", "trainer.epochs=1")
    said = capfd.readouterr().err
    assert said.count("W&B did not start in mode online") == 1 and "logs this run offline" in said
    assert "Traceback" not in said
    assert read_run(run).record["status"] == "finished"
    assert list(run.glob("wandb/offline-run-*"))


def test_a_run_goes_on_when_wandb_dies(pictures, tmp_path, capfd, wandb):
    cfg = composed(pictures, "logger=wandb")
    loggers = build_loggers(cfg, tmp_path / "run", {})
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        if "wandb" in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(int(child), signal.SIGKILL)
    for step in range(3):
        for logger in loggers:
            logger.log_metrics({"train/bce": 1.0}, step)
            logger.save()
    for logger in loggers:
        logger.close(0)
    said = capfd.readouterr().err
    assert said.count("W&B failed") == 1 and "Traceback" not in said
    assert list(read_run(tmp_path / "run").rows) == [0, 1, 2]

    (_, after) = build_loggers(cfg, tmp_path / "next", {})  # the next job of a multirun has W&B again
    after.log_metrics({"train/bce": 2.0}, 7)
    after.close(0)
    wandb.teardown()
    assert read_wandb(next((tmp_path / "next").glob("wandb/offline-run-*"))).rows[7] == {"train/bce": 2.0}


def test_an_account_is_known_by_key_or_netrc(tmp_path, monkeypatch):
    offline(monkeypatch, tmp_path)
    assert not logged_in()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password 0\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert logged_in()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not logged_in()
    monkeypatch.setenv("WANDB_API_KEY", "0")
    assert logged_in()


def test_a_resumed_run_keeps_the_earlier_rows_and_its_start(pictures, tmp_path):
    run = train_tiny(tmp_path / "run", pictures, "trainer.epochs=1")
    first = read_run(run)
    train(composed(pictures, f"resume={run}"), tmp_path / "elsewhere")
    both = read_run(run)
    assert list(both.rows) == [1, 2, 3, 4, 5, 6]
    assert {step: both.rows[step] for step in first.rows} == first.rows
    assert both.record["started"] == first.record["started"] and len(both.record["resumed"]) == 1
    assert both.record["images_seen"] == 48 and both.record["seconds"] > first.record["seconds"]
    with open(run / "metrics.csv", newline="") as file:
        assert all(re.fullmatch(r"[\d.]+", row["step"]) for row in csv.DictReader(file))


def test_the_record_says_when_a_run_failed(pictures, tmp_path):
    with pytest.raises(UserError, match="training diverged"):
        train_tiny(tmp_path / "run", pictures, "model.optimizer.lr=1e30", "model.optimizer.warmup_steps=1")
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "failed"


def test_ctrl_c_says_how_to_go_on(pictures, tmp_path, monkeypatch, capsys):
    made = Autoencoder.training_step

    def breaks(module, crops, index):
        if module.progress.step == 4:
            raise KeyboardInterrupt
        return made(module, crops, index)

    monkeypatch.setattr(Autoencoder, "training_step", breaks)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as ended:
            train_tiny(tmp_path / "run", pictures)
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored
    assert ended.value.code == 130
    assert f"python train.py resume={tmp_path / 'run'}" in capsys.readouterr().err
    assert read_run(tmp_path / "run").record["status"] == "stopped"


def test_git_state_is_that_of_the_own_checkout_only(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    file = tmp_path / "code.py"
    file.write_text("1\n")
    assert run_record.git_state(file) is None
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    assert run_record.git_state(file) is None  # inside somebody's checkout, not of it
    subprocess.run([*git, "add", "code.py"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    state = run_record.git_state(file)
    assert re.fullmatch("[0-9a-f]{40}", state["commit"]) and state["dirty"] is False
    file.write_text("2\n")
    assert run_record.git_state(file)["dirty"] is True


def test_the_fingerprint_sees_one_pixel():
    crops = np.zeros((300, 4, 4, 3), np.uint8)
    changed = crops.copy()
    changed[299, 3, 3, 2] = 1
    assert content_hash(crops, crops) == content_hash(crops.copy(), crops)
    assert content_hash(crops, changed) != content_hash(crops, crops)
    assert content_hash(changed, crops) != content_hash(crops, changed)


def test_layers_too_narrow_for_a_pca_start_are_told_in_one_line(pictures, tmp_path):
    with pytest.raises(UserError, match=r"needs hidden >= 16: widen model\.networks, or .* model\.pca_start=false"):
        train_tiny(tmp_path / "run", pictures, "model.pca_start=true", "model.networks.hidden=12")
    assert not (tmp_path / "run/run.json").exists()
