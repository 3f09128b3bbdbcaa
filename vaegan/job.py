"""One transfer from inputs to files: the video with its sound, and what was asked for beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaegan.errors import UserError
from vaegan.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES, ResultWriter, check_output, write_image
from vaegan.media.provenance import signing
from vaegan.media.statement import statement
from vaegan.media.writer import QUALITY
from vaegan.moving import is_video
from vaegan.notes import Note, quality_notes, sound_notes
from vaegan.pipeline import Transfer, choose_device
from vaegan.preview import on_screen
from vaegan.render.extent import CROP_SIZE
from vaegan.samples import find_driver, find_photo
from vaegan.settings import PARTS, TransferSettings
from vaegan.sources import is_live
from vaegan.storyboard import Storyboard

if TYPE_CHECKING:
    from vaegan.faces.tracker import FaceTracker
    from vaegan.frames import Outcome
    from vaegan.model import FaceModel

STEM_BYTES = 100
"""Of each of the two names in the output's own; the whole may take 255 bytes."""


SOUNDS = ("driver", "photo", "none")


@dataclass(frozen=True)
class Result:
    """What came of a transfer.

    files: what was written, the video first; none after a dry run
    plan: what was asked for, in words, by name
    frames: of the video, width x height px, rate a second; audio: whether it has sound; seconds: how long it took
    lost: in how many frames the driver's face was not there
    figures: of a report, (what, value, words)
    """

    plan: dict[str, str]
    width: int
    height: int
    rate: Fraction
    audio: bool
    files: tuple[Path, ...] = ()
    frames: int = 0
    lost: int = 0
    seconds: float = 0.0
    figures: list[tuple[str, str, str]] = field(default_factory=list)


def transfer(
    photo: str | Path,
    driver: str | Path,
    output: str | Path | None = None,
    *,
    model: str | Path | FaceModel = "motion64",
    motion: str = "relative",
    reference: str | int | None = None,
    strength: float = 1.0,
    smooth: float = 0.0,
    steady: float = 0.0,
    pose: float = 1.0,
    expression: float = 1.0,
    mouth: float = 1.0,
    eyes: float = 1.0,
    start: float = 0.0,
    end: float | None = None,
    fps: Fraction | float | None = None,
    speed: float = 1.0,
    size: int | None = None,
    aspect: str | None = None,
    quality: int = QUALITY,
    renderer: str | None = None,
    view: str | None = None,
    refiner: str = "warp",
    face: str = "largest",
    driver_face: int | None = None,
    keep: str = "all",
    loop: bool = False,
    sound: str | None = None,
    no_label: bool = False,
    sign: str | Path | None = None,
    compare: bool = False,
    storyboard: str | Path | None = None,
    save_motion: str | Path | None = None,
    report: str | Path | None = None,
    device: str = "auto",
    dry_run: bool = False,
    tracker: FaceTracker | None = None,
    on_note: Callable[[Note], None] = lambda note: None,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Result:
    """Animate a photo with a driver and write the video: what the command `transfer` does, with its options.

    photo, driver: files, or names of what ships; output: None: PHOTO_DRIVER.mp4 in this folder
    model: a loaded one, a shipped name or a model folder, loaded onto `device`
    motion, reference, strength, smooth, steady, pose, expression, mouth, eyes, start, end, fps, speed, size, aspect,
        renderer, view, refiner, face, driver_face, keep, loop: see `vaegan.settings.TransferSettings`; with compare,
        size is that of each picture
    quality: 1 to 100, of the video; no_label: leave out the words that tell who sees it that it is synthetic
    sign: a PEM file with which a manifest of the video is signed (C2PA), see `vaegan.media.provenance.signing`
    sound: "driver", "photo" (where it is a video) or "none"; None: the driver's, else that of the photo
    compare: write photo, driver and result side by side
    storyboard, save_motion, report: also write one picture (driver over result), the motion, a page of figures
    dry_run: check everything and say what would be done, in Result.plan
    tracker: None: the best at hand
    on_note: called with what the user may want to mend; on_progress: with frames done and, where known, frames in all
    Raises UserError for what the user can mend; no file is left half written.
    """
    parts = {"pose": pose, "expression": expression, "mouth": mouth, "eyes": eyes}
    timed = {"start": start, "end": end, "fps": fps, "speed": speed}
    shown = {
        "size": size,
        "aspect": aspect,
        "renderer": renderer,
        "view": view,
        "refiner": refiner,
        "face": face,
        "driver_face": driver_face,
        "keep": keep,
        "loop": loop,
    }
    settings = TransferSettings(motion, reference, strength, smooth, steady, **parts, **timed, **shown)
    if compare and aspect is not None:
        raise UserError("aspect does not go with compare, which shows squares: leave one of them out")
    if not 1 <= quality <= 100:
        raise UserError(f"quality {quality} is out of range: use 1 to 100")
    photo = find_photo(photo)
    output = Path(output or default_output(photo, driver))
    if isinstance(model, (str, Path)):
        model = load(model, device)
    driver = find_driver(driver, model.name)
    files = _check_outputs((photo, driver), output, storyboard, save_motion, report)
    suffix = "" if output.is_dir() else output.suffix.lower()
    if is_live(driver) and end is None and suffix in (".gif", ".webp"):
        raise UserError(f"a {suffix} holds some seconds only, which a webcam soon fills: write .mp4, or say --end")
    if sound not in (None, *SOUNDS):
        raise UserError(f"sound {sound!r} is not known: use {', '.join(SOUNDS)}")
    if sound == "photo" and not is_video(photo):
        raise UserError("a still photo has no sound: use --sound driver or none")
    signed = None if sign is None else signing(sign, output, statement(model.id))
    shown = compare or storyboard is not None or report is not None
    run = Transfer(
        photo,
        driver,
        model,
        settings,
        tracker,
        show_driver=shown,
        keep_motion=save_motion is not None or report is not None,
        crop_size=(size or CROP_SIZE) if compare else None,
    )
    asked, sound = sound, _sound_of(run, sound)
    lost_sound = sound_notes(suffix, speed, asked, sound)
    sound = "none" if lost_sound else sound
    audio = sound != "none"
    width, height, faces = _compared(run) if compare else (run.width, run.height, run.stage.faces)
    for note in (*run.notes, *lost_sound, *quality_notes(suffix, quality)):
        on_note(note)
    result = Result(_plan(photo, driver, files, run, f"{width}x{height}", sound), width, height, run.rate, audio)
    if dry_run:
        return result

    board = Storyboard()
    measure = _measure(run) if report is not None else None
    heard = {"driver": {"audio_from": driver, "audio_end": end, "audio_speed": speed}, "photo": {"audio_from": photo}}
    how = {"quality": quality, "sign": signed, **heard.get(sound, {})}
    video = ResultWriter(output, width, height, run.rate, run.model.id, faces, not no_label, **how)
    began = time.perf_counter()
    done = 0

    def advance(frames: int) -> None:
        nonlocal done
        done += frames
        on_progress(done, run.steps)

    with closing(run.frames(on_read=advance)) as frames, ExitStack() as stack:
        for frame in on_screen(frames, run, on_note) if run.live else frames:
            if not video.count:
                video.audio_start = run.began if sound == "driver" else 0.0
                stack.enter_context(video)
            for note in frame.notes:
                on_note(note)
            video.write(run.compare(frame) if compare else frame.image, frame.time if run.live else None)
            if measure is not None:
                measure.add(frame)
            if storyboard is not None or report is not None:
                board.add(frame.time, [picture for picture in (frame.driver, frame.crop) if picture is not None])
            advance(1)
        outcome = frames.outcome()
    if outcome.reference_pose is None:
        raise UserError(f"{driver}: no face was seen, so that the photo rests in {output}; nothing else was written")
    seconds = time.perf_counter() - began
    if storyboard is not None:
        write_image(storyboard, board.image(not no_label), statement(run.model.id))
    if save_motion is not None:
        outcome.motion.save(save_motion)
    figures = [] if measure is None else _report(measure, outcome, run, driver, board.image(not no_label), Path(report))
    return replace(result, files=files, frames=video.count, lost=outcome.lost, seconds=seconds, figures=figures)


def default_output(photo: Path, driver: str | Path) -> str:
    """PHOTO_DRIVER.mp4, of names that are cut where file systems would refuse them."""
    stems = (photo.stem, Path(driver).resolve().stem.replace(":", ""))
    return f"{'_'.join(os.fsencode(stem)[:STEM_BYTES].decode(errors='ignore') for stem in stems)}.mp4"


def load(model: str | Path, device: str = "auto") -> FaceModel:
    """A model to transfer with: half the cores go to torch, the others read, track and write meanwhile."""
    import torch

    from vaegan.model import load_model

    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    return load_model(model, device=choose_device(device))


def _sound_of(run: Transfer, sound: str | None) -> str:
    """Whose sound is heard, of SOUNDS."""
    has = {"driver": run.has_audio, "photo": run.photo_has_audio}
    return next((one for one in (has if sound is None else (sound,)) if has.get(one)), "none")


def _compared(run: Transfer) -> tuple[int, int, list[np.ndarray]]:
    """Width and height of photo, driver where there is one, and result side by side, and the faces in the result."""
    side, count = run.stage.crop_size, 3 if run.show_driver else 2
    mesh = run.stage.renderer.shown.to_crop(np.asarray(run.stage.photo.mesh, float)[:, :2], side)
    return count * side, side, [mesh + np.array([(count - 1) * side, 0])]


def _check_outputs(
    inputs: tuple[Path, Path],
    output: Path,
    storyboard: str | Path | None,
    save_motion: str | Path | None,
    report: str | Path | None,
) -> tuple[Path, ...]:
    """All files that will be written, the video first. Raises UserError for one that cannot be."""
    check_output(output, *inputs, suffixes=VIDEO_SUFFIXES)
    beside = ((storyboard, IMAGE_SUFFIXES), (save_motion, {".motion"}), (report, {".html", ".htm"}))
    return (
        output,
        *(check_output(path, *inputs, output, suffixes=known) for path, known in beside if path is not None),
    )


def _plan(photo: Path, driver: Path, files: tuple[Path, ...], run: Transfer, extent: str, sound: str) -> dict[str, str]:
    s = run.settings
    count = "an unknown number of" if run.expected is None else f"about {run.expected}"
    changes = {"strength": s.strength != 1, "smooth": s.smooth, "steady": s.steady}
    changes |= {part: getattr(s, part) != 1 for part in PARTS}
    changes |= {"start": s.start, "end": s.end is not None, "speed": s.speed != 1}
    told = "".join(f", {name} {getattr(s, name):g}" for name, changed in changes.items() if changed)
    source = f", reference {s.reference}" if s.motion == "relative" else ""
    refined = f", refiner {s.refiner}" if run.renderer == "warp" else ""
    plan = {
        "photo": f"{photo}, {run.photo.image.shape[1]}x{run.photo.image.shape[0]} px, "
        f"{'' if run.video is None else 'moving, '}"
        f"face {'found' if run.photo.faces == 1 else s.face + f' of {run.photo.faces}'}",
        "driver": f"{driver}, {count} frames",
        "model": f"{run.model.id}, crops of {run.model.size} px, on {run.model.device}",
        "motion": f"{s.motion}{source}{told}",
        "renderer": f"{run.renderer}{refined}, view {run.view_name}",
        "output": f"{files[0]}, {extent} px, {float(run.rate):.4g} frames/s, "
        f"{'no sound' if sound == 'none' else f'with the sound of the {sound}'}",
        "also": ", ".join(map(str, files[1:])),
    }
    return {name: words for name, words in plan.items() if words}


def _measure(run: Transfer):
    from vaegan.evaluation.result import ResultMeasure

    return ResultMeasure(run)


def _report(
    measure, outcome: Outcome, run: Transfer, driver: Path, board: np.ndarray, path: Path
) -> list[tuple[str, str, str]]:
    from vaegan.evaluation.result_report import in_words, write_page

    figures = measure.figures(outcome)
    write_page(figures, run, driver, board, path)
    return in_words(figures, run)
