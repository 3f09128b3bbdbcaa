"""A clip on one picture: evenly spread frames in columns, the driver over the result, times below."""

from __future__ import annotations

import cv2
import numpy as np

COLUMNS = 8
TILE_PX = 192
LABEL_PX = 28


class Storyboard:
    """Collects frames of a clip whose length is not known beforehand, never more than four times the columns."""

    def __init__(self, columns: int = COLUMNS, tile_px: int = TILE_PX) -> None:
        self.columns, self.tile_px = columns, tile_px
        self._kept: list[tuple[float, list[np.ndarray]]] = []
        self._every, self._seen = 1, 0

    def add(self, time: float, rows: list[np.ndarray]) -> None:
        """time: seconds; rows: square uint8 pictures (any size, 3), top to bottom, as many for every frame."""
        if self._seen % self._every == 0:
            side = self.tile_px
            self._kept.append((time, [cv2.resize(r, (side, side), interpolation=cv2.INTER_AREA) for r in rows]))
            if len(self._kept) > 4 * self.columns:
                self._kept = self._kept[::2]
                self._every *= 2
        self._seen += 1

    def image(self) -> np.ndarray:
        """The storyboard as uint8 (H, W, 3). Raises ValueError when nothing was added."""
        if not self._kept:
            raise ValueError("a storyboard of no frames")
        count = min(self.columns, len(self._kept))
        chosen = [self._kept[i] for i in np.linspace(0, len(self._kept) - 1, count).round().astype(int)]
        return np.hstack([np.vstack([*rows, self._label(f"{time:.2f} s")]) for time, rows in chosen])

    def _label(self, text: str) -> np.ndarray:
        label = np.full((LABEL_PX, self.tile_px, 3), 255, np.uint8)
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        place = ((self.tile_px - width) // 2, LABEL_PX - 9)
        return cv2.putText(label, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
