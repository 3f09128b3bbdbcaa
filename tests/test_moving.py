"""A video as photo: its own motion stays or goes, the driver's is added, and one of both ends the result."""

from fractions import Fraction

import numpy as np
import pytest
from media_clips import make_clip
from standin import PoolModel, SquareTracker, film, picture, talking

import vaegan
from vaegan.directions import load_directions
from vaegan.errors import UserError
from vaegan.faces.tracker import FaceTracker
from vaegan.media import VideoReader, VideoWriter, read_image, write_image
from vaegan.model import load_model
from vaegan.motion import Motion
from vaegan.moving import VideoPhoto, is_video
from vaegan.pipeline import Transfer
from vaegan.reference import SHAPES, read_heads
from vaegan.render import build_renderer
from vaegan.render.view import FullView
from vaegan.samples import find_photo
from vaegan.settings import TransferSettings

JAW, SMILE = 25, 44
"""Blendshapes jawOpen and mouthSmileLeft."""


def run(photo, driver, model=None, **options):
    options = {"reference": "first", "view": "full", "renderer": "decode"} | options
    return Transfer(photo, driver, model or PoolModel(), TransferSettings(**options), SquareTracker())


def walking(count, mouth=0):
    """A face that walks to the right."""
    return [picture(x=30 + t, mouth=mouth) for t in range(count)]


@pytest.fixture
def photo(tmp_path):
    return film(tmp_path / "photo.mp4", walking(20))


@pytest.fixture
def driver(tmp_path):
    return film(tmp_path / "driver.mp4", talking(30))


def test_what_is_a_video(photo, tmp_path):
    write_image(tmp_path / "still.png", picture())
    film(tmp_path / "moves.gif", walking(3))
    film(tmp_path / "folder", walking(2))
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match="is not a video that can be read"):
        is_video(tmp_path / "text.mp4")
    assert [is_video(tmp_path / n) for n in ("photo.mp4", "moves.gif", "folder")] == [True] * 3
    assert [is_video(n) for n in (tmp_path / "still.png", tmp_path / "text.jpg", "sample", picture())] == [False] * 4


def test_each_frame_of_the_video_is_drawn_on_until_one_of_both_ends(photo, driver):
    frames = list(run(photo, driver).frames())
    assert len(frames) == 20
    images = np.stack([frame.image for frame in frames]).astype(int)
    away = [np.abs(image[0:40] - picture(x=30 + t)[0:40]).mean() for t, image in enumerate(images)]
    assert max(away) < 4  # around the face the video is as it was
    still = np.stack([frame.image for frame in run(photo, driver, strength=0).frames()]).astype(int)
    opened = (images - still)[:, 70:95].mean(axis=(1, 2, 3))
    assert np.corrcoef(opened, [5 - 5 * np.cos(2 * np.pi * t / 10) for t in range(20)])[0, 1] > 0.9
    assert len(list(run(photo, driver, end=0.4).frames())) == 10


def test_the_rate_is_that_of_the_video(tmp_path, driver):
    slow = film(tmp_path / "slow.mp4", walking(20), rate=10)
    job = run(slow, driver)
    frames = list(job.frames())
    assert job.rate == 10 and job.expected == len(frames) == 12
    assert [frame.time for frame in frames[:3]] == pytest.approx([0, 0.1, 0.2])


def test_loop_repeats_the_shorter(photo, driver):
    once, looped = (list(run(photo, driver, loop=loop).frames()) for loop in (False, True))
    assert len(once) == 20 and len(looped) == 30
    assert np.abs(looped[25].image[:40].astype(int) - looped[5].image[:40]).max() == 0
    job = run(driver, photo, loop=True)  # now the driver is the shorter
    frames = list(job.frames())
    assert len(frames) == job.expected == 30
    assert np.diff([frame.time for frame in frames]) == pytest.approx([0.04] * 29)
    assert len(list(job.frames())) == 30  # a second time as well


def test_where_the_face_is_lost_the_frame_is_shown_as_it_is(tmp_path, driver):
    images = walking(20)
    images[8:14] = [picture(face=False)] * 6
    frames = list(run(film(tmp_path / "gap.mp4", images), driver).frames())
    assert len(frames) == 20
    assert all(np.abs(frame.image.astype(int) - picture(face=False)).mean() < 3 for frame in frames[8:14])


def test_a_video_without_a_face_is_refused(tmp_path, driver):
    with pytest.raises(UserError, match=r"blank\.mp4: no face found in its 3 frames"):
        run(film(tmp_path / "blank.mp4", [picture(face=False)] * 3), driver)


@pytest.mark.parametrize("options", [{"keep": "none"}, {"loop": True}, {"keep": "some"}])
def test_what_goes_with_a_video_alone_is_refused_for_a_still(driver, options):
    with pytest.raises(UserError, match=r"keep|loop"):
        run(picture(), driver, **options)


def test_absolute_motion_on_top_of_the_videos_own_is_refused(photo, driver):
    with pytest.raises(UserError, match="--keep none"):
        run(photo, driver, motion="absolute")


def test_sound_of_driver_or_photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_clip("loud.mp4", [Fraction(t, 25) for t in range(20)], sound="aac")
    film("photo.mp4", walking(10), audio_from="loud.mp4")
    film("driver.mp4", talking(10))

    notes = []

    def made(sound, photo="photo.mp4", driver="driver.mp4", output="o.mp4"):
        notes.clear()
        options = {"model": "paper-vae", "tracker": SquareTracker(), "reference": "first", "size": 64}
        result = vaegan.transfer(
            photo, driver, output, sound=sound, on_note=lambda note: notes.append(note.text), **options
        )
        return VideoReader(output).has_audio, result.audio

    assert made(None) == made("photo") == (True, True)
    assert made("none") == (False, False) and not notes
    assert made("driver") == (False, False) and notes == ["the driver has no sound, so the result has none"]
    assert made(None, output="o.gif") == (False, False) and "the photo's is left out" in notes[0]
    assert made(None, photo="driver.mp4", driver="photo.mp4") == (True, True)
    write_image("still.png", picture())
    with pytest.raises(UserError, match="still photo has no sound"):
        made("photo", photo="still.png")


# ---- what stays of its own motion, as the model's heads read it


@pytest.fixture(scope="module")
def model():
    return load_model("motion64")


@pytest.fixture(scope="module")
def smiling(model, tmp_path_factory):
    """The sample photo, turning to the side and opening its mouth over eight frames."""
    portrait = vaegan.read_portrait(find_photo("sample"), model, FaceTracker("own"))
    view = FullView(portrait.image, portrait.crop, model.framing.scale)
    warp = build_renderer("warp", model, portrait, 128, view)
    far = load_directions("motion64").delta(jaw=0.5, yaw=14)
    deltas = (np.linspace(0, 1, 8)[:, None] * far).astype(np.float32)
    path = tmp_path_factory.mktemp("moving") / "own.mp4"
    with VideoWriter(path, view.width, view.height, Fraction(25)) as video:
        for drawn in warp.render(deltas, np.zeros((8, 4), np.float32)):
            video.write(drawn.image)
    return path


def test_keep_says_what_stays_of_the_videos_own_motion(model, smiling):
    smile = load_directions("motion64").delta(smile=-0.6)
    driver = Motion(
        times=np.arange(8) / 25,
        deltas=np.linspace(0, 1, 8)[:, None] * smile,
        placement=np.zeros((8, 4)),
        pose=np.zeros((8, 3)),
        found=np.ones(8, bool),
        model_id=model.id,
        framing=(model.framing.scale, model.framing.follow),
        fps=Fraction(25),
    )
    read = {}
    for keep in ("still", "all", "pose", "none"):
        settings = TransferSettings(keep="all" if keep == "still" else keep, reference="first", refiner="none")
        job = Transfer("sample" if keep == "still" else smiling, driver, model, settings, FaceTracker("own"))
        last = list(job.frames())[-1]
        assert last.image.shape == job.photo.image.shape  # at the video's own resolution
        seen = vaegan.read_portrait(last.image, model, FaceTracker("own"))
        read[keep] = read_heads(model, seen.z[None])[0]
    own = vaegan.read_portrait([f.image for f in VideoReader(smiling)][-1], model, FaceTracker("own"))
    own, start = read_heads(model, np.stack([own.z, job.video.portraits[0].z]))
    shapes = {keep: values[3:] for keep, values in read.items()}
    turn = own[0] - start[0]
    assert abs(turn) > 5
    for keep, stays in (("all", 1), ("pose", 1), ("none", 0)):
        assert abs(read[keep][0] - start[0] - stays * turn) < 0.4 * abs(turn), keep
    opened = own[3 + JAW] - start[3 + JAW]
    beyond = {keep: (values[JAW] - shapes["still"][JAW]) / opened for keep, values in shapes.items()}
    assert beyond["all"] > 0.8 and max(beyond["pose"], beyond["none"]) < 0.7, beyond
    frowned = {keep: values[SMILE] - start[3 + SMILE] for keep, values in shapes.items()}
    assert max(frowned.values()) < -0.1, frowned  # what the driver does, whatever stays


def test_the_frame_that_motion_counts_from_is_the_calmest_of_the_first_seconds(model, smiling):
    first, calm = (VideoPhoto(smiling, model, FaceTracker("own"), at_rest=rest).portraits[0] for rest in (False, True))
    assert np.abs(first.image.astype(int) - read_image(find_photo("sample"))).mean() < 4
    effort = [np.linalg.norm(read_heads(model, one.z[None])[0, SHAPES]) for one in (first, calm)]
    assert effort[1] <= effort[0] + 0.1
