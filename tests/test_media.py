"""Videos read and written: times, rates, rotation, colours, sound, memory; on clips made here and real ones."""

import os
import resource
import subprocess
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import delay, heard, make_clip, noise, number_of, numbered

from vaegan.errors import UserError
from vaegan.media import VideoReader, VideoWriter, exact_rate, write_image

STEADY = [Fraction(i, 25) for i in range(100)]
NTSC = Fraction(30000, 1001)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """100 numbered frames at 25/s with AAC sound."""
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", STEADY, sound="aac")


def numbers(reader: VideoReader) -> list[int]:
    return [number_of(frame.image) for frame in reader]


def streams(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return {stream.type: stream.codec_context.codec.canonical_name for stream in container.streams}


def test_reads_every_frame_in_order_with_its_time(clip):
    with VideoReader(clip) as reader:
        frames = list(reader)
    assert [number_of(frame.image) for frame in frames] == list(range(100))
    assert np.allclose([frame.time for frame in frames], np.arange(100) / 25)
    assert (reader.width, reader.height, reader.rate, reader.duration) == (64, 64, 25, 4.0)
    assert reader.has_audio and not reader.truncated and reader.expected_frames == 100
    assert frames[0].image.dtype == np.uint8 and frames[0].image.flags.c_contiguous


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.ts", "libx264"), ("a.mpg", "mpeg1video")]
)
def test_start_and_end_give_the_frames_between_them(tmp_path, name, codec):
    path = make_clip(tmp_path / name, STEADY, codec=codec, sound="mp2" if codec == "mpeg1video" else None)
    reader = VideoReader(path, start=3.0, end=3.6)
    assert numbers(reader) == list(range(75, 90))
    assert numbers(reader) == list(range(75, 90)), "a reader can be read again"
    assert abs(next(iter(reader)).time - 3.0) < 1e-3


def test_times_of_a_variable_rate_are_kept_through_reading_and_writing(tmp_path):
    times = [Fraction(t, 1000) for t in (0, 40, 80, 200, 210, 500, 540, 900, 1000)]
    path = make_clip(tmp_path / "vfr.mp4", times)
    frames = list(VideoReader(path))
    assert np.allclose([frame.time for frame in frames], [float(t) for t in times], atol=1e-4)
    with VideoWriter(tmp_path / "again.mp4", 64, 64, 25) as writer:
        for frame in frames:
            writer.write(frame.image, frame.time)
    again = list(VideoReader(tmp_path / "again.mp4"))
    assert np.allclose([frame.time for frame in again], [float(t) for t in times], atol=1e-4)


def test_a_rate_asked_for_shows_each_frame_from_the_tick_nearest_to_its_time(tmp_path):
    path = make_clip(tmp_path / "vfr.mp4", [Fraction(t, 100) for t in (0, 4, 8, 20, 50, 54)])
    frames = list(VideoReader(path, fps=10))
    assert np.allclose([frame.time for frame in frames], np.arange(len(frames)) / 10)
    assert [number_of(frame.image) for frame in frames][:6] == [0, 2, 3, 3, 3, 4]
    shown, wanted = numbers(VideoReader(path, start=0.1, end=0.5, fps=20)), [2, 2, 3, 3, 3, 3, 3, 3]
    assert shown == wanted
    assert VideoReader(path, fps=29.97).rate == NTSC


def test_resampling_to_the_rate_of_the_file_gives_every_frame_once(tmp_path):
    for name, rate in (("a.mp4", NTSC), ("a.mkv", NTSC), ("b.mkv", Fraction(24))):
        path = make_clip(tmp_path / name, [i / rate for i in range(60)], rate=rate)
        assert numbers(VideoReader(path, fps=VideoReader(path).rate)) == list(range(60))
        between = float(Fraction(41, 2) / rate)  # half way between two frames, where rounding could go either way
        seen = list(VideoReader(path, start=between, fps=rate))
        assert [number_of(frame.image) for frame in seen] == list(range(21, 60))
        assert abs(seen[0].time - 21 / rate) < 1e-3


def test_other_rates_take_frames_evenly(clip):
    assert numbers(VideoReader(clip, fps=12.5)) == list(range(0, 100, 2))
    assert numbers(VideoReader(clip, fps=50)) == [i // 2 for i in range(200)]
    ticks = np.array([frame.time for frame in VideoReader(clip, fps=NTSC)])
    assert np.allclose(ticks, np.arange(120) / float(NTSC))
    late = np.array(numbers(VideoReader(clip, fps=NTSC))) / 25 - ticks
    assert late.max() < 0.0175 and late.min() > -0.0235, "early by half a tick at most, late by the rest of a frame"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("rate", [NTSC, Fraction(24000, 1001), Fraction(25), Fraction(15), Fraction(60)])
def test_rates_are_exact_through_writing_and_reading(tmp_path, suffix, rate):
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, 64, 64, rate) as writer:
        for number in range(20):
            writer.write(numbered(number))
    reader = VideoReader(path)
    assert reader.rate == rate
    assert numbers(reader) == list(range(20))
    assert abs(reader.duration - 20 / rate) < 1.1e-3
    if suffix != ".mkv":
        with av.open(str(path)) as container:
            assert container.streams.video[0].average_rate == rate
            assert container.streams.video[0].duration * container.streams.video[0].time_base == 20 / rate


def test_rates_are_recognised():
    assert exact_rate(29.97) == exact_rate("30000/1001") == NTSC
    assert (
        exact_rate(23.976) == Fraction(24000, 1001) and exact_rate(24.0) == 24 and exact_rate(12.5) == Fraction(25, 2)
    )
    for wrong in (0, -25, float("nan"), float("inf"), "fast", None, 10**6):
        with pytest.raises(UserError):
            exact_rate(wrong)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotated_video_is_shown_upright(tmp_path, degrees):
    path = make_clip(tmp_path / "turned.mp4", STEADY[:3], rotation=degrees, size=(96, 64))
    reader = VideoReader(path)
    image = next(iter(reader)).image
    wanted = np.rot90(numbered(0, 96, 64), degrees // 90)  # both turn anticlockwise
    assert image.shape == wanted.shape == (reader.height, reader.width, 3)
    assert np.abs(image.astype(int) - wanted).mean() < 4


def test_mirrored_video_is_mirrored_back(tmp_path):
    path = tmp_path / "mirrored.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 96, 64
        stream.set_display_rotation(90, hflip=True)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(0, 96, 64), format="rgb24")))
        container.mux(stream.encode(None))
    image = next(iter(VideoReader(path))).image
    assert np.abs(image.astype(int) - np.rot90(numbered(0, 96, 64))[:, ::-1]).mean() < 4


def test_pixels_that_are_not_square_are_made_square(tmp_path):
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 64
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(0), format="rgb24")))
        container.mux(stream.encode(None))
    reader = VideoReader(path)
    assert (reader.width, reader.height) == (96, 64)
    assert next(iter(reader)).image.shape == (64, 96, 3)


def test_colours_survive_writing_and_odd_sizes_are_padded(tmp_path):
    colours = [(255, 255, 255), (0, 0, 0), (250, 10, 10), (10, 240, 10), (20, 20, 240), (200, 140, 110)]
    image = np.concatenate([np.full((33, 33, 3), colour, np.uint8) for colour in colours] * 2, axis=1)[:, :395]
    with VideoWriter(tmp_path / "out.mp4", 395, 33, 25) as writer:
        writer.write(image)
    reader = VideoReader(tmp_path / "out.mp4")
    assert (reader.width, reader.height) == (396, 34)
    shown = next(iter(reader)).image
    for index, colour in enumerate(colours):
        assert np.abs(shown[8:25, index * 33 + 8 : index * 33 + 25] - np.float32(colour)).max() < 5
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0].codec_context
        assert (stream.name, stream.pix_fmt, stream.colorspace, stream.color_range) == ("h264", "yuv420p", 1, 1)
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "playable while it loads"


@pytest.mark.parametrize(
    ("source", "codec", "sound", "kept"),
    [
        ("a.mp4", "libx264", "aac", "aac"),
        ("a.mkv", "libx264", "libmp3lame", "mp3"),
        ("a.ts", "libx264", "aac", "aac"),
        ("a.mpg", "mpeg1video", "mp2", "aac"),
        ("a.mov", "libx264", "pcm_s16le", "aac"),
        ("a.avi", "mpeg4", "libmp3lame", "mp3"),
    ],
)
def test_sound_survives_and_starts_with_the_picture(tmp_path, source, codec, sound, kept):
    path = make_clip(tmp_path / source, STEADY, codec=codec, sound=sound)
    if source != "a.avi":  # AVI keeps no note of an encoder's delay
        assert abs(delay(heard(path), noise(4.0))[0]) < 0.001
    for start, end in ((0.0, None), (1.2, 2.6)):
        out = tmp_path / "out.mp4"
        with VideoWriter(out, 64, 64, 25, audio_from=path, audio_start=start, audio_end=end) as writer:
            for frame in VideoReader(path, start=start, end=end):
                writer.write(frame.image)
        assert streams(out)["audio"] == kept
        line = heard(out)
        late, likeness = delay(line, heard(path)[round(start * 44100) : round((end or 4.0) * 44100)])
        assert abs(late) < 0.001 and likeness > 0.95
        assert abs(len(line) / 44100 - ((end or 4.0) - start)) < 0.04, "the sound ends within a frame of the picture"


def test_sound_that_needs_no_change_is_copied_bit_for_bit(clip, tmp_path):
    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    with VideoWriter(tmp_path / "out.mp4", 64, 64, 25, audio_from=clip) as writer:
        for frame in VideoReader(clip):
            writer.write(frame.image)
    assert packets(tmp_path / "out.mp4") == packets(clip)


@pytest.mark.parametrize(("name", "codec", "sound"), [("a.mp4", "libx264", "aac"), ("a.mpg", "mpeg1video", "mp2")])
@pytest.mark.filterwarnings("error")
def test_no_sound_from_outside_the_part_asked_for_is_carried_along(tmp_path, name, codec, sound):
    path = make_clip(tmp_path / name, STEADY, codec=codec, sound=sound)
    out = tmp_path / "out.mp4"
    with VideoWriter(out, 64, 64, 25, audio_from=path, audio_start=2.5, audio_end=3.5) as writer:
        for number in range(50):
            writer.write(numbered(number))
    with av.open(str(out)) as container:
        carried = container.streams.audio[0].frames * 1024 / 44100  # players skip what lies outside, files keep it
    assert 1.0 <= carried < 1.12


def test_sound_ends_with_the_picture_and_a_silent_driver_gives_none(clip, tmp_path):
    with VideoWriter(tmp_path / "short.mp4", 64, 64, 25, audio_from=clip) as writer:
        for number in range(25):
            writer.write(numbered(number))
    assert abs(len(heard(tmp_path / "short.mp4")) / 44100 - 1.0) < 0.04
    silent = make_clip(tmp_path / "silent.mp4", STEADY[:5])
    assert not VideoReader(silent).has_audio
    for driver in (silent, tmp_path):
        with VideoWriter(tmp_path / "out.mp4", 64, 64, 25, audio_from=driver) as writer:
            writer.write(numbered(0))
        assert set(streams(tmp_path / "out.mp4")) == {"video"}


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_keep_their_pictures_and_their_length(tmp_path, suffix):
    from PIL import Image

    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, 64, 64, NTSC) as writer:
        for number in range(30):
            writer.write(numbered(number))
    length = 0
    with Image.open(path) as image:
        assert image.n_frames == 30 and image.info["loop"] == 0
        for number in range(30):
            image.seek(number)
            assert number_of(np.asarray(image.convert("RGB"))) == number
            length += image.info["duration"]
    assert abs(length - 30 / NTSC * 1000) <= 5


def test_a_folder_of_frames_is_written_and_read_in_natural_order(tmp_path):
    folder = tmp_path / "frames"
    with VideoWriter(folder, 64, 64, 25) as writer:
        for number in range(12):
            writer.write(numbered(number))
    assert sorted(p.name for p in folder.iterdir())[::11] == ["000001.png", "000012.png"]
    assert numbers(VideoReader(folder)) == list(range(12))
    natural = tmp_path / "natural"
    natural.mkdir()
    for number in (0, 2, 10, 1):
        write_image(natural / f"f{number}.png", numbered(number))
    (natural / "notes.txt").write_text("not a picture")
    reader = VideoReader(natural, folder_rate=10)
    assert numbers(reader) == [0, 1, 2, 10]
    assert (reader.rate, reader.duration, reader.has_audio) == (10, 0.4, False)
    assert numbers(VideoReader(natural, start=0.1, end=0.3, folder_rate=10)) == [1, 2]
    write_image(natural / "f11.png", numbered(11, 80, 64))
    with pytest.raises(UserError, match="80x64"):
        list(VideoReader(natural))


def test_real_clips_are_read_and_rewritten_with_their_sound(data_dir, tmp_path):
    folder = data_dir / "raw" / "videos"
    wanted = {"lipnet_GRID-bbaf2n.mpg": (360, 288, 25, 75), "liveportrait_driving-d3.mp4": (512, 512, 30, 60)}
    wanted |= {"lia_vox-driving3.mov": (256, 256, 24, 48), "talkvid_Diversity-Age-31-45_2.mp4": (1920, 1080, 24, 12)}
    for name, (width, height, rate, count) in wanted.items():
        end = None if name.endswith(".mpg") else count / rate
        reader = VideoReader(folder / name, end=end)
        assert (reader.width, reader.height, reader.rate, reader.has_audio) == (width, height, rate, True)
        with VideoWriter(tmp_path / "out.mp4", 128, 72, rate, audio_from=folder / name, audio_end=end) as writer:
            for frame in reader:
                writer.write(np.ascontiguousarray(frame.image[100:172, 100:228]))
        assert writer.count == count and not reader.truncated
        assert streams(tmp_path / "out.mp4") == {"video": "h264", "audio": "aac"}
        wrote, read = heard(tmp_path / "out.mp4"), heard(folder / name)[: round(count / rate * 44100)]
        assert abs(len(wrote) - len(read)) / 44100 < 1 / rate
        if np.ptp(read) > 0:  # two of the clips carry a silent stream
            late, likeness = delay(wrote, read)
            assert abs(late) < 0.002 and likeness > 0.95


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from vaegan.media import VideoReader, VideoWriter

folder = Path(sys.argv[1])
down, across = np.mgrid[:256, :512]
texture = np.stack([(down + across) % 256, across * 2 % 256, down], axis=2).astype(np.uint8)
with VideoWriter(folder / "long.mp4", 256, 256, 25) as writer:
    for number in range(600):
        writer.write(texture[:, number % 256 :][:, :256])
with VideoWriter(folder / "out.mp4", 256, 256, 25, audio_from=sys.argv[2]) as writer:
    for number, frame in enumerate(reader := VideoReader(folder / "long.mp4")):
        writer.write(frame.image)
        if number in (300, 599):
            print(Path("/proc/self/statm").read_text().split()[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the resident memory from /proc")
def test_memory_does_not_grow_with_the_length_of_a_clip(tmp_path, clip):
    # In a process of its own: here, memory that earlier tests have used and freed would hide growth. The decoder
    # itself grows until its second key frame.
    command = [sys.executable, "-c", MEMORY, str(tmp_path), str(clip)]
    early, late = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    grown = (late - early) * resource.getpagesize()
    assert grown < 8e6, f"{grown / 1e6:.0f} MB more after 299 further frames, which are 59 MB"


def test_a_damaged_video_gives_what_can_be_decoded_and_one_warning(tmp_path):
    path = make_clip(tmp_path / "whole.mp4", STEADY, sound="aac", movflags="+faststart")
    data = path.read_bytes()
    cut, rotten = tmp_path / "cut.mp4", tmp_path / "rotten.mp4"
    cut.write_bytes(data[: len(data) * 6 // 10])
    middle = len(data) // 2
    rotten.write_bytes(data[:middle] + np.random.default_rng(0).bytes(2000) + data[middle + 2000 :])
    for damaged, least in ((cut, 40), (rotten, 80)):
        reader = VideoReader(damaged)
        with pytest.warns(UserWarning, match="is damaged") as told:
            seen = numbers(reader)
        assert len(told) == 1 and reader.truncated
        assert least <= len(seen) < 100 and seen[:20] == list(range(20))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(VideoReader(path))


def test_names_that_look_like_addresses_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("http:x.mp4", "pipe:0.mp4", "%03d.mp4", "-o.mp4"):
        with VideoWriter(name, 64, 64, 25) as writer:
            writer.write(numbered(7))
        assert numbers(VideoReader(name)) == [7]
    assert sorted(os.listdir()) == sorted(["http:x.mp4", "pipe:0.mp4", "%03d.mp4", "-o.mp4"])
