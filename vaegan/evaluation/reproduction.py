"""The page that holds the paper's figures, reproduced: table, differences from the paper, pictures."""

import json
import os
from pathlib import Path

from vaegan.evaluation.evaluate import Evaluation
from vaegan.evaluation.reproduce import Claim, Models
from vaegan.media import atomic_path
from vaegan.model import FaceModel

SHOWN = {
    False: "Faces of people not seen in training, and a driver of `clips/dev`.",
    True: "So that nothing of a data set is passed on with this page, figures 3 and 5 show the photo, tilted, mirrored "
    "and lit in ten ways, and of the driver its landmarks only. Without `--shareable` the same command shows "
    "twenty people who are not in the training data, and the driver.",
}
"""What the pictures show, by `shareable`."""

RIVAL = """
## Beside the nearest library

pythae's `VAEGAN` with our encoder, decoder and discriminator plugged in, trained on the same crops for the same number
of images seen. `pythae`: its own trainer and defaults, the loss scales of its authors' CelebA example; `pythae-tuned`:
the same with our batch, learning rates and start from PCA; `ours`: `python train.py model=vaegan` of that length. So
short a run is for comparing; it is not how the shipped models were trained. pythae learns reconstruction through D's
features alone (Larsen et al. 2016), ours has the paper's pixel term too: so few images hardly start the former.
`pip install pythae`, then `python benchmarks/pythae_vaegan.py --images 44032 --output DIR`:
""".strip()
"""What stands over the table that benchmarks/pythae_vaegan.py writes."""

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
    shown: str,
    command: str,
    document: Path,
    rival: str = "",
) -> Path:
    """Write the page; the pictures are linked from where they are. Raises UserError when it cannot be written.

    shown: what the pictures are of, in a sentence; command: what was typed; rival: the table of the benchmark
    """
    text = document_text(claims, found, models, pictures, shown, command, document.parent, rival)
    with atomic_path(document) as path:
        path.write_text(text, encoding="utf-8")
    return document


def write_figures(found: dict[str, Evaluation], path: Path) -> Path:
    """Write every figure behind the table as JSON."""
    stored = {name: evaluation.as_json() for name, evaluation in found.items()}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(stored, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def document_text(
    claims: list[Claim],
    found: dict[str, Evaluation],
    models: Models,
    pictures: list[Path],
    shown: str,
    command: str,
    folder: Path,
    rival: str = "",
) -> str:
    """The page in Markdown; links are relative to `folder`."""
    lines = ["# The paper's figures, reproduced", ""]
    lines += ["Vysotsky & Demichev (2024) show pictures and no numbers. This page is made by", "", "```bash", command]
    lines += ["```", "", "Figures are means; in brackets the 95 % bootstrap interval over pictures or clips. They are"]
    lines += ["defined in the report that `vaegan evaluate` writes.", ""]
    lines += ["| what the paper says | what we obtain | command |", "|---|---|---|"]
    lines += [f"| {claim.paper} | {claim.obtained} | `{claim.command}` |" for claim in claims]
    material = next(iter(found.values())).material if found else {}
    if material:
        lines += ["", "Measured on:", "", *(f"* {what}: {text}" for what, text in material.items())]
    lines += ["", "## What differs from the paper", "", *differences(models)]
    if rival:
        lines += ["", RIVAL, "", rival.strip()]
    lines += ["", "## Pictures", "", shown]
    for path in pictures:
        link = Path(os.path.relpath(path, folder)).as_posix()
        lines += ["", f"### {CAPTIONS[path.name]}", "", f"![{CAPTIONS[path.name]}]({link})"]
    left_out = dict.fromkeys(line for evaluation in found.values() for line in evaluation.left_out)
    if left_out:
        lines += ["", "## Left out", "", *(f"* {line}" for line in left_out)]
    return "\n".join(lines) + "\n"


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
