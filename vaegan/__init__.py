"""vaegan: a photo moves like a video. Method of Vysotsky & Demichev (2024), a VAE joined with a GAN.

Names are imported on first use, so that `import vaegan` and `--help` stay quick.
"""

import importlib

__version__ = "0.1.0"

_HOME = {
    "UserError": "vaegan.errors",
    "FaceModel": "vaegan.model",
    "load_model": "vaegan.model",
    "shipped_models": "vaegan.model",
    "Directions": "vaegan.directions",
    "load_directions": "vaegan.directions",
    "Face": "vaegan.faces.tracker",
    "FaceTracker": "vaegan.faces.tracker",
    "BLENDSHAPES": "vaegan.faces.blendshapes",
    "Portrait": "vaegan.portrait",
    "read_portrait": "vaegan.portrait",
    "Motion": "vaegan.motion",
    "Key": "vaegan.keyframes",
    "make_motion": "vaegan.keyframes",
    "shipped_motions": "vaegan.samples",
    "shipped_photos": "vaegan.samples",
    "TransferSettings": "vaegan.settings",
    "animate": "vaegan.animation",
    "transfer": "vaegan.job",
    "interpolate": "vaegan.interpolation",
    "LiveSession": "vaegan.live",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'vaegan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
