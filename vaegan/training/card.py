"""The model card, README.md of a model folder: what it is, its data and terms, command, time, curve, figures."""

from typing import Any

from vaegan.training.module import POSITION, Finished

LICENCES = {
    "faces": (
        "LFW, CelebA and YouTube Faces stills: for research only, and so are these weights",
        "https://vis-www.cs.umass.edu/lfw, https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, "
        "https://www.cs.tau.ac.il/~wolf/ytfaces",
    ),
    "clips": ("frames of public demo and research clips: for research only, and so are these weights", ""),
    "clips-more": ("frames of talks, interviews and film: for research only, and so are these weights", ""),
    "faces-tight": ("FairFace stills: CC BY 4.0", "https://github.com/joojs/fairface"),
    "faces-fair": ("FairFace stills: CC BY 4.0", "https://github.com/joojs/fairface"),
    "two-expressions": ("Face Research Lab London Set: CC BY 4.0", "https://doi.org/10.6084/m9.figshare.5047666"),
    "synthetic": ("faces sampled from a shipped model: that model's terms apply", ""),
}
YOURS = ("your own: their terms apply to the weights", "")
POINTS = 12
"""Rows of the curve in a model card."""


def model_card(what: str, run: Finished, training: dict[str, Any]) -> str:
    """The card of a face model.

    Args:
        what: kind of model, "VAE + GAN".
        training: what the model folder's config.yaml says: `data`, `command`, `images_seen`,
            `images_seen_in_this_run`, `start_from`, `hours`.
    """
    curve = run.curve
    terms = dict.fromkeys(LICENCES.get(name, YOURS) for name in training["data"].split("+"))
    terms = " ".join(f"{licence}.{f' {where}.' if where else ''}" for licence, where in terms)
    seen, here = training["images_seen"], training["images_seen_in_this_run"]
    start = f", {here:,} of them in this run, which started from `{training['start_from']}`" if seen != here else ""
    names = sorted({k for row in curve for k in row} - set(POSITION))
    chosen = sorted({round(i * (len(curve) - 1) / max(1, POINTS - 1)) for i in range(POINTS)}) if curve else []
    since = "pictures seen" if seen == here else "pictures seen in this run"
    table = [f"| {since} | {' | '.join(names)} |", f"|{'---|' * (len(names) + 1)}"]
    for row in (curve[i] for i in chosen):
        cells = [f"{row[k]:.4g}" if k in row else "" for k in names]
        table.append(f"| {int(row['images']):,} | {' | '.join(cells)} |")
    return "\n".join(
        [
            f"# {run.name}",
            "",
            f"A {what} of faces, 200 latent numbers, after "
            "Vysotsky & Demichev (2024). `vaegan.load_model` reads this folder.",
            "",
            f"* Data: `{training['data']}`. {terms[:1].upper() + terms[1:]}",
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
