"""Irises move whole between the lids: round, under lids that cover them, and only where the eye is open."""

import numpy as np
import pytest
import torch

from vaegan.directions import load_directions
from vaegan.evaluation.heads import iris_x
from vaegan.faces.geometry import mesh_box
from vaegan.faces.regions import IRISES, RIGHT_LIDS
from vaegan.faces.tracker import FaceTracker
from vaegan.model import load_model
from vaegan.portrait import read_portrait
from vaegan.render import build_renderer
from vaegan.render.field import at_rest, dense_field
from vaegan.render.irises import carried_by_lids, irises_kept
from vaegan.render.triangles import EYE
from vaegan.samples import find_photo

SIZE = 256


@pytest.fixture(scope="module")
def portrait():
    return read_portrait(find_photo("sample"), load_model("motion64"), FaceTracker("own"))


@pytest.fixture(scope="module")
def face(portrait):
    """float (1, 478, 2): the mesh of the sample photo in its view of twice the mesh box."""
    x, y, side = mesh_box(portrait.mesh)
    return torch.from_numpy(np.asarray(portrait.mesh[:, :2] - [x - side, y - side], np.float32) / (2 * side))[None]


def looking(face, share):
    """The mesh with both irises moved by a share of an eye's width."""
    there = face.clone()
    there[:, list(IRISES)] += share * (face[:, [133]] - face[:, [33]])
    return there


def kept(face, there):
    return irises_kept(dense_field(at_rest(face), carried_by_lids(face, there), SIZE), there)


def test_a_photo_at_rest_is_the_photo(face):
    _, eyes = kept(face, face)
    assert len(eyes[0]) == 2
    assert max(np.abs(eye.change[..., :2] * eye.change[..., 2:]).max() for eye in eyes[0]) < 0.02 / SIZE


def test_an_iris_that_looks_aside_stays_a_disc(face):
    there = looking(face, 0.15)
    plain = dense_field(at_rest(face), there, SIZE)
    field, _ = kept(face, there)
    x, y = (there[0, 468] * SIZE).round().int().tolist()
    radius = (face[0, 469:473] - face[0, 468]).norm(dim=1).mean() * SIZE
    reach = int(0.7 * radius)
    grown = {}
    for name, which in (("plain", plain), ("kept", field)):
        source = which.position[0, y, x - reach : x + reach + 1] * SIZE
        grown[name] = (source[1:] - source[:-1]).norm(dim=1)
    assert (grown["kept"] - 1).abs().max() < 0.02
    assert (grown["plain"] - 1).abs().max() > 0.2  # what it is here for
    assert torch.allclose(field.position[0, y, x] * SIZE, face[0, 468] * SIZE, atol=0.75)


def test_what_lies_beyond_the_lids_stays_where_it_was(face):
    there = looking(face, 0.15)
    field, _ = kept(face, there)
    lids = dense_field(at_rest(face), carried_by_lids(face, there), SIZE)
    beyond = field.region != EYE
    assert torch.equal(field.position[beyond], lids.position[beyond])


def test_an_iris_does_not_leave_its_eye(face):
    field, eyes = kept(face, looking(face, 2.0))
    source = field.position[0] * SIZE
    for eye in eyes[0]:
        assert np.isfinite(eye.change).all() and np.abs(eye.change).max() <= 1
    assert source.min() > -SIZE and source.max() < 2 * SIZE


def test_an_eye_that_is_shut_in_the_photo_has_no_iris_to_move(face):
    shut = face.clone()
    eye = list(RIGHT_LIDS + IRISES[:5])
    shut[:, eye, 1] = 0.02 * shut[:, eye, 1] + 0.98 * shut[:, eye, 1].mean(1, keepdim=True)
    _, eyes = kept(shut, looking(shut, 0.1))
    assert len(eyes[0]) == 1


def test_the_tracker_sees_where_the_photo_looks(portrait):
    model = load_model("motion64")
    gaze = load_directions("motion64")
    deltas = np.stack([gaze.delta(gaze_x=value) for value in (0.0, 0.7, -0.7)])
    renderer = build_renderer("warp", model, portrait, 256)
    tracker = FaceTracker("own")
    seen = np.stack([tracker.detect(shown.image)[0].mesh for shown in renderer.render(deltas, np.zeros((3, 4)))])
    rest, left, right = iris_x(seen) / np.linalg.norm(seen[0, 33] - seen[0, 133])
    assert left < rest - 0.04 and right > rest + 0.04
