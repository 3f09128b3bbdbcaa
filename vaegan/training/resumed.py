"""Going on with a run: by its own settings. What may differ from them is said, what must not is refused."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vaegan.errors import UserError
from vaegan.training.limits import flat
from vaegan.training.record import CONFIG
from vaegan.training.run_folder import CHECKPOINT

LEARNED = ("name", "seed", "start_from", "model", "data")
"""Settings that a run keeps, with all below them."""

MOVABLE = ("data.name", "data.folder", "data.clips.name", "data.workers", "data.threads", "data.on_device")
"""Of these, where the pictures lie now and how they are fetched; `same_pictures` looks whether they are the same."""

UNTOLD = ("resume", "print_config")


def find_checkpoint(resume: str) -> Path:
    """The checkpoint that `resume` (a file or a run folder) names. Raises UserError when there is none."""
    path = Path(resume)
    path = path / CHECKPOINT if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"resume={resume}: no checkpoint there; give a run folder with {CHECKPOINT}")
    return path.resolve()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint of ours says of its run: `progress` and more. Raises UserError where it is none."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        return state["run"]
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} is no checkpoint of ours, or damaged: resume from another one") from error


def config_of(folder: Path, resume: str) -> DictConfig:
    """The settings of the run in `folder`. Raises UserError where there are none that can be read."""
    try:
        config = OmegaConf.load(folder / CONFIG)
    except (OSError, YAMLError, UnicodeDecodeError, OmegaConfBaseException) as error:
        raise UserError(f"resume={resume}: {folder} has no {CONFIG} that can be read: name a run folder") from error
    if not isinstance(config, DictConfig) or not {"model", "data", "trainer"} <= set(config):
        raise UserError(f"resume={resume}: {folder / CONFIG} is not that of a run: name a run folder")
    return config


def merged(
    run: DictConfig, typed: DictConfig, base: DictConfig, choices: dict[str, str], keys: list[str]
) -> DictConfig:
    """The settings of `run`, with what was typed where it may differ.

    Args:
        typed: all settings as typed. base: those of the same choices with nothing set.
        choices, keys: groups and settings that were typed.

    Raises:
        UserError: what was typed differs where it must not.
    """
    now, before = _resolved(typed), _resolved(run)
    raw, plain = (dict(flat(OmegaConf.to_container(c, resolve=False))) for c in (typed, base))
    said = {k for k in raw if any(k == key or k.startswith(f"{key}.") for key in keys) or raw[k] != plain.get(k)}
    if {"model", "experiment"} & choices.keys():
        said |= {"model.name", "model._target_"}
    if "data" in choices:
        said |= {"data._target_"}
    if "trainer" in choices:
        said |= {f"trainer.{name}" for name in ("accelerator", "devices", "strategy", "precision")}
    wanted = {key: now[key] for key in said if key in now}
    refuse(before, wanted, typed.resume)
    if (
        "data" in choices
        and "data.name" not in keys
        and now.get("data.name", "???") not in ("???", before["data.name"])
    ):
        raise _other(typed.resume, "data.name", before["data.name"], now["data.name"])
    result = run.copy()
    OmegaConf.set_struct(result, False)
    for group in {"logger", "callbacks"} & choices.keys():
        result[group] = typed[group]
    for key in sorted(wanted):
        if key in before and wanted[key] == before[key]:
            continue
        OmegaConf.update(result, key, wanted[key], merge=False, force_add=True)
    return result


def refuse(before: dict[str, Any], wanted: dict[str, Any], resume: str) -> None:
    """Raises UserError for the first setting of what is learned that differs. Both by dotted name, resolved."""
    for key in sorted(wanted, key=lambda key: (key != "model.name", key)):
        kept = key.partition(".")[0] in LEARNED and key not in (*MOVABLE, "data.batch")
        if kept and key in before and wanted[key] != before[key]:
            raise _other(resume, key, before[key], wanted[key])


def _other(resume: str, key: str, before: Any, now: Any) -> UserError:
    return UserError(
        f"resume={resume} is a run with {key}={before}, not {now}: "
        f"leave {key.removesuffix('.name')} out to go on with it as it is, or begin a new run"
    )


def check_resumed(cfg: DictConfig, folder: Path) -> None:
    """Raises UserError where `cfg` differs from the run in `folder` in what is learned."""
    refuse(_resolved(config_of(folder, cfg.resume)), _resolved(cfg), cfg.resume)


def differences(cfg: DictConfig, folder: Path) -> str:
    """What is otherwise now than it was in the run in `folder`, in one line; "" for nothing."""
    now, before = _resolved(cfg), _resolved(config_of(folder, cfg.resume))
    changed = [key for key in now if key not in UNTOLD and key in before and now[key] != before[key]]
    return ", ".join(f"{key}={now[key]} (was {before[key]})" for key in changed)


def same_pictures(resume: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises UserError where a run would go on with other data. before, now: the data's facts, then and now."""
    known = before.get("fingerprint") and before.get("groups") == now.get("groups")
    if known and before["fingerprint"] != now["fingerprint"]:
        then, other = (f"{facts['name']}: {facts['train']:,} + {facts['val']:,}" for facts in (before, now))
        raise UserError(
            f"resume={resume} was trained on other pictures ({then} to validate; now {other}): "
            "give it the same ones, or begin a new run with start_from"
        )


def same_steps(resume: str, before: int, now: int) -> None:
    """Raises UserError where the pictures of a step, over all processes, are not as many as they were."""
    if before != now:
        raise UserError(
            f"resume={resume} took {before} pictures a step over all its processes, now it would take {now}: "
            "set data.batch or trainer.devices so that they are as many"
        )


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    return dict(flat(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)))
