"""Where small faces of a big picture are looked for: in overlapping tiles, each as if it were a picture of its own."""

from collections.abc import Iterator

import numpy as np

PARTS = (3, 6)
"""Tiles to the shorter side, one size after the other: detectors see faces of about a twelfth of a picture's height."""

LEAST_PX = 600
"""Side of the smallest tile: what is found in smaller ones has too few pixels to be moved."""

SHARED = 0.4
"""Neighbours share this much of their side, so that each face of a size that is looked for lies whole in one."""


def tilings(width: int, height: int) -> Iterator[list[tuple[int, int, int]]]:
    """Tiles (left, top, side) in px of a picture, coarse to fine; none of a picture of usual size."""
    for parts in PARTS:
        side = min(width, height) // parts
        if side >= LEAST_PX:
            yield [(left, top, side) for top in _starts(height, side) for left in _starts(width, side)]


def _starts(length: int, side: int) -> list[int]:
    count = int(np.ceil((length - side) / ((1 - SHARED) * side))) + 1
    return np.linspace(0, length - side, count).astype(int).tolist()
