"""The page that holds the paper's figures, reproduced: table, differences from the paper, pictures."""

import json
import os
from pathlib import Path

from vaegan.evaluation.evaluate import Evaluation
from vaegan.evaluation.reproduce import Claim, Models
from vaegan.media import atomic_path
from vaegan.model import FaceModel
from vaegan.reports import write_page

PAPER = {"images": 250_000, "epochs": 30}
"""What the paper trains on: faces of IMDB-WIKI, and how often it sees them."""

CAPTIONS = {
    "figure3.webp": "Figure 3: reconstructions of the VAE",
    "figure5.webp": "Figure 5: reconstructions of the VAE+GAN, the same crops",
    "figure6.webp": "Figure 6: the photo",
    "figure7.webp": "Figure 7: driver (above) and result of the VAE+GAN",
    "figure8.webp": "Figure 8: driver (above) and result of the VAE",
}


def write_document(
    claims: list[Claim],
    found: dict[str, Evaluation],
    models: Models,
    pictures: list[Path],
    command: str,
    document: Path,
    *,
    shareable: bool = False,
    rival: str = "",
) -> Path:
    """Write the page; the pictures are linked from where they are. Raises UserError when it cannot be written.

    command: what was typed; shareable: whether pictures show nothing of a data set; rival: the table of the benchmark
    """
    return write_page(
        document,
        "reproduce.md",
        claims=claims,
        material=next(iter(found.values())).material if found else {},
        differences=differences(models),
        pictures={CAPTIONS[path.name]: Path(os.path.relpath(path, document.parent)).as_posix() for path in pictures},
        left_out=list(dict.fromkeys(line for evaluation in found.values() for line in evaluation.left_out)),
        command=command,
        shareable=shareable,
        rival=rival.strip(),
    )


def write_figures(found: dict[str, Evaluation], path: Path) -> Path:
    """Write every figure behind the table as JSON."""
    stored = {name: evaluation.as_json() for name, evaluation in found.items()}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(stored, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def differences(models: Models) -> list[str]:
    """Data, schedule and hardware of the models at hand, beside the paper's, as far as their cards tell."""
    total = PAPER["images"] * PAPER["epochs"]
    vae, vaegan = models.vae, models.vaegan
    return [
        f"* **Data.** The paper: {PAPER['images']:,} faces of IMDB-WIKI. {_data(vae)} {_data(vaegan)}".rstrip(),
        f"* **Schedule.** The paper: {PAPER['epochs']} epochs, {total / 1e6:.1f} million pictures seen. "
        f"{_schedule(vae)} {_schedule(vaegan)}",
        "* **Not in the paper, our choice:** widths and strides of the layers, batch, learning rates, weights of the "
        "loss terms, framing of the crops; shortcuts without parameters around the convolutions and a start from PCA "
        "(`conf/model/*.yaml`, `vaegan/networks.py`).",
        "* **Hardware.** The shipped models were trained on processor cores, without a graphics card; how long, their "
        "cards say.",
        "* **Drivers and photos** are not the paper's own: clips of people who are not in the training data, and "
        "portraits.",
    ]


def _data(model: FaceModel) -> str:
    data = model.training.get("data")
    return f"`{model.name}`: the data set `{data}` (see its card)." if data else ""


def _schedule(model: FaceModel) -> str:
    seen, hours = model.training.get("images_seen"), model.training.get("hours")
    if not seen:
        return f"`{model.name}`: not told by its card."
    before = model.training.get("start_from")
    earlier = f"an earlier `{before}`" if before == model.name else f"`{before}`"
    start = f", of them the first by {earlier}, from which it starts" if before else ""
    took = f", {hours} h" + (" for its own share" if before else "") if hours else ""
    return f"`{model.name}`: {seen / 1e6:.2f} million{start}{took}."
