"""`python train.py`: from what was typed to a run; every mistake in it ends in one line and exit status 1."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vaegan.config import CONF
from vaegan.errors import UserError, told
from vaegan.training.typed import base_of, check_typed, explained, quoted, settings_typed

PRIVATE = ("resume=", "callbacks.", "trainer.threads", "data.folder=")
"""Settings of this machine, or that change nothing learned: left out of the command that a model card shows."""

_began = time.time()
_reached: list[bool] = []
"""Filled once Hydra has called us."""


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _run(cfg: DictConfig) -> float | None:
    _reached.append(True)
    context = HydraConfig.get()
    folder = Path(context.runtime.output_dir)
    made = folder.resolve() != Path.cwd() and folder.stat().st_ctime > _began - 0.05  # by Hydra, just now
    named = any(o.startswith(("hydra.run.dir=", "hydra.sweep.")) for o in context.overrides.hydra)
    try:
        with _in_one_line():
            cfg, command = _settings(cfg, context)
            from vaegan.training.run import train

            quiet()
            return train(cfg, folder, command, named=named)
    finally:
        above = [] if named else list(folder.parents)[:2]  # runs/NAME
        _leave_nothing([folder, *above] if made else [])


def _settings(cfg: DictConfig, context: DictConfig) -> tuple[DictConfig, str]:
    """All settings of the run, checked; a resumed one's are its own. And what a model card says was typed."""
    overrides, choices = list(context.overrides.task), dict(context.runtime.choices)
    if "hydra.run.dir=" in context.overrides.hydra:
        raise UserError("hydra.run.dir= is empty: name a folder, or leave it out")
    searched = [o for o in context.overrides.hydra if o.startswith("hydra.searchpath=")]
    base = base_of(choices, searched)
    check_typed(cfg, base, choices)
    if cfg.resume:
        from vaegan.training.resumed import config_of, find_checkpoint, merged

        run = config_of(find_checkpoint(cfg.resume).parent, cfg.resume)
        cfg = merged(run, cfg, base, *settings_typed(overrides))
    return cfg, " ".join(["python train.py", *(o for o in overrides if not o.startswith(PRIVATE))])


def main() -> None:
    """The entry point of train.py."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    quiet()
    _reached.clear()
    sys.argv[1:] = quoted(sys.argv[1:])
    with _in_one_line(composing=True):
        _run()


@contextmanager
def _in_one_line(composing: bool = False) -> Iterator[None]:
    """What the user can mend ends in one line and exit status 1; Ctrl-C in status 130.

    composing: so does whatever Hydra raises on its way to the run, which comes from what was typed.
    """
    try:
        yield
        return
    except KeyboardInterrupt:
        sys.exit(130)
    except (HydraException, OmegaConfBaseException) as error:
        line = explained(error, sys.argv[1:])
    except Exception as error:
        line = told(error)
        if line is None and composing and not _reached:
            line = explained(error, sys.argv[1:])
        if line is None:
            raise
    print(f"error: {line}", file=sys.stderr)
    sys.exit(1)


def quiet() -> None:
    """Leave the screen to what a run says itself: no notes of the libraries, and of their warnings only ours."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    for name in ("pytorch_lightning", "lightning_fabric", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module=r"vaegan\.")
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)


def _leave_nothing(folders: list[Path]) -> None:
    """Remove what Hydra has made for a run that did not begin, or that goes on elsewhere, where it is empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
