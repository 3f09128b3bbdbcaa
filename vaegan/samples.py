"""What ships in the package by name: sample photos, and motions for each shipped model."""

from __future__ import annotations

from pathlib import Path

from vaegan.errors import UserError
from vaegan.folder import PRETRAINED
from vaegan.sources import webcam_number

PHOTO_SUFFIXES = (".jpg", ".png", ".webp")


def shipped_photos() -> dict[str, Path]:
    """Name -> file of every shipped photo."""
    files = sorted((PRETRAINED / "samples").glob("*"))
    return {f.stem: f for f in files if f.suffix in PHOTO_SUFFIXES}


def shipped_motions(model_name: str) -> dict[str, Path]:
    """Name -> file of every motion shipped for the model of that name."""
    return {f.stem: f for f in sorted((PRETRAINED / "motions" / model_name).glob("*.motion"))}


def shipped_for(motion_name: str) -> list[str]:
    """The models that a motion of that name ships for."""
    return sorted(f.parent.name for f in (PRETRAINED / "motions").glob("*/*.motion") if f.stem == motion_name)


def find_photo(name_or_path: str | Path) -> Path:
    """The file meant by --photo: a path that exists, else a shipped name. Raises UserError."""
    return _find(name_or_path, shipped_photos(), "photo")


def find_driver(name_or_path: str | Path, model_name: str) -> Path:
    """What is meant by --driver: a path that exists, a webcam, the name of a motion of the model. Raises UserError."""
    if webcam_number(name_or_path) is not None:
        return Path(name_or_path)
    path, ships_for = Path(name_or_path), shipped_for(str(name_or_path))
    if ships_for and model_name not in ships_for and not path.exists():
        raise UserError(
            f"{path} ships for {', '.join(ships_for)}, not for {model_name}: name a video, or another --model"
        )
    return _find(name_or_path, shipped_motions(model_name), "driver")


def _find(name_or_path: str | Path, shipped: dict[str, Path], what: str) -> Path:
    path, given = Path(name_or_path), str(name_or_path)
    if path.exists():
        return path
    if given in shipped:
        return shipped[given]
    if "://" in given:
        raise UserError(f"{given} is an address, and nothing is fetched here: download it, and name the file")
    known = f"; shipped with the program: {', '.join(shipped)}" if shipped else ""
    raise UserError(f"{given}: no such {what}, neither a file nor a shipped name{known}")
