"""Where third-party weights are looked for. Nothing is downloaded here."""

import os
from pathlib import Path

from vaegan.errors import UserError


def weight_folders() -> list[Path]:
    """The folders that are searched, in order: $VAEGAN_MODELS where it is set, then the user's cache."""
    named = os.environ.get("VAEGAN_MODELS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vaegan"
    return [Path(named).expanduser(), cache] if named else [cache]


def find_weights(name: str) -> Path | None:
    """The file of this name in the first folder that has it, or None."""
    for folder in weight_folders():
        if (folder / name).is_file():
            return folder / name
    return None


def require_weights(name: str) -> Path:
    """As `find_weights`; raises UserError that says where to put the file."""
    path = find_weights(name)
    if path is None:
        places = " or ".join(str(folder) for folder in weight_folders())
        raise UserError(f"{name} is not in {places}: put it there, or set VAEGAN_MODELS to the folder that has it")
    return path
