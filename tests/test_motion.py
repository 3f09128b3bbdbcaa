"""Motions: made from a driver, saved, loaded, refused, added, scaled, smoothed, resampled."""

import json
from fractions import Fraction

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from standin import PoolModel, SquareTracker, film, picture, talking

from vaegan.errors import UserError
from vaegan.faces.geometry import CropTransform
from vaegan.motion import Motion, MotionRecorder, delta
from vaegan.motion_file import FORMAT
from vaegan.portrait import DriverFrame, Portrait, watch
from vaegan.reference import choose_reference
from vaegan.sources import VideoSource


def make(deltas, fps=25, **fields):
    """A motion with these deltas (T,) or (T, D), the rest at rest."""
    deltas = np.asarray(deltas, np.float32).reshape(len(deltas), -1)
    count = len(deltas)
    given = {
        "times": np.arange(count) / fps,
        "deltas": deltas,
        "placement": np.zeros((count, 4)),
        "pose": np.zeros((count, 3)),
        "found": np.ones(count, bool),
        "model_id": "paper-vae-0123456789",
        "framing": (1.6, False),
        "fps": Fraction(fps),
    }
    return Motion(**{**given, **fields})


@pytest.fixture
def wiggle():
    rng = np.random.default_rng(1)
    deltas = rng.normal(size=(40, 6)).cumsum(0)
    placement = rng.normal(size=(40, 4)) * 0.1
    return make(deltas - deltas[0], placement=placement - placement[0], pose=rng.normal(size=(40, 3)) * 10)


# ---- from a driver


def test_running_sum_of_the_papers_differences_is_the_difference_to_the_reference(tmp_path):
    clip = film(tmp_path / "clip.mp4", talking(40))
    frames = [f for batch in watch(VideoSource(clip), PoolModel(), SquareTracker()) for f in batch]
    z = np.stack([f.portrait.z for f in frames])
    motion = Motion.from_driver(clip, PoolModel(), SquareTracker())
    steps = np.diff(z.astype(np.float64), axis=0)
    running = np.vstack([np.zeros(z.shape[1]), np.cumsum(steps, axis=0)])
    np.testing.assert_allclose(motion.deltas, running, atol=1e-6)
    assert np.abs(motion.deltas).max() > 0.05


def test_running_sum_telescopes_exactly_where_arithmetic_is_exact():
    z = np.random.default_rng(0).integers(-4096, 4096, (500, 200)) / 1024
    running = np.cumsum(np.diff(z, axis=0), axis=0)
    assert np.array_equal(running, delta(z[1:], z[0]))


def test_lost_frames_repeat_the_last_motion_and_say_so(tmp_path):
    pictures = talking(30)
    pictures[:3] = [picture(face=False)] * 3
    pictures[18:22] = [picture(face=False)] * 4
    motion = Motion.from_driver(film(tmp_path / "clip.mp4", pictures), PoolModel(), SquareTracker())
    assert np.flatnonzero(~motion.found).tolist() == [0, 1, 2, 18, 19, 20, 21]
    assert motion.lost == 7 and motion.reference == 3
    assert not motion.deltas[:4].any()
    assert np.array_equal(motion.deltas[18:22], np.repeat(motion.deltas[17:18], 4, axis=0))
    assert np.abs(motion.deltas[17]).max() > 0.01


def test_motion_frame_by_frame_is_that_of_the_whole_clip(tmp_path):
    pictures = talking(40)
    pictures[:20] = [picture(face=False)] * 20
    recorder = MotionRecorder(PoolModel(), Fraction(25))
    source = VideoSource(film(tmp_path / "clip.mp4", pictures))
    steps = [recorder.add(batch) for batch in watch(source, PoolModel(), SquareTracker())]
    motion = recorder.motion()
    for name in ("times", "deltas", "placement", "found"):
        assert np.array_equal(np.concatenate([getattr(s, name) for s in steps]), getattr(motion, name)), name
    assert motion.reference == 20 and not motion.deltas[:21].any() and motion.deltas[25].any()
    assert np.array_equal(recorder.reference_pose, motion.pose[20])


def test_placement_follows_a_face_that_moves(tmp_path):
    clip = film(tmp_path / "clip.mp4", [picture(x=40 + 2 * t) for t in range(20)])
    motion = Motion.from_driver(clip, PoolModel(), SquareTracker())
    assert motion.placement[10] == pytest.approx([0.5, 0, 0, 0], abs=0.03)  # 20 px of a face of 40


def test_driver_without_a_face_is_an_error(tmp_path):
    clip = film(tmp_path / "empty.mp4", [picture(face=False)] * 20)
    with pytest.raises(UserError, match=r"empty\.mp4: no face found in its 20 frames"):
        Motion.from_driver(clip, PoolModel(), SquareTracker())


def test_start_end_and_fps_choose_frames(tmp_path):
    clip = film(tmp_path / "clip.mp4", talking(50))
    motion = Motion.from_driver(clip, PoolModel(), SquareTracker(), start=0.4, end=1.4, fps=Fraction(10))
    assert len(motion) == 10 and motion.fps == 10
    assert motion.times == pytest.approx(np.arange(10) / 10)


# ---- reference


def test_best_reference_is_the_frame_with_the_photos_expression_whatever_the_drivers_identity():
    rng = np.random.default_rng(3)
    expression = rng.normal(size=(30, 50))
    expression -= expression.mean(0)
    motion = make(expression - expression[0])
    assert choose_reference(motion, "best", photo_latent=expression[17]) == 17


def test_reference_frame_must_exist_and_show_a_face():
    motion = make(np.arange(5.0), found=np.array([1, 1, 0, 1, 1], bool))
    assert choose_reference(motion, 3) == 3
    with pytest.raises(UserError, match="frames are 0 to 4"):
        choose_reference(motion, 5)
    with pytest.raises(UserError, match="frame 2 shows no face"):
        choose_reference(motion, 2)


def test_changing_the_reference_twice_is_changing_it_once(wiggle):
    direct, detour = wiggle.relative_to(7), wiggle.relative_to(20).relative_to(7)
    np.testing.assert_allclose(detour.deltas, direct.deltas, atol=1e-5)
    np.testing.assert_allclose(detour.placement, direct.placement, atol=1e-5)
    assert not direct.deltas[7].any() and not direct.placement[7].any()


def test_placement_of_a_following_model_is_that_of_its_crop():
    """Not of the mesh box, which grows when the jaw drops."""
    face = SquareTracker().detect(picture())[0]
    crops = [CropTransform(80, 70, 50, 0.0), CropTransform(90, 70, 100, 0.1)]
    recorder = MotionRecorder(PoolModel(scale=1.25, follow=True), Fraction(25))
    frames = [DriverFrame(t, True, Portrait(face, crop, np.zeros(192, np.float32))) for t, crop in enumerate(crops)]
    placement = recorder.add(frames).placement
    assert placement[1] == pytest.approx([10 / 40, 0, np.log(2), 0.1], abs=1e-6)


def test_placement_from_a_larger_face_is_counted_in_its_sizes():
    placement = np.array([[0, 0, 0, 0], [1, 0, np.log(2), 3], [3, 0, np.log(2), -3]])
    moved = make(np.zeros(3), placement=placement).relative_to(1).placement
    np.testing.assert_allclose(moved[2], [1, 0, 0, 2 * np.pi - 6], atol=1e-6)


# ---- arithmetic


def test_scaling_and_adding(wiggle):
    np.testing.assert_allclose((2 * wiggle).deltas, (wiggle + wiggle).deltas, rtol=1e-6)
    np.testing.assert_allclose((wiggle * 0.5 + wiggle * 0.5).pose, wiggle.pose, rtol=1e-4, atol=1e-4)
    assert (wiggle * 0).deltas.any() == np.False_


def test_adding_keeps_the_first_motions_clock_and_holds_the_end_of_the_second():
    slow, fast = make(np.zeros(20), fps=10), make(np.arange(25.0), fps=25)  # 2 s and 1 s
    total = slow + fast
    assert len(total) == 20 and total.fps == 10
    np.testing.assert_allclose(total.deltas[:10, 0], np.arange(10) * 2.5, atol=1e-4)
    np.testing.assert_allclose(total.deltas[10:, 0], 24)


def test_motions_of_two_models_do_not_add(wiggle):
    with pytest.raises(UserError, match=r"model other-1.*not paper-vae-0123456789"):
        wiggle + make(np.zeros((40, 6)), model_id="other-1")


def test_slice_restarts_the_clock_and_the_reference(wiggle):
    part = wiggle.slice(0.4, 0.8)
    assert len(part) == 10 and part.times[0] == 0 and part.reference == 0
    np.testing.assert_allclose(part.deltas, wiggle.deltas[10:20] - wiggle.deltas[10], atol=1e-6)
    with pytest.raises(UserError, match=r"lasts 1\.60 s"):
        wiggle.slice(2)


def test_resampling_keeps_the_length_and_the_path():
    motion = make(np.arange(50.0))
    other = motion.resample(Fraction(30))
    assert len(other) == 60 and other.fps == 30
    np.testing.assert_allclose(other.deltas[:, 0], np.minimum(np.arange(60) * 25 / 30, 49), atol=1e-4)


# ---- smoothing


def test_smoothing_is_without_delay_and_keeps_the_whole():
    pulse = np.zeros(61)
    pulse[30] = 1
    smoothed = make(pulse).smooth(0.5).deltas[:, 0]
    assert smoothed.argmax() == 30 and smoothed[30] < 0.25
    np.testing.assert_allclose(smoothed, smoothed[::-1], atol=1e-7)
    assert smoothed.sum() == pytest.approx(1, abs=1e-5)


def test_smoothing_takes_jitter_away_and_leaves_slow_movement():
    t = np.arange(100) / 25
    slow = np.sin(2 * np.pi * 0.3 * t)
    jitter = 0.2 * (-1) ** np.arange(100)
    smoothed = make(slow + jitter, reference=50).smooth(0.4).deltas[:, 0]
    assert np.abs(np.diff(smoothed, 2)).mean() < 0.02 * np.abs(np.diff(slow + jitter, 2)).mean()
    assert np.corrcoef(smoothed, slow)[0, 1] > 0.999


def test_smoothed_reference_frame_still_shows_the_photo(wiggle):
    assert not wiggle.relative_to(9).smooth(1).deltas[9].any()
    assert wiggle.smooth(0) is wiggle
    assert len(make(np.zeros(1)).smooth(1)) == 1


# ---- files


def test_saved_motion_comes_back(wiggle, tmp_path):
    path = tmp_path / "m.motion"
    wiggle.save(path)
    back = Motion.load(path)
    np.testing.assert_allclose(back.deltas, wiggle.deltas, rtol=1e-3, atol=1e-3)
    for name in ("times", "placement", "pose", "found"):
        assert np.array_equal(getattr(back, name), getattr(wiggle, name))
    assert (back.model_id, back.framing, back.fps, back.reference) == (wiggle.model_id, (1.6, False), Fraction(25), 0)


def test_motion_of_three_seconds_takes_a_few_kB(tmp_path):
    make(np.random.default_rng(0).normal(size=(75, 200))).save(tmp_path / "m.motion")
    assert (tmp_path / "m.motion").stat().st_size < 40_000


def test_motion_of_another_model_is_refused_by_name(wiggle):
    with pytest.raises(UserError, match=r"smile\.motion was made with model paper-vae-0123456789, not paper-vaegan-77"):
        wiggle.check_model("paper-vaegan-77", "smile.motion")


def _rewrite(path, **header):
    arrays = load_file(path)
    with safe_open(path, framework="numpy") as file:
        old = json.loads(file.metadata()[FORMAT])
    return arrays, {**old, **header}


def _header(**header):
    def spoil(path):
        arrays, new = _rewrite(path, **header)
        save_file(arrays, path, {FORMAT: json.dumps(new)})

    return spoil


def _array(name, change):
    def spoil(path):
        arrays, header = _rewrite(path)
        arrays[name] = np.ascontiguousarray(change(arrays[name]))
        save_file(arrays, path, {FORMAT: json.dumps(header)})

    return spoil


def _with_nan(values):
    values = values.copy()
    values[3] = np.nan
    return values


HOSTILE = {
    "text": lambda p: p.write_text("hello " * 500),
    "empty": lambda p: p.write_bytes(b""),
    "pickle": lambda p: p.write_bytes(
        b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94"
    ),
    "cut short": lambda p: p.write_bytes(p.read_bytes()[:-50]),
    "header of exabytes": lambda p: p.write_bytes(b"\xff" * 8 + p.read_bytes()[8:]),
    "bytes after the end": lambda p: p.write_bytes(p.read_bytes() + bytes(99)),
    "another safetensors file": lambda p: save_file({"a": np.zeros(3)}, p),
    "header is not JSON": lambda p: save_file(load_file(p), p, {FORMAT: "{" * 100_000}),
    "later version": _header(version=2),
    "rate of zero": _header(fps="0"),
    "rate 1/0": _header(fps="1/0"),
    "rate missing": _header(fps=None),
    "framing": _header(framing=[float("nan"), False]),
    "framing of another shape": _header(framing=3),
    "reference outside": _header(reference=40),
    "reference negative": _header(reference=-1),
    "model is not a name": _header(model="a\nb"),
    "model is a list": _header(model=["a"]),
    "not finite": _array("deltas", _with_nan),
    "time not finite": _array("times", _with_nan),
    "time runs back": _array("times", lambda t: t[::-1]),
    "one frame fewer": _array("placement", lambda a: a[1:]),
    "deltas flat": _array("deltas", lambda a: a.ravel()),
    "deltas are integers": _array("deltas", lambda a: a.astype(np.int64)),
    "no frames": _array("times", lambda a: a[:0]),
    "no face": _array("found", np.zeros_like),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_in_one_line(name, wiggle, tmp_path):
    path = tmp_path / "m.motion"
    wiggle.save(path)
    HOSTILE[name](path)
    with pytest.raises(UserError) as error:
        Motion.load(path)
    assert "m.motion: not a usable motion file" in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_size_of_a_file_is_bounded_before_it_is_read(wiggle, tmp_path, monkeypatch):
    wiggle.save(tmp_path / "m.motion")
    monkeypatch.setattr("vaegan.motion_file.MAX_BYTES", 1000)
    with pytest.raises(UserError, match="more than the"):
        Motion.load(tmp_path / "m.motion")


def test_missing_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no such motion file"):
        Motion.load(tmp_path / "none.motion")
