"""All picture, video and sound input and output (Pillow for pictures, PyAV for video); nobody else opens a media file.

Pictures are uint8 (H, W, 3) RGB everywhere. What is unfit on the user's side is a `UserError` of one line. Names are
imported on first use: training on packed parts needs no PyAV.
"""

import importlib

_HOME = {
    "atomic_path": "files",
    "check_output": "files",
    "output_folder": "files",
    "IMAGE_SUFFIXES": "images",
    "READ_SUFFIXES": "images",
    "decode_image": "images",
    "encode_image": "images",
    "image_size": "images",
    "read_image": "images",
    "write_image": "images",
    "TimedPicture": "timing",
    "VideoReader": "reader",
    "exact_rate": "timing",
    "ResultWriter": "result",
    "VIDEO_SUFFIXES": "writer",
    "VideoWriter": "writer",
}

__all__ = list(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"vaegan.media.{_HOME[name]}"), name)
    raise AttributeError(f"module 'vaegan.media' has no attribute {name!r}")
