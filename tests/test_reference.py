"""Which frame of a driver shows the photo as it is, by the heads of the model that ships."""

import logging
from fractions import Fraction

import numpy as np
import pytest

from vaegan.animation import animate
from vaegan.directions import load_directions
from vaegan.faces.tracker import FaceTracker
from vaegan.model import load_model
from vaegan.motion import Motion
from vaegan.notes import reference_notes
from vaegan.pipeline import Transfer
from vaegan.portrait import read_portrait
from vaegan.reference import OPENINGS, SHAPES, delta_to, read_heads
from vaegan.samples import find_photo, shipped_motions
from vaegan.settings import TransferSettings

CLOSED = 12
"""The frame in which the driver of these tests closes the mouth."""


@pytest.fixture(scope="module")
def model():
    return load_model("motion64")


@pytest.fixture(scope="module")
def photo(model):
    """The sample photo's latent."""
    return read_portrait(find_photo("sample"), model, FaceTracker("own")).z


@pytest.fixture(scope="module")
def driver(model, photo):
    """The same person: begins with the mouth wide open and the head turned, and comes to what the photo shows."""
    open_mouth = load_directions("motion64").delta(jaw=0.8, yaw=8)
    share = np.abs(np.arange(20) - CLOSED) / CLOSED
    z = (photo + share[:, None] * open_mouth).astype(np.float32)
    count = len(z)
    return Motion(
        times=np.arange(count) / 25,
        deltas=z - z[0],
        placement=np.zeros((count, 4)),
        pose=np.zeros((count, 3)),
        found=np.ones(count, bool),
        model_id=model.id,
        framing=(model.framing.scale, model.framing.follow),
        fps=Fraction(25),
        heads=read_heads(model, z),
    )


def run(driver, model, **options):
    options = {"renderer": "decode", "view": "crop", "size": 64} | options
    frames = Transfer("sample", driver, model, TransferSettings(**options), FaceTracker("own")).frames()
    notes = [note.text for frame in frames for note in frame.notes if note.kind == "reference"]
    return frames.outcome().motion, notes


def lips(model, photo, motion):
    """The gap of the lips over time, in sides of the crop."""
    return read_heads(model, photo + motion.deltas)[:, OPENINGS][:, 0]


def test_an_open_mouth_in_the_first_frame_does_not_pull_the_lips_together(driver, model, photo):
    best, notes = run(driver, model)
    first, none = run(driver, model, reference="first")
    closed = read_heads(model, photo[None])[0, OPENINGS][0]
    assert best.reference == CLOSED and none == []
    (note,) = notes
    assert "frame 12 of the driver (0.48 s)" in note and "0 degrees off, nearly the same expression" in note
    assert lips(model, photo, best).min() > closed - 0.005
    assert lips(model, photo, first).min() < closed - 0.02


def test_the_choice_is_no_warning_to_whoever_takes_only_the_pictures(driver, model, caplog):
    with caplog.at_level(logging.INFO, "vaegan"):
        next(animate("sample", driver, model, FaceTracker("own"), renderer="decode"))
    (record,) = (record for record in caplog.records if "frame 12 of the driver (0.48 s)" in record.getMessage())
    assert record.levelno == logging.INFO


def test_a_motion_file_is_measured_from_the_same_frame_as_its_driver(driver, model, tmp_path):
    driver.save(tmp_path / "m.motion")
    assert run(tmp_path / "m.motion", model)[0].reference == CLOSED
    driver.relative_to(5).save(tmp_path / "m.motion")
    assert run(tmp_path / "m.motion", model)[0].reference == CLOSED


@pytest.mark.parametrize("name", ["turning", "smiling"])
def test_absolute_motion_shows_the_drivers_own_pose_and_expression_after_half_a_second(model, photo, name):
    run = Transfer("sample", name, model, TransferSettings(motion="absolute", view="crop"), FaceTracker("own"))
    given, taken, real = [], [], run.stage.renderer.render
    run.stage.renderer.render = lambda deltas, placement: given.append(deltas) or real(deltas, placement)
    for frame in run.frames():
        taken.append(frame.crop)
    driver = Motion.load(shipped_motions("motion64")[name])
    shown = read_heads(model, photo + np.concatenate(given))
    off = np.abs(shown - driver.heads)
    still = np.abs(read_heads(model, photo[None]) - driver.heads)
    assert np.array_equal(given[0][0], np.zeros_like(photo))
    assert off[13:, :2].mean() < 2 and off[13:, SHAPES].mean() < 0.02 < still[13:, SHAPES].mean()
    assert off[13:, OPENINGS].mean() < 0.005 < still[13:, OPENINGS].mean()
    assert len(taken) == len(driver)


def test_absolute_motion_keeps_the_person(model, photo):
    driver = Motion.load(shipped_motions("motion64")["turning"])
    delta = delta_to(model, load_directions("motion64"), photo, driver.heads[0])
    assert np.linalg.norm(delta) < 0.8 * np.linalg.norm(photo)


def test_a_motion_of_which_the_heads_read_nothing_keeps_its_reference(driver, model):
    made = Motion(**{**vars(driver), "heads": None}).relative_to(3)
    motion, notes = run(made, model)
    assert motion.reference == 3 and notes == []


@pytest.mark.parametrize("name", shipped_motions("motion64"))
def test_shipped_motions_know_what_the_heads_read(name):
    motion = Motion.load(shipped_motions("motion64")[name])
    assert motion.heads.size
    assert np.abs(motion.heads[:, 0] - motion.pose[:, 0]).mean() < 5


def test_the_driver_of_a_clip_is_read_by_the_heads(data_dir, model):
    clip = data_dir / "clips/dev/celebvtext_emotion-SiuXoZBg3TQ_24_0.mp4"
    motion = Motion.from_driver(clip, model, FaceTracker("own"), end=1)
    assert np.corrcoef(motion.heads[:, 0], motion.pose[:, 0])[0, 1] > 0.9
    assert np.ptp(motion.heads[:, OPENINGS][:, 0]) > 0


@pytest.mark.parametrize(
    "degrees, expression, words",
    [(1.2, 0.2, "1 degree off, nearly the same expression"), (12, 1.73, "12 degrees off, another expression")],
)
def test_the_note_says_in_words_how_far_the_reference_is_from_the_photo(degrees, expression, words):
    (note,) = reference_notes(12, 0.48, degrees, expression)
    assert "frame 12 of the driver (0.48 s)" in note.text and words in note.text
