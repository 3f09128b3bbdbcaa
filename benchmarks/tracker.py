"""Our own face tracker beside its teacher: python benchmarks/tracker.py --output DIR [--quick].

Needs VAEGAN_DATA (clips/dev, photos, raw/photos) and face_landmarker.task in VAEGAN_MODELS. Writes report.md,
figures.json, worst.png (the twenty worst landmarks) and false.png (what was taken for a face). About two minutes of
one core. Nobody in the clips was trained on; most people of the pictures with context are in the stills of `faces`.
"""

import hashlib
import heapq
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer

from vaegan.errors import UserError
from vaegan.evaluation.metrics import correlation
from vaegan.faces.geometry import FACE_POINTS, CropTransform, framing, head_pose, mesh_box
from vaegan.faces.own import FOLDER, OwnBackend, overlap
from vaegan.faces.tracker import Face, FaceTracker
from vaegan.media import VideoReader, read_image, write_image
from vaegan.tracker_training.checks import OUTER_EYES, expression_figures
from vaegan.tracker_training.mosaic import without_faces

YAW = 45.0
"""Degrees within which landmarks are measured."""
WORST = 20


@dataclass
class Worst:
    """The pictures with the largest errors, at most two of one source."""

    kept: list[tuple[float, int, str, np.ndarray]] = field(default_factory=list)
    count: itertools.count = field(default_factory=itertools.count)

    def add(self, error: float, source: str, image: np.ndarray, true: np.ndarray, found: np.ndarray | None) -> None:
        """error in % (inf: not found); meshes (478, 3) in px of the picture, the teacher's and ours."""
        if len(self.kept) == 3 * WORST and error <= self.kept[0][0]:
            return
        region = framing(true, 1.7, follow=False)
        tile = region.crop(image, 256)
        for mesh, colour in ((true, (60, 230, 90)), (found, (255, 70, 60))):
            for x, y in [] if mesh is None else region.to_crop(mesh[:, :2], 256):
                cv2.circle(tile, (round(float(x)), round(float(y))), 1, colour, -1)
        push = heapq.heappush if len(self.kept) < 3 * WORST else heapq.heappushpop
        push(self.kept, (error, next(self.count), source, tile))

    def sheet(self) -> np.ndarray:
        """Teacher green, ours red; the worst first."""
        tiles, seen = [], {}
        for error, _, source, tile in sorted(self.kept, key=lambda one: -one[0]):
            seen[source] = seen.get(source, 0) + 1
            if seen[source] <= 2 and len(tiles) < WORST:
                tiles.append(labelled(tile, "not found" if error == np.inf else f"{error:.1f} %", source[-34:]))
        return sheet(tiles)


def labelled(tile: np.ndarray, *lines: str) -> np.ndarray:
    """The tile with lines of text over its foot."""
    for n, line in enumerate(reversed(lines)):
        at = (4, tile.shape[0] - 6 - 15 * n)
        shadow = (at[0] + 1, at[1] + 1)
        cv2.putText(tile, line, shadow, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        cv2.putText(tile, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def sheet(tiles: list[np.ndarray], columns: int = 5) -> np.ndarray:
    """Tiles of one size in rows."""
    tiles = tiles + [np.zeros((256, 256, 3), np.uint8)] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def point_error(found: np.ndarray, true: np.ndarray) -> float:
    """Mean distance of the 478 points in the picture, in % of the teacher's outer-eye distance (in the picture too)."""
    eyes = np.linalg.norm(true[OUTER_EYES[0], :2] - true[OUTER_EYES[1], :2])
    return 100 * float(np.linalg.norm((found - true)[:, :2], axis=1).mean() / eyes)


def timed(call: Callable, *arguments) -> tuple[float, object]:
    """CPU time of a call in ms on this thread, where both trackers work, and its result: neither other programs nor the
    threads that decode the next frames count."""
    start = time.thread_time()
    result = call(*arguments)
    return 1e3 * (time.thread_time() - start), result


def clip_figures(paths: list[Path], own: FaceTracker, teacher: FaceTracker, worst: Worst) -> dict[str, float]:
    """Landmarks, jitter, blendshapes, pose, losses and speed, both trackers following each clip, unsmoothed."""
    errors, milliseconds = [], {"own": [], "teacher": []}
    jitter, lost, seen = np.zeros(2), 0, 0
    shapes: tuple[list, list, list] = ([], [], [])
    pose_r, weight = [], []
    for number, path in enumerate(paths):
        own.reset(), teacher.reset()
        pairs: list[tuple[Face, Face]] = []
        parts: list[list[tuple[Face, Face]]] = []
        with VideoReader(path) as frames:
            for index, frame in enumerate(frames):
                spent_own, mine = timed(own.track, frame.image)
                spent_teacher, true = timed(teacher.track, frame.image)
                if true is None:
                    parts, pairs = [*parts, pairs], []
                    continue
                seen += 1
                near = abs(head_pose(true.mesh)[0]) <= YAW
                if mine is None:
                    lost += 1
                    parts, pairs = [*parts, pairs], []
                    worst.add(np.inf, path.stem, frame.image, true.mesh, None)
                    continue
                milliseconds["own"].append(spent_own)
                milliseconds["teacher"].append(spent_teacher)
                pairs.append((mine, true))
                if near:
                    errors.append(point_error(mine.mesh, true.mesh))
                    if index % 5 == 0:
                        worst.add(errors[-1], path.stem, frame.image, true.mesh, mine.mesh)
        parts.append(pairs)
        for part in parts:
            meshes = [np.array([pair[n].mesh[:FACE_POINTS, :2] for pair in part]) for n in (0, 1)]
            jitter += [np.abs(np.diff(m, 2, axis=0)).sum() if len(m) > 2 else 0 for m in meshes]
        pairs = [pair for part in parts for pair in part]
        poses = [np.array([head_pose(pair[n].mesh) for pair in pairs]) for n in (0, 1)]
        pose_r.append(correlation(*poses) if pairs else 0.0)
        weight.append(poses[1].std(0).sum() if pairs else 0.0)
        for n in (0, 1):
            shapes[n].extend(pair[n].blendshapes for pair in pairs)
        shapes[2].extend([number] * len(pairs))
        progress(f"{path.stem}: {len(pairs)} of {seen} frames so far, median error {np.median(errors):.2f} %")
    r = expression_figures(*(np.array(part) for part in shapes))
    return {
        "clips error median": float(np.median(errors)),
        "clips error 95th": float(np.percentile(errors, 95)),
        "jitter": float(jitter[0] / jitter[1]),
        "lost": lost / seen,
        "expression r": r["r"],
        **{f"{name} r": r[f"r_{name}"] for name in ("jawOpen", "eyeBlink", "mouthSmile")},
        "pose r": float(np.average(pose_r, weights=weight)),
        **{f"ms a tracked frame, {name}": float(np.median(values)) for name, values in milliseconds.items()},
        "frames": seen,
    }


@dataclass
class Stills:
    """Counts over pictures."""

    errors: list[float] = field(default_factory=list)
    faces: int = 0
    hits: int = 0
    extra: int = 0
    empty: int = 0
    false_own: int = 0
    false_teacher: int = 0
    turned: int = 0
    rubbish: int = 0
    tiles: list[np.ndarray] = field(default_factory=list)


def look(path: Path, own: FaceTracker, teacher: FaceTracker, worst: Worst, counts: Stills, rng) -> None:
    """One picture: recall and landmarks on it, false detections without its faces and upside down."""
    image = read_image(path)
    true, mine = teacher.detect(image), own.detect(image)
    for face in true:
        box, side = square(face.mesh), mesh_box(face.mesh)[2]
        match = max(mine, key=lambda other: overlap(square(other.mesh), box), default=None)
        found = match is not None and overlap(square(match.mesh), box) >= 0.5
        if side >= 0.1 * image.shape[0]:
            counts.faces, counts.hits = counts.faces + 1, counts.hits + found
            if not found:
                worst.add(np.inf, path.stem, image, face.mesh, None)
        if found and abs(head_pose(face.mesh)[0]) <= YAW and side >= 0.1 * image.shape[0]:
            counts.errors.append(point_error(match.mesh, face.mesh))
            worst.add(counts.errors[-1], path.stem, image, face.mesh, match.mesh)
    known = [square(face.mesh) for face in true]
    counts.extra += sum(all(overlap(square(face.mesh), box) < 0.1 for box in known) for face in mine)

    bare = without_faces(image, [face.mesh for face in [*true, *mine]], 480)
    pieces = [bare]
    for _ in range(3):
        side = rng.uniform(0.35, 0.7) * min(bare.shape[:2])
        x, y = (int(rng.uniform(0, n - side)) for n in bare.shape[1::-1])
        pieces.append(np.ascontiguousarray(bare[y : y + int(side), x : x + int(side)]))
    for piece in pieces:
        counts.empty += 1
        counts.false_teacher += bool(teacher.detect(piece))
        if taken := own.detect(piece):
            counts.false_own += 1
            counts.tiles.append(labelled(tile_of(piece, taken[0].mesh), "no face there", path.stem))
    if true:
        counts.turned += 1
        upside = np.ascontiguousarray(image[::-1, ::-1])
        if taken := own.detect(upside):
            counts.rubbish += 1
            counts.tiles.append(labelled(tile_of(upside, taken[0].mesh), "upside down", path.stem))


def square(mesh: np.ndarray) -> np.ndarray:
    """x, y and side of the mesh box."""
    return np.array(mesh_box(mesh))


def tile_of(image: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """Where a mesh was found, with it."""
    region = framing(mesh, 2.2, follow=False)
    tile = region.crop(image, 256)
    for x, y in region.to_crop(mesh[:, :2], 256):
        cv2.circle(tile, (round(float(x)), round(float(y))), 1, (255, 70, 60), -1)
    return tile


def still_figures(paths: list[Path], own: FaceTracker, teacher: FaceTracker, worst: Worst, output: Path) -> dict:
    """Figures of single pictures, and false.png."""
    counts, rng = Stills(), np.random.default_rng(0)
    for number, path in enumerate(paths, 1):
        look(path, own, teacher, worst, counts, rng)
        if number % 20 == 0 or number == len(paths):
            progress(f"{number}/{len(paths)} pictures: {counts.hits}/{counts.faces} faces, {counts.false_own} false")
    if counts.tiles:
        write_image(output / "false.png", sheet(counts.tiles[:WORST]))
    return {
        "stills error median": float(np.median(counts.errors)),
        "stills error 95th": float(np.percentile(counts.errors, 95)),
        "recall": counts.hits / counts.faces,
        "false on empty, own": counts.false_own / counts.empty,
        "false on empty, teacher": counts.false_teacher / counts.empty,
        "found beside the teacher's faces, a picture": counts.extra / len(paths),
        "upside down taken for a face": counts.rubbish / max(1, counts.turned),
        "faces": counts.faces,
        "pictures without a face": counts.empty,
    }


def speed_figures(photo: Path, trackers: dict[str, FaceTracker]) -> dict[str, float]:
    """ms of CPU time in 1080p: the detector alone, a whole `detect`, a tracked frame; the best of 40 and the median."""
    picture = read_image(photo)
    scale = 1080 / picture.shape[0]
    middle = CropTransform(picture.shape[1] / 2, picture.shape[0] / 2, picture.shape[0])
    frame = np.full((1080, 1920, 3), 96, np.uint8)
    frame[:, 420:1500] = (
        middle.crop(picture, 1080) if scale < 1 else cv2.resize(middle.crop(picture, 540), (1080, 1080))
    )
    figures = {}
    for name, tracker in trackers.items():
        tracker.reset(), tracker.track(frame)
        for what, call in (
            ("detector", tracker.backend.detect),
            ("detect", tracker.detect),
            ("tracked", tracker.track),
        ):
            spent = sorted(timed(call, frame)[0] for _ in range(40))
            figures[f"ms 1080p {what}, {name}"] = spent[20]
            figures[f"ms 1080p {what}, {name}, best"] = spent[0]
    return figures


def motion_figure(paths: list[Path], name: str, own: FaceTracker, teacher: FaceTracker) -> dict[str, float]:
    """Correlation over time of the latent deltas that `transfer` makes of each clip with either tracker."""
    from vaegan.model import load_model
    from vaegan.motion import Motion

    model, r = load_model(name), []
    for path in paths:
        mine, true = (Motion.from_driver(path, model, tracker) for tracker in (own, teacher))
        both = mine.found & true.found
        r.append(correlation(mine.deltas[both], true.deltas[both]))
        progress(f"{path.stem}: latent deltas r {r[-1]:.3f}")
    return {f"latent deltas r, {model.name}": float(np.mean(r))}


# Figure, how it is named in the report, its line, whether more is better, and which figure is the teacher's.
LINES = (
    ("clips error median", "landmark error on clips, median, % of outer-eye distance", 3.0, False, None),
    ("clips error 95th", "the same, 95th percentile", 7.0, False, None),
    ("stills error median", "landmark error on pictures, median, %", 3.0, False, None),
    ("stills error 95th", "the same, 95th percentile", 7.0, False, None),
    ("jitter", "jitter on clips / the teacher's, both unsmoothed", 1.3, False, None),
    ("expression r", "blendshapes, correlation over time, weighted by movement", 0.85, True, None),
    ("jawOpen r", "jawOpen", 0.9, True, None),
    ("eyeBlink r", "eyeBlink", 0.9, True, None),
    ("mouthSmile r", "mouthSmile", 0.9, True, None),
    ("pose r", "head pose, correlation over time", 0.97, True, None),
    ("recall", "faces of 10 % of the height and more that are found", 0.98, True, None),
    ("false on empty, own", "pictures without a face in which one is found", 0.01, False, "false on empty, teacher"),
    ("upside down taken for a face", "upside-down pictures in which a face is found", None, False, None),
    ("lost", "frames of clips lost though the teacher sees the face", 0.01, False, None),
    ("ms a tracked frame, own", "ms a tracked frame, 256 px", 4.0, False, "ms a tracked frame, teacher"),
    ("ms 1080p tracked, own, best", "ms a tracked frame, 1080p, best", 4.0, False, "ms 1080p tracked, teacher, best"),
    ("ms 1080p detector, own", "ms a detection, 1080p", 10.0, False, "ms 1080p detector, teacher"),
    ("ms 1080p detector, own, best", "the same, best", 10.0, False, "ms 1080p detector, teacher, best"),
    ("ms 1080p detect, own", "ms from a 1080p still to its meshes", None, False, "ms 1080p detect, teacher"),
)


def table(figures: dict[str, float]) -> list[str]:
    """The report's table in Markdown."""
    deltas = [(name, name, 0.97, True, None) for name in figures if name.startswith("latent deltas")]
    lines = ["| figure | line | own | teacher | |", "|---|---:|---:|---:|---|"]
    for name, words, line, more, other in (*LINES, *deltas):
        value = figures[name]
        beside = f"{figures[other]:.3g}" if other else ""
        met = "" if line is None else "reached" if (value >= line if more else value <= line) else "**not reached**"
        bound = "" if line is None else f"{'>=' if more else '<='} {line:g}"
        lines.append(f"| {words} | {bound} | {value:.3g} | {beside} | {met} |")
    return lines


def progress(text: str) -> None:
    """One line, at once."""
    print(f"{time.process_time():6.1f} s  {text}", flush=True)


def held_out_pictures(data: Path) -> Iterator[Path]:
    """Pictures with context of the people that the training holds out (as its data does), then the portraits."""
    for path in sorted((data / "raw" / "photos").glob("*/*/*.jpg")):
        if hashlib.sha256(path.parent.name.encode()).digest()[0] < 32:
            yield path
    yield from sorted((data / "photos").glob("*.jpg"))


def main(
    output: Annotated[Path, typer.Option(help="Folder for the report and the pictures.")],
    tracker: Annotated[Path, typer.Option(help="Model folder of the tracker.")] = FOLDER,
    model: Annotated[str | None, typer.Option(help="Face model for the latent deltas; none: left out.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Three clips and twenty pictures.")] = False,
) -> None:
    """Measure our own face tracker beside the teacher."""
    data = Path(os.environ.get("VAEGAN_DATA") or "")
    clips, pictures = sorted((data / "clips" / "dev").glob("*.mp4")), list(held_out_pictures(data))
    if not clips or not pictures:
        raise UserError("VAEGAN_DATA names no folder with clips/dev and photos")
    if quick:
        clips, pictures = clips[::6], pictures[:: len(pictures) // 20]
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    output.mkdir(parents=True, exist_ok=True)
    teacher, own = FaceTracker("mediapipe", smoothing=False), FaceTracker("mediapipe", smoothing=False)
    own.backend = OwnBackend(tracker)
    worst = Worst()
    figures = clip_figures(clips, own, teacher, worst)
    figures |= still_figures(pictures, own, teacher, worst, output)
    figures |= speed_figures(data / "photos" / "mica_connelly.jpg", {"own": own, "teacher": teacher})
    if model is not None:
        own.smoothing = teacher.smoothing = True
        figures |= motion_figure(clips, model, own, teacher)
    write_image(output / "worst.png", worst.sheet())
    (output / "figures.json").write_text(json.dumps(figures, indent=1))
    about = (
        f"{len(clips)} clips, {figures['frames']} frames; {len(pictures)} pictures, {figures['faces']} faces, "
        f"{figures['pictures without a face']} pictures without one; {time.process_time():.0f} s of CPU time."
    )
    (output / "report.md").write_text("\n".join([about, "", *table(figures), ""]))
    print("\n".join(table(figures)))


if __name__ == "__main__":
    typer.run(main)
