"""What clips are measured by: self-reenactment, and photos moved by other people's clips."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from vaegan.errors import UserError
from vaegan.evaluation import likeness, metrics
from vaegan.evaluation.clips import (
    DRIVER,
    MODEL,
    OWN,
    PHOTO,
    SYSTEMS,
    WARP,
    DrivingClip,
    Result,
    Subject,
    frames_of,
    placed,
    read_clip,
    read_subject,
    result_of,
    seen_of,
    stage_of,
)
from vaegan.evaluation.distributions import VideoDistance
from vaegan.evaluation.metrics import Observed
from vaegan.evaluation.observer import ANALYSIS_PX, Observer
from vaegan.evaluation.tables import Row
from vaegan.faces.geometry import CropTransform, mesh_box
from vaegan.faces.tracker import FaceTracker
from vaegan.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from vaegan.model import FaceModel
from vaegan.settings import TransferSettings

PARTS = ("reconstruction", "heads", "self", "cross")
REFERENCES = ("best", "first")
COLUMNS = 8
OF_THE_PHOTO = ("smile_bias", "sharpness")
"""Figures that compare with the photo itself, and say nothing of the driver, another person."""

Progress = Callable[[Iterable, str, int], Iterator]


@dataclass(frozen=True)
class Plan:
    """How much is measured; every choice is made by `seed` and the sorted names of the files.

    stills: val crops (None: all); samples: drawn from the prior; clips: driving clips; photos: for each clip;
    frames: of a clip, from its start, at its own rate; embed_every: frames between two looks at identity
    parts: which of PARTS
    renderer, refiner, view, reference: as `transfer` has them; reference: one of REFERENCES
    baselines: also measure photo, driver and mesh warp, which do not depend on the model
    """

    stills: int | None = None
    samples: int = 500
    clips: int = 1_000
    photos: int = 4
    frames: int = 150
    embed_every: int = 5
    seed: int = 0
    parts: tuple[str, ...] = PARTS
    renderer: str = "decode"
    refiner: str = "warp"
    view: str | None = None
    reference: str = "best"
    baselines: bool = True

    @property
    def settings(self) -> TransferSettings:
        return TransferSettings(renderer=self.renderer, refiner=self.refiner, view=self.view)

    @property
    def systems(self) -> tuple[str, ...]:
        return SYSTEMS if self.baselines else (MODEL,)


FULL = Plan()
HALF = Plan(stills=256, samples=16, photos=2, frames=50)
QUICK = Plan(stills=256, samples=64, clips=3, photos=2, frames=50)


@dataclass
class Board:
    """A storyboard: times (C,) s and, for each row, its name and uint8 frames (C, S, S, 3)."""

    name: str
    times: np.ndarray
    rows: dict[str, np.ndarray] = field(repr=False)


def board_of(name: str, times: np.ndarray, frames: dict[str, np.ndarray]) -> Board:
    """COLUMNS frames, evenly spread."""
    chosen = np.linspace(0, len(times) - 1, min(COLUMNS, len(times))).round().astype(int)
    return Board(name, times[chosen], {system: pictures[chosen] for system, pictures in frames.items()})


def read_driving_clips(
    paths: list[Path], model: FaceModel, tracker: FaceTracker, observer: Observer, plan: Plan, progress: Progress
) -> list[DrivingClip]:
    """All clips that can be used."""
    stage = stage_of(plan.renderer, model.size)
    found = (
        _read(read_clip, path, model, stage, tracker, observer, plan.frames, plan.baselines)
        for path in progress(paths, "driving clips", len(paths))
    )
    return [clip for clip in found if clip is not None]


def self_reenactment(
    clips: list[DrivingClip],
    model: FaceModel,
    tracker: FaceTracker,
    observer: Observer,
    perceptual: nn.Module | None,
    plan: Plan,
    progress: Progress,
) -> tuple[list[Row], list[Board]]:
    """Every clip is driver and, with its first frame, photo; the frames that are to come out are known."""
    rows, boards = [], []
    for clip in progress(clips, "self-reenactment", len(clips)):
        frames, _ = _frames(clip.first, clip, model, 0, tracker, plan)
        own: dict[str, dict[str, float]] = {}
        for system in plan.systems:
            seen = seen_of(system, frames[system], clip.first, clip, observer, embed=False)
            figures = {
                "keypoints": metrics.keypoint_distance(seen, clip.seen),
                "expression_distance": metrics.expression_distance(seen, clip.seen),
                "pose_error": metrics.pose_error(seen, clip.seen),
                "found": float(seen.found.mean()),
            }
            if system != DRIVER and len(clip.small) > 1:  # its pictures are the target, and the first is given
                pictures = metrics.measure_pictures(frames[system][1:], clip.small[1:], perceptual)
                figures |= {name: float(values.mean()) for name, values in pictures.items()}
                if perceptual is not None and clip.seen.found[1:].any():
                    figures["lpips_face"] = lpips_face(frames[system], clip, perceptual)
            own[system] = figures
        rows += [Row(system, clip.name, clip.name, figures) for system, figures in own.items()]
        boards.append(board_of(f"self-{clip.name}", clip.times, _driver_first(clip, frames)))
    return rows, boards


def lpips_face(frames: np.ndarray, clip: DrivingClip, perceptual: nn.Module) -> float:
    """LPIPS, face: LPIPS of the mesh box of the real frame's face, at half of the picture's size: without hands,
    shoulders and background, whose movement no driver's face tells.
    """
    seen = [number for number in range(1, len(frames)) if clip.seen.found[number]]
    scale, size = frames.shape[1] / ANALYSIS_PX, frames.shape[1] // 2
    boxes = [CropTransform(*(scale * side for side in mesh_box(clip.seen.mesh[number]))) for number in seen]
    cut = (np.stack([box.crop(p[i], size) for box, i in zip(boxes, seen, strict=True)]) for p in (frames, clip.small))
    return float(metrics.measure_lpips(*cut, perceptual).mean())


SHARES = {"lpips_share": "lpips", "lpips_face_share": "lpips_face"}


def share_of_photo(rows: list[Row], name: str) -> list[Row]:
    """Share of the photo's: a row's LPIPS over that of the static photo; what is left of the way from the photo to the
    real frames. Clips are weighed by the photo's own LPIPS: in one that hardly moves, hardly anything can be gained.
    """
    still = {row.clip: row.figures.get(SHARES[name]) for row in rows if row.system == PHOTO}
    return [
        Row(row.system, row.clip, row.photo, {name: row.figures[SHARES[name]] / still[row.clip]}, still[row.clip])
        for row in rows
        if SHARES[name] in row.figures and still.get(row.clip)
    ]


def cross_reenactment(
    clips: list[DrivingClip],
    photo_paths: list[Path],
    model: FaceModel,
    tracker: FaceTracker,
    observer: Observer,
    videos: VideoDistance | None,
    plan: Plan,
    progress: Progress,
) -> tuple[list[Row], list[Board]]:
    """Every clip moves `plan.photos` photos; which, `pairs` says. videos: collects what FVD needs."""
    rows, boards = [], {}
    stage = stage_of(plan.renderer, model.size)
    chosen = pairs(len(clips), len(photo_paths), plan.photos, plan.seed)
    subjects: dict[int, Subject | None] = {}
    for number, photo_number in progress(chosen, "cross-reenactment", len(chosen)):
        clip = clips[number]
        if photo_number not in subjects:
            subjects[photo_number] = _read(read_subject, photo_paths[photo_number], model, stage, tracker, observer)
        photo = subjects[photo_number]
        if photo is None:
            continue
        reference = clip.reference(plan.reference, photo, model)
        frames, result = _frames(photo, clip, model, reference, tracker, plan)
        for system in plan.systems:
            if videos is not None:
                videos.add(system, frames[system])
            seen = seen_of(system, frames[system], photo, clip, observer)
            figures = motion_figures(seen, frames[system], photo, clip, reference)
            if model.framing.follow and not stage.in_place:
                figures |= placed_figures(seen, system, clip)
            if system == MODEL and result.close:
                figures["sharpness_full"] = result.sharpness(seen, photo.seen)
            if system in (WARP, MODEL):
                figures |= likeness.turns(seen, photo.seen, plan.embed_every)
            for name in OF_THE_PHOTO if system == DRIVER else ():
                del figures[name]
            rows.append(Row(system, clip.name, photo.name, figures))
        if plan.baselines and observer.embedders:
            at = observer.look([clip.small[reference]])
            own = likeness.identities(clip.seen_small, at) | likeness.turns(clip.seen_small, at, plan.embed_every)
            rows.append(Row(OWN, clip.name, photo.name, own))
        if clip.name not in boards:
            name = f"cross-{photo.name}-{clip.name}"
            boards[clip.name] = board_of(name, clip.times, _driver_first(clip, frames))
    return rows, list(boards.values())


def _frames(
    photo: Subject, clip: DrivingClip, model: FaceModel, reference: int, tracker: FaceTracker, plan: Plan
) -> tuple[dict[str, np.ndarray], Result]:
    """The frames of every system, and what more there is of the model's."""
    frames = {system: frames_of(system, photo, clip, reference) for system in plan.systems if system != MODEL}
    result = result_of(photo, clip, model, plan.settings, reference, tracker)
    return {**frames, MODEL: result.crops}, result


def _driver_first(clip: DrivingClip, frames: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {DRIVER: clip.small, **frames}


def motion_figures(
    seen: Observed, frames: np.ndarray, photo: Subject, clip: DrivingClip, reference: int
) -> dict[str, float]:
    """The figures of one cross-reenactment; identity only where there is an embedder."""
    figures = {
        "pose_r": metrics.pose_r(seen, clip.seen),
        "pose_gain": metrics.pose_gain(seen, clip.seen),
        "expression_r": metrics.expression_r(seen, clip.seen),
        "expression_gain": metrics.expression_gain(seen, clip.seen),
        "smile_bias": metrics.smile_bias(seen, photo.seen, clip.seen, reference),
        "jitter": metrics.jitter(seen, clip.seen),
        "found": float(seen.found.mean()),
        "sharpness": metrics.sharpness_ratio(frames, photo.small[None]),
    }
    return likeness.identities(seen, photo.seen) | figures


def placed_figures(seen: Observed, system: str, clip: DrivingClip) -> dict[str, float]:
    """Pose r and gain, placed: the same with the placement given back that crops leave out when they follow the head:
    the driver's roll is that in its video, the result's is its crop's and what the driver has turned by since the
    reference frame. Shift and size change no angle.
    """
    result, driver = placed(seen, system, clip), placed(clip.seen, DRIVER, clip)
    return {"pose_r_placed": metrics.pose_r(result, driver), "pose_gain_placed": metrics.pose_gain(result, driver)}


def pairs(clips: int, photos: int, per_clip: int, seed: int) -> list[tuple[int, int]]:
    """(clip, photo) numbers, `per_clip` photos for each clip: dealt like shuffled cards, so that all are used alike."""
    per_clip = min(per_clip, photos)
    generator = np.random.default_rng(seed)
    deck: list[int] = []
    dealt = []
    for clip in range(clips):
        hand: list[int] = []
        while len(hand) < per_clip:
            deck = deck or generator.permutation(photos).tolist()
            at = next((i for i, card in enumerate(deck) if card not in hand), None)
            if at is None:
                deck += generator.permutation(photos).tolist()
                continue
            hand.append(deck.pop(at))
        dealt += [(clip, photo) for photo in hand]
    return dealt


def chosen_files(folder: Path, suffixes: Iterable[str], count: int, seed: int) -> list[Path]:
    """At most `count` files of a folder with one of these endings, sorted; a seeded choice where there are more.

    Raises UserError when there is none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    there = (path for path in folder.iterdir() if not path.name.startswith("."))
    files = sorted(path for path in there if path.suffix.lower() in suffixes)
    if not files:
        raise UserError(f"{folder} holds none of the files looked for ({', '.join(sorted(suffixes))})")
    if len(files) <= count:
        return files
    return [files[i] for i in sorted(np.random.default_rng(seed).choice(len(files), count, replace=False))]


def clip_files(folder: Path, plan: Plan) -> list[Path]:
    return chosen_files(folder, VIDEO_SUFFIXES - {""}, plan.clips, plan.seed)


def photo_files(folder: Path, plan: Plan) -> list[Path]:
    return chosen_files(folder, IMAGE_SUFFIXES, 1_000, plan.seed)


def _read(reader: Callable, path: Path, *arguments: Any) -> Any:
    """What `reader` makes of a file; one that cannot be used is named and left out."""
    try:
        return reader(path, *arguments)
    except UserError as error:
        print(f"left out: {error}", file=sys.stderr)
        return None
