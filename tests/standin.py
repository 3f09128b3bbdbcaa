"""Stand-ins for what cannot be had everywhere: a tracker that needs no weights, films of a face it finds, tiny models.

The face is a reddish square with a brighter patch (the mouth) in it, on grey.
"""

import os
import signal
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional as F

from vaegan.faces.tracker import Face
from vaegan.media import VideoWriter

SIDE_PX = 40


class SquareTracker:
    """Finds the red square of `picture`; shaped like FaceTracker. interrupt_at: a frame at which Ctrl-C is pressed."""

    name, smoothing = "square", False

    def __init__(self, backend=None, interrupt_at: int | None = None):
        self.frames, self.interrupt_at = 0, interrupt_at

    def reset(self):
        self.frames = 0

    def detect(self, image, besides=(), tiled=True):
        if besides:
            return []
        image = image.astype(int)
        rows, columns = np.nonzero((image[..., 0] > 150) & (image[..., 2] < 90))
        if len(rows) < 100:
            return []
        x, y = columns.min(), rows.min()
        size = np.array([columns.max() + 1 - x, rows.max() + 1 - y, SIDE_PX])
        return [Face((_mesh() * size + [x, y, 0]).astype(np.float32), np.zeros(52, np.float32), 1.0)]

    def follow(self, image, region):
        return self.track(image)

    def track(self, image):
        self.frames += 1
        if self.frames == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        return next(iter(self.detect(image)), None)


def _mesh():
    """478 points that span the unit square, the eyes level."""
    mesh = np.random.default_rng(0).uniform(0.02, 0.98, (478, 3))
    mesh[[0, 1], :2] = [[0, 0], [1, 1]]
    for index, x in {33: 0.2, 133: 0.4, 362: 0.6, 263: 0.8}.items():
        mesh[index] = x, 0.35, 0
    return mesh


def picture(x=60, y=50, mouth=0, face=True):
    """uint8 (128, 160, 3). x, y: top left corner of the face, px; mouth: how far it is open, px."""
    image = np.full((128, 160, 3), 110, np.uint8)
    if face:
        image[y : y + SIDE_PX, x : x + SIDE_PX] = 200, 120, 60
        image[y + 26 : y + 28 + mouth, x + 10 : x + 30] = 250, 240, 80
    return image


def film(path, pictures, rate=25, **options):
    """Write pictures to a video and return its path."""
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, width, height, Fraction(rate), **options) as writer:
        for image in pictures:
            writer.write(image)
    return path


def talking(count):
    """`count` pictures of a face whose mouth opens and closes every ten of them."""
    return [picture(mouth=round(5 - 5 * np.cos(2 * np.pi * t / 10))) for t in range(count)]


class PoolModel:
    """A face model that needs no training: the latent is the crop at 8x8 px."""

    name, id, size, latent_dim = "pool", "pool-0", 64, 192
    device = torch.device("cpu")
    has_heads = False

    def __init__(self, scale=1.6, follow=False):
        self.framing = SimpleNamespace(scale=scale, follow=follow)

    def encode(self, crops):
        return F.adaptive_avg_pool2d(crops, 8).flatten(1)

    def decode(self, z):
        return F.interpolate(z.view(-1, 3, 8, 8), size=64, mode="bilinear").clamp(0, 1)


def save_tiny_model(folder, seed=0):
    """An untrained model of the paper's shape, a few kB, in `folder`."""
    from vaegan.model import FaceModel, Framing
    from vaegan.networks import VAE

    torch.manual_seed(seed)
    widths = [12, 16, 16, 16, 16, 16, 16]
    strides = [2, 2, 2, 2, 2, 1, 1]
    vae = VAE(64, 200, 32, widths, strides, widths[::-1], strides[::-1])
    return FaceModel(vae, Framing(1.6, False), folder.name).save(folder)


def command_line(interrupt_at=None):
    """Run `transfer` on sys.argv, with the stand-in tracker: what the tests start as a process of its own."""
    import vaegan.faces.tracker
    from vaegan.cli.transfer import main

    vaegan.faces.tracker.FaceTracker = lambda backend=None: SquareTracker(interrupt_at=interrupt_at)
    main()
