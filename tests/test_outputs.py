"""The written file: formats, rates, shapes, speed, sound in step, the same bytes again."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import SOUND_RATE, delay, heard, make_clip, noise
from PIL import Image
from standin import PoolModel, SquareTracker, film, picture, save_tiny_model, talking

import vaegan
from vaegan.errors import UserError
from vaegan.media import VIDEO_SUFFIXES, VideoReader, VideoWriter, write_image
from vaegan.media.writer import WITH_SOUND
from vaegan.pipeline import Transfer
from vaegan.render.extent import Extent, crop_side, parse_aspect
from vaegan.settings import TransferSettings
from vaegan.smoothing import between

ASPECTS = ("16:9", "1:1", "9:16", "4:5")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with a model, a photo, and a driver of 2 s at 25 frames/s whose sound is a known noise."""
    folder = tmp_path_factory.mktemp("inputs")
    write_image(folder / "me.png", picture(x=70, y=40))
    sound = make_clip(folder / "noise.mkv", [Fraction(i, 25) for i in range(50)], sound="flac")
    film(folder / "clip.mp4", talking(50), audio_from=sound)
    return folder


def made(inputs, output, **options):
    notes = []
    options = {"model": PoolModel(), "tracker": SquareTracker(), "no_label": True, "size": 64} | options
    result = vaegan.transfer(inputs / "me.png", inputs / "clip.mp4", output, on_note=notes.append, **options)
    return result, [note.kind for note in notes]


def pictures(path):
    """The frames of a file, uint8 (H, W, 3) each."""
    if Path(path).suffix != ".webp":
        return [frame.image for frame in VideoReader(path)]
    with Image.open(path) as image:
        return [np.array((image.seek(number), image.convert("RGB"))[1]) for number in range(image.n_frames)]


def openness(frames):
    """How bright each frame is where the mouth opens."""
    return np.array([frame[34:40, 27:37].mean() for frame in frames])


# ---- formats


@pytest.mark.parametrize("suffix", sorted(WITH_SOUND))
@pytest.mark.parametrize(
    ("start", "end", "fps"), [(0, None, None), (0.41, 1.5, None), (0.41, 1.5, 60), (0.3, None, 12.5)]
)
def test_a_video_opened_again_is_what_was_asked_for_with_its_sound_in_step(inputs, tmp_path, suffix, start, end, fps):
    out = tmp_path / f"out{suffix}"
    result, notes = made(inputs, out, start=start, end=end, fps=fps)
    rate = Fraction(fps or 25)
    first = np.ceil(start * 25) / 25
    length = (end or 2) - first
    step = max(1 / 25, float(1 / rate))
    assert result.audio and not notes
    with av.open(str(out)) as container:
        stream, sound = container.streams.video[0], container.streams.audio[0]
        context = stream.codec_context
        assert context.name == ("vp9" if suffix == ".webm" else "h264") and context.pix_fmt == "yuv420p"
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert sound.codec_context.name == ("opus" if suffix == ".webm" else sound.codec_context.name)
        assert container.duration / av.time_base == pytest.approx(length, abs=step + 0.03)
    frames = list(VideoReader(out))
    assert len(frames) == result.frames and abs(len(frames) / float(rate) - length) <= step
    assert fps != 60 or abs(len(frames) / 60 - length) < 1 / 60  # no frame of the driver is shown to its end
    assert np.allclose([f.time for f in frames], np.arange(len(frames)) / float(rate), atol=1.1e-3)
    off, alike = delay(heard(out), noise(2.0)[round(first * SOUND_RATE) : round((end or 2) * SOUND_RATE)])
    assert abs(off) < float(1 / rate) and alike > 0.9


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES - WITH_SOUND))
def test_what_holds_no_sound_says_so_and_keeps_count_and_length(inputs, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    result, notes = made(inputs, out, end=0.48, quality=40)
    assert not result.audio and notes == ["sound"] + ["quality"] * (suffix != ".webp")
    assert len(pictures(out)) == result.frames == 12
    if suffix:
        with Image.open(out) as image:
            lengths = [(image.seek(n), image.load(), image.info["duration"])[2] for n in range(image.n_frames)]
        assert sum(lengths) == pytest.approx(480, abs=10)
    _, notes = made(inputs, tmp_path / f"again{suffix}", end=0.2, sound="none")
    assert notes == []


def test_a_gif_that_browsers_would_slow_down_is_refused_before_the_work(inputs, tmp_path):
    with pytest.raises(UserError, match="at most 50 frames/s; use --fps 50"):
        made(inputs, tmp_path / "out.gif", fps=60)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out.webp"])
def test_quality_makes_the_file_smaller_and_the_pictures_worse(tmp_path, name):
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (12, 12, 3), np.uint8) for _ in range(4)]
    real = [np.array(Image.fromarray(c).resize((96, 96), Image.Resampling.BICUBIC)) for c in coarse]
    sizes, errors = [], []
    for quality in (10, 80, 100):
        with VideoWriter(tmp_path / name, 96, 96, 25, quality=quality) as video:
            for image in real:
                video.write(image)
        sizes.append((tmp_path / name).stat().st_size)
        errors.append(
            np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(real, pictures(tmp_path / name), strict=True)])
        )
    assert sizes == sorted(sizes) and sizes[0] < 0.7 * sizes[2]
    assert errors == sorted(errors, reverse=True) and errors[0] > 1.5 * errors[2]


@pytest.mark.parametrize("quality", [0, 101])
def test_impossible_qualities_are_refused(inputs, tmp_path, quality):
    with pytest.raises(UserError, match="use 1 to 100"):
        made(inputs, tmp_path / "out.mp4", quality=quality)


# ---- rate and speed


def expected_openness(times):
    return 5 - 5 * np.cos(2 * np.pi * times * 25 / 10)


def test_a_rate_above_the_drivers_has_motion_between_its_frames(inputs, tmp_path):
    made(inputs, tmp_path / "out.mp4", fps=60, size=None)
    frames = np.stack([f.image.astype(float) for f in VideoReader(tmp_path / "out.mp4")])
    opened = frames[:, 145:165, 110:145].mean(axis=(1, 2, 3))[:116]  # the driver's last frame stands
    times = np.arange(116) / 60
    assert np.corrcoef(opened, expected_openness(times))[0, 1] > 0.98
    for shift in (-1, 1):  # a frame early or late is worse
        assert np.corrcoef(opened, expected_openness(times + shift / 25))[0, 1] < 0.9
    steps = np.abs(np.diff(opened))[np.abs(np.gradient(expected_openness(times)))[:-1] > 0.6]
    assert len(steps) > 40 and (steps < 0.1 * steps.mean()).mean() < 0.15  # frames shown twice would be 35 of 60


def test_slow_motion_lasts_twice_as_long_and_its_sound_stays_in_step(inputs, tmp_path):
    bursts = np.zeros((1, 2 * SOUND_RATE), np.float32)
    for begin in (0.2, 0.9, 1.5):
        at = round(begin * SOUND_RATE)
        bursts[0, at : at + 4000] = noise(1)[:4000]
    sound = tmp_path / "bursts.mkv"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("flac", rate=SOUND_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((bursts * 2**15).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    driver = film(tmp_path / "driver.mp4", talking(50), audio_from=sound)
    for speed, suffix in ((0.5, ".mp4"), (2.0, ".webm")):
        out = tmp_path / f"out{suffix}"
        result = vaegan.transfer(
            inputs / "me.png", driver, out, model=PoolModel(), tracker=SquareTracker(), speed=speed, size=64
        )
        assert result.frames == 50 / speed and result.audio
        line = np.abs(heard(out))
        assert len(line) / SOUND_RATE == pytest.approx(2 / speed, abs=0.08)
        loud = np.convolve(line, np.ones(500) / 500, "same") > 0.03
        begins = np.flatnonzero(np.diff(loud.astype(int)) == 1) / SOUND_RATE
        for begin in (0.2, 0.9, 1.5):
            assert np.abs(begins - begin / speed).min() < 0.04


def test_sound_that_would_not_be_understood_is_left_out_with_a_line(inputs, tmp_path):
    result, notes = made(inputs, tmp_path / "out.mp4", end=0.4, speed=0.25)
    assert result.frames == 40 and not result.audio and notes == ["sound"]


def test_a_saved_motion_goes_slowly_too_and_compare_shows_the_driver_beside(inputs, tmp_path):
    result, _ = made(
        inputs, tmp_path / "a.mp4", end=0.4, speed=0.5, fps=30, compare=True, save_motion=tmp_path / "m.motion"
    )
    motion = vaegan.Motion.load(tmp_path / "m.motion")
    assert result.frames == len(motion) == 24 and motion.times[-1] == pytest.approx(23 / 30)
    panes = np.stack(pictures(tmp_path / "a.mp4")).astype(float)
    driver, drawn = (
        panes[:, 34:44, 64 + 20 : 64 + 44].mean((1, 2, 3)),
        panes[:, 34:44, 128 + 20 : 128 + 44].mean((1, 2, 3)),
    )
    assert np.corrcoef(driver, drawn)[0, 1] > 0.8


def test_values_between_frames_are_cubic_and_never_beyond_their_neighbours():
    times = np.arange(0, 2.01, 0.1)
    wave = np.stack([np.sin(3 * times), np.cos(2 * times)], 1)
    moments = np.arange(0, 2, 0.013)
    real = np.stack([np.sin(3 * moments), np.cos(2 * moments)], 1)
    line = np.stack([np.interp(moments, times, column) for column in wave.T], 1)
    cubic = between(times, wave, moments)
    assert np.abs(cubic - real).mean() < 0.5 * np.abs(line - real).mean()
    assert np.allclose(between(times, wave, times), wave, atol=1e-6)
    blink = np.array([[0.0], [0.0], [1.0], [0.0], [0.0]])
    shut = between(np.arange(5.0), blink, np.linspace(0, 4, 99))
    assert shut.min() >= 0 and shut.max() <= 1
    assert between(np.array([0.0]), wave[:1], moments).shape == (len(moments), 2)


# ---- shape and size


def marked(width, height):
    """A grey picture with a green square of 12 px around the face's middle, and that face."""
    image = np.full((height, width, 3), 120, np.uint8)
    x, y = width // 3, height // 3
    image[y - 6 : y + 6, x - 6 : x + 6] = 0, 255, 0
    face = np.random.default_rng(0).uniform(-0.5, 0.5, (478, 2)) * min(width, height) / 4 + [x, y]
    return image, face


@pytest.mark.parametrize("size", [None, 640, 64])
@pytest.mark.parametrize(("width", "height"), [(401, 300), (300, 401), (200, 200), (1000, 250)])
def test_a_shape_is_cut_or_extended_never_squeezed_and_keeps_the_face(width, height, size):
    image, face = marked(width, height)
    for aspect in (*ASPECTS, None):
        extent = Extent(image, [face], aspect and parse_aspect(aspect), size)
        out = extent.apply(image)
        shape = parse_aspect(aspect) if aspect else Fraction(width, height)
        assert out.shape == (extent.height, extent.width, 3) and not extent.width % 2 and not extent.height % 2
        assert abs(extent.width - extent.height * shape) <= max(2, 2 * shape)
        assert size is None or max(extent.width, extent.height) == size
        points = extent.points(face)
        assert (points >= 0).all() and (points <= (extent.width, extent.height)).all()
        green = (out[..., 1].astype(int) - out[..., 0]) > 100
        if extent.scale >= 0.5:
            rows, columns = np.flatnonzero(green.any(1)), np.flatnonzero(green.any(0))
            side = 12 * extent.scale
            assert abs(np.ptp(rows) + 1 - side) < 2 and abs(np.ptp(columns) + 1 - side) < 2
            middle = extent.points(np.array([[width // 3, height // 3]]))[0]
            assert abs((columns.min() + columns.max() + 1) / 2 - middle[0]) < 1.5
            assert abs((rows.min() + rows.max() + 1) / 2 - middle[1]) < 1.5


def test_a_border_is_blurred_and_darker_and_what_is_wide_enough_is_cut():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (200, 200, 3), np.uint8)
    face = rng.uniform(60, 140, (478, 2))
    wide = Extent(image, [face], parse_aspect("16:9")).apply(image)
    assert wide.shape[0] < 200  # the head takes 160 of 200 px: the rest is cut, and borders on both sides
    border = wide[:, :20].astype(int)
    assert np.abs(np.diff(border, axis=1)).max() < 6 < np.abs(np.diff(wide[:, 150:170].astype(int), axis=1)).max()
    assert border.mean() < 0.85 * image.mean()
    small = rng.uniform(95, 105, (478, 2))
    assert Extent(image, [small], parse_aspect("16:9")).apply(image).shape == (112, 198, 3)


def test_shapes_of_views_and_what_does_not_go_together(inputs, tmp_path):
    assert (
        crop_side("crop", 640, "16:9") == 360 and crop_side("full", 640, "16:9") == crop_side("crop", None, None) == 256
    )
    result, _ = made(inputs, tmp_path / "crop.mp4", end=0.2, size=320, aspect="16:9", view="crop")
    assert (result.width, result.height) == (320, 180)
    result, _ = made(inputs, tmp_path / "full.mp4", end=0.2, size=320, aspect="9:16", view="full")
    assert (result.width, result.height) == (180, 320)
    result, _ = made(inputs, tmp_path / "own.mp4", end=0.2, size=None, view="full")
    assert (result.width, result.height) == (160, 128)
    result, _ = made(inputs, tmp_path / "panes.mp4", end=0.2, size=64, compare=True)
    assert (result.width, result.height) == (192, 64)
    cases = {
        "wide": {"aspect": "wide"},
        "5:1": {"aspect": "5:1"},
        "compare": {"aspect": "1:1", "compare": True},
        "up to 2048": {"size": 3000, "view": "crop"},
        "speed": {"speed": 0.01},
    }
    for words, options in cases.items():
        with pytest.raises(UserError, match=words) as told:
            made(inputs, tmp_path / "no.mp4", **options)
        assert "\n" not in str(told.value)
    assert not (tmp_path / "no.mp4").exists()


# ---- the same again


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_the_same_inputs_give_the_same_bytes(inputs, tmp_path, suffix):
    for name in ("a", "b"):
        made(inputs, tmp_path / f"{name}{suffix}", end=0.3, fps=30, aspect="4:5", no_label=False)
    a, b = ([path] if suffix else sorted(path.iterdir()) for path in (tmp_path / f"{n}{suffix}" for n in ("a", "b")))
    assert [file.read_bytes() for file in a] == [file.read_bytes() for file in b]


def test_two_commands_at_once_in_one_folder_do_not_disturb_each_other(inputs, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import standin; standin.command_line()"
    save_tiny_model(inputs / "tiny")
    common = ["--photo", inputs / "me.png", "--driver", inputs / "clip.mp4", "--model", inputs / "tiny"]
    command = [sys.executable, "-c", code, *map(str, common)]
    started = [subprocess.Popen([*command, "--output", name], cwd=tmp_path) for name in ("a.mp4", "b.mp4", "b.mp4")]
    assert [one.wait(120) for one in started] == [0, 0, 0]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_photo_is_drawn_at_the_size_it_is_shown_at_and_panes_have_all_of_its_pixels(inputs):
    settings = TransferSettings(size=64, aspect="4:5", view="full")
    runs = [
        Transfer(inputs / "me.png", inputs / "clip.mp4", PoolModel(), settings, SquareTracker(), crop_size=side)
        for side in (None, 64)
    ]
    small, panes = (run.stage for run in runs)
    assert max(small.view.image.shape) < 90 and (small.width, small.height) == (52, 64)
    extent = Extent(small.view.image, [], parse_aspect("4:5"), 64)
    assert extent.scale == 1  # nothing is scaled a second time
    assert panes.view.image.shape == (128, 160, 3)
