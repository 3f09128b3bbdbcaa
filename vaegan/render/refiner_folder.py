"""The refiner's model folder."""

from pathlib import Path
from typing import Any

from vaegan.errors import UserError
from vaegan.folder import find_folder, load_weights, read_config, write_folder
from vaegan.render.refiner import Refiner

SHIPPED = "warp"
"""Name of the shipped refiner."""


def load_refiner(name: str | Path = SHIPPED) -> tuple[Refiner, dict[str, Any]]:
    """The refiner of a shipped name or a folder, in evaluation mode, and what its config.yaml says of its training.

    Raises:
        UserError: no such folder, or one whose files are missing, damaged or of another kind.
    """
    folder = find_folder(name, [SHIPPED])
    config = read_config(folder)
    try:
        refiner = Refiner(**config["refiner"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / 'config.yaml'} does not describe a refiner ({error})") from error
    load_weights(folder, {"": refiner})
    return refiner.eval().requires_grad_(False), dict(config.get("training") or {})


def save_refiner(refiner: Refiner, training: dict[str, Any], folder: Path, card: str) -> Path:
    """Write the model folder; returns it."""
    return write_folder(folder, {"refiner": refiner.config, "training": training}, {"": refiner}, card)
