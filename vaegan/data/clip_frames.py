"""Clips of one face each at a set frame rate, out of raw videos or out of a prepared data set."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from torch import Tensor

from vaegan.data.cache import cached_crops
from vaegan.data.format import INDEX, read_index, read_labels, shape_codes
from vaegan.data.storage import data_folder
from vaegan.errors import UserError
from vaegan.tensors import to_float

LONGEST_GAP = 0.1
"""Frames of a clip that are further apart (s), and further than one step and a half, belong to two clips."""


@dataclass(frozen=True)
class ClipSettings:
    """Which clips, and how their frames are cut.

    name: a folder of raw videos (with train/ and val/ or dev/), or a prepared data set with frames of videos; a name
    below $VAEGAN_DATA, or a path. fps: frames/s. scale, follow: the framing (design, section 3) for raw videos;
    prepared sets have theirs.
    """

    name: str
    fps: float
    scale: float
    follow: bool


@dataclass(frozen=True)
class FaceClip:
    """name: FILE#SHOT; person: who it shows; rows: (T,) which frame is shown at time t / fps."""

    name: str
    person: str
    rows: np.ndarray


@dataclass(frozen=True)
class Clips:
    """frames: uint8 (F, S, S, 3), mapped read-only; clips: what of them belongs together, in time; fps: their rate;
    yaw: (F,) degrees; shapes: uint8 (F, 52) blendshapes in 1/255, or None where there are no labels.

    `len` counts the clips, an index gives one.
    """

    frames: np.ndarray
    clips: list[FaceClip]
    fps: float
    yaw: np.ndarray
    shapes: np.ndarray | None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Tensor:
        """One whole clip: float (T, 3, S, S) in [0, 1], a frame every 1 / fps s."""
        return to_float(self.frames[self.clips[index].rows])

    def people(self) -> list[str]:
        """Who each of the F frames shows, "" where it belongs to no clip."""
        shown = [""] * len(self.frames)
        for clip in self.clips:
            for row in clip.rows.tolist():
                shown[row] = clip.person
        return shown


def load_clips(settings: ClipSettings, split: str, size: int, min_cover: float = 0.0) -> Clips:
    """The clips of one split; raw videos are tracked and cropped once, into the cache.

    Args:
        split: "train", "val" or "test". size: side of the crops, px.
        min_cover: leave out frames whose crop reaches further outside the picture, 0..1.
    Raises:
        UserError: no such folder, no clips in it, no faces in them, a broken shard, a full disk.
    """
    folder = data_folder(settings.name)
    if (folder / INDEX).is_file():
        return _prepared(folder, split, size, min_cover, settings.fps)
    return _raw(folder, settings, split, size, min_cover)


def _raw(folder: Path, settings: ClipSettings, split: str, size: int, min_cover: float) -> Clips:
    from vaegan.data.tracked import Cropping, people, tracked_frames, video_files

    files = video_files(folder, split)
    framed = Cropping(size, float(settings.fps), float(settings.scale), bool(settings.follow), float(min_cover))
    found = tracked_frames(folder, split, files, framed)
    shown = people(folder, files)
    labels = [(file, shot) for file, shot in zip(found.video.tolist(), found.shot.tolist(), strict=True)]
    clips = []
    for (file, shot), rows in _runs(labels):
        name = f"{files[file].relative_to(folder).as_posix()}#{shot:03d}"
        clips += [FaceClip(name, shown[file], rows[k]) for k in _steady(found.time[rows], settings.fps)]
    return Clips(found.frames, clips, settings.fps, found.yaw, found.shapes)


def _prepared(folder: Path, split: str, size: int, min_cover: float, fps: float) -> Clips:
    entries = [e for e in read_index(folder, split, min_cover) if e.columns.get("video")]
    if not entries:
        raise UserError(f"{folder} has no '{split}' frames of videos: prepare it from videos (vaegan prepare VIDEOS)")
    entries.sort(key=lambda e: (e.columns["video"], float(e.columns["timestamp"])))
    times = np.array([float(e.columns["timestamp"]) for e in entries])
    clips = []
    for name, rows in _runs([e.columns["video"] for e in entries]):
        person = entries[rows[0]].columns.get("person", "")
        clips += [FaceClip(name, person, rows[k]) for k in _steady(times[rows], fps)]
    labels = read_labels(folder, [e.key for e in entries])
    shapes = None if labels is None else shape_codes(labels.blendshapes)
    yaw = np.array([float(e.columns.get("yaw") or 0) for e in entries], np.float32)
    return Clips(cached_crops(folder, entries, size), clips, fps, yaw, shapes)


def _runs(labels: list) -> Iterator[tuple]:
    """(label, rows) of every run of the same label."""
    for label, group in groupby(range(len(labels)), key=labels.__getitem__):
        yield label, np.array(list(group))


def _steady(times: np.ndarray, fps: float) -> Iterator[np.ndarray]:
    """The frames at `times` (s, ascending) nearest to steady ticks 1/fps s apart; one array a part without a gap."""
    steps = np.diff(times)
    longest = max(LONGEST_GAP, 1.5 * float(np.median(steps))) if len(steps) else LONGEST_GAP
    for part in np.split(np.arange(len(times)), np.flatnonzero(steps > longest) + 1):
        span = times[part[-1]] - times[part[0]]
        ticks = times[part[0]] + np.arange(int(span * fps + 0.5) + 1) / fps
        middles = (times[part][1:] + times[part][:-1]) / 2
        yield part[np.searchsorted(middles, ticks - 1e-6)]
