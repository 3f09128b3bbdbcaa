"""Video files opened within bounds, and read packet by packet past damage and imprecise seeks."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import av

from vaegan.errors import UserError
from vaegan.media.files import input_file, reason

MAX_SIDE = 8192
MAX_PIXELS = 64 * 1024 * 1024
MAX_SECONDS = 6 * 3600
MAX_STREAMS = 32
_FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegvideo,mpegts,flv,asf,ogg,gif,mxf,nut,h264,hevc,ivf,dv,yuv4mpegpipe"
_OPTIONS = {
    # Play lists (HLS, concat) open other files and addresses: neither such formats nor such protocols are let in.
    "format_whitelist": f"{_FORMATS},wav,mp3,aac,flac",
    "protocol_whitelist": "file",
    "max_streams": str(MAX_STREAMS),
    "max_pixels": str(MAX_PIXELS),
}


def open_media(path: str | os.PathLike) -> av.container.InputContainer:
    """Open a video or sound file for reading.

    Raises:
        UserError: the file is missing, empty, no video that we read, has too many streams or is too long.
    """
    file = input_file(path, "a video")
    try:
        container = av.open(str(file), options=_OPTIONS, metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        if file.suffix.lower() == ".motion":
            raise UserError(f"{path} is a motion, not a video: `vaegan motion inspect` tells of it") from error
        raise UserError(
            f"{path} is not a video that can be read, or its end is missing ({reason(error)}); "
            "copy it again or convert it to .mp4"
        ) from error
    try:
        if len(container.streams) >= MAX_STREAMS:
            raise UserError(f"{path} has {MAX_STREAMS} streams or more; keep one of pictures and one of sound")
        if (container.duration or 0) > MAX_SECONDS * av.time_base:
            raise UserError(f"{path} lasts more than {MAX_SECONDS // 3600} hours; cut it first")
    except UserError:
        container.close()
        raise
    return container


def video_stream(container: av.container.InputContainer, path: str | os.PathLike) -> av.VideoStream:
    """The stream of moving pictures, bounded and ready to decode on several threads.

    Raises:
        UserError: there is none, its codec is unknown, or its pictures are too large.
    """
    streams = _moving(container)
    if not streams:
        raise UserError(f"{path} holds {'only sound' if container.streams.audio else 'no pictures'}; name a video")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    context = stream.codec_context
    if context is None:
        raise UserError(f"{path} is in a video format that cannot be decoded here; convert it to H.264 .mp4")
    width, height = context.width, context.height
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise UserError(f"{path} is {width}x{height} px, more than {MAX_SIDE}x{MAX_SIDE}; scale it down first")
    context.options = {"max_pixels": str(MAX_PIXELS)}
    stream.thread_type = "AUTO"
    return stream


_WITHOUT_INDEX = {"mpeg", "mpegvideo"}

_SEES_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

_LOOKED_AT = 500
"""Packets whose times are read where the header's frame rate cannot be trusted."""


def decode(container: av.container.InputContainer, stream: av.stream.Stream, damage: list[str]) -> Iterator[Any]:
    """Decode the frames of one stream from where the container stands, past packets that cannot be decoded.

    Each failure adds its reason to `damage`.
    """
    packets, frames_of = container.demux(stream), _decoder(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = frames_of(packet)
        except av.FFmpegError as error:
            damage.append(reason(error))
            continue
        yield from frames


def _decoder(stream: av.stream.Stream) -> Callable[[av.Packet], list]:
    """What decodes the packets of a stream: for transparent VP8 and VP9 libvpx, since FFmpeg's own leaves alpha out."""
    name = _SEES_ALPHA.get(stream.codec_context.name) if stream.metadata.get("alpha_mode") == "1" else None
    if name is None or name not in av.codec.codecs_available:
        return av.Packet.decode
    context = av.CodecContext.create(name, "r")
    context.options = {"max_pixels": str(MAX_PIXELS)}
    return context.decode


def look(
    container: av.container.InputContainer, stream: av.VideoStream, times: bool
) -> tuple[av.VideoFrame | None, list[float]]:
    """The first picture that can be decoded, and the times in s of the first packets, of many only where asked for."""
    first, stamps, packets, frames_of = None, [], container.demux(stream), _decoder(stream)
    while first is None or (times and len(stamps) < _LOOKED_AT):
        try:
            packet = next(packets, None)
            if packet is None:
                break
            if packet.size and clock(packet) is not None:
                stamps.append(clock(packet))
            if first is None:
                first = next(iter(frames_of(packet)), None)
        except av.FFmpegError:
            continue
    return first, stamps


def last_time(path: str | os.PathLike) -> float:
    """Where the last packet of any stream of a file ends, in s from where the file begins; 0 where there is none."""
    last = 0.0
    with open_media(path) as container, contextlib.suppress(av.FFmpegError):
        begin = (container.start_time or 0) / av.time_base
        for packet in container.demux():
            if packet.size and clock(packet) is not None:
                last = max(last, clock(packet) + float((packet.duration or 0) * packet.time_base) - begin)
    return last


def clock(item: av.Packet | av.frame.Frame) -> float | None:
    """The time of a packet or a frame in s on the clock of its file."""
    stamp = item.dts if item.pts is None else item.pts
    return None if stamp is None or item.time_base is None else float(stamp * item.time_base)


def first_time(container: av.container.InputContainer, path: str | os.PathLike) -> float:
    """The clock time in s of the first picture that can be decoded, which all of the file is counted from.

    Of sound alone it is 0. The container stands anywhere afterwards.
    """
    if not _moving(container):
        return 0.0
    first = next(decode(container, video_stream(container, path), []), None)
    return (first and clock(first)) or 0.0


def _moving(container: av.container.InputContainer) -> list[av.VideoStream]:
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def from_time(path: str | os.PathLike, seconds: float | None, read: Callable, damage: list[str]) -> Iterator[Any]:
    """Read a stream from an item at or before a clock time on, or from its beginning where there is none.

    A seek that lands behind the time asked for is tried further ahead, and at last the file is read from its
    beginning. MPEG program streams always are: they seek by guess, and may lose the frame after the one they find.

    Args:
        path: the file, opened afresh.
        seconds: the clock time of the file (not counted from its first picture); None is its beginning.
        read: container -> (stream, iterator over its packets or frames).
        damage: where `read` puts what it could not decode; a seek into the middle of a packet does not count.
    """
    for back in (0.0, 2.0, 10.0, None):
        with open_media(path) as container:
            damage.clear()
            stream, items = read(container)
            begin = float((stream.start_time or 0) * stream.time_base)
            seek = seconds is not None and back is not None and seconds - back > begin
            if seek and container.format.name in _WITHOUT_INDEX:
                continue
            if seek:
                try:
                    container.seek(int((seconds - back) / stream.time_base), stream=stream)
                except av.FFmpegError:
                    continue
            first = next(items, None)
            if seek and (first is None or clock(first) is None or clock(first) > seconds):
                continue
            if seek:
                damage.clear()
            if first is not None:
                yield first
                yield from items
            return
