"""From a finished run to a model folder: averaged weights, configuration, model card."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vaegan.model import FaceModel, Framing
from vaegan.training.module import FaceTraining

LICENCES = {
    "faces": (
        "LFW, CelebA and YouTube Faces stills: for research only, and so are these weights",
        "https://vis-www.cs.umass.edu/lfw, https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, "
        "https://www.cs.tau.ac.il/~wolf/ytfaces",
    ),
    "clips": ("frames of public demo and research clips: for research only, and so are these weights", ""),
    "faces-tight": ("FairFace stills: CC BY 4.0", "https://github.com/joojs/fairface"),
    "synthetic": ("faces sampled from a shipped model: that model's terms apply", ""),
}
LICENCES["faces+clips"] = (f"{LICENCES['faces'][0]}; {LICENCES['clips'][0]}", LICENCES["faces"][1])
POINTS = 12
"""Rows of the curve in a model card."""


def export_model(
    module: FaceTraining,
    cfg: DictConfig,
    folder: Path,
    *,
    source: str,
    command: str,
    curve: list[dict[str, float]],
    seconds: float,
) -> Path:
    """Write `folder`/model from the averaged VAE of `module`; returns the model folder.

    Args:
        source: name of the data set. command: what was typed. seconds: of training, validation included.
        curve: one dict a validation: `images` seen in this run, and the figures by name.
    """
    training = {
        "kind": cfg.model.kind,
        "data": source,
        "command": command,
        "images_seen": module.images_before + module.images_seen,
        "images_seen_in_this_run": module.images_seen,
        "start_from": cfg.start_from,
        "hours": round(seconds / 3600, 2),
        "weights": OmegaConf.to_container(cfg.model.weights, resolve=True),
        "seed": cfg.seed,
        "validation": {k: round(v, 4) for k, v in (curve[-1] if curve else {}).items() if k != "images"},
    }
    framing = Framing(float(cfg.model.framing.scale), bool(cfg.model.framing.follow))
    model = FaceModel(module.ema.module, framing, cfg.name, training)
    return model.save(folder / "model", card=model_card(cfg.name, training, curve))


def model_card(name: str, training: dict[str, Any], curve: list[dict[str, float]]) -> str:
    """The README.md of a model folder: what it is, data and its terms, command, time, curve, figures."""
    licence, where = LICENCES.get(training["data"], ("your own: their terms apply to the weights", ""))
    seen, here = training["images_seen"], training["images_seen_in_this_run"]
    start = f", {here:,} of them in this run, which started from `{training['start_from']}`" if seen != here else ""
    names = sorted({k for row in curve for k in row} - {"images"})
    chosen = sorted({round(i * (len(curve) - 1) / max(1, POINTS - 1)) for i in range(POINTS)}) if curve else []
    since = "pictures seen" if seen == here else "pictures seen in this run"
    table = [f"| {since} | {' | '.join(names)} |", f"|{'---|' * (len(names) + 1)}"]
    for row in (curve[i] for i in chosen):
        cells = [f"{row[k]:.4g}" if k in row else "" for k in names]
        table.append(f"| {int(row['images']):,} | {' | '.join(cells)} |")
    return "\n".join(
        [
            f"# {name}",
            "",
            f"A {'VAE + GAN' if training['kind'] == 'vaegan' else 'VAE'} of faces, 200 latent numbers, after "
            "Vysotsky & Demichev (2024). `vaegan.load_model` reads this folder.",
            "",
            f"* Data: `{training['data']}`. {licence}. {where}".rstrip(),
            f"* Command: `{training['command']}`",
            f"* Pictures seen: {seen:,}{start}. Time: {training['hours']} h.",
            "* The weights are the run's moving average, stored as float16. Figures are of the validation crops, "
            "decoded from the posterior mean: PSNR in dB; sharpness, the variance of the Laplacian against the real "
            "crops'; LPIPS with AlexNet; `psnr_pca200` is PCA with 200 components fitted to the training crops.",
            "* Limits: 64 px crops, framed as in config.yaml; faces unlike the training data (mostly public figures, "
            "adults, often smiling) come out worse.",
            "",
            *table,
            "",
        ]
    )
