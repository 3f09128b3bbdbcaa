"""A trained model as a folder: config.yaml, weights.safetensors (float16), README.md (the model card)."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from vaegan.errors import UserError
from vaegan.media import atomic_path
from vaegan.networks import VAE

PRETRAINED = Path(__file__).parent / "pretrained"
LARGEST_WEIGHTS = 512 * 2**20


@dataclass(frozen=True)
class Framing:
    """How a face is cut out: side of the crop / side of the mesh box; whether the crop follows the face."""

    scale: float
    follow: bool


class FaceModel:
    """A trained VAE with its framing, ready for use. Made by `load_model`, or from a VAE to save it.

    Attributes:
        name: name of the folder. id: name and a hash of the weights; motions carry it.
        config: what config.yaml holds: `networks`, `framing`, `training`.
    """

    def __init__(self, vae: VAE, framing: Framing, name: str, training: Mapping[str, Any] | None = None):
        self.vae = vae.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.framing, self.name, self.training = framing, name, dict(training or {})

    @property
    def size(self) -> int:
        return self.vae.config["size"]

    @property
    def latent_dim(self) -> int:
        return self.vae.config["latent"]

    @property
    def device(self) -> torch.device:
        return next(self.vae.parameters()).device

    @property
    def id(self) -> str:
        digest = hashlib.sha256()
        for key, value in sorted(_half(self.vae).items()):
            digest.update(key.encode())
            digest.update(value.numpy().tobytes())
        return f"{self.name}-{digest.hexdigest()[:10]}"

    @torch.inference_mode()
    def encode(self, crops: Tensor) -> Tensor:
        """crops: float (N, 3, S, S) in [0, 1] -> posterior means z (N, latent_dim), on the model's device.

        Raises ValueError for another shape.
        """
        if crops.ndim != 4 or crops.shape[1:] != (3, self.size, self.size):
            raise ValueError(f"crops must be (N, 3, {self.size}, {self.size}), not {tuple(crops.shape)}")
        return self.vae.encoder(crops.to(self.device).contiguous(memory_format=torch.channels_last))[0]

    @torch.inference_mode()
    def decode(self, z: Tensor) -> Tensor:
        """z: float (N, latent_dim) -> crops (N, 3, S, S) in [0, 1]. Raises ValueError for another shape."""
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise ValueError(f"z must be (N, {self.latent_dim}), not {tuple(z.shape)}")
        return torch.sigmoid(self.vae.decoder(z.to(self.device)))

    def save(self, folder: str | Path, card: str = "") -> Path:
        """Write the three files to `folder`, weights as float16, each file whole or not at all."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"networks": self.vae.config, "framing": asdict(self.framing), "training": self.training}
        with atomic_path(folder / "weights.safetensors") as path:
            path.write_bytes(save(_half(self.vae)))
        with atomic_path(folder / "config.yaml") as path:
            path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        with atomic_path(folder / "README.md") as path:
            path.write_text(card or f"# {self.name}\n", encoding="utf-8")
        return folder


def _half(vae: VAE) -> dict[str, Tensor]:
    return {key: value.detach().cpu().half().contiguous() for key, value in vae.state_dict().items()}


def shipped_models() -> list[str]:
    """Names of the face models in the package."""
    found = PRETRAINED.glob("*/weights.safetensors")
    return sorted(path.parent.name for path in found if _read_config(path.parent).get("networks"))


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{folder} is no model folder: it has no readable config.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: copy the model folder again") from error
    return config if isinstance(config, dict) else {}


def load_model(name: str | Path, device: str | torch.device = "cpu") -> FaceModel:
    """Load a shipped model by name, or any model folder. Nothing is unpickled.

    Raises:
        UserError: no such model, or a folder whose files are missing, damaged or of another kind.
    """
    folder = Path(name) if Path(name).is_dir() else PRETRAINED / str(name)
    if not folder.is_dir():
        raise UserError(f"no model '{name}': give a folder, or one of {', '.join(shipped_models()) or 'none shipped'}")
    config = _read_config(folder)
    path = folder / "weights.safetensors"
    try:
        vae = VAE(**config["networks"])
        framing = Framing(float(config["framing"]["scale"]), bool(config["framing"]["follow"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / 'config.yaml'} does not describe a face model ({error})") from error
    try:
        if path.stat().st_size > LARGEST_WEIGHTS:
            raise UserError(f"{path} is larger than {LARGEST_WEIGHTS >> 20} MiB: this is not one of our models")
        weights = load_file(path)
        vae.load_state_dict({key: value.float() for key, value in weights.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} does not fit its config.yaml ({reason}): copy the model folder again") from error
    model = FaceModel(vae, framing, folder.resolve().name, config.get("training"))
    model.vae.to(device)
    return model
