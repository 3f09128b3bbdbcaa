"""The words in a corner of a picture that say it is synthetic."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vaegan.media.statement import SYNTHETIC

TEXT, SHORT = SYNTHETIC, "AI"
HEIGHT = 0.028
"""Size of the letters / shorter side of the picture."""

SMALLEST_PX = 10
"""Letters below this cannot be read once the picture has been compressed."""

TINY, TINY_PX = 64, 7
"""Where the picture itself is smaller than this many px, letters of so many do: more would hide what it shows."""

WIDEST = 0.55
"""Share of the picture's width that the long text may take; else the short one is shown."""

CLEAR = 0.1
"""Distance of the label from a face / that face's longer side, so that the face can move."""


class Label:
    """A label for pictures of one size, in the first corner (bottom right, then round by the left) that is free.

    Args:
        width, height: of the pictures, px.
        faces: points (N, 2) in px of the picture, of each face that is to stay clear.

    Attributes:
        box: left, top, right, bottom of the label, px.
    """

    def __init__(self, width: int, height: int, faces: Sequence[np.ndarray] = ()):
        shorter = min(width, height)
        size = TINY_PX if shorter < TINY else max(SMALLEST_PX, round(HEIGHT * shorter))
        patch = _patch(TEXT, size)
        if patch.shape[1] > WIDEST * width:
            patch = _patch(SHORT, size)
        rows, columns = min(height, patch.shape[0]), min(width, patch.shape[1])
        margin = min(size // 2 if shorter >= TINY else 1, (height - rows) // 2, (width - columns) // 2)
        left, right, top, bottom = margin, width - columns - margin, margin, height - rows - margin
        corners = [(right, bottom), (left, bottom), (right, top), (left, top)]
        boxes = [(x, y, x + columns, y + rows) for x, y in corners]
        gaps = [min((_gap(box, face) for face in faces), default=np.inf) for box in boxes]
        self.box = boxes[next((i for i, gap in enumerate(gaps) if gap >= CLEAR), int(np.argmax(gaps)))]
        alpha = patch[:rows, :columns, 3:].astype(np.float32) / 255
        self._keep, self._add = 1 - alpha, alpha * patch[:rows, :columns, :3]

    def draw(self, image: np.ndarray) -> np.ndarray:
        """A copy of a picture, uint8 (height, width, 3), with the label on it."""
        left, top, right, bottom = self.box
        marked = image.copy()
        marked[top:bottom, left:right] = np.rint(self._keep * image[top:bottom, left:right] + self._add)
        return marked


def _patch(text: str, size: int) -> np.ndarray:
    """White letters of `size` px on a dark, half transparent bar: uint8 (H, W, 4)."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    pad = 1 if size < SMALLEST_PX else round(0.3 * size)
    bar = Image.new("RGBA", (round(right - left) + 2 * pad, round(bottom - top) + 2 * pad), (0, 0, 0, 150))
    letters = Image.new("RGBA", bar.size)
    ImageDraw.Draw(letters).text((pad - left, pad - top), text, font=font, fill="white")
    return np.asarray(Image.alpha_composite(bar, letters))


def _gap(box: tuple[int, int, int, int], face: np.ndarray) -> float:
    """Distance from a box to the nearest point of a face (N, 2) / that face's longer side; 0 where they overlap."""
    outside = np.maximum(np.array(box[:2]) - face, face - np.array(box[2:])).clip(0)
    return float(np.hypot(*outside.T).min() / np.ptp(face, axis=0).max())
