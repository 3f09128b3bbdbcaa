"""Every video of a folder, decoded to its end, its sound too; some frames are measured like pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from vaegan.data.check.looked import Looked
from vaegan.data.check.pictures import Watcher
from vaegan.data.prepare.sources import Item
from vaegan.errors import UserError
from vaegan.media import VideoReader
from vaegan.media.sound import sound_state

FRAMES = 4
"""Frames of each video that are measured."""

LABELLED_FRAMES = 2000


@dataclass
class Video:
    """What a file holds. sound: "none", "good" or what is wrong with it; damage: "" where all of it decodes."""

    file: str
    width: int
    height: int
    fps: float
    seconds: float
    sound: str
    damage: str


def look_at_videos(items: list[Item], looked: Looked, watcher: Watcher, advance: Callable[[], None]) -> list[Video]:
    """Look at videos; each frame that is measured becomes an entry of `looked`, the video its group."""
    videos = []
    for item in items:
        advance()
        try:
            videos.append(_look(item, looked, watcher))
        except UserError as error:
            looked.broken.append((item.file, str(error).removeprefix(item.path).strip(" :")))
    return videos


def _look(item: Item, looked: Looked, watcher: Watcher) -> Video:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage is told in the report
        whole = VideoReader(item.path)
        seconds = whole.duration or 1.0
        reader = VideoReader(item.path, fps=min(240.0, max(0.02, FRAMES / seconds)))
        for frame in reader:
            pose, shapes = watcher.look(frame.image) if watcher.shown < LABELLED_FRAMES else (None, None)
            looked.add(
                frame.image, f"{item.file}@{frame.time:.2f}", f"{item.path}@{frame.time:.6f}", item.split or "unsplit",
                item.source, item.person, group=item.file, pose=pose, shapes=shapes,
            )  # fmt: skip
    damage = "its end or some of its frames cannot be decoded" if reader.truncated else ""
    if damage:
        looked.broken.append((item.file, damage))
    sound = sound_state(item.path) if whole.has_audio else "none"
    if sound not in ("none", "good"):
        looked.broken.append((item.file, sound))
    return Video(item.file, whole.width, whole.height, float(whole.rate), seconds, sound, damage)
