"""Where a video cuts to another picture."""

import cv2
import numpy as np

CUT = 0.5
"""Bhattacharyya distance of two frames' colour histograms that is a cut: within the shared clips' shots it is < 0.2."""


class Cuts:
    """Looks at the frames of one video in their order."""

    def __init__(self) -> None:
        self._colours: np.ndarray | None = None

    def at(self, image: np.ndarray) -> bool:
        """Whether this frame, uint8 (H, W, 3), is of another shot than the one before."""
        colours, before = _colours(image), self._colours
        self._colours = colours
        return before is not None and cv2.compareHist(colours, before, cv2.HISTCMP_BHATTACHARYYA) > CUT


def _colours(image: np.ndarray) -> np.ndarray:
    """Histogram (8, 8, 8) of the colours of evenly spaced pixels."""
    step = max(1, min(image.shape[:2]) // 90)
    pixels = np.ascontiguousarray(image[::step, ::step])
    histogram = cv2.calcHist([pixels], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3)
    return cv2.normalize(histogram, None, 1.0, 0.0, cv2.NORM_L1)
