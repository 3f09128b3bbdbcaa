"""The sweeps in conf/sweep: every value that they would try is one that training takes."""

import itertools
import re
import shlex
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from vaegan.evaluation.compare.table import COLUMNS

ROOT = Path(__file__).resolve().parents[1]
SWEEPS = sorted((ROOT / "conf/sweep").glob("*.yaml"))
DOCUMENT = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
WANDB = sorted((ROOT / "conf/sweep/wandb").glob("*.yaml"))


def composed(*overrides: str, **options):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", overrides=list(overrides), **options)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_runs_jobs_that_differ_in_its_settings_only(path):
    cfg = composed("experiment=short_vaegan", f"sweep={path.stem}", return_hydra_config=True)
    assert cfg.hydra.mode == RunMode.MULTIRUN
    params = {name: str(values).split(",") for name, values in cfg.hydra.sweeper.params.items()}
    for values in itertools.product(*params.values()):
        chosen = dict(zip(params, values, strict=True))
        job = composed("experiment=short_vaegan", *(f"{name}={value}" for name, value in chosen.items()))
        assert {name: str(OmegaConf.select(job, name)) for name in chosen} == chosen
        assert job.start_from == "paper-vae" and job.name == "short-vaegan"


def test_the_sweep_of_the_weights_is_six_runs_of_22016_pictures():
    cfg = composed("experiment=short_vaegan", "sweep=weights", return_hydra_config=True)
    jobs = 1
    for name, values in cfg.hydra.sweeper.params.items():
        assert name.startswith("model.weights.")
        jobs *= len(str(values).split(","))
    assert jobs == 6
    assert cfg.trainer.epochs * cfg.trainer.fast * cfg.data.batch == 22_016
    assert cfg.model.optimizer.warmup_steps + cfg.model.gan.ramp_steps < cfg.trainer.epochs * cfg.trainer.fast


@pytest.mark.parametrize("line", re.findall(r"^python train\.py (?:.*\\\n)*.*$", DOCUMENT, re.MULTILINE))
def test_commands_of_the_document_compose(line):
    words = [word for word in shlex.split(line.replace("\\\n", ""), comments=True)[2:] if word != "-m"]
    words = [word for word in words if not word.startswith("hydra.")]
    cfg = composed(*(re.sub(r",.*", "", word) for word in words))
    assert cfg.name in ("short-vaegan", "seeds") and cfg.model.name == "vaegan"


@pytest.mark.parametrize("path", WANDB, ids=lambda path: path.stem)
def test_a_wandb_sweep_names_settings_and_a_figure_that_exist(path):
    sweep = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert sweep["method"] in ("grid", "random", "bayes") and (ROOT / sweep["program"]).is_file()
    best = COLUMNS[sweep["metric"]["name"]].best
    assert {"minimize": "min", "maximize": "max"}[sweep["metric"]["goal"]] == best
    typed = [word for word in sweep["command"] if "=" in word]
    assert "logger=wandb" in typed and sweep["command"][-1] == "${args_no_hyphens}"
    for end in ("min", "max"):
        chosen = [f"{name}={values[end]}" for name, values in sweep["parameters"].items()]
        OverridesParser.create().parse_overrides(chosen)
        cfg = composed(*typed, *chosen)
        assert "wandb" in cfg.logger
        for name, values in sweep["parameters"].items():
            assert values["min"] < OmegaConf.select(composed(*typed), name) < values["max"]
            assert OmegaConf.select(cfg, name) == values[end]
