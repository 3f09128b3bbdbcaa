"""Clips to train on: whole stretches or pairs of their frames for models that learn from movement, single frames for
the others, and stills with frames of clips among them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vaegan.data.balance import clip_weights
from vaegan.data.clip_batches import Choice, ClipBatches, Pairs, Windows
from vaegan.data.clip_frames import Clips, ClipSettings, load_clips
from vaegan.data.flow import METHODS
from vaegan.data.module import CachedData
from vaegan.data.stills import StillsData
from vaegan.errors import UserError


@dataclass(kw_only=True, eq=False)
class _Footage(CachedData):
    name: str = field()  # no default: Lightning's class has a `name` of its own, None
    """A folder of raw videos, or a data set prepared from videos: below $VAEGAN_DATA, or a path."""
    fps: float
    """Frames a second that clips are brought to."""
    scale: float
    """The model's framing, for raw videos: side of the crop / side of the mesh box."""
    follow: bool
    """The model's framing: whether the crop moves with the head."""
    whole: bool
    """Whether the model takes clips or pairs; else it gets their frames one by one."""
    flow: str
    """Dense optical flow as two more channels, one of `flow.METHODS`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.flow not in METHODS:
            raise UserError(f"data.flow={self.flow}: choose one of {', '.join(METHODS)}")

    def choice(self) -> Choice:
        """What is taken of the clips."""
        raise NotImplementedError

    def read(self) -> None:
        settings = ClipSettings(self.name, self.fps, self.scale, self.follow)
        train, val = (load_clips(settings, split, self.size, self.min_cover) for split in ("train", "val"))
        weights = clip_weights(train, self.balance, self.expression)
        self.source = Path(self.name).name
        if self.whole:
            self._clip_batches(train, val, weights)
        else:
            self.crop_batches(train.frames, val.frames, weights=weights)

    def _clip_batches(self, train: Clips, val: Clips, weights: np.ndarray | None) -> None:
        drawing = {"seed": self.seed, "augment": self.changes, "weights": weights}
        common = {"limit": self.limit, "flow": self.flow}
        choice = self.choice()
        self.train = ClipBatches(train, self.batch, choice, shuffle=True, flip=self.flip, **drawing, **common)
        if not len(self.train):
            raise UserError(f"{self.source} has {self.train.size} training clips, fewer than a batch of {self.batch}")
        self.val = ClipBatches(val, self.batch, choice, shuffle=False, flip=False, **common)


@dataclass(kw_only=True, eq=False)
class ClipsData(_Footage):
    """Clips of a fixed number of frames: float (N, T, C, S, S) in [0, 1]; or, unless `whole`, single frames."""

    frames: int
    """Frames of a clip."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames < 1:
            raise UserError(f"data.frames={self.frames}: use 1 or more")

    def choice(self) -> Choice:
        return Windows(self.frames)


@dataclass(kw_only=True, eq=False)
class PairsData(_Footage):
    """Two frames of one clip: float (N, 2, C, S, S) in [0, 1]; or, unless `whole`, single frames."""

    shortest: float
    """Seconds between the two, at least."""
    longest: float
    """Seconds between the two, at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.shortest <= self.longest:
            raise UserError("data.shortest and data.longest: use 0 <= shortest <= longest")

    def choice(self) -> Choice:
        return Pairs(self.shortest, self.longest)


@dataclass(kw_only=True, eq=False)
class MixedData(StillsData):
    """Stills with frames of clips among them; an epoch is as long, and validation the same, as with the stills."""

    clips: dict[str, Any]
    """Which clips, and how raw videos are cropped: the fields of `ClipSettings`."""
    clip_share: float
    """Share of an epoch's pictures that are frames of clips, 0..1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.clip_share <= 1:
            raise UserError(f"data.clip_share={self.clip_share:g} is no share: use 0 to 1")

    def more(self) -> dict:
        if not self.clip_share:
            return {}
        settings = ClipSettings(**self.clips)
        clips = load_clips(settings, "train", self.size, self.min_cover)
        self.source += f"+{Path(settings.name).name}"
        weights = clip_weights(clips, self.balance, self.expression)
        return {"more": clips.frames, "more_share": self.clip_share, "more_weights": weights}
