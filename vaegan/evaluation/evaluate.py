"""One evaluation of one model: everything that data and weights at hand allow, the rest named with its reason."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import nn

from vaegan.critics.lpips import load_lpips
from vaegan.errors import UserError
from vaegan.evaluation import protocol, stills
from vaegan.evaluation.clips import DRIVER, MODEL, stage_of
from vaegan.evaluation.distributions import VideoDistance, inception_figures, load_inception
from vaegan.evaluation.embedders import Dlib, MobileFaceNet, OnnxEmbedder
from vaegan.evaluation.heads import measure_heads
from vaegan.evaluation.likeness import TURNED
from vaegan.evaluation.metrics import measure_pictures, sharpness
from vaegan.evaluation.observer import Observer
from vaegan.evaluation.protocol import Board, Plan, Progress
from vaegan.evaluation.tables import Row, Table, as_json, bootstrap, single, summarise
from vaegan.faces.tracker import FaceTracker
from vaegan.model import FaceModel
from vaegan.tensors import to_float

PACKAGES = ("torch", "torchmetrics", "lpips", "opencv-python-headless", "ai-edge-litert", "numpy")
SAMPLES = "prior samples"
SHOWN = 12
T = TypeVar("T")


@dataclass(frozen=True)
class Sources:
    """What to measure on (None: not at hand), and third-party networks given by path.

    data: data set with a `val` split; clips, photos: folders; embedder, inception, i3d: files
    """

    data: Path | None
    clips: Path | None
    photos: Path | None
    embedder: Path | None = None
    inception: Path | None = None
    i3d: Path | None = None


@dataclass
class Evaluation:
    """What was found: tables by section, the rows of single clips behind them, and what to show.

    left_out: what was not measured, and why. material: what it was measured on, in words.
    pictures: name -> uint8 (N, S, S, 3), the rows of a picture grid. boards: storyboards.
    """

    model: dict[str, Any]
    plan: Plan
    tables: dict[str, Table] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    material: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    boards: list[Board] = field(default_factory=list, repr=False)

    def as_json(self) -> dict[str, Any]:
        """What metrics.json holds. No time and no path is in it: the same run gives the same file."""
        return {
            "model": self.model,
            "plan": asdict(self.plan),
            "material": self.material,
            "figures": self.tables,
            "left_out": self.left_out,
            "rows": {section: as_json(rows) for section, rows in self.rows.items()},
            "packages": {name: _version(name) for name in PACKAGES},
        }

    def attempt(self, what: str, load: Callable[[], T]) -> T | None:
        """What `load` gives; where the user lacks something for it, None and a line that says so."""
        try:
            return load()
        except UserError as error:
            self.left_out.append(f"{what}: {error}")
            return None


@dataclass(frozen=True)
class _Tools:
    """The networks that measure; None where one is not at hand."""

    perceptual: nn.Module | None
    observer: Observer | None
    inception: dict[str, nn.Module] | None
    videos: VideoDistance | None


def evaluate(model: FaceModel, sources: Sources, plan: Plan, progress: Progress) -> Evaluation:
    """Measure all that can be measured.

    Raises UserError when there is nothing to measure on, or a file or folder given by path cannot be used.
    """
    on_stills, on_clips = "reconstruction" in plan.parts, {"heads", "self", "cross"} & set(plan.parts)
    if not (on_stills and sources.data) and not (on_clips and sources.clips):
        raise UserError("nothing to evaluate on: set VAEGAN_DATA, or give --data, or --clips and --photos")
    clips = [] if sources.clips is None else protocol.clip_files(sources.clips, plan)
    photos = [] if sources.photos is None else protocol.photo_files(sources.photos, plan)
    config = {"scale": model.framing.scale, "follow": model.framing.follow}
    found = Evaluation({"name": model.name, "id": model.id, "size": model.size, "framing": config}, plan)
    tools = _load_tools(found, sources)
    if on_stills and sources.data is None:
        found.left_out.append("reconstruction and prior samples: no data set in VAEGAN_DATA, and no --data")
    elif on_stills:
        _measure_stills(found, model, sources.data, tools, progress)
    if on_clips and sources.clips is None:
        found.left_out.append("all figures of clips: no clips in VAEGAN_DATA, and no --clips")
    elif on_clips and tools.observer is not None:
        _measure_clips(found, model, clips, photos, tools, progress)
    return found


def _load_tools(found: Evaluation, sources: Sources) -> _Tools:
    perceptual = found.attempt("LPIPS", load_lpips) if {"reconstruction", "self"} & set(found.plan.parts) else None
    given = sources.embedder and OnnxEmbedder(sources.embedder)
    embedders = {"identity": given or found.attempt("identity", MobileFaceNet)}
    embedders["identity_dlib"] = found.attempt("identity by dlib", Dlib) if "cross" in found.plan.parts else None
    present = {name: embedder for name, embedder in embedders.items() if embedder is not None}
    observer = found.attempt("all figures of motion", lambda: Observer(present, found.plan.embed_every))
    inception = load_inception(sources.inception) if sources.data and "reconstruction" in found.plan.parts else None
    if isinstance(inception, str):
        found.left_out.append(inception)
        inception = None
    videos = VideoDistance(sources.i3d) if sources.i3d else None
    if videos is None and sources.clips is not None and "cross" in found.plan.parts:
        found.left_out.append("FVD: no I3D network given with --i3d")
    return _Tools(perceptual, observer, inception, videos)


def _measure_stills(found: Evaluation, model: FaceModel, data: Path, tools: _Tools, progress: Progress) -> None:
    plan, seed = found.plan, found.plan.seed
    crops = stills.read_stills(data, model, "val", plan.stills, seed)
    found.material["stills"] = f"{len(crops)} crops of the val split of {data.name}, {model.size} px"
    pca = f"PCA-{model.latent_dim}"
    systems: dict[str, Callable[[], np.ndarray]] = {MODEL: lambda: stills.reconstruct(model, crops)}
    if (data / "index.csv").is_file():
        systems[pca] = lambda: stills.pca_reconstruct(data, model, crops)
    else:
        found.left_out.append(f"{pca}: {data.name} has no index.csv, so no train split to fit it on")
    made = {"input": crops}
    table = found.tables.setdefault("reconstruction", {})
    for system in progress(list(systems), "reconstruction", len(systems)):
        pictures = found.attempt(system, systems[system])
        if pictures is None:
            continue
        made[system] = pictures
        figures = measure_pictures(pictures, crops, tools.perceptual)
        table[system] = {name: bootstrap(values, seed) for name, values in figures.items()}
    samples = stills.sample(model, plan.samples, seed)
    sharp = sharpness(to_float(samples), to_float(crops)).double().numpy()
    found.tables["samples"] = {SAMPLES: {"sharpness": bootstrap(sharp, seed)}}
    if tools.observer is not None:
        seen = tools.observer.look(progress(samples, SAMPLES, len(samples)), embed=False)
        found.tables["samples"][SAMPLES]["found"] = bootstrap(seen.found.astype(float), seed)
    found.pictures = {name: pictures[:SHOWN] for name, pictures in made.items()} | {SAMPLES: samples[:SHOWN]}
    for target, pictures in ((table[MODEL], made[MODEL]), (found.tables["samples"][SAMPLES], samples)):
        if tools.inception is not None:
            figures = inception_figures(tools.inception, pictures, crops, seed)
            target |= {name: single(value, len(pictures)) for name, value in figures.items()}


def _measure_clips(
    found: Evaluation, model: FaceModel, paths: list[Path], photos: list[Path], tools: _Tools, progress: Progress
) -> None:
    plan, tracker = found.plan, FaceTracker("mediapipe")
    heads = "heads" in plan.parts and model.has_heads
    if "heads" in plan.parts and not heads:
        found.left_out.append(f"heads: model {model.name} was trained without")
    if not heads and not {"self", "cross"} & set(plan.parts):
        return
    clips = protocol.read_driving_clips(paths, model, tracker, tools.observer, plan, progress)
    if not clips:
        found.left_out.append("all figures of clips: no clip shows a face")
        return
    found.material["clips"] = f"{len(clips)} clips, at most {plan.frames} frames of each"
    if heads:
        found.rows["heads"] = measure_heads(clips, model)
        found.tables["heads"] = summarise(found.rows["heads"], plan.seed)
    if "self" in plan.parts:
        rows, boards = protocol.self_reenactment(
            clips, model, tracker, tools.observer, tools.perceptual, plan, progress
        )
        found.rows["self"], table = rows, summarise(rows, plan.seed)
        for name in protocol.SHARES if stage_of(plan.renderer, model.size).in_place else ():
            for system, shares in summarise(protocol.share_of_photo(rows, name), plan.seed).items():
                table[system] |= shares
        found.tables["self"] = table
        found.boards += boards
    if "cross" not in plan.parts:
        return
    if not photos:
        found.left_out.append("cross-reenactment: no photos in VAEGAN_DATA, and no --photos")
        return
    found.material["photos"] = f"{len(photos)} photos, {plan.photos} for each clip"
    rows, boards = protocol.cross_reenactment(
        clips, photos, model, tracker, tools.observer, tools.videos, plan, progress
    )
    found.rows["cross"], table = rows, summarise(rows, plan.seed)
    found.tables["cross"], found.tables["turned"] = (
        {
            system: {name: figure for name, figure in figures.items() if (name in TURNED) is turned}
            for system, figures in table.items()
            if turned <= (not TURNED.isdisjoint(figures))
        }
        for turned in (False, True)
    )
    found.boards += boards
    if tools.videos is not None:
        for system, figures in found.tables["cross"].items():
            windows = len(tools.videos.features.get(system, []))
            figures["fvd"] = single(tools.videos.compute(system, DRIVER), windows)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
