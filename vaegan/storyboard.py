"""A clip on one picture: evenly spaced frames in columns, the driver over the result, times below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import cv2
import numpy as np

from vaegan.media.label import Label

COLUMNS = 8
TILE_PX = 192
"""Side of a frame on the storyboard."""

LABEL_PX = 28
"""Height of the line of times."""

T = TypeVar("T")


class Thinned(Generic[T]):
    """Evenly spaced items of a sequence of unknown length, at most `most` of them."""

    def __init__(self, most: int) -> None:
        self.most, self.kept = most, []
        self._every, self._seen = 1, 0

    def add(self, make: Callable[[], T]) -> None:
        """The next item; made only if it is kept."""
        if self._seen % self._every == 0:
            self.kept.append(make())
            if len(self.kept) > self.most:
                self.kept = self.kept[::2]
                self._every *= 2
        self._seen += 1


class Storyboard:
    """Collects frames of a clip of unknown length, at most four times the columns."""

    def __init__(self, columns: int = COLUMNS, tile_px: int = TILE_PX) -> None:
        self.columns, self.tile_px = columns, tile_px
        self._frames: Thinned[tuple[float, list[np.ndarray]]] = Thinned(4 * columns)

    def add(self, time: float, rows: list[np.ndarray]) -> None:
        """time: seconds; rows: square uint8 pictures (any size, 3), top to bottom, the same number for every frame."""
        side = (self.tile_px, self.tile_px)
        self._frames.add(lambda: (time, [cv2.resize(row, side, interpolation=cv2.INTER_AREA) for row in rows]))

    def image(self, label: bool = False) -> np.ndarray:
        """The storyboard as uint8 (H, W, 3), with a label that says it is synthetic where asked for.

        Raises ValueError when nothing was added."""
        kept = self._frames.kept
        if not kept:
            raise ValueError("a storyboard of no frames")
        count = min(self.columns, len(kept))
        chosen = [kept[i] for i in np.linspace(0, len(kept) - 1, count).round().astype(int)]
        pictures = np.hstack([np.vstack(rows) for _, rows in chosen])
        if label:
            pictures = Label(*pictures.shape[1::-1]).draw(pictures)
        return np.vstack([pictures, np.hstack([self._time(f"{time:.2f} s") for time, _ in chosen])])

    def _time(self, text: str) -> np.ndarray:
        label = np.full((LABEL_PX, self.tile_px, 3), 255, np.uint8)
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        place = ((self.tile_px - width) // 2, LABEL_PX - 9)
        return cv2.putText(label, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
