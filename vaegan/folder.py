"""A model folder of any kind: config.yaml, weights.safetensors (float16), README.md (the model card).

Nothing in it is unpickled or executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vaegan.errors import UserError
from vaegan.media import atomic_path

if TYPE_CHECKING:
    from torch import Tensor, nn

PRETRAINED = Path(__file__).parent / "pretrained"
LARGEST_WEIGHTS = 512 * 2**20
UNUSED = "num_batches_tracked"
"""What batch normalisations count and nothing here reads: not stored."""


def find_folder(name: str | Path, shipped: list[str]) -> Path:
    """The model folder that `name` is, or that ships under this name, which a folder of something else does not hide.

    Raises UserError when there is none.
    """
    folder, ships = Path(name), str(name) in shipped
    if not folder.is_dir() or (ships and not any((folder / file).is_file() for file in ("config.yaml", "run.json"))):
        folder = PRETRAINED / str(name)
    if (folder / "run.json").is_file():
        there = (folder / "config.yaml").is_file() and (folder / "model").is_dir()
        what = f"name the model in it, {Path(name) / 'model'}" if there else "it has written no model yet"
        raise UserError(f"{name} is the folder of a training run: {what}")
    if not folder.is_dir():
        raise UserError(f"no model '{name}': give a folder, or one of {', '.join(shipped) or 'none shipped'}")
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """What config.yaml holds. Raises UserError when it cannot be read."""
    path = folder / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{folder} is no model folder: it has no readable config.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: copy the model folder again") from error
    return config if isinstance(config, dict) else {}


def load_weights(folder: Path, parts: Mapping[str, nn.Module]) -> None:
    """Fill networks from weights.safetensors.

    Args:
        parts: prefix of the keys (such as "heads.") -> network; "" takes what no other prefix does.

    Raises:
        UserError: the file is missing or damaged, or does not fit the networks.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / "weights.safetensors"
    try:
        if path.stat().st_size > LARGEST_WEIGHTS:
            raise UserError(f"{path} is larger than {LARGEST_WEIGHTS >> 20} MiB: this is not one of our models")
        weights = {key: value.float() for key, value in load_file(path).items()}
        for prefix in sorted(parts, key=len, reverse=True):
            own = {key.removeprefix(prefix): weights.pop(key) for key in list(weights) if key.startswith(prefix)}
            missing, unexpected = parts[prefix].load_state_dict(own, strict=False)
            missing = [key for key in missing if not key.endswith(UNUSED)]
            if missing or unexpected:
                raise RuntimeError(f"{prefix}{(missing + unexpected)[0]} is {'missing' if missing else 'not of it'}")
        if weights:
            raise RuntimeError(f"nothing takes {next(iter(weights))}")
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} does not fit its config.yaml ({reason}): copy the model folder again") from error


def half_weights(parts: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The weights as they are stored: float16 on the CPU, keys with the prefixes of `load_weights`."""
    return {
        prefix + key: value.detach().cpu().half().contiguous()
        for prefix, network in parts.items()
        for key, value in network.state_dict().items()
        if not key.endswith(UNUSED)
    }


def write_folder(folder: str | Path, config: Mapping[str, Any], parts: Mapping[str, nn.Module], card: str) -> Path:
    """Write the three files, each whole or not at all; returns the folder."""
    from safetensors.torch import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "weights.safetensors") as path:
        path.write_bytes(save(half_weights(parts)))
    with atomic_path(folder / "config.yaml") as path:
        path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    with atomic_path(folder / "README.md") as path:
        path.write_text(card, encoding="utf-8")
    return folder
