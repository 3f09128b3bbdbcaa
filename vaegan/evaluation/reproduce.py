"""The paper's figures 3, 5, 6, 7 and 8 from trained models, and its claims beside what is measured here."""

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vaegan.evaluation import stills
from vaegan.evaluation.clips import MODEL, PHOTO, WARP
from vaegan.evaluation.evaluate import Evaluation, Sources, evaluate
from vaegan.evaluation.protocol import Plan, Progress
from vaegan.evaluation.tables import Figure, difference
from vaegan.faces.drawing import draw_outline
from vaegan.faces.tracker import FaceTracker
from vaegan.media import read_image, write_image
from vaegan.model import FaceModel
from vaegan.pipeline import Transfer
from vaegan.portrait import read_portrait
from vaegan.reports import grid
from vaegan.settings import TransferSettings
from vaegan.storyboard import TILE_PX, Storyboard

FACES = 10
SIZE_PX = 256
MOST_TILT, MOST_LIGHT = 10, 0.25
"""Degrees, and share of the light, by which `variations` go."""
PARTS = ("reconstruction", "cross")


@dataclass(frozen=True)
class Claim:
    """One line of the table: what the paper says, what was obtained here, and the command that shows it."""

    paper: str
    obtained: str
    command: str


@dataclass(frozen=True)
class Models:
    """Who is asked: the VAE, the VAE+GAN, and of an experiment the same model, trained on stills and on clips too."""

    vae: FaceModel
    vaegan: FaceModel
    on_stills: FaceModel | None = None
    on_clips: FaceModel | None = None


def draw_figures(
    models: Models,
    photo: Path,
    driver: Path,
    data: Path | None,
    folder: Path,
    progress: Progress,
    *,
    shareable: bool = False,
) -> list[Path]:
    """Write figure3.webp to figure8.webp; 3 and 5 need a data set. Returns the files. Raises UserError.

    shareable: show no picture of a data set or driver: figures 3 and 5 are of the photo, tilted and lit in FACES ways,
    the driver is its landmarks.
    """
    files = {}
    for name, model in (("figure3.webp", models.vae), ("figure5.webp", models.vaegan)):
        if shareable:
            crops = variations(photo, model)
            files[name] = grid(dict(_pair(crops, stills.reconstruct(model, crops))))
        elif data is not None:
            crops = stills.read_stills(data, model, "val", 2 * FACES, 0, strangers=True)
            rebuilt = stills.reconstruct(model, crops)
            rows = {f"{what} {half + 1}": part[half::2] for half in (0, 1) for what, part in _pair(crops, rebuilt)}
            files[name] = grid(rows)
    tracker, outlining = FaceTracker(), FaceTracker(smoothing=False)
    for name, model in (("figure7.webp", models.vaegan), ("figure8.webp", models.vae)):
        settings = TransferSettings(reference="first", renderer="decode", view="crop", size=SIZE_PX)
        run = Transfer(photo, driver, model, settings, tracker, show_driver=True)
        board = Storyboard()
        outlining.reset()
        with closing(run.frames()) as frames:
            for frame in progress(frames, f"{name[:-5]}, {model.name}", run.expected or 0):
                shown = frame.driver
                if shareable and shown is not None:
                    shown = draw_outline(outlining.track(shown), SIZE_PX, TILE_PX)
                board.add(frame.time, [picture for picture in (shown, frame.crop) if picture is not None])
        files[name] = board.image()
        files["figure6.webp"] = run.photo.picture(SIZE_PX)
    for name in sorted(files):
        write_image(folder / name, files[name])
    return [folder / name for name in sorted(files)]


def variations(photo: Path, model: FaceModel) -> np.ndarray:
    """The face of a photo, tilted, mirrored and lit in FACES seeded ways, framed anew: uint8 (FACES, S, S, 3)."""
    image, tracker = read_image(photo), FaceTracker()
    centre = read_portrait(image, model, tracker).crop
    random, crops = np.random.default_rng(0), []
    for number in range(FACES):
        tilt, light = random.uniform(-1, 1, 2)
        turn = cv2.getRotationMatrix2D((centre.cx, centre.cy), MOST_TILT * tilt, 1)
        tilted = cv2.warpAffine(image, turn, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        crop = read_portrait(tilted, model, tracker).crop.crop(tilted, model.size)
        crop = np.clip(crop * (1 + MOST_LIGHT * light), 0, 255).round().astype(np.uint8)
        crops.append(crop[:, ::-1] if number % 2 else crop)
    return np.stack(crops)


def _pair(crops: np.ndarray, rebuilt: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [("original", crops), ("reconstruction", rebuilt)]


def compare_claims(
    models: Models, sources: Sources, plan: Plan, progress: Progress
) -> tuple[list[Claim], dict[str, Evaluation]]:
    """The paper's claims against figures of the models, and the evaluations behind them.

    Photo and mesh warp stand beside the VAE+GAN; they are the same for every model of one framing.
    """
    plan = replace(plan, reference="first")  # the paper's
    main, aside = replace(plan, parts=PARTS), replace(plan, parts=PARTS, baselines=False)
    with_gan, plain = (
        evaluate(model, sources, how, progress) for model, how in ((models.vaegan, main), (models.vae, aside))
    )
    vae, vaegan = models.vae.name, models.vaegan.name
    command = f"vaegan evaluate --model {vaegan} --reference first --output DIR"
    claims = [
        Claim(
            "The GAN makes the VAE's reconstructions sharper (figures 3 and 5)",
            _both(plain, with_gan, "reconstruction", {"sharpness": 2, "lpips": 3, "psnr": 2}),
            f"vaegan evaluate --model {vae} --only reconstruction --output DIR",
        ),
        Claim(
            "Expressions can be told apart (figure 7)",
            _both(plain, with_gan, "cross", {"expression_r": 2, "expression_gain": 2})
            + _beside(with_gan, "expression_r", 2, (WARP,)),
            command,
        ),
        Claim(
            "Mimicry and head movements pass from the driver to the photo (figures 7 and 8)",
            _both(plain, with_gan, "cross", {"pose_r": 2, "pose_gain": 2, "identity": 2})
            + _beside(with_gan, "pose_r", 2, (WARP,))
            + _beside(with_gan, "identity", 2, (PHOTO, WARP)),
            command,
        ),
        Claim(
            "The result smiles too much",
            _both(plain, with_gan, "cross", {"smile_bias": 2}) + _beside(with_gan, "smile_bias", 2, (WARP,)),
            command,
        ),
    ]
    found = {vae: plain, vaegan: with_gan}
    claims.append(_guess(models, found, sources, replace(aside, parts=("cross",)), progress))
    return claims, found


GUESS = "Frames of videos instead of stills in training would mend that (the authors' guess)"
GUESSED = {"smile_bias": 2, "expression_r": 2, "pose_r": 2}


def _guess(models: Models, found: dict[str, Evaluation], sources: Sources, plan: Plan, progress: Progress) -> Claim:
    """The experiment on the authors' guess, added to `found`; the evaluations keep apart from models of one name."""
    if models.on_clips is None or sources.clips is None:
        return Claim(
            GUESS,
            "not measured: it takes clips to measure on, and a model trained on clip frames",
            "vaegan reproduce --clip-model DIR",
        )
    stills_model = models.on_stills or models.vaegan
    if models.on_stills is None:
        without = found[models.vaegan.name]
    else:
        without = found["stills only"] = evaluate(stills_model, sources, plan, progress)
    mixed = found["with clip frames"] = evaluate(models.on_clips, sources, plan, progress)
    parts = []
    for name, digits in GUESSED.items():
        off = difference(mixed.rows.get("cross", []), without.rows.get("cross", []), MODEL, name, plan.seed)
        told = [_told(one, "cross", MODEL, name, digits) for one in (without, mixed)]
        parts.append(
            f"{_words(name)} {told[0]} (stills only), {told[1]} (with clip frames), difference {_text(off, 3)}"
        )
        if name == "smile_bias":
            verdict = _verdict(without, mixed, off)
    pair = (stills_model, models.on_clips)
    seen = " and ".join(f"{int(model.training.get('images_seen', 0)):,}" for model in pair)
    trained = "; ".join(str(model.training.get("command", "python train.py")) for model in pair)
    return Claim(
        GUESS,
        f"{verdict}; {'; '.join(parts)}; {seen} images seen, one run each: the intervals are over clips, not over runs",
        f"{trained}; vaegan reproduce --clip-model DIR --stills-model DIR",
    )


def _verdict(without: Evaluation, mixed: Evaluation, off: Figure) -> str:
    """Whether the smile bias comes nearer to nothing, where the interval of the difference allows a word."""
    before, after = (one.tables.get("cross", {}).get(MODEL, {}).get("smile_bias") for one in (without, mixed))
    if off["low"] is None or not before or not after:
        return "not measured"
    if off["low"] <= 0 <= off["high"]:
        return "no difference in the smile that could be told from chance"
    return "less smile bias" if abs(after["mean"]) < abs(before["mean"]) else "more smile bias, not less"


def _both(one: Evaluation, other: Evaluation, section: str, names: dict[str, int]) -> str:
    """Figures of two models: `psnr 20.10 (paper-vae), 19.50 (paper-vaegan); ...`."""
    parts = []
    for name, digits in names.items():
        told = [f"{_told(found, section, MODEL, name, digits)} ({found.model['name']})" for found in (one, other)]
        parts.append(f"{_words(name)} {', '.join(told)}")
    return "; ".join(parts)


def _beside(found: Evaluation, name: str, digits: int, systems: tuple[str, ...]) -> str:
    told = [f"{_told(found, 'cross', system, name, digits)} ({system})" for system in systems]
    return f"; {_words(name)} beside them {', '.join(told)}"


def _words(name: str) -> str:
    return {"psnr": "PSNR", "lpips": "LPIPS"}.get(name, name.replace("_", " "))


def _told(found: Evaluation, section: str, system: str, name: str, digits: int) -> str:
    return _text(found.tables.get(section, {}).get(system, {}).get(name), digits)


def _text(figure: Figure | None, digits: int) -> str:
    if figure is None or figure["mean"] is None:
        return "not measured"
    if figure["low"] is None:
        return f"{figure['mean']:.{digits}f}"
    return f"{figure['mean']:.{digits}f} [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"
