"""Several faces in the photo: which of them move, and all of them in one picture."""

import cv2
import numpy as np
import pytest
from standin import SquareTracker

from vaegan.errors import UserError
from vaegan.faces.choice import check_choice, choose_faces
from vaegan.faces.geometry import mesh_box
from vaegan.faces.tracker import FaceTracker
from vaegan.media import read_image
from vaegan.model import load_model
from vaegan.pipeline import Transfer
from vaegan.samples import find_photo
from vaegan.settings import TransferSettings


def square(x, y, side):
    """A face of the stand-in tracker."""
    image = np.full((400, 600, 3), 110, np.uint8)
    image[y : y + side, x : x + side] = 200, 120, 60
    return SquareTracker().detect(image)[0]


FACES = [square(20, 50, 200), square(400, 60, 100), square(300, 20, 40)]


@pytest.mark.parametrize(
    ("choice", "numbers"),
    [("largest", [0]), ("all", [0, 1, 2]), ("1", [0]), ("3", [2]), ("450,110", [1]), ("30.5,60", [0]), ("322,45", [2])],
)
def test_a_face_is_meant_by_its_size_its_number_or_its_place(choice, numbers):
    chosen = choose_faces(FACES, choice, "p")
    assert [face.mesh[0, 0] for face in chosen] == [FACES[number].mesh[0, 0] for number in numbers]


@pytest.mark.parametrize(("choice", "words"), [("4", "3 faces.* no face 4"), ("590,390", "3 faces.* none at 590,390")])
def test_a_face_that_is_not_there_is_told(choice, words):
    with pytest.raises(UserError, match=words):
        choose_faces(FACES, choice, "p.jpg")


@pytest.mark.parametrize("choice", ["0", "-1", "biggest", "1,2,3", "", "nan,1", "1,"])
def test_what_names_no_face_is_refused(choice):
    with pytest.raises(UserError, match="use largest, all"):
        check_choice(choice)


@pytest.fixture(scope="module")
def model():
    return load_model("motion64")


@pytest.fixture(scope="module")
def pair():
    """Two faces in one photo; the second smaller and mirrored."""
    image = cv2.resize(read_image(find_photo("sample")), (384, 384), interpolation=cv2.INTER_AREA)
    small = cv2.resize(image[:, ::-1], (256, 256), interpolation=cv2.INTER_AREA)
    return np.hstack([image, cv2.copyMakeBorder(small, 64, 64, 0, 0, cv2.BORDER_REPLICATE)])


def moved(photo, model, **options):
    options = {"reference": "first", "start": 1.0, "end": 1.2} | options
    run = Transfer(photo, "turning", model, TransferSettings(**options), FaceTracker("own"))
    return run, np.stack([frame.image for frame in run.frames()][-1:]).astype(int)[0]


@pytest.mark.parametrize("renderer", ["warp", "decode"])
def test_all_faces_move_each_as_if_it_were_alone(pair, model, renderer):
    options = {"renderer": renderer, "view": "full", "strength": 1.5}
    run, together = moved(pair, model, face="all", **options)
    assert len(run.photos) == 2 and not run.notes
    for number, own in (("1", slice(0, 340)), ("2", slice(430, 640))):
        _, alone = moved(pair, model, face=number, **options)
        assert np.abs(alone[:, own] - pair[:, own]).max() > 40
        assert np.abs(together[:, own] - alone[:, own]).max() <= 1


def test_where_two_faces_touch_each_place_follows_the_nearest_and_nothing_tears(model):
    image = read_image(find_photo("sample"))
    x, y, side = mesh_box(FaceTracker("own").detect(image)[0].mesh)
    face = image[round(y - side) : round(y + side), round(x - 0.55 * side) : round(x + 0.55 * side)]
    face = cv2.resize(face, (264, 480), interpolation=cv2.INTER_CUBIC)
    close = np.hstack([face, face])
    options = {"strength": 2.0, "start": 2.0, "end": 2.2}
    run, together = moved(close, model, face="all", **options)
    assert len(run.photos) == 2
    for number, photo in enumerate(run.photos, 1):
        _, alone = moved(close, model, face=str(number), **options)
        x = round(photo.crop.cx)
        own = np.s_[120:400, x - 80 : x + 80]
        assert np.abs(alone[own] - close[own]).mean() > 10
        assert np.abs(together[own] - alone[own]).mean() < 1
    still = np.abs(np.diff(close.astype(int), axis=1)).sum(2)[:, 244:284]
    assert np.abs(np.diff(together, axis=1)).sum(2)[:, 244:284].max() < 1.3 * still.max()


def test_several_faces_need_the_whole_photo(pair, model):
    with pytest.raises(UserError, match="--view full"):
        moved(pair, model, face="all", view="crop")
