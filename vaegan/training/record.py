"""The run record, RUN/run.json: what was run, by which code, on which data, and how it ended; for every logger."""

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from vaegan.media import atomic_path

NAME, CONFIG = "run.json", "config.yaml"
PACKAGES = (
    *("vaegan", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "lpips", "numpy", "scipy", "pillow"),
    *("av", "opencv-python-headless", "hydra-core", "omegaconf", "safetensors", "tensorboard", "wandb"),
)


def begin(folder: Path, cfg: DictConfig, command: str, data: dict[str, Any], processes: int) -> dict[str, Any]:
    """Write `folder`/run.json and config.yaml as the run starts, or goes on; returns what run.json holds.

    Args:
        cfg: all settings. data: the data module's `facts()`. processes: that share the work.

    Of a record that is there already, `started` stays and the date is added to `resumed`.
    """
    earlier = read(folder)
    now = _now()
    record = {
        "name": cfg.name,
        "command": command,
        "status": "running",
        "started": earlier.get("started", now),
        "resumed": [*earlier.get("resumed", []), now] if earlier else [],
        "git": git_state(Path(__file__).resolve()),
        "data": data,
        "packages": package_versions(),
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "threads": torch.get_num_threads(),
        },
        "processes": processes,
        "loggers": list(cfg.logger),
    }
    _write_settings(folder, cfg)
    write(folder, record)
    return record


def end(folder: Path, record: dict[str, Any], status: str, seconds: float, images: int) -> None:
    """Add how the run ended: "finished", "stopped" (Ctrl-C) or "failed"; seconds and images of all its sittings."""
    record |= {"status": status, "ended": _now(), "seconds": round(seconds, 3), "images_seen": images}
    write(folder, record)


def read(folder: Path) -> dict[str, Any]:
    """The record in `folder`, empty where there is none that can be read."""
    try:
        record = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


@rank_zero_only
def write(folder: Path, record: dict[str, Any]) -> None:
    with atomic_path(folder / NAME) as path:
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


@rank_zero_only
def _write_settings(folder: Path, cfg: DictConfig) -> None:
    settings = OmegaConf.to_container(cfg, resolve=True)
    with atomic_path(folder / CONFIG) as path:
        OmegaConf.save({**settings, "resume": None}, path)


def git_state(file: Path) -> dict[str, Any] | None:
    """Commit of the checkout that `file` is tracked in, and whether a tracked file differs from it; else None.

    An installed package may lie inside somebody else's checkout: that one's commit says nothing about us.
    """

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(file.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None


def package_versions() -> dict[str, str]:
    """Installed versions of what may change a run's figures; a package that is not installed is left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if "vaegan" not in found:
        found["vaegan"] = sys.modules["vaegan"].__version__
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
