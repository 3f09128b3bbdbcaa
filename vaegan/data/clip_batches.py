"""Batches of clips and of pairs of frames, for models that learn from movement."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaegan.data.augment import Augment, draw_seed
from vaegan.data.batches import Batches, drawn, mirrored
from vaegan.data.clip_frames import Clips
from vaegan.data.flow import dense_flow
from vaegan.errors import UserError
from vaegan.tensors import to_float

Choice = Callable[[Clips, np.random.Generator | None], np.ndarray]


@dataclass(frozen=True)
class Windows:
    """Chooses stretches of `frames` frames that do not overlap: rows (W, frames). Their beginning is drawn anew each
    epoch; without a generator they lie in the middle. Clips that are shorter are left out."""

    frames: int

    def __call__(self, clips: Clips, generator: np.random.Generator | None) -> np.ndarray:
        chosen = []
        for clip in clips.clips:
            count, spare = divmod(len(clip.rows), self.frames)
            if count:
                start = spare // 2 if generator is None else int(generator.integers(spare + 1))
                chosen.append(clip.rows[start : start + count * self.frames].reshape(count, self.frames))
        if not chosen:
            longest = max(len(clip.rows) for clip in clips.clips)
            raise UserError(f"no clip has {self.frames} frames, the longest has {longest}: lower data.frames")
        return np.concatenate(chosen)


@dataclass(frozen=True)
class Pairs:
    """Chooses two frames of one clip, `shortest` to `longest` seconds apart, in either order: rows (W, 2). Every frame
    comes first once an epoch, or not at all where its clip is too short; without a generator the draw is always the
    same."""

    shortest: float
    longest: float

    def __call__(self, clips: Clips, generator: np.random.Generator | None) -> np.ndarray:
        generator = generator or np.random.default_rng(0)
        low = max(1, round(self.shortest * clips.fps))
        high = max(low, round(self.longest * clips.fps))
        chosen = []
        for clip in clips.clips:
            first = np.arange(len(clip.rows))
            after = first[::-1]  # frames that follow each one
            reach = np.maximum(first, after)
            gap = generator.integers(low, np.clip(reach, low, high) + 1)
            backwards = np.where(gap > after, True, (gap <= first) & (generator.random(len(first)) < 0.5))
            second = np.where(backwards, first - gap, first + gap)
            fits = reach >= low
            chosen.append(clip.rows[np.stack([first[fits], second[fits]], 1)])
        rows = np.concatenate(chosen)
        if not len(rows):
            raise UserError(f"no clip lasts {self.shortest:g} s: lower data.shortest")
        return rows


class ClipBatches(Batches):
    """Shuffled batches of clips or pairs, float (N, T, C, S, S): red, green and blue in [0, 1]; with flow C is 5, see
    `flow.dense_flow`. `crops` are all frames.

    Args:
        clips: where from. choose: `Windows(16)` for clips, `Pairs(0.04, 1.0)` for pairs (T = 2).
        flip: mirror every second clip. augment: changes each clip by a draw of its own, its flip included.
        flow: "none", "dis" or "farneback". limit: at most this many clips in an epoch (0 = all), evenly out of all.
        weights: (F,), how often each frame should come; clips are drawn, with replacement, by the mean of theirs.

    Raises:
        UserError: no clip is long enough.
    """

    def __init__(
        self,
        clips: Clips,
        batch: int,
        choose: Choice,
        *,
        shuffle: bool,
        flip: bool,
        seed: int = 0,
        limit: int = 0,
        augment: Augment | None = None,
        flow: str = "none",
        weights: np.ndarray | None = None,
    ):
        self.clips, self.batch, self.choose, self.shuffle, self.flip = clips, batch, choose, shuffle, flip
        self.seed, self.flow, self.augment, self.weights = seed, flow, augment, weights
        self.crops = clips.frames
        found = len(choose(clips, None))
        self.size = min(limit or found, found)

    def __iter__(self) -> Iterator[Tensor]:
        generator = np.random.default_rng((self.seed, self.epoch)) if self.shuffle else None
        rows = self.choose(self.clips, generator)
        rows = rows[np.linspace(0, len(rows) - 1, self.size).astype(int)]
        turned = np.zeros(len(rows), bool)
        if self.shuffle:
            weights = None if self.weights is None else self.weights[rows].mean(1)
            rows = rows[drawn(len(rows), len(rows), generator, weights)]
            turned = (generator.random(len(rows)) < 0.5) & self.flip
        share = np.arange(self.size)[self.rank :: self.world]
        for i in range(len(self)):
            places = share[i * self.batch : (i + 1) * self.batch]
            clips, flipped = self.crops[rows[places]], turned[places]
            if not self.augment:
                clips[flipped] = mirrored(clips[flipped])
            yield self._finished(to_float(clips), places)

    def _finished(self, batch: Tensor, places: np.ndarray) -> Tensor:
        if self.augment is not None:
            seeds = [draw_seed(self.seed, self.epoch, place) for place in places.tolist()]
            return torch.stack([self.augment(clip, seed, self.flow) for clip, seed in zip(batch, seeds, strict=True)])
        if self.flow == "none":
            return batch
        return torch.cat([batch, torch.stack([dense_flow(clip, self.flow) for clip in batch])], 2)
