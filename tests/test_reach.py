"""However strong a motion, a face stays one."""

import numpy as np
import pytest
import torch

from vaegan.faces.geometry import RIGID_POINTS
from vaegan.faces.tracker import FaceTracker
from vaegan.model import load_model
from vaegan.motion import Motion
from vaegan.portrait import read_portrait
from vaegan.render.reach import BEYOND, STRETCH, STRETCH_BEYOND, Reach
from vaegan.samples import shipped_motions


@pytest.fixture(scope="module")
def model():
    return load_model("motion64")


@pytest.fixture(scope="module")
def mesh(model):
    """The sample's, in sides of its crop, (1, 478, 3)."""
    photo = read_portrait("sample", model, FaceTracker("own"))
    return torch.from_numpy(photo.crop.to_crop(photo.mesh.astype(np.float64), 1.0)).float()[None]


def moved(model, mesh, name, strength):
    """The mesh under a shipped motion, as the model's head reads it, (T, 478, 3)."""
    deltas = torch.from_numpy(Motion.load(shipped_motions("motion64")[name]).deltas[::4]) * strength
    with torch.inference_mode():
        read = model.heads(torch.cat([torch.zeros(1, deltas.shape[1]), deltas]))[0]
    return mesh + read[1:] - read[:1]


def taken_apart(mesh, meshes):
    """How much a head is stretched, logarithms (T, 3), and how far landmarks go besides, (T, 478)."""
    still = torch.cat([mesh, torch.ones_like(mesh[..., :1])], 2)[0]
    head = torch.linalg.pinv(still[list(RIGID_POINTS)]) @ meshes[:, RIGID_POINTS]
    return torch.linalg.svdvals(head[:, :3]).log(), (meshes - still @ head)[..., :2].norm(dim=2)


@pytest.mark.parametrize("name", ["talking", "smiling", "turning", "grimacing"])
def test_a_motion_as_it_is_is_left_alone(model, mesh, name):
    meshes, gain = moved(model, mesh, name, 1.0), torch.ones(478, 1)
    bounded, left = Reach(mesh).bound(meshes, gain)
    assert (bounded - meshes[..., :2]).abs().max() < 0.005 and left.min() > 0.97
    assert torch.allclose(Reach(mesh).bound(mesh, gain)[0], mesh[..., :2], atol=1e-5)


def test_one_that_is_much_too_strong_is_held_where_faces_end(model, mesh):
    reach, gain = Reach(mesh), torch.ones(478, 1)
    for name in ("grimacing", "smiling"):
        meshes = moved(model, mesh, name, 8.0)
        stretch, far = taken_apart(mesh, meshes)
        assert stretch.abs().max() > 2 * STRETCH and (far / reach.reach).max() > 3  # it would tear the face
        bounded, left = reach.bound(meshes, gain)
        head, _ = reach._shaped(reach.fit @ meshes[:, RIGID_POINTS])
        assert torch.linalg.svdvals(head[:, :3]).log().abs().max() <= STRETCH + STRETCH_BEYOND + 1e-4
        own = (bounded - (reach.still @ head)[..., :2]).norm(dim=2)
        assert (own / reach.reach).max() <= 1 + BEYOND + 1e-3
        assert 0 < left.min() < 0.4


def test_more_strength_never_moves_less_nor_jumps(model, mesh):
    whole = moved(model, mesh, "grimacing", 1.0)
    frame = (whole - mesh).norm(dim=2).amax(1).argmax()
    meshes = mesh + torch.linspace(0, 6, 121)[:, None, None] * (whole[frame] - mesh)
    bounded, _ = Reach(mesh).bound(meshes, torch.ones(478, 1))
    opened = (bounded[:, 14] - bounded[:, 13]).norm(dim=1)
    assert opened.diff().min() > -2e-3 and opened.diff().abs().diff().max() < 2e-3
