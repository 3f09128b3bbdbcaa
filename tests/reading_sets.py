"""Clips whose frames tell where they come from, for tests of reading."""

import numpy as np

from vaegan.data.clip_frames import Clips, FaceClip


def told_clips(lengths: list[int], side: int = 8, fps: float = 25) -> Clips:
    """Clip k of so many frames: red is k, green the number of the frame in it, blue 0 on the left and 255 on the
    right half."""
    frames = np.zeros((sum(lengths), side, side, 3), np.uint8)
    clips, row = [], 0
    for k, length in enumerate(lengths):
        rows = np.arange(row, row + length)
        frames[rows, ..., 0] = k
        frames[rows, ..., 1] = np.arange(length)[:, None, None]
        clips.append(FaceClip(f"{k}.mp4#000", f"person {k}", rows))
        row += length
    frames[:, :, side // 2 :, 2] = 255
    return Clips(frames, clips, fps, np.zeros(row, np.float32), None)


def same_clips(count: int, length: int, side: int = 24) -> Clips:
    """`count` clips of `length` frames that all show the same smooth picture: what differs was drawn."""
    coarse = np.random.default_rng(1).random((4, 4, 3))
    y = np.linspace(0, 2.99, side)
    i, f = y.astype(int), y % 1
    rows = coarse[i] * (1 - f)[:, None, None] + coarse[i + 1] * f[:, None, None]
    picture = rows[:, i] * (1 - f)[None, :, None] + rows[:, i + 1] * f[None, :, None]
    frames = np.broadcast_to((40 + 170 * picture).astype(np.uint8), (count * length, side, side, 3)).copy()
    clips = [FaceClip(f"{k}.mp4#000", str(k), np.arange(k * length, (k + 1) * length)) for k in range(count)]
    return Clips(frames, clips, 25, np.zeros(count * length, np.float32), None)
