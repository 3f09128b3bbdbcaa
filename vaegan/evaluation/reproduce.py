"""The paper's figures 3, 5, 6, 7 and 8 from trained models, and its claims beside what is measured here."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaegan.evaluation import stills
from vaegan.evaluation.clips import MODEL, PHOTO, WARP
from vaegan.evaluation.evaluate import Evaluation, Sources, evaluate
from vaegan.evaluation.protocol import Plan, Progress
from vaegan.evaluation.report import grid
from vaegan.faces.tracker import FaceTracker
from vaegan.media import atomic_path, write_image
from vaegan.model import FaceModel
from vaegan.storyboard import Storyboard
from vaegan.transfer import Settings, Transfer

FACES = 10
SIZE_PX = 256


@dataclass(frozen=True)
class Claim:
    """One line of the table: what the paper says, what was obtained here, and the command that shows it."""

    paper: str
    obtained: str
    command: str


def draw_figures(
    vae: FaceModel, vaegan: FaceModel, photo: Path, driver: Path, data: Path | None, folder: Path, progress: Progress
) -> list[Path]:
    """Write figure3.png to figure8.png; 3 and 5 need a data set. Returns the files. Raises UserError."""
    files = {}
    if data is not None:
        for name, model in (("figure3.png", vae), ("figure5.png", vaegan)):
            crops = stills.read_stills(data, model, "val", 2 * FACES, 0, strangers=True)
            rebuilt = stills.reconstruct(model, crops)
            rows = {f"{what} {half + 1}": part[half::2] for half in (0, 1) for what, part in _pair(crops, rebuilt)}
            files[name] = grid(rows)
    tracker = FaceTracker()
    for name, model in (("figure7.png", vaegan), ("figure8.png", vae)):
        run = Transfer(photo, driver, model, Settings(size=SIZE_PX), tracker, show_driver=True)
        board = Storyboard()
        with closing(run.frames()) as steps:
            for step in progress(steps, f"{name[:-4]}, {model.name}", run.expected or 0):
                board.add(step.time, [picture for picture in (step.driver, step.image) if picture is not None])
        files[name] = board.image()
        files["figure6.png"] = run.photo.crop.crop(run.photo.image, SIZE_PX)
    for name in sorted(files):
        write_image(folder / name, files[name])
    return [folder / name for name in sorted(files)]


def _pair(crops: np.ndarray, rebuilt: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [("original", crops), ("reconstruction", rebuilt)]


def compare_claims(
    vae: FaceModel, vaegan: FaceModel, on_clips: FaceModel | None, sources: Sources, plan: Plan, progress: Progress
) -> tuple[list[Claim], dict]:
    """The paper's claims against figures of both models; on_clips: the same model, trained with clip frames mixed in.

    Returns the lines of the table, and the evaluations behind them as JSON.
    """
    models = [model for model in (vae, vaegan, on_clips) if model is not None]
    found = {model.name: evaluate(model, sources, plan, progress) for model in models}
    with_gan, plain = found[vaegan.name], found[vae.name]
    command = f"vaegan evaluate --model {vaegan.name} --output DIR"
    claims = [
        Claim(
            "The GAN makes the VAE's reconstructions sharper (figures 3 and 5)",
            _both(plain, with_gan, "reconstruction", MODEL, {"sharpness": 3, "lpips": 3, "psnr": 2}),
            f"vaegan evaluate --model {vae.name} --output DIR; {command}",
        ),
        Claim(
            "Expressions can be told apart (figure 7)",
            _both(plain, with_gan, "cross", MODEL, {"expression_r": 2, "expression_gain": 2})
            + _beside(with_gan, "expression_r", 2, (WARP,)),
            command,
        ),
        Claim(
            "Mimicry and head movements pass from the driver to the photo (figures 7 and 8)",
            _both(plain, with_gan, "cross", MODEL, {"pose_r": 2, "pose_gain": 2, "identity": 2})
            + _beside(with_gan, "pose_r", 2, (WARP,))
            + _beside(with_gan, "identity", 2, (PHOTO, WARP)),
            command,
        ),
        Claim(
            "The result smiles too much",
            _both(plain, with_gan, "cross", MODEL, {"smile_bias": 3}) + _beside(with_gan, "smile_bias", 3, (WARP,)),
            command,
        ),
        Claim(
            "Frames of videos instead of stills in training would mend that (the authors' guess)",
            "not measured: no model trained on clip frames was given (--clip-model)"
            if on_clips is None
            else _both(with_gan, found[on_clips.name], "cross", MODEL, {"smile_bias": 3, "expression_r": 2}),
            command if on_clips is None else f"vaegan evaluate --model {on_clips.name} --output DIR",
        ),
    ]
    return claims, {name: evaluation.as_json() for name, evaluation in found.items()}


def _both(one: Evaluation, other: Evaluation, section: str, system: str, names: dict[str, int]) -> str:
    """Figures of two models: `psnr 20.10 (paper-vae), 19.50 (paper-vaegan); ...`."""
    parts = []
    for name, digits in names.items():
        told = [f"{_told(found, section, system, name, digits)} ({found.model['name']})" for found in (one, other)]
        parts.append(f"{name.replace('_', ' ')} {', '.join(told)}")
    return "; ".join(parts)


def _beside(found: Evaluation, name: str, digits: int, systems: tuple[str, ...]) -> str:
    told = [f"{_told(found, 'cross', system, name, digits)} ({system})" for system in systems]
    return f"; {name.replace('_', ' ')} beside them {', '.join(told)}"


def _told(found: Evaluation, section: str, system: str, name: str, digits: int) -> str:
    figure = found.tables.get(section, {}).get(system, {}).get(name)
    if figure is None or figure["mean"] is None:
        return "not measured"
    if figure["low"] is None:
        return f"{figure['mean']:.{digits}f}"
    return f"{figure['mean']:.{digits}f} [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"


def write_table(claims: list[Claim], evaluations: dict, pictures: list[Path], command: str, folder: Path) -> Path:
    """Write reproduction.md and reproduction.json."""
    lines = ["# The paper's figures, reproduced", "", f"`{command}`", ""]
    lines += ["| what the paper says | what we obtain (mean [95 % interval]) | command |", "|---|---|---|"]
    lines += [f"| {claim.paper} | {claim.obtained} | `{claim.command}` |" for claim in claims]
    captions = {
        "figure3.png": "Figure 3: reconstructions of the VAE",
        "figure5.png": "Figure 5: reconstructions of the VAE+GAN, the same faces",
        "figure6.png": "Figure 6: the photo",
        "figure7.png": "Figure 7: driver (above) and result of the VAE+GAN",
        "figure8.png": "Figure 8: driver (above) and result of the VAE",
    }
    for path in pictures:
        lines += ["", f"## {captions[path.name]}", "", f"![{captions[path.name]}]({path.name})"]
    left_out = dict.fromkeys(line for found in evaluations.values() for line in found["left_out"])
    if left_out:
        lines += ["", "## Left out", "", *(f"* {line}" for line in left_out)]
    texts: dict[str, Callable[[], str]] = {
        "reproduction.json": lambda: json.dumps(evaluations, indent=1, allow_nan=False) + "\n",
        "reproduction.md": lambda: "\n".join(lines) + "\n",
    }
    for name, text in texts.items():
        with atomic_path(folder / name) as path:
            path.write_text(text(), encoding="utf-8")
    return folder / "reproduction.md"
