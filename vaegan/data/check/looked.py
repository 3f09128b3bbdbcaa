"""What is known of each picture of a set after it was looked at: plain columns, for findings and figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from vaegan.data import expression
from vaegan.data.quality import SHARPNESS_PX, is_grey, perceptual_hash, sharpness
from vaegan.faces.geometry import CropTransform

PROBE_PX = 32
PROBE_PICTURES = 2048


@dataclass
class Looked:
    """Columns of equal length, one entry a picture (of a video: one a sampled frame).

    where: file or shard:member; group: video or shot, "" for photos; native_px: side of the crop in its source, or of
    the picture; sharpness: variance of the Laplacian at 80 px; light: mean of the grey values, 0..255; yaw, pitch: in
    degrees, smile, mouth (jawOpen), eyes (the less closed one's eyeBlink): 0..1, NaN where nobody labelled them.

    prepared: whether these are crops of an index.csv. broken: (where, reason) of what could not be read. unlabelled:
    pictures of the index without labels. thumbnails: uint8 (M, 32, 32, 3) of the pictures `probed`.
    """

    key: list[str] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    person: list[str] = field(default_factory=list)
    group: list[str] = field(default_factory=list)
    native_px: list[float] = field(default_factory=list)
    cover: list[float] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    light: list[float] = field(default_factory=list)
    grey: list[bool] = field(default_factory=list)
    hashes: list[np.ndarray] = field(default_factory=list)
    yaw: list[float] = field(default_factory=list)
    pitch: list[float] = field(default_factory=list)
    smile: list[float] = field(default_factory=list)
    mouth: list[float] = field(default_factory=list)
    eyes: list[float] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    unlabelled: int = 0
    prepared: bool = False
    probed: list[int] = field(default_factory=list)
    thumbnails: list[np.ndarray] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.key)

    def add(
        self, image: np.ndarray, key: str, where: str, split: str, source: str, person: str, *, group: str = "",
        native_px: float | None = None, cover: float = 1.0, pose: tuple[float, float] | None = None,
        shapes: np.ndarray | None = None, probe: bool = True,
    ) -> None:  # fmt: skip
        """Measure one picture, uint8 (H, W, 3).

        Args:
            pose: yaw and pitch in degrees. shapes: blendshapes (52,), 0..1. probe: keep its thumbnail.
        """
        square = middle_square(image)
        small = square.crop(image, SHARPNESS_PX)
        yaw, pitch = (np.nan, np.nan) if pose is None else pose
        row = {"key": key, "where": where, "split": split, "source": source, "person": person, "group": group}
        row |= {
            "native_px": square.side if native_px is None else native_px,
            "cover": cover,
            "yaw": yaw,
            "pitch": pitch,
        }
        row |= {"sharpness": sharpness(small), "light": float(small.mean()), "grey": is_grey(small)}
        row["hashes"] = perceptual_hash(square.crop(image, 96))
        for measure in (expression.smile, expression.mouth, expression.eyes):
            row[measure.__name__] = np.nan if shapes is None else float(measure(shapes))
        for name, value in row.items():
            getattr(self, name).append(value)
        if probe:
            self.probed.append(len(self.key) - 1)
            self.thumbnails.append(square.crop(image, PROBE_PX))

    def column(self, name: str) -> np.ndarray:
        """A column as an array."""
        return np.asarray(getattr(self, name))

    def chosen(self, which: np.ndarray) -> Iterator[str]:
        """The `where` of some pictures."""
        return (self.where[i] for i in np.flatnonzero(which))


def middle_square(image: np.ndarray) -> CropTransform:
    """The largest square in the middle of a picture."""
    height, width = image.shape[:2]
    return CropTransform(width / 2, height / 2, min(height, width))
