"""Where a run is computed: whether that is there, and by how many processes."""

import os
from typing import Any

import torch

from vaegan.errors import UserError

LAUNCHERS = ("LOCAL_RANK", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS")
"""Variables of who starts the processes of a run: `processes.py`, torchrun, srun."""


def launched() -> bool:
    """Whether somebody else has started this process as one of several."""
    return any(name in os.environ for name in LAUNCHERS)


def process_count(t: Any) -> int:
    """How many processes `cfg.trainer` asks for on this machine.

    Raises:
        UserError: a device that is not there, or a number that is none.
    """
    cards = torch.cuda.device_count() if t.accelerator in ("auto", "gpu", "cuda") else 0
    apple = t.accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available()
    if t.accelerator in ("gpu", "cuda", "mps") and not cards and not apple:
        raise UserError(f"trainer.accelerator={t.accelerator}: no graphics card can be used here: trainer=cpu")
    devices = t.devices
    if isinstance(devices, str) and devices.lstrip("-").isdigit():
        devices = int(devices)
    if devices in ("auto", -1):
        return max(1, cards)
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise UserError(f"trainer.devices={t.devices}: give how many, 1 or more, or auto")
    if cards and devices > cards:
        raise UserError(f"trainer.devices={devices}: graphics cards here: {cards}")
    return devices


def strategy_of(t: Any) -> str:
    """Lightning's name for how the processes are kept alike: each loss of a step reaches only some of the weights."""
    return "ddp_find_unused_parameters_true" if t.strategy != "auto" or process_count(t) > 1 else "auto"
