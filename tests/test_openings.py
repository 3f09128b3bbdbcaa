"""Lips and lids come to a stop where they meet."""

import numpy as np
import pytest
import torch

from vaegan.directions import load_directions
from vaegan.faces.tracker import FaceTracker
from vaegan.media import read_image
from vaegan.model import load_model
from vaegan.portrait import read_portrait
from vaegan.render import build_renderer
from vaegan.render.openings import KNEE, LOWER_LIDS, SOFT, UPPER_LIDS, Openings
from vaegan.samples import find_photo

LIPS, LIDS = (13, 14), (159, 145)
SIDE = 100.0


@pytest.fixture(scope="module")
def mesh():
    """The sample's, its mesh box 100 px wide; the mouth is open by 6."""
    face = FaceTracker("own").detect(read_image(find_photo("sample")))[0].mesh[:, :2]
    return torch.from_numpy(face / np.ptp(face[:468], axis=0).max() * SIDE).float()[None]


def gap(meshes, pair):
    return (meshes[:, pair[1], 1] - meshes[:, pair[0], 1]).numpy()


def moved(mesh, pair, shifts):
    """Meshes whose upper point comes down by `shifts`."""
    meshes = mesh.repeat(len(shifts), 1, 1)
    meshes[:, pair[0], 1] += torch.as_tensor(shifts, dtype=torch.float32)
    return meshes


def test_a_photo_at_rest_and_what_opens_stay_as_they_are(mesh):
    openings = Openings(mesh)
    assert torch.allclose(openings.bound(mesh), mesh, atol=1e-4)
    opened = moved(mesh, LIPS, -np.linspace(0, 10, 20))
    assert torch.allclose(openings.bound(opened), opened, atol=1e-4)


@pytest.mark.parametrize("pair", [LIPS, LIDS])
def test_what_meets_stops_softly(mesh, pair):
    shifts = np.linspace(0, 20, 401)
    gaps = gap(Openings(mesh).bound(moved(mesh, pair, shifts)), pair)
    assert gaps.min() > (KNEE - SOFT) * SIDE - 0.2
    steps = np.diff(gaps)
    assert (steps <= 1e-4).all() and steps.min() > -0.06  # closes all the way, never faster than it was told to
    assert np.abs(np.diff(steps)).max() < 0.006  # no edge: a clip's would be 0.05


def test_lips_that_are_closed_in_the_photo_stay_closed(mesh):
    closed = mesh.clone()
    closed[:, 14] = closed[:, 13]
    pressed = moved(closed, LIPS, [5.0])
    assert -SOFT * SIDE - 0.2 < gap(Openings(closed).bound(pressed), LIPS)[0] <= 0


def test_a_turned_and_larger_photo_is_bounded_alike(mesh):
    angle = torch.tensor(0.6)
    turn = 3 * torch.stack([torch.stack([angle.cos(), angle.sin()]), torch.stack([-angle.sin(), angle.cos()])])
    meshes = moved(mesh, LIDS, [5.0, 20.0])
    one, other = Openings(mesh).bound(meshes), Openings(mesh @ turn).bound(meshes @ turn)
    assert torch.allclose(one @ turn, other, atol=0.5)


def test_a_blink_and_a_closing_far_beyond_what_a_face_can_do_leave_lids_in_order():
    model = load_model("motion64")
    portrait = read_portrait(find_photo("sample"), model, FaceTracker("own"))
    warp = build_renderer("warp", model, portrait, 256, refiner=None)
    seen, bound = [], warp.openings.bound
    warp.openings.bound = lambda meshes: seen.append((meshes, bound(meshes))) or seen[-1][1]
    shut = load_directions("motion64").delta(blink_left=2.5, blink_right=2.5)
    warp.render(shut[None].astype(np.float32), np.zeros((1, 4), np.float32))
    asked, shown = (meshes[0, LOWER_LIDS, 1] - meshes[0, UPPER_LIDS, 1] for meshes in seen[0])
    assert asked.min() < -0.02 and shown.min() > -0.01
