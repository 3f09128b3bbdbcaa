"""The pipeline from a photo and a driver to frames, without the command line."""

import gc
import logging
import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from standin import PoolModel, SquareTracker, film, picture, talking

import vaegan.media
from vaegan.animation import animate
from vaegan.errors import UserError
from vaegan.media import TimedPicture
from vaegan.motion import Motion
from vaegan.notes import pose_words
from vaegan.pipeline import Transfer
from vaegan.portrait import BATCH
from vaegan.reference import choose_reference
from vaegan.render import build_renderer
from vaegan.render.view import resize
from vaegan.settings import TransferSettings
from vaegan.sources import READ_AHEAD, prefetch
from vaegan.storyboard import COLUMNS, LABEL_PX, TILE_PX, Storyboard

PHOTO = picture(x=70, y=40, mouth=0)


@pytest.fixture
def driver(tmp_path):
    return film(tmp_path / "driver.mp4", talking(40))


def run(driver, photo=PHOTO, model=None, show_driver=False, **options):
    options = {"reference": "first"} | options
    return Transfer(photo, driver, model or PoolModel(), TransferSettings(**options), SquareTracker(), show_driver)


def finished(job):
    """All frames, and the driver's motion."""
    frames = job.frames()
    return list(frames), frames.outcome().motion


def images(*args, **options):
    return np.stack([frame.image for frame in run(*args, **options).frames()]).astype(int)


def photo_alone(job):
    """The photo as the model draws it at rest."""
    return (
        build_renderer("decode", job.model, job.photo, 256)
        .render(np.zeros((1, 192), np.float32), np.zeros((1, 4)))[0]
        .crop
    )


def mouth(frames):
    """How bright each frame is where the photo's mouth opens."""
    return frames[:, 145:165, 110:145].mean(axis=(1, 2, 3))


# ---- what comes out


def test_photo_moves_like_the_driver(driver):
    frames = images(driver)
    assert frames.shape == (40, 256, 256, 3)
    openness = [5 - 5 * np.cos(2 * np.pi * t / 10) for t in range(40)]
    assert np.corrcoef(mouth(frames), openness)[0, 1] > 0.95
    still = frames[:, :40]  # what does not move in the driver does not move in the result
    assert np.abs(still - still[0]).max() <= 8


def test_reference_frame_shows_the_photo_as_the_model_sees_it(driver):
    job = run(driver, reference=13)
    frames = np.stack([frame.image for frame in job.frames()])
    photo = photo_alone(job)
    assert np.array_equal(frames[13], photo)
    assert not np.array_equal(frames[10], photo)


def test_one_pass_and_two_passes_give_the_same_frames(driver):
    assert np.array_equal(images(driver, reference="first"), images(driver, reference=0))


def test_strength_scales_the_motion(driver):
    still, once, twice = (mouth(images(driver, strength=s)) for s in (0, 1, 2))
    assert np.ptp(still) == 0
    assert np.ptp(twice) == pytest.approx(2 * np.ptp(once), rel=0.1)


def test_absolute_motion_needs_no_reference_and_keeps_the_mean_of_the_photo(driver, tmp_path):
    late = film(tmp_path / "late.mp4", talking(40)[5:35])  # begins with the mouth open
    job = run(late, motion="absolute")
    frames = np.stack([frame.image for frame in job.frames()]).astype(int)
    photo = photo_alone(job)[None].astype(int)
    relative = images(late)
    assert abs(mouth(frames).mean() - mouth(photo)[0]) < 2
    assert abs(mouth(relative).mean() - mouth(photo)[0]) > 5


def test_smoothing_calms_the_result(driver):
    assert (
        np.abs(np.diff(mouth(images(driver, smooth=1.0)), 2)).max()
        < np.abs(np.diff(mouth(images(driver)), 2)).max() / 4
    )


def test_start_end_fps_and_size(driver):
    frames = images(driver, start=0.4, end=1.2, fps=Fraction(50), size=64)
    assert frames.shape == (40, 64, 64, 3)


def test_following_crop_leaves_a_shift_of_the_head_out_and_a_fixed_one_shows_it(tmp_path):
    clip = film(tmp_path / "shift.mp4", [picture(x=40 + t) for t in range(40)])
    follows, fixed = (images(clip, model=PoolModel(follow=f)) for f in (True, False))
    assert np.abs(follows - follows[0]).mean() < 1
    assert np.abs(fixed[-1] - fixed[0]).mean() > 10


def test_lost_frames_are_counted_and_change_the_picture_step_by_step(tmp_path):
    pictures = talking(40)
    pictures[14:34] = [picture(face=False)] * 20
    frames, motion = finished(run(film(tmp_path / "gap.mp4", pictures)))
    assert motion.lost == 20 and [f.found for f in frames].count(False) == 20
    opened = mouth(np.stack([frame.image for frame in frames]).astype(int))
    assert np.abs(np.diff(opened))[13:].max() < 0.25 * np.ptp(opened)
    assert abs(opened[33] - opened[0]) < 0.1 * np.ptp(opened)  # it is open where the face is lost


def test_frames_before_the_first_face_show_the_photo(tmp_path):
    late = film(tmp_path / "late.mp4", [picture(face=False)] * 20 + talking(20))
    frames = images(late)
    assert not np.ptp(frames[:21], axis=0).any() and np.ptp(frames[20:], axis=0).any()


def test_motion_gives_the_same_frames_as_the_driver_it_was_made_from(driver, tmp_path):
    job = run(driver)
    frames, motion = finished(job)
    direct = np.stack([frame.image for frame in frames]).astype(int)
    motion.save(tmp_path / "talk.motion")
    assert np.abs(images(tmp_path / "talk.motion") - direct).max() <= 1
    assert np.abs(images(Motion.load(tmp_path / "talk.motion"), fps=Fraction(25)) - direct).max() <= 1


def test_folder_of_frames_drives_like_the_video(driver, tmp_path):
    from PIL import Image

    folder = tmp_path / "frames"
    folder.mkdir()
    for number, image in enumerate(talking(20)):
        Image.fromarray(image).save(folder / f"f{number}.png")
    assert np.abs(images(folder) - images(driver, end=0.8)).mean() < 2


def test_animate_yields_pictures(driver):
    frames = list(animate(PHOTO, driver, model=PoolModel(), tracker=SquareTracker(), size=128, end=0.2))
    assert len(frames) == 5 and frames[0].shape == (128, 128, 3) and frames[0].dtype == np.uint8


def test_real_photo_and_clip(data_dir, models_dir, tmp_path):
    from vaegan.faces.tracker import FaceTracker

    clip = data_dir / "raw/videos/liveportrait_driving-d3.mp4"
    job = Transfer(
        data_dir / "photos/deepface_img1.jpg",
        clip,
        PoolModel(),
        TransferSettings(reference="first", end=0.7),
        FaceTracker(),
        show_driver=True,
    )
    frames, motion = finished(job)
    assert len(frames) == 21 and motion.lost == 0 and job.has_audio
    own = photo_alone(job).astype(int)
    assert np.abs(frames[0].image - own).max() == 0
    seen = job.compare(frames[0])[:, :256].astype(int)
    coarse = [p.reshape(8, 32, 8, 32, 3).mean(axis=(1, 3)) for p in (seen, own)]
    assert np.abs(coarse[0] - coarse[1]).mean() < 12  # the photo, as sharp as 8x8 px are
    assert np.abs(frames[-1].image - own).mean() > 1


@pytest.mark.parametrize(("handed_in", "reference"), [(False, "best"), (True, "first")])
def test_the_reference_is_the_best_frame_where_the_driver_lasts(driver, handed_in, reference):
    frames = ((t / 25, image) for t, image in enumerate(talking(40))) if handed_in else driver
    job = Transfer(PHOTO, frames, PoolModel(), tracker=SquareTracker())
    assert job.settings.reference == reference and not job.reads_first
    _, motion = finished(job)
    assert handed_in or motion.reference == choose_reference(motion, "best", job.photo.z)


# ---- pictures beside the result


def test_compare_shows_photo_driver_and_result(driver):
    for reference in ("first", 0):
        job = run(driver, show_driver=True, reference=reference)
        frames = list(job.frames())
        sheet = job.compare(frames[5]).astype(int)
        assert sheet.shape == (256, 768, 3)
        photo, clip, result = np.split(sheet, 3, axis=1)
        assert np.array_equal(result, frames[5].image)
        assert np.abs(photo[96:160, 60:100] - [200, 120, 60]).mean() < 12
        assert mouth(clip[None])[0] > mouth(photo[None])[0] + 10  # only the driver's mouth is open


def test_compare_of_a_motion_has_no_driver_to_show(driver):
    job = run(driver)
    again = run(finished(job)[1], show_driver=True)
    assert again.compare(next(again.frames())).shape == (256, 512, 3)


def test_storyboard_spreads_its_columns_over_a_clip_of_any_length():
    for count in (3, 8, 100, 1000):
        board = Storyboard()
        for t in range(count):
            board.add(float(t), [np.full((64, 64, 3), t * 255 // count, np.uint8)] * 2)
        image = board.image()
        columns = min(count, COLUMNS)
        assert image.shape == (2 * TILE_PX + LABEL_PX, columns * TILE_PX, 3)
        grey = image[10, TILE_PX // 2 :: TILE_PX, 0].astype(int)
        assert grey[0] == 0 and grey[-1] > 230 * (count - 1) / count
        if columns > 2:
            assert np.ptp(np.diff(grey)) <= 0.5 * np.diff(grey).mean()


def test_enlarging_keeps_levels_and_range():
    ramp = np.repeat(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], 64, axis=0).repeat(3, axis=2)
    large = resize(ramp, 256)
    assert large.min() == 0 and large.max() == 255
    even = np.linspace(-0.375, 63.375, 256) / 63 * 255  # pixel centres of 256 columns among 64
    assert np.abs(large[128, :, 0] - even)[8:-8].max() < 1.2  # nearest neighbours would be off by 1.5


# ---- in steps, whatever the length


def test_the_best_frame_is_looked_for_in_the_first_two_seconds_with_a_face():
    mouths = [0, 4, 9, 6, 2, *[4] * 20, *[12] * 30]
    frames = [(t / 10, picture(face=t > 4, mouth=mouth)) for t, mouth in enumerate([0] * 5 + mouths)]

    def made(reference):
        results, motion = finished(run(iter(frames), reference=reference, show_driver=True))
        return [result.image for result in results], [result.driver for result in results], motion

    images, shown, motion = made("best")
    early = motion.found & (motion.times <= 2.5)
    assert motion.reference == choose_reference(replace(motion, found=early), "best", run(iter(frames)).photo.z)
    assert motion.reference != made("whole")[2].reference
    for other in (motion.reference, "first"):
        again, driver, _ = made(other)
        assert np.array_equal(driver, shown) and np.array_equal(again, images) == (other != "first")


@pytest.mark.parametrize("reference", ["best", "first", 30])
@pytest.mark.parametrize(("smooth", "steady"), [(0.6, 0), (0, 1), (0.3, 0.4)])
def test_smoothing_in_one_pass_is_smoothing_of_the_whole_motion(reference, smooth, steady):
    """The face wanders and shakes; for a while it is lost."""
    shaking = np.random.default_rng(0).integers(-2, 3, (100, 2))
    places = [(60 + t // 4 + dx, 50 + dy) for t, (dx, dy) in enumerate(shaking)]
    frames = [(t / 25, picture(x, y, mouth=t % 10, face=not 40 < t < 44)) for t, (x, y) in enumerate(places)]

    def drawn(driver, **options):
        job, given = run(driver, reference=reference, view="full", **options), []
        draw = job.stage.renderer.render
        job.stage.renderer.render = lambda *moved: given.append(np.hstack(moved)) or draw(*moved)
        results, motion = finished(job)
        return np.concatenate(given), [result.time for result in results], motion

    once, times, motion = drawn(iter(frames), smooth=smooth, steady=steady)
    whole = motion.smooth(smooth, steady)
    assert np.allclose(times, motion.times) and len(once) == 100
    far = np.abs(motion.times - motion.times[42]) > 1.2  # where nothing is on its way to rest and back
    assert np.allclose(once[far], np.hstack([whole.deltas, whole.placement])[far], atol=1e-5)
    if not smooth:
        assert np.array_equal(once[far][:, :-4], motion.deltas[far])
        jitters = [np.abs(np.diff(p[:, -4:-2], 2, axis=0)).mean() for p in (once[far], motion.placement[far])]
        assert jitters[0] < 0.5 * jitters[1]


def test_what_is_kept_of_a_driver_does_not_grow_with_it(driver):
    job = Transfer(PHOTO, driver, PoolModel(), TransferSettings(), SquareTracker(), keep_motion=False)
    frames = job.frames()
    assert len(list(frames)) == 40
    job = Transfer(
        PHOTO, ((t / 25, picture()) for t in range(400)), PoolModel(), tracker=SquareTracker(), keep_motion=False
    )
    frames = job.frames()
    assert len(list(frames)) == 400 and len(job._streaming.recorder) <= BATCH and frames.outcome().motion is None


@pytest.mark.parametrize(("reference", "needed"), [("first", 1), ("best", 50)])
def test_endless_driver_is_read_only_a_little_ahead_and_stops_when_left(driver, monkeypatch, reference, needed):
    read = []

    class Endless(vaegan.media.VideoReader):
        def __iter__(self):
            for t in range(100_000):
                read.append(t)
                yield TimedPicture(t / 25, picture())

    monkeypatch.setattr(vaegan.media, "VideoReader", Endless)
    frames = run(driver, reference=reference).frames()
    for _ in range(5):
        next(frames)
    frames.close()
    assert len(read) <= needed + 5 + 2 * BATCH + 2 * BATCH + READ_AHEAD + 3
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_prefetch_passes_items_and_errors_on():
    def items():
        yield from range(100)
        raise KeyError("late")

    ahead = prefetch(items(), 2)
    assert [next(ahead) for _ in range(100)] == list(range(100))
    with pytest.raises(KeyError, match="late"):
        next(ahead)
    assert list(prefetch(range(7), 2)) == list(range(7))


def test_prefetch_closes_what_it_reads_from():
    closed = threading.Event()

    def items():
        try:
            yield from range(1000)
        finally:
            closed.set()

    ahead = prefetch(items(), 2)
    next(ahead)
    del ahead
    gc.collect()
    assert closed.is_set()


# ---- what is said and refused


def test_photo_without_a_face(driver, tmp_path):
    with pytest.raises(UserError, match="no face found"):
        run(driver, photo=picture(face=False))


def test_driver_without_a_face(tmp_path):
    with pytest.raises(UserError, match=r"blank\.mp4: no face found in its 10 frames"):
        images(film(tmp_path / "blank.mp4", [picture(face=False)] * 10))


def test_motion_of_another_model_is_refused(driver, tmp_path):
    job = run(driver)
    finished(job)[1].save(tmp_path / "talk.motion")
    other = PoolModel()
    other.id = "pool-1"
    with pytest.raises(UserError, match=r"talk\.motion was made with model pool-0, not pool-1"):
        run(tmp_path / "talk.motion", model=other)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("motion", "sideways"),
        ("strength", float("nan")),
        ("smooth", 1.5),
        ("mouth", 2.5),
        ("pose", -0.1),
        ("start", -1.0),
        ("end", 0.0),
        ("fps", Fraction(0)),
        ("size", 255),
        ("size", 10**6),
    ],
)
def test_impossible_settings_are_refused(option, value):
    with pytest.raises(UserError, match=r"^\S+ .*use|frames per second"):
        TransferSettings(**{option: value})


def test_pose_difference_is_measured_where_the_framing_leaves_it():
    assert pose_words(np.array([14, 0, 0]), follow=False) is None
    assert pose_words(np.array([25, -18, 0]), follow=False) == "yaw +25, pitch -18 degrees"
    assert pose_words(np.array([0, 0, 30]), follow=True) is None
    assert pose_words(np.array([0, 0, 30]), follow=False) == "roll +30 degrees"


@pytest.mark.parametrize("reference", ["first", 3])
def test_pose_difference_between_photo_and_driver_is_told_once_with_what_helps(driver, monkeypatch, reference):
    job = run(driver, end=0.5, reference=reference)
    monkeypatch.setattr("vaegan.portrait.head_pose", lambda mesh: (30.0 * np.array_equal(mesh, job.photo.mesh), 0, 0))
    frames = list(job.frames())
    (note,) = [note for frame in frames for note in frame.notes]
    assert note.kind == "pose" and frames[0].notes == (note,)
    assert "yaw +30 degrees" in note.text and "--reference best" in note.text and len(note.text) < 160


def test_two_faces_in_the_photo_are_told(driver):
    photo = picture(x=20, y=40)
    job = Transfer(photo, driver, PoolModel(), tracker=TwoFaces())
    (note,) = job.notes
    assert note.kind == "faces" and note.text.startswith("the photo shows 2 faces; the largest is used")
    assert job.photo.crop.cx == pytest.approx(40, abs=1)


def test_notes_are_told_to_whoever_takes_only_the_pictures(driver, caplog):
    with caplog.at_level(logging.WARNING):
        next(animate(picture(x=20, y=40), driver, model=PoolModel(), tracker=TwoFaces()))
    assert "the photo shows 2 faces; the largest is used" in caplog.text


def test_outcome_is_known_only_at_the_end(driver):
    frames = run(driver, end=0.4).frames()
    next(frames)
    with pytest.raises(ValueError, match="last frame"):
        frames.outcome()
    assert len(list(frames)) == 9 and len(frames.outcome().motion) == 10


@pytest.mark.parametrize("reference", ["first", "whole"])
def test_frames_handed_in_drive_like_a_video_and_are_cut_by_time(reference):
    def handed_in():
        return ((t / 10, image) for t, image in enumerate(talking(40)))

    job = run(handed_in(), start=1, end=3, reference=reference, show_driver=True)
    frames, _ = finished(job)
    assert len(frames) == 20 and [f.time for f in frames[:2]] == pytest.approx([0, 0.1])
    assert (frames[0].driver is not None) == (reference == "first")  # they come once
    assert np.ptp(mouth(np.stack([f.image for f in frames]))) > 5


class TwoFaces(SquareTracker):
    def detect(self, image, besides=(), tiled=True):
        return super().detect(image, besides) * 2
