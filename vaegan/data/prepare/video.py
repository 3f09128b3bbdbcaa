"""A video cut into shots of one face each, sampled by timestamp, cropped by the framing."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np

from vaegan.data.prepare.faces import crop_for, sample, tracker_for
from vaegan.data.prepare.parts import PreparedCrop, Rejected
from vaegan.data.prepare.settings import PrepareSettings
from vaegan.data.prepare.sources import Item
from vaegan.errors import UserError
from vaegan.faces.geometry import CropTransform, framing
from vaegan.faces.tracker import Face
from vaegan.media import VideoReader
from vaegan.media.cuts import Cuts

MAX_GAP = 0.5
"""A face that was away for longer (s) begins a new shot."""

MAX_SHIFT, MAX_GROWTH = 0.4, 1.5
"""More movement between two frames 1/25 s apart, in face sizes and as a ratio of sizes, is a jump to another face."""

DRIFT = 0.1
"""A fixed crop is set anew, as a new shot, when the face leaves it by more than this share of its side."""


def video(item: Item, settings: PrepareSettings) -> Iterator[PreparedCrop | Rejected]:
    """The crops of a video, or of a range of it, in order; what was dropped, counted by reason, comes last.

    Shots are named FILE#SHOT, in a range FILE#60s.SHOT where it begins at 60 s; frames are counted through the video.
    """
    ranged = item.start > 0 or item.end is not None
    dropped: Counter[str] = Counter()
    example: dict[str, str] = {}
    shots = Shots(settings)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damage is told in rejected.csv
            rate = VideoReader(item.path).rate
            fps = min(rate, settings.fps)
            reader = VideoReader(item.path, item.start, item.end, fps)
            name = f"{item.file}#{item.start:g}s." if ranged else f"{item.file}#"
            for number, frame in enumerate(reader, round(item.start * fps)):
                face, region, shot = shots.look(frame.time, frame.image)
                if face is None:
                    dropped["no face"] += 1
                    continue
                where = {"video": f"{name}{shot:03d}", "frame": number, "timestamp": round(frame.time, 6)}
                found = sample(item, frame.image, face, region, settings, **where)
                if isinstance(found, Rejected):
                    dropped[found.reason] += 1
                    example.setdefault(found.reason, f"first at {frame.time:.2f} s: {found.detail}")
                    continue
                yield found
        if reader.truncated:
            yield Rejected(item.file, "damaged", "its end or some of its frames cannot be decoded; the rest was used")
    except UserError as error:
        if not item.start:  # a damaged file may end before a range begins: the range in which it ends tells of it
            yield Rejected(item.file, "unreadable", str(error).removeprefix(item.path).strip(" :"))
    where = f"from {item.start:g} s on" if ranged else ""
    for reason, count in dropped.items():
        yield Rejected(item.file, reason, example.get(reason, where), count)


class Shots:
    """Which face is followed, and where one shot ends and the next begins."""

    def __init__(self, settings: PrepareSettings) -> None:
        self.settings = settings
        self.tracker = tracker_for(settings.tracker)
        self.tracker.reset()
        self.shot = -1
        self.cuts = Cuts()
        self.box: CropTransform | None = None
        self.region: CropTransform | None = None
        self.seen = -math.inf

    def look(self, time: float, image: np.ndarray) -> tuple[Face | None, CropTransform | None, int]:
        """The face of the next frame, its crop, and the number of its shot; None where no face is."""
        cut = self.cuts.at(image)
        if cut:
            self.tracker.reset()
        face = self.tracker.track(image)
        if face is None:
            self.seen = -math.inf if cut else self.seen
            return None, None, self.shot
        box = framing(face.mesh, 1.0, follow=False)
        if cut or time - self.seen > MAX_GAP or self._jumped(box, time - self.seen) or self._drifted(box):
            self.shot += 1
            self.region = None
        if self.region is None or self.settings.follow:
            self.region = crop_for(face.mesh, self.settings)
        self.box, self.seen = box, time
        return face, self.region, self.shot

    def _jumped(self, box: CropTransform, seconds: float) -> bool:
        last = self.box
        shift = math.hypot(box.cx - last.cx, box.cy - last.cy) / last.side
        growth = max(box.side / last.side, last.side / box.side)
        return shift > min(1.0, MAX_SHIFT * max(1.0, 25 * seconds)) or growth > MAX_GROWTH

    def _drifted(self, box: CropTransform) -> bool:
        if self.settings.follow or self.region is None:
            return False
        reach = max(abs(box.cx - self.region.cx), abs(box.cy - self.region.cy)) + box.side / 2
        # A crop tighter than the face itself is never left by less than it was at the beginning.
        allowed = max(self.region.side, self.region.side / self.settings.scale) / 2
        small = box.side * self.settings.scale * MAX_GROWTH < self.region.side
        return small or reach > allowed + DRIFT * self.region.side
