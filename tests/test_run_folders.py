"""A run is never overwritten, never shared by two, and never goes on with other settings in silence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from test_training_mistakes import typed  # noqa: F401 - a fixture
from tiny_runs import SMALL, blobs, train_tiny

from vaegan.errors import UserError
from vaegan.training import record
from vaegan.training.run_folder import claimed

TINY = [*SMALL, "callbacks.grids=null"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return blobs(tmp_path_factory.mktemp("folders") / "pictures", 60)


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory) -> Path:
    """A finished run of two epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(pictures.parent / "cache"))
        return train_tiny(tmp_path_factory.mktemp("finished") / "run", pictures)


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_command_again_overwrites_nothing(typed, pictures, run):  # noqa: F811
    before = files(run)
    status, said = typed(*TINY, f"data.name={pictures}", "trainer.epochs=1", "hydra.run.dir=run")
    assert status == 1
    assert said == (
        "error: run holds a run (finished, 48 pictures): resume=run goes on with it; "
        "for a new one name another folder, hydra.run.dir=run-2\n"
    )
    assert files(run) == before


def test_a_folder_of_somebody_elses_files_is_refused(typed, pictures, tmp_path):  # noqa: F811
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.yaml").write_text("a: model folder\n")
    status, said = typed(*TINY, f"data.name={pictures}", "hydra.run.dir=mine")
    assert status == 1 and "mine holds config.yaml, which a run would overwrite" in said
    assert (tmp_path / "mine/config.yaml").read_text() == "a: model folder\n"


def test_two_trainings_never_share_a_folder(typed, pictures, tmp_path):  # noqa: F811
    with claimed(tmp_path / "run"):
        status, said = typed(*TINY, f"data.name={pictures}", "hydra.run.dir=run")
        assert (status, said) == (1, "error: run: another training writes there; wait, or name another folder\n")
        with claimed(tmp_path / "run", named=False) as other:
            assert other == tmp_path / "run-2", "runs that were started in the same second"
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_going_on_cannot_be_gone_on_with_twice(typed, run):  # noqa: F811
    with claimed(run, resumed=True):
        status, said = typed("resume=run", "trainer.epochs=4")
    assert status == 1 and "run: another training writes there" in said


def test_resume_takes_the_settings_of_the_run_and_says_what_is_other(typed, run):  # noqa: F811
    kept = OmegaConf.load(run / "config.yaml")
    status, said = typed("resume=run", "trainer.epochs=4")
    assert status == 0
    assert said == "resume=run goes on with trainer.epochs=4 (was 2)\n"
    now = OmegaConf.load(run / "config.yaml")
    assert now.trainer.epochs == 4 and now.data == kept.data and now.model == kept.model
    told = record.read(run)
    assert told["status"] == "finished" and told["images_seen"] == 96 and len(told["resumed"]) == 1


def test_a_finished_run_says_how_it_goes_on(typed, run):  # noqa: F811
    before = files(run)
    status, said = typed("resume=run")
    assert status == 1
    assert said == (
        "error: resume=run is finished, 6 of 6 steps: give it more with trainer.epochs=..., or begin a new run with "
        "start_from=run/model\n"
    )
    assert files(run) == before


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model=vae"], "is a run with model.name=vaegan, not vae: leave model out"),
        (["data.batch=4"], "took 8 pictures a step over all its processes, now it would take 4"),
        (["data.size=64"], "is a run with data.size=32, not 64: leave data.size out"),
        (["model.optimizer.lr=0.01"], "is a run with model.optimizer.lr=0.001, not 0.01"),
        (["seed=5"], "is a run with seed=0, not 5"),
        (["experiment=paper_vae"], "is a run with model.name=vaegan, not vae"),
        (["data=synthetic"], "is a run with data.name="),
        (["data=clips", "data.name=x"], "is a run with data._target_="),
        (["debug=overfit"], "is a run with data.flip=True, not False"),
    ],
)
def test_a_run_never_goes_on_with_other_settings(typed, run, overrides, says):  # noqa: F811
    before = files(run)
    status, said = typed("resume=run", "trainer.epochs=4", *overrides)
    assert status == 1 and says in said and said.count("\n") == 1, said
    assert files(run) == before


def test_a_run_never_goes_on_with_other_pictures(typed, run, tmp_path, monkeypatch):  # noqa: F811
    """Not those of another folder, nor of its own that has changed since; the same ones may lie elsewhere."""
    blobs(tmp_path / "others", 50, seed=1)
    status, said = typed("resume=run", "trainer.epochs=4", f"data.name={tmp_path / 'others'}")
    assert status == 1 and "was trained on other pictures (pictures: " in said
    shutil.copytree(OmegaConf.load(run / "config.yaml").data.name, tmp_path / "moved")
    status, said = typed("resume=run", "trainer.epochs=3", "data.name=moved", "trainer.threads=1")
    assert status == 0 and "trainer.epochs=3 (was 2)" in said and "data.name=moved" in said


@pytest.mark.parametrize("broken", [b"", b"no checkpoint at all", None])
def test_a_damaged_checkpoint_is_one_line(typed, run, broken):  # noqa: F811
    whole = (run / "last.ckpt").read_bytes()
    (run / "last.ckpt").write_bytes(whole[: len(whole) // 2] if broken is None else broken)
    status, said = typed("resume=run", "trainer.epochs=4")
    assert status == 1 and "is no checkpoint of ours, or damaged" in said and said.count("\n") == 1


def test_a_checkpoint_without_its_settings_is_one_line(typed, run):  # noqa: F811
    (run / "config.yaml").unlink()
    status, said = typed("resume=run/last.ckpt", "trainer.epochs=4")
    assert status == 1 and "has no config.yaml that can be read: name a run folder" in said


def test_a_run_stopped_before_its_first_checkpoint_says_so(typed, pictures, run):  # noqa: F811
    (run / "last.ckpt").unlink()
    (run / "run.json").write_text(json.dumps({"status": "stopped", "images_seen": 8}))
    status, said = typed(*TINY, f"data.name={pictures}", "hydra.run.dir=run")
    assert status == 1 and "run holds a run (stopped, 8 pictures) without a checkpoint: delete it, or name" in said
    status, said = typed("resume=run")
    assert status == 1 and "no checkpoint there" in said


def test_a_run_from_python_is_looked_at_like_a_typed_one(pictures, run, tmp_path):
    weights = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    with pytest.raises(UserError, match="holds a run"):
        train_tiny(run, pictures)
    with pytest.raises(UserError, match=r"is a run with model\.weights\.kl=0\.01, not 0\.5"):
        train_tiny(tmp_path / "x", pictures, f"resume={run}", "model.weights.kl=0.5")
    kept = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(weights[name], kept[name]) for name in weights)


def test_a_run_folder_given_as_a_model_names_the_model_in_it(run):
    from vaegan.model import load_model

    with pytest.raises(UserError, match=r"the folder of a training run: name the model in it, .*run/model"):
        load_model(run)
    shutil.rmtree(run / "model")
    with pytest.raises(UserError, match="it has written no model yet"):
        load_model(run)
