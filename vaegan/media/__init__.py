"""All picture, video and sound input and output (Pillow for pictures, PyAV for video); nobody else opens a media file.

Pictures are uint8 (H, W, 3) RGB everywhere. What is unfit on the user's side is a `UserError` of one line.
"""

from vaegan.media.files import atomic_path, check_output
from vaegan.media.images import IMAGE_SUFFIXES, decode_image, encode_image, image_size, read_image, write_image
from vaegan.media.reader import Frame, VideoReader
from vaegan.media.timing import exact_rate
from vaegan.media.writer import VIDEO_SUFFIXES, VideoWriter

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Frame",
    "VideoReader",
    "VideoWriter",
    "atomic_path",
    "check_output",
    "decode_image",
    "encode_image",
    "exact_rate",
    "image_size",
    "read_image",
    "write_image",
]
