"""`vaegan interpolate`: from one photo to the next."""

import os

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import vaegan
from vaegan.cli.main import app
from vaegan.interpolation import Interpolation
from vaegan.media import VideoReader, read_image, write_image
from vaegan.samples import find_photo


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The shipped photo, and another person for the program: wider, darker, turned, larger, elsewhere."""
    folder = tmp_path_factory.mktemp("photos")
    image = read_image(find_photo("sample"))
    other = cv2.resize(image[:360, ::-1] // 2, (640, 440))
    other = cv2.warpAffine(other, cv2.getRotationMatrix2D((320, 150), 15, 1.0), (640, 440))
    write_image(folder / "a.png", image[:250, 110:350])
    write_image(folder / "b.png", other)
    return [folder / "a.png", folder / "b.png"]


@pytest.fixture(scope="module")
def model():
    return vaegan.load_model("motion64")


def test_it_begins_and_ends_with_the_photos_and_their_faces_lie_in_one_place(photos, model):
    frames = Interpolation(photos, model, seconds=0.16)
    pictures = list(frames)
    assert len(pictures) == len(frames) == 5 and pictures[0].shape == (frames.height, frames.width, 3)
    for portrait, picture in zip(frames.portraits, (pictures[0], pictures[-1]), strict=True):
        shown = portrait.image[: frames.height, : frames.width].astype(int)
        assert np.abs(picture.astype(int) - shown).mean() < 1.5
    a, b = (vaegan.FaceTracker().detect(pictures[k])[0].mesh for k in (0, -1))
    eyes = [np.stack([mesh[33:34].mean(0), mesh[263:264].mean(0)])[:, :2] for mesh in (a, b)]
    side = np.linalg.norm(eyes[0][1] - eyes[0][0])
    assert np.abs(eyes[0] - eyes[1]).max() < 0.15 * side
    middle = vaegan.FaceTracker().detect(pictures[2])[0].mesh[:468, :2]
    assert np.linalg.norm(middle - (a + b)[:468, :2] / 2, axis=1).mean() < 0.06 * side  # no ghost of either


def test_nothing_of_it_is_smeared_where_a_photo_ends(photos, model):
    whole = cv2.resize(read_image(find_photo("sample")), (768, 768))
    seen = Interpolation([photos[0], whole], model).portraits[0].image
    for axis in (0, 1):  # a row that is the one before it
        assert (np.abs(np.diff(seen.astype(int), axis=axis)).mean((1 - axis, 2)) > 0.1).all()


def test_a_photo_that_ends_below_the_chin_is_where_all_end(photos, model):
    short, whole = read_image(photos[0])[:190], cv2.resize(read_image(find_photo("sample")), (768, 768))
    seen = Interpolation([short, whole], model).portraits[0].image
    assert (np.abs(np.diff(seen.astype(int), axis=0)).mean((1, 2)) > 0.1).all()


def test_a_loop_comes_back_and_a_latent_in_between_is_decoded(photos, model):
    once = Interpolation(photos, model, seconds=0.2, fps=10, size=64, renderer="decode")
    loop = Interpolation(photos, model, seconds=0.2, fps=10, size=64, renderer="decode", loop=True)
    pictures = list(loop)
    assert [len(once), len(loop), len(pictures)] == [3, 4, 4]
    assert all(np.array_equal(a, b) for a, b in zip(once, pictures, strict=False))
    assert np.abs(pictures[1].astype(int) - pictures[3]).mean() < 1  # there and back pass the same middle


def test_the_command_writes_a_video_and_says_what_is_wrong(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a, b = map(str, photos)
    run = CliRunner().invoke(app, ["interpolate", a, b, "--seconds", "0.1", "--fps", "20", "--loop", "o.mp4"])
    assert run.exit_code == 0, run.output
    assert "wrote o.mp4: 4 frames" in run.output and len(list(VideoReader("o.mp4"))) == 4
    after = "and after them the video to write"
    for files, words in (([a, "p.mp4"], after), ([a] * 7 + ["p.mp4"], "7 photos"), ([a, b, "p.jpg"], after)):
        wrong = CliRunner().invoke(app, ["interpolate", *files])
        assert isinstance(wrong.exception, vaegan.UserError) and words in str(wrong.exception)
    assert os.listdir() == ["o.mp4"]
    assert CliRunner().invoke(app, ["interpolate", a, b, "o.mp4", "--seconds", "0"]).exit_code == 2
