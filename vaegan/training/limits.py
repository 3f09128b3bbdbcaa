"""What the numbers and words of a training's configuration may be: looked at before anything is read."""

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vaegan.errors import UserError

INFINITE = math.inf
NUMBERS: tuple[tuple[str, float, float], ...] = (
    ("seed", 0, 2**32 - 1),
    ("data.seed", 0, 2**32 - 1),
    ("data.workers", 0, 1024),
    *((f"data.{name}", 1, INFINITE) for name in ("batch", "size", "window", "threads", "frames", "steps", "every")),
    *((f"data.*.{name}", 1, INFINITE) for name in ("batch", "size", "check_every", "check_stills", "check_pictures")),
    *((f"trainer.{name}", 1, INFINITE) for name in ("epochs", "steps", "validate_every", "log_every")),
    *((f"callbacks.{name}", 1, INFINITE) for name in ("lpips.every", "grids.columns", "preview.photos")),
    ("callbacks.preview.frames", 1, INFINITE),
    *((f"data.{name}", 0, 1) for name in ("min_cover", "clip_share", "paired", "*.negatives", "*.spoiled")),
    *((f"data.{name}", 0, 1) for name in ("stills.*", "*.min_score")),
    *((f"model.{name}", 1, INFINITE) for name in ("networks.*", "discriminator.*", "discriminators.*", "*.widths")),
    *((f"model.{name}", 1, INFINITE) for name in ("*_training.samples", "*_training.batch", "pairs", "strangers")),
    *((f"model.{name}", 1, INFINITE) for name in ("critics", "ema_every", "log_every", "gan.r1_every")),
    *((f"model.{name}.start", -1, 1) for name in ("gan", "critics")),  # below 0: all of it from the first step on
    *((f"model.{name}", 0, 1) for name in ("true_mesh", "far", "varied", "critics.*", "gan.ramp")),
    ("model.detection.min_score", 0, 1),
    *((f"model.{name}", 0, math.nextafter(1, 0)) for name in ("ema_decay", "*.average_decay", "*betas")),
)
"""(setting, least, most); the first that fits counts. Of every other number 0 is the least."""

ABOVE_ZERO = (
    *("model.*clip", "*.fps", "*.roi_scale"),
    *("data.scale", "data.clips.scale", "model.framing.scale"),
)

WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("trainer.accelerator", ("auto", "cpu", "gpu", "cuda", "mps")),
    ("trainer.strategy", ("auto", "ddp", "ddp_find_unused_parameters_true")),
    ("trainer.precision", ("32-true", "bf16-mixed", "64-true")),
    ("trainer.progress_bar", ("auto", "bar", "lines")),
    ("model.optimizer.schedule", ("cosine", "constant")),
    ("model.gan.form", ("bce", "hinge")),
    ("logger.wandb.mode", ("online", "offline", "disabled", "None")),
)
"""Settings that are one of some words."""


def check_limits(cfg: DictConfig) -> None:
    """Raises UserError for a number that cannot be, a word that means nothing, a name that is empty."""
    settings = dict(flat(OmegaConf.to_container(cfg, resolve=True)))
    for key, value in settings.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int | float) and not isinstance(one, bool):
                _check_number(key, one)
        for pattern, words in WORDS:
            if key == pattern and str(value) not in words:
                raise UserError(f"{key}={value}: choose one of {', '.join(w for w in words if w != 'None')}")
    for key in ("name", "resume", "start_from", "data.name", "data.clips.name"):
        if settings.get(key) == "":
            raise UserError(f"{key}= is empty: say which, or leave it out")


def _check_number(key: str, value: float) -> None:
    least, most = next(((a, b) for pattern, a, b in NUMBERS if fnmatchcase(key, pattern)), (0, INFINITE))
    wanted = f"{least:g} to {most:.10g}" if most < INFINITE else f"{least:g} or more"
    wanted = f"{least:g} to less than 1" if most < 1 else wanted
    if any(fnmatchcase(key, pattern) for pattern in ABOVE_ZERO):
        wanted = "more than 0"
        least = math.ulp(0.0)
    if not (math.isfinite(value) and least <= value <= most):
        raise UserError(f"{key}={value}: use {wanted}")


def flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of all settings of nested dictionaries; a list is a value."""
    if isinstance(node, dict) and (node or not prefix):
        for name, value in node.items():
            yield from flat(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, node
