"""Small clips whose frames carry their number and whose sound is a known noise, made with PyAV for the tests."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIDE = 64
SOUND_RATE = 44100


def numbered(number: int, width: int = SIDE, height: int = SIDE) -> np.ndarray:
    """A picture uint8 (height, width, 3) that holds `number` (8 bits) as bright and dark squares in its top rows."""
    image = np.full((height, width, 3), 90, np.uint8)
    for bit in range(8):
        image[:16, bit * 8 : bit * 8 + 8] = 220 if number >> bit & 1 else 30
    image[24:40, :16] = (200, 40, 40)
    image[24:40, -16:] = (40, 60, 200)
    return image


def number_of(image: np.ndarray) -> int:
    """The number in a picture of `numbered`."""
    return sum((int(image[4:12, bit * 8 + 2 : bit * 8 + 6].mean()) > 125) << bit for bit in range(8))


def noise(seconds: float, rate: int = SOUND_RATE) -> np.ndarray:
    """float32 (N,): soft noise below 4 kHz, each stretch of it unlike any other."""
    samples = np.random.default_rng(5).standard_normal(int(seconds * rate)).astype(np.float32)
    return np.convolve(samples, np.hanning(12) / 12, mode="same").astype(np.float32) * 0.5


def make_clip(
    path: Path,
    times: list[Fraction],
    rate: Fraction | int = 25,
    codec: str = "libx264",
    sound: str | None = None,
    rotation: int | None = None,
    size: tuple[int, int] = (SIDE, SIDE),
    **options: str,
) -> Path:
    """Write frames 0, 1, ... at `times` (s), with a noise as long as they last where `sound` names a codec."""
    length = float(times[-1] + 1 / Fraction(rate))
    with av.open(str(path), "w", container_options=options) as container:
        stream = container.add_stream(codec, rate=rate, options={"bf": "2"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 12
        clock = Fraction(1, 90_000) if codec == "libx264" else 1 / Fraction(rate)
        stream.codec_context.time_base = clock
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if sound:
            audio = container.add_stream(sound, rate=SOUND_RATE, layout="mono", bit_rate=192_000)
            samples = noise(length)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(number, *size), format="rgb24")
            frame.pts, frame.time_base = round(time / clock), clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def heard(path: Path, rate: int = SOUND_RATE) -> np.ndarray:
    """float32 (N,): the sound of a file as played, from its first picture on; silence where it has none yet."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        begin = float(next(container.decode(video)).pts * video.time_base)
    line, end = np.zeros(0, np.float32), 0
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
        for frame in container.decode(audio=0):
            at = round((float(frame.pts * frame.time_base) - begin) * rate)
            at = end if abs(at - end) < 0.002 * rate else at  # Matroska rounds times to 1 ms
            frame.pts = None
            for piece in resampler.resample(frame):
                samples = piece.to_ndarray()[0]
                line = np.pad(line, (0, max(0, at + len(samples) - len(line))))
                line[max(0, at) : max(0, at + len(samples))] = samples[max(0, -at) :]
                at = end = at + len(samples)
    return line


def delay(sound: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """By how many seconds `sound` comes after `reference`, and their correlation then."""
    size = 1 << (len(sound) + len(reference)).bit_length()
    spectrum = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(reference, size))
    match = np.fft.irfft(spectrum, size)
    peak = int(match.argmax())
    shift = peak - size if peak > size // 2 else peak
    a, b = sound[max(0, shift) :], reference[max(0, -shift) :]
    n = min(len(a), len(b))
    return shift / SOUND_RATE, float(np.corrcoef(a[:n], b[:n])[0, 1])
