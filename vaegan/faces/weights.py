"""Where third-party weights are looked for. Nothing is downloaded here."""

import os
from pathlib import Path

from vaegan.errors import UserError
from vaegan.media.files import user_cache


def weight_folders() -> list[Path]:
    """The folders that are searched, in order: $VAEGAN_MODELS where it is set, then the user's cache."""
    named = os.environ.get("VAEGAN_MODELS")
    return [Path(named).expanduser(), user_cache()] if named else [user_cache()]


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
