"""Decoded frames of a video made fit to be looked at: progressive, of standard range, opaque, upright, RGB."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from threading import Lock

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc, VideoReformatter

HDR = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}
"""Transfer functions of a high dynamic range, by what people call them."""

_WIDE = {ColorPrimaries.BT2020, ColorPrimaries.SMPTE431, ColorPrimaries.SMPTE432}
_KNOWN = set(ColorPrimaries) - {ColorPrimaries.UNSPECIFIED}
_MAPPER, _ONE_AT_A_TIME = VideoReformatter(), Lock()  # its table takes seconds to make, and serves what has one size
_BT2020_MATRIX, _UNSPECIFIED = 9, 2


def hdr_kind(frame: av.VideoFrame) -> str:
    """What kind of high dynamic range a frame is of, "PQ" or "HLG"; "" where it is of the standard one."""
    return HDR.get(frame.color_trc, "")


class Converter:
    """Turns decoded frames into upright pictures, uint8 (H, W, 3) RGB of standard range and BT.709 colours.

    HDR is tone-mapped and its colours brought into the smaller gamut by FFmpeg's swscale (its perceptual intent, white
    at 203 nits, see ITU-R BT.2408). Transparent pixels lie on white, as in photos.
    """

    def __init__(self, width: int, height: int):
        """width, height: of the picture as stored, px, with square pixels."""
        self._size = {"width": width, "height": height}
        self._reformatter = VideoReformatter()

    def rgb(self, frame: av.VideoFrame) -> np.ndarray:
        transparent = any(component.is_alpha for component in frame.format.components)
        options = {**self._size, "format": "rgba" if transparent else "rgb24", "threads": 1}
        if colours := _colours(frame):
            with _ONE_AT_A_TIME:
                image = _MAPPER.reformat(frame, **options, **colours).to_ndarray()
        else:
            image = self._reformatter.reformat(frame, **options).to_ndarray()
        return np.ascontiguousarray(upright(on_white(image) if transparent else image, frame))


def _colours(frame: av.VideoFrame) -> dict:
    """The conversion of transfer function and primaries that a frame needs; none where it is BT.709 or says nothing."""
    if hdr_kind(frame):
        if frame.color_primaries not in _KNOWN:
            frame.color_primaries = ColorPrimaries.BT2020
        if frame.colorspace == _UNSPECIFIED and not frame.format.is_rgb:
            frame.colorspace = _BT2020_MATRIX
        return {"dst_color_trc": ColorTrc.GAMMA22, "dst_color_primaries": ColorPrimaries.BT709}
    if frame.color_primaries in _WIDE:
        return {"dst_color_primaries": ColorPrimaries.BT709}
    return {}


def standard_range(image: np.ndarray, primaries: int, transfer: int) -> np.ndarray:
    """A picture uint8 (H, W, 3) of these code points (ITU-T H.273) in standard range and BT.709 colours."""
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    frame.color_primaries, frame.color_trc = primaries, transfer
    if not (colours := _colours(frame)):
        return image
    with _ONE_AT_A_TIME:
        return _MAPPER.reformat(frame, format="rgb24", threads=1, **colours).to_ndarray()


def on_white(image: np.ndarray) -> np.ndarray:
    """A picture uint8 (H, W, 4) laid on white -> uint8 (H, W, 3)."""
    colour, alpha = image[..., :3], image[..., 3:]
    if alpha.min() == 255:
        return colour
    return ((colour * alpha.astype(np.uint16) + (255 * (255 - alpha.astype(np.uint16))) + 127) // 255).astype(np.uint8)


def deinterlaced(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """The same frames, each of those that are woven of two fields made whole from its first one by FFmpeg's bwdif."""
    graph, kind = None, None
    for frame in frames:
        if graph is not None and kind != _kind(frame):
            yield from _passed(graph, None)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, kind = _graph(frame), _kind(frame)
        if graph is None:
            yield frame
        else:
            yield from _passed(graph, frame)
    if graph is not None:
        yield from _passed(graph, None)


def _kind(frame: av.VideoFrame) -> tuple:
    return frame.width, frame.height, frame.format.name, frame.time_base


def _graph(frame: av.VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    clock = frame.time_base or Fraction(1, 90_000)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=clock)
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph


def _passed(graph: av.filter.Graph, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
    graph.vpush(frame)
    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return


def upright(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """A view of `image` (H, W, C), turned and mirrored by whole quarters as the frame's display matrix says.

    The matrix takes stored to shown coordinates: x' = a x + c y, y' = b x + d y (rows a b u, c d v, x y w).
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    a, b, _, c, d = np.frombuffer(matrix, dtype=np.int32)[:5].astype(np.int64)
    if abs(b) + abs(c) > abs(a) + abs(d):
        image = image.swapaxes(0, 1)
        across, down = c, b
    else:
        across, down = a, d
    return image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
