"""A trained face model, ready for use: encode, decode, and what its linear heads read off a latent."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaegan.errors import UserError
from vaegan.folder import PRETRAINED, find_folder, half_weights, load_weights, read_config, write_folder
from vaegan.networks import VAE, Heads


@dataclass(frozen=True)
class Framing:
    """How a face is cut out: side of the crop / side of the mesh box; whether the crop follows the face."""

    scale: float
    follow: bool


class FaceModel:
    """A trained VAE with its framing, ready for use. Made by `load_model`, or from a VAE to save it.

    Attributes:
        name: name of the folder. id: name and a hash of the weights; motions carry it.
        has_heads: whether `heads` can be asked. folder: where it was loaded from, None for one that was made.
    """

    def __init__(
        self,
        vae: VAE,
        framing: Framing,
        name: str,
        training: Mapping[str, Any] | None = None,
        heads: Heads | None = None,
        folder: Path | None = None,
    ):
        self.vae = vae.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.head_maps = None if heads is None else heads.eval().requires_grad_(False)
        self.folder = folder
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
    def has_heads(self) -> bool:
        return self.head_maps is not None

    @cached_property
    def id(self) -> str:
        digest = hashlib.sha256()
        for key, value in sorted(half_weights(self._parts).items()):
            digest.update(key.encode())
            digest.update(value.numpy().tobytes())
        return f"{self.name}-{digest.hexdigest()[:10]}"

    @property
    def _parts(self) -> dict[str, nn.Module]:
        return {"": self.vae} | ({"heads.": self.head_maps} if self.has_heads else {})

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
        return torch.sigmoid(self.vae.decoder(self._checked(z)))

    @torch.inference_mode()
    def heads(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """What the linear heads read off latents z: float (N, latent_dim).

        Returns the mesh (N, 478, 3) in sides of the crop from its top left corner (z likewise scaled), and the
        blendshapes (N, 52) in MediaPipe's order, about 0 to 1.

        Raises:
            ValueError: z has another shape.
            UserError: the model was trained without heads.
        """
        if self.head_maps is None:
            raise UserError(f"model {self.name} has no heads for mesh and blendshapes: use motion64")
        return self.head_maps(self._checked(z))

    def _checked(self, z: Tensor) -> Tensor:
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise ValueError(f"z must be (N, {self.latent_dim}), not {tuple(z.shape)}")
        return z.to(self.device)

    def save(self, folder: str | Path, card: str = "") -> Path:
        """Write the three files of a model folder, weights as float16, each file whole or not at all."""
        config = {"networks": self.vae.config, "framing": asdict(self.framing), "training": self.training}
        if self.has_heads:
            config["heads"] = {"latent": self.latent_dim}
        return write_folder(folder, config, self._parts, card or f"# {self.name}\n")


def shipped_models() -> list[str]:
    """Names of the face models in the package."""
    found = PRETRAINED.glob("*/weights.safetensors")
    return sorted(path.parent.name for path in found if read_config(path.parent).get("networks"))


def load_model(name: str | Path, device: str | torch.device = "cpu") -> FaceModel:
    """Load a shipped model by name, or any model folder. Nothing is unpickled.

    Raises:
        UserError: no such model, or a folder whose files are missing, damaged or of another kind.
    """
    folder = find_folder(name, shipped_models())
    config = read_config(folder)
    try:
        vae = VAE(**config["networks"])
        framing = Framing(float(config["framing"]["scale"]), bool(config["framing"]["follow"]))
        heads = Heads(**config["heads"]) if config.get("heads") else None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / 'config.yaml'} does not describe a face model ({error})") from error
    load_weights(folder, {"": vae} | ({} if heads is None else {"heads.": heads}))
    for network in (vae, heads):
        if network is not None:
            network.to(device)
    return FaceModel(vae, framing, folder.resolve().name, config.get("training"), heads, folder)
