"""Stills: reconstruction by a model and by PCA, and samples from the model's prior."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vaegan.data.cache import cache_root, cached_crops
from vaegan.data.format import read_index, read_labels, read_pictures, set_fingerprint
from vaegan.errors import UserError
from vaegan.faces.geometry import FACE_POINTS, framing
from vaegan.media import atomic_path
from vaegan.model import FaceModel
from vaegan.pca import fit_pca
from vaegan.tensors import to_float, to_uint8

BATCH = 64
MIN_COVER = 0.95
SAME_SCALE = 0.02
PCA_MAX_PX = 64


@dataclass(frozen=True)
class Framed:
    """How the crops of a data set are cut to a model's framing: `whole`, or by their labelled meshes."""

    whole: bool
    meshes: dict[str, np.ndarray] | None = None


def read_stills(
    folder: Path, model: FaceModel, split: str, limit: int | None, seed: int, *, strangers: bool = False
) -> np.ndarray:
    """Crops of a data set that lie within their source pictures, in the model's framing and size.

    strangers: one picture a person, where the index names people; for showing
    Returns uint8 (N, S, S, 3): at most `limit` (None: all), a seeded choice in index order.
    """
    entries = read_index(folder, split, MIN_COVER)
    framed = _framed(folder, model)
    if framed.meshes is not None and not framed.whole:
        entries = [entry for entry in entries if entry.key in framed.meshes]
    chosen = np.arange(len(entries))
    if strangers:
        people = {entry.columns.get("person") or entry.key: number for number, entry in reversed([*enumerate(entries)])}
        chosen = np.array(sorted(people.values()))
    if limit is not None and len(chosen) > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, limit, replace=False))
    if framed.whole:
        return np.array(cached_crops(folder, entries, model.size)[chosen])
    crops = np.empty((len(chosen), model.size, model.size, 3), np.uint8)
    wanted = [entries[i] for i in chosen]
    for position, image in read_pictures(folder, wanted):
        mesh = framed.meshes[wanted[position].key] * image.shape[0]
        crops[position] = framing(mesh, model.framing.scale, model.framing.follow).crop(image, model.size)
    return crops


def _framed(folder: Path, model: FaceModel) -> Framed:
    """Whether the data set has the model's framing already; the labels say how large the faces are in its crops."""
    labels = read_labels(folder)
    if labels is None:
        return Framed(whole=True)
    faces = labels.mesh[:: max(1, len(labels.mesh) // 500), :FACE_POINTS, :2]
    scale = 1 / float(np.median((faces.max(1) - faces.min(1)).max(1)))
    if not model.framing.follow and abs(scale / model.framing.scale - 1) < SAME_SCALE:
        return Framed(whole=True)
    return Framed(whole=False, meshes=dict(zip(labels.key.tolist(), labels.mesh, strict=True)))


def reconstruct(model: FaceModel, crops: np.ndarray) -> np.ndarray:
    """D(mu(x)), rounded to 8 bits: uint8 (N, S, S, 3) -> the same shape."""
    batches = [crops[at : at + BATCH] for at in range(0, len(crops), BATCH)]
    return np.concatenate([to_uint8(model.decode(model.encode(to_float(batch)))) for batch in batches])


def sample(model: FaceModel, count: int, seed: int) -> np.ndarray:
    """Faces drawn from the prior N(0, 1): uint8 (count, S, S, 3)."""
    z = torch.randn(count, model.latent_dim, generator=torch.Generator().manual_seed(seed))
    return np.concatenate([to_uint8(model.decode(part)) for part in z.split(BATCH)])


def pca_reconstruct(folder: Path, model: FaceModel, crops: np.ndarray) -> np.ndarray:
    """The crops from as many principal components of the train crops and their mirror images as the code has numbers.

    The basis is fitted once (minutes on a CPU) and kept in the cache.

    Raises:
        UserError: too few train crops for that many components, crops above PCA_MAX_PX, or a damaged cache.
    """
    if model.size > PCA_MAX_PX:
        raise UserError(f"the covariance of {model.size} px crops does not fit into memory; at most {PCA_MAX_PX} px")
    mean, components = _pca_basis(folder, model)
    if len(components) < model.latent_dim:
        raise UserError(f"the train crops of {folder.name} allow {len(components)} components only")
    rows = to_float(crops).flatten(1)
    rebuilt = [(part - mean) @ components.T @ components + mean for part in rows.split(256)]
    return to_uint8(torch.cat(rebuilt).view(len(crops), 3, model.size, model.size))


def _pca_basis(folder: Path, model: FaceModel) -> tuple[torch.Tensor, torch.Tensor]:
    entries = read_index(folder, "train", MIN_COVER)
    cut = "" if _framed(folder, model).whole else f"-{model.framing.scale:g}{'f' * model.framing.follow}"
    name = f"{folder.name}-{model.size}{cut}-{set_fingerprint(folder, entries)}-pca{model.latent_dim}.npz"
    path = cache_root() / name
    if not path.is_file():
        crops = read_stills(folder, model, "train", None, 0)
        mean, components = fit_mirrored_pca(crops, model.latent_dim)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, mean=mean.numpy(), components=components.numpy())
    try:
        with np.load(path, allow_pickle=False) as stored:
            return torch.from_numpy(stored["mean"]), torch.from_numpy(stored["components"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}): delete it, it is made again") from error


def fit_mirrored_pca(crops: np.ndarray, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Exact PCA of crops uint8 (N, S, S, 3) and their mirror images: mean (D,), components (k, D), D = 3 S S.

    Mirroring commutes with the covariance, so every component is even or odd, and the two kinds are fitted apart, each
    with half the numbers: a quarter of the memory and of the time.
    """
    count, size = len(crops), crops.shape[1]
    x = to_float(crops)
    left, right = x[..., : size // 2], x.flip(3)[..., : size // 2]
    found = []
    for sign in (1, -1):
        half = ((left + sign * right) / 2**0.5).reshape(count, -1)
        pca = fit_pca(half if sign == 1 else torch.cat([half, -half]), min(k, half.shape[1], count))
        basis = pca.components.view(-1, 3, size, size // 2) / 2**0.5
        found.append((pca.std, torch.cat([basis, sign * basis.flip(3)], 3).flatten(1), pca.mean))
    order = torch.cat([std for std, _, _ in found]).argsort(descending=True)[:k]
    mean = found[0][2].view(3, size, size // 2) / 2**0.5
    return torch.cat([mean, mean.flip(2)], 2).flatten(), torch.cat([basis for _, basis, _ in found])[order]
