"""Grids of small pictures with their names: storyboards and reconstructions."""

from collections.abc import Sequence

import cv2
import numpy as np

TILE_PX = 128
MARGIN_PX = 150


def grid(rows: dict[str, np.ndarray], captions: Sequence[str] = ()) -> np.ndarray:
    """Named rows of uint8 (N, S, S, 3), enlarged alike, with a caption below each column: uint8 (H, W, 3)."""
    widest = max(map(len, rows.values()))
    lines = []
    for name, pictures in rows.items():
        label = np.full((TILE_PX, MARGIN_PX, 3), 255, np.uint8)
        _write(label, name, 6, TILE_PX // 2)
        tiles = [cv2.resize(p, (TILE_PX, TILE_PX), interpolation=cv2.INTER_CUBIC) for p in pictures]
        blank = [np.full((TILE_PX, TILE_PX, 3), 255, np.uint8)] * (widest - len(tiles))
        lines.append(np.hstack([label, *tiles, *blank]))
    if captions:
        footer = np.full((24, lines[0].shape[1], 3), 255, np.uint8)
        for number, text in enumerate(captions):
            _write(footer, text, MARGIN_PX + number * TILE_PX + TILE_PX // 2 - 25, 16)
        lines.append(footer)
    return np.vstack(lines)


def _write(image: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
