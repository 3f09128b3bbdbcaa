"""What is typed after train.py: whatever cannot be ends in one line before anything is read, and leaves nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_training import ROOT, SMALL
from tiny_runs import blobs

from vaegan.errors import UserError
from vaegan.training.command import main
from vaegan.training.typed import quoted


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return blobs(tmp_path_factory.mktemp("mistakes") / "pictures", 40)


@pytest.fixture
def typed(pictures, tmp_path, monkeypatch, capsys):
    """Type settings after train.py; what it says: (exit status, the error's line)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VAEGAN_DATA", raising=False)
    monkeypatch.setenv("VAEGAN_CACHE", str(pictures.parent / "cache"))
    monkeypatch.setenv("VAEGAN_MODELS", str(tmp_path / "none"))

    def type_in(*overrides: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [str(ROOT / "train.py"), *overrides])
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        told = capsys.readouterr().err
        assert "Traceback" not in told
        return status, told

    return type_in


MISTAKES = {
    "model=vaegna": "model=vaegna: choose one of motion64, tracker, vae, vaegan, warp",
    "modle=vae": "modle: no such setting; did you mean model",
    "data.bach=8": "data.bach: no such setting; did you mean data.batch",
    "+trainer.foo=1": "trainer.foo: no such setting",
    "+model.optimizer.foo=1": "model.optimizer.foo: no such setting",
    "~trainer.epochs": "trainer.epochs was taken away, and is needed",
    "experiment=nope": "experiment=nope: choose one of motion64, paper_vae",
    "debug=quick": "debug=quick: choose one of fast, overfit",
    "callbacks=null": "callbacks=null: choose one of default",
    "seed": "seed cannot be read: write SETTING=VALUE",
    "data.name=a,b": "data.name=a,b means several runs: add -m",
    "data.name=[x": "data.name=[x cannot be read: quote it",
    "data.name=${oc.env:NOPE}": "Environment variable 'NOPE' not found",
    "trainer.epochs=ten": "trainer.epochs=ten: give a whole number, such as 30",
    "trainer.epochs=true": "trainer.epochs=True: give a whole number",
    "data.flip=1": "data.flip=1: give true or false",
    "data.name=2024": "data.name=2024 is text here: quote it",
    "data.name=": "data.name= is empty",
    "resume=": "resume= is empty",
    "model.optimizer.betas=[0.9,x]": "its values are like those of [0.9, 0.999]",
    "data.batch=0": "data.batch=0: use 1 or more",
    "data.batch=-4": "data.batch=-4: use 1 or more",
    "model.optimizer.lr=-1": "model.optimizer.lr=-1: use 0 or more",
    "model.weights.kl=nan": "model.weights.kl=nan: use 0 or more",
    "model.networks.latent=0": "model.networks.latent=0: use 1 or more",
    "model.ema_decay=2.0": "model.ema_decay=2.0: use 0 to less than 1",
    "trainer.steps=-5": "trainer.steps=-5: use 1 or more",
    "trainer.max_time=00:00:00:00": "trainer.max_time=00:00:00:00 is no time",
    "seed=-1": "seed=-1: use 0 to 4294967295",
    "model.optimizer.schedule=linear": "choose one of cosine, constant",
    "trainer.precision=half": "choose one of 32-true, bf16-mixed, 64-true",
    "trainer.devices=0": "trainer.devices=0: give how many, 1 or more",
    "data=tracker": "data.landmarker.size follows model.landmarker.size, which is not there",
    "callbacks.preview.driver=no.mp4": "callbacks.preview.driver=no.mp4: there is no such file",
    "data=stream": "data=stream needs data.name=path/to/pictures",
    "hydra.run.dir=": "hydra.run.dir= is empty",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(typed, tmp_path, mistake):
    named = [] if mistake == "data=stream" else ["data=folder"] if "data.name" in mistake else []
    status, said = typed("model=vae", *named, mistake)
    assert status == 1
    assert said.startswith("error: ") and said.count("\n") == 1, said
    assert MISTAKES[mistake] in said
    assert not list(tmp_path.iterdir()), "nothing is left"


@pytest.mark.parametrize("data", ["folder", "stream"])
def test_data_without_a_name_trains_on_nothing_else(typed, data):
    for more in ([], ["print_config=true"]):
        status, said = typed("model=vae", f"data={data}", *more)
        assert (status, said) == (1, f"error: data={data} needs data.name=path/to/pictures\n")


def test_data_of_another_model_is_refused_before_it_is_read(typed):
    status, said = typed("model=vae", "data=motion", "data.folder=nowhere")
    assert status == 1 and "model=vae does not learn from PackData but from FaceData" in said


def test_a_card_that_is_not_there_is_told_before_anything_is_read(typed, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    status, said = typed("model=vae", "data=folder", "data.name=nowhere", "trainer=gpu")
    assert (status, said) == (1, "error: trainer.accelerator=gpu: no graphics card can be used here: trainer=cpu\n")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    status, said = typed("model=vae", "data=folder", "data.name=nowhere", "trainer=gpu", "trainer.devices=2")
    assert (status, said) == (1, "error: trainer.devices=2: graphics cards here: 1\n")


@pytest.mark.parametrize(
    ("count", "overrides", "says"),
    [
        (1, [], "one has 1 to learn from, 1 to train on and 0 to validate with"),
        (10, ["data.batch=16"], "one has 9 training pictures, fewer than one batch of 16: data.batch=9 or less"),
        (40, ["data.batch=16", "data.limit=5"], "one has 5 training pictures (data.limit=5), fewer than one batch"),
        (40, ["model.pca_start=true", "data.batch=8"], "a start from a PCA needs 200 training pictures, one has "),
    ],
)
def test_too_few_pictures_are_counted_before_one_is_decoded(typed, tmp_path, monkeypatch, count, overrides, says):
    blobs(tmp_path / "one", count)
    monkeypatch.setattr("vaegan.data.stills.cached_crops", lambda *_: pytest.fail("a picture was read"))
    status, said = typed("model=vae", "data=folder", "data.name=one", "model.pca_start=false", *overrides)
    assert status == 1 and said.startswith(f"error: {says}") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.name=nowhere"], "no data set 'nowhere'"),
        (["resume=nowhere"], "no checkpoint there"),
        (["start_from=nowhere"], "no model 'nowhere'"),
        (["model.networks.encoder_widths=[8]"], "7 convolutions"),
        (["model.colour=red"], "model.colour: no such setting"),
        (["data.batch=500"], "fewer than one batch of 500: data.batch="),
        (["logger=paper"], "logger=paper: choose one of csv, tensorboard, wandb"),
        (["trainer.max_time=soon"], "DD:HH:MM:SS"),
        (["model._target_=os.system"], "_target_ 'os.system' is refused"),
    ],
)
def test_what_a_run_finds_out_as_it_begins_is_one_line(typed, pictures, tmp_path, overrides, says):
    status, said = typed("model=vae", "data=folder", f"data.name={pictures}", *SMALL, *overrides)
    assert status == 1 and says in said and said.count("\n") == 1, said
    assert not list(tmp_path.iterdir())


def test_names_in_any_script_need_no_quotes():
    for name in ("人脸", "/home/zoë/it's me", "a(b)", "C:\\x"):
        (argument,) = quoted([f"data.name={name}"])
        from vaegan.training.typed import parsed

        assert parsed(argument).value() == name
    assert quoted(["-m", "seed=0,1", "data.name=plain"]) == ["-m", "seed=0,1", "data.name=plain"]


def test_a_folder_of_pictures_is_read_without_the_files_that_macos_adds(typed, tmp_path):
    folder = blobs(tmp_path / "p", 30)
    (folder / "._000.png").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails/001.png").write_bytes(b"no picture")
    small = [s for s in SMALL if not s.startswith("data.batch")]
    settings = ["model=vae", "data=folder", f"data.name={folder}", *small, "data.batch=8", "trainer.epochs=1"]
    status, said = typed(*settings, "trainer.fast=1", "callbacks.preview=null", "hydra.run.dir=run")
    assert status == 0, said
    assert '"train": 2' in (tmp_path / "run/run.json").read_text()


def test_the_screen_shows_only_what_the_run_says(pictures, tmp_path):
    """No advertisement, no deprecation, no note of a library, and the line says which figures are validation's."""
    environment = {**os.environ, "VAEGAN_CACHE": str(tmp_path / "cache"), "VAEGAN_MODELS": "", "VAEGAN_DATA": ""}
    settings = ["model=vae", "data=folder", f"data.name={pictures}", *SMALL, "trainer.epochs=1", "trainer.fast=1"]
    command = [sys.executable, str(ROOT / "train.py"), *settings, "hydra.run.dir=run"]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    note, line = ended.stdout.splitlines()
    assert line.startswith("epoch 1/1, 8 pictures; training: bce ") and "; validation: psnr " in line
    assert note.startswith("no transfer preview: ") and not ended.stderr, ended.stderr
    assert {path.name for path in (tmp_path / "run").iterdir() if not path.name.startswith(".")} == {
        "config.yaml", "grids", "last.ckpt", "metrics.csv", "model", "run.json"
    }  # fmt: skip


def test_limits_are_those_of_a_call_from_python_too(pictures, tmp_path):
    from tiny_runs import composed

    from vaegan.training.run import train

    with pytest.raises(UserError, match=r"data\.batch=0: use 1 or more"):
        train(composed(pictures, "data.batch=0"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
