"""The sound of one file carried into another: copied as it is where the output can hold it, else made AAC."""

import itertools
import os
import warnings
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from vaegan.media.container import clock, decode, first_time, from_time, open_media
from vaegan.media.files import reason

# What players of each container are known to play; everything else is transcoded.
_COPIED = {
    ".mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"},
    ".m4v": {"aac", "ac3", "eac3", "alac"},
    ".mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"},
    ".webm": {"opus", "vorbis"},
    ".mkv": {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "vorbis", "flac", "pcm_s16le", "pcm_s24le"},
}
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_PIECE = 1024
"""Samples that are encoded at once: sound ends with the pictures to a few of these."""
# A decoder needs the packet before the first that is heard; the container marks it as not to be played.
_LEAD_SECONDS = 0.05


class Sound:
    """Feeds the sound of a file, from `start` s to `end` s after its first picture, into an output container.

    speed: 0.5 to 2, how much faster than it is, at the same pitch
    """

    def __init__(
        self,
        path: str | os.PathLike,
        start: float,
        end: float | None,
        output: av.container.OutputContainer,
        suffix: str,
        speed: float = 1.0,
    ):
        """Add the stream to `output`, before its first packet; where `path` has no sound, `present` is False."""
        self._path, self._output = path, output
        self._length = float("inf") if end is None else end - start  # s of the source
        self._speed = speed
        self._source = open_media(path)
        streams = [s for s in self._source.streams.audio if s.codec_context is not None]
        self.present = bool(streams)
        self._pieces: Iterator[tuple[float, list[av.Packet]]] = iter(())
        self._next: tuple[float, list[av.Packet]] | None = None
        self._stream = None
        if not streams:
            self.close()
            return
        best = self._source.streams.best("audio")
        self._index = (best if best in streams else streams[0]).index
        self._begin = first_time(self._source, path) + start
        template = self._source.streams[self._index]
        if speed == 1 and template.codec_context.codec.canonical_name in _COPIED[suffix]:
            self._stream = output.add_stream_from_template(template)
            self._pieces = self._copied()
        else:
            encoder, rates = ("libopus", _OPUS_RATES) if suffix == ".webm" else ("aac", _AAC_RATES)
            rate = template.codec_context.sample_rate
            rate = rate if rate in rates else 48000
            layout = "mono" if template.codec_context.layout.nb_channels == 1 else "stereo"
            self._stream = output.add_stream(encoder, rate=rate, layout=layout, bit_rate=192_000)
            self._pieces = self._transcoded(rate, layout)

    def feed(self, until: float) -> None:
        """Write what is to be heard before `until` s of the output."""
        until = min(until, self._length / self._speed)
        while True:
            self._next = self._next or next(self._pieces, None)
            if self._next is None or self._next[0] >= until:
                return
            self._output.mux(self._next[1])
            self._next = None

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None and self._stream.codec_context.is_encoder and self._stream.codec_context.is_open:
            self._output.mux(self._stream.encode(None))
        self.close()

    def close(self) -> None:
        self._pieces = iter(())
        self._source.close()

    def _copied(self) -> Iterator[tuple[float, list[av.Packet]]]:
        def read(container):
            stream = container.streams[self._index]
            return stream, (p for p in container.demux(stream) if p.pts is not None and p.dts is not None and p.size)

        try:
            for packet in from_time(self._path, self._begin - _LEAD_SECONDS, read, []):
                finer = 1000 if packet.time_base > Fraction(1, 10_000) else 1  # AVI counts in whole packets
                base = Fraction(packet.time_base) / finer
                offset = round(self._begin / base)
                packet.pts, packet.dts = packet.pts * finer - offset, packet.dts * finer - offset
                packet.duration, packet.time_base = packet.duration * finer, base
                time = float(packet.pts * base)
                if time >= -_LEAD_SECONDS:
                    packet.stream = self._stream
                    yield time + float(packet.duration * base) / 2, [packet]  # most of it is before the end, or none
        except av.FFmpegError as error:
            self._lost(error)

    def _transcoded(self, rate: int, layout: str) -> Iterator[tuple[float, list[av.Packet]]]:
        damage: list[str] = []

        def read(container):
            stream = container.streams[self._index]
            return stream, decode(container, stream, damage)

        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        tempo = None if self._speed == 1 else _Tempo(self._speed, rate, layout)
        end = None if self._length == float("inf") else round(self._length * rate)
        until = float("inf") if end is None else end if tempo is None else end + rate // 2  # atempo eats its last words
        position, written = None, 0
        for frame in from_time(self._path, self._begin, read, damage):
            if position is None:
                position = round(((clock(frame) or 0.0) - self._begin) * rate)
                written = round(max(0, position) / self._speed)
            frame.pts = None
            for piece in resampler.resample(frame):
                samples = piece.to_ndarray()
                count = samples.shape[1]
                part = samples[:, max(0, -position) : max(0, min(count, until - position))]
                position += count
                if part.shape[1]:
                    part = part if tempo is None else tempo.push(part)
                    yield from self._encoded(part, written, rate, layout, end)
                    written += part.shape[1]
            if position >= until:
                break
        if tempo is not None and tempo.given:
            yield from self._encoded(tempo.rest(), written, rate, layout, end)
        if damage:
            self._lost(damage[0])

    def _encoded(
        self, samples: np.ndarray, at: int, rate: int, layout: str, end: int | None
    ) -> Iterator[tuple[float, list[av.Packet]]]:
        """Times and packets of float32 (channels, N) that begin at sample `at` of the output; end: in the source."""
        last = samples.shape[1] if end is None else min(samples.shape[1], round(end / self._speed) - at)
        for first in range(0, last, _PIECE):
            part = np.ascontiguousarray(samples[:, first : min(last, first + _PIECE)])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), at + first
            yield (at + first) / rate, self._stream.encode(frame)

    def _lost(self, error: Exception | str) -> None:
        why = error if isinstance(error, str) else reason(error)
        warnings.warn(f"{self._path}: part of its sound cannot be read ({why}) and is missing", stacklevel=3)


class _Tempo:
    """Samples float32 (channels, N), made faster or slower at the same pitch by FFmpeg's atempo."""

    def __init__(self, speed: float, rate: int, layout: str):
        self.rate, self.layout, self.channels = rate, layout, 1 if layout == "mono" else 2
        self.graph = av.filter.Graph()
        source = self.graph.add_abuffer(sample_rate=rate, format="fltp", layout=layout, time_base=Fraction(1, rate))
        chain = [source, self.graph.add("atempo", str(speed)), self.graph.add("aformat", "sample_fmts=fltp")]
        for before, after in itertools.pairwise([*chain, self.graph.add("abuffersink")]):
            before.link_to(after)
        self.graph.configure()
        self.given = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self.layout)
        frame.sample_rate, frame.time_base, frame.pts = self.rate, Fraction(1, self.rate), self.given
        self.given += samples.shape[1]
        self.graph.push(frame)
        return self._ready()

    def rest(self) -> np.ndarray:
        self.graph.push(None)
        return self._ready()

    def _ready(self) -> np.ndarray:
        pieces = [np.zeros((self.channels, 0), np.float32)]
        while True:
            try:
                pieces.append(self.graph.pull().to_ndarray())
            except (av.error.BlockingIOError, av.error.EOFError):
                return np.concatenate(pieces, 1)


def sound_state(path: str | os.PathLike) -> str:
    """ "good" when all sound of a file that has some decodes and lasts about as long as it says; else what is wrong."""
    damage: list[str] = []
    with open_media(path) as container:
        stream = next(stream for stream in container.streams.audio if stream.codec_context is not None)
        samples = 0
        try:
            for frame in decode(container, stream, damage):
                samples += frame.samples
        except (av.FFmpegError, ValueError) as error:
            damage.append(str(error))
        heard = samples / (stream.rate or 1)
        named = float(stream.duration * stream.time_base) if stream.duration else 0.0
    if damage:
        return f"its sound is damaged ({damage[0]})"
    if not samples or heard < named - max(0.5, 0.05 * named):
        return f"its sound ends after {heard:.1f} of {named:.1f} s"
    return "good"
