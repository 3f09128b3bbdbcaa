"""The dense field of a mesh displacement, on a real face and on motions that go further than faces do."""

import time

import cv2
import numpy as np
import pytest
import torch

from vaegan.faces.geometry import mesh_box, mirrored_mesh
from vaegan.faces.tracker import FaceTracker
from vaegan.media import read_image
from vaegan.render.field import MeshField, at_rest, dense_field, sample
from vaegan.render.teeth import teeth_kept
from vaegan.render.triangles import EYE, FACE, MOUTH, triangulation
from vaegan.samples import find_photo

SIZE = 256


@pytest.fixture(scope="module")
def face():
    """float (1, 478, 3): the mesh of the sample photo in its view of twice the mesh box, frontal."""
    mesh = FaceTracker("own").detect(read_image(find_photo("sample")))[0].mesh
    x, y, side = mesh_box(mesh)
    return torch.from_numpy(np.asarray(mesh - [x - side, y - side, 0], np.float32) / (2 * side))[None]


def moved(face, x=0.0, y=0.0, scale=1.0, roll=0.0, yaw=0.0, pitch=0.0, jaw=0.0):
    """The mesh moved: x, y in views, angles in degrees, jaw: how far lower lip and chin sink, in mesh boxes."""
    middle = face.mean(1, keepdim=True)
    p = (face - middle).clone()
    below = face[..., 1:2] > (face[:, 13:14, 1:2] + face[:, 14:15, 1:2]) / 2
    beside = (-(((face[..., :1] - face[:, 13:14, :1]) / 0.15) ** 2)).exp()
    p[..., 1:2] += torch.where(below, jaw / 2 * beside, torch.zeros(()))
    turn = [cv2.Rodrigues(np.radians(axis))[0] for axis in ([pitch, 0, 0], [0, yaw, 0], [0, 0, roll])]
    turn = torch.from_numpy(turn[2] @ turn[1] @ turn[0]).float()
    return scale * p @ turn.T + middle + torch.tensor([x, y, 0.0])


def at_landmarks(field, mesh):
    """Where the field takes the landmarks (1, 478, 2) from."""
    position = field.position.permute(0, 3, 1, 2)
    return torch.nn.functional.grid_sample(position, mesh[:, None, :, :2] * 2 - 1, align_corners=False)[:, :, 0].mT


def determinant(field):
    """Of the map's Jacobian between neighbouring places of the field, (S - 1, S - 1)."""
    p = field.position[0] * field.position.shape[1]
    x, y = p[:-1, 1:] - p[:-1, :-1], p[1:, :-1] - p[:-1, :-1]
    return x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]


MOTIONS = [{"x": 0.05, "y": -0.03}, {"roll": 12}, {"yaw": 10}, {"pitch": 8}, {"scale": 1.15}, {"jaw": 0.12}]


@pytest.mark.parametrize("motion", MOTIONS, ids=str)
def test_the_field_gives_back_the_displacement_asked_for(face, motion):
    there = moved(face, **motion)
    field = dense_field(at_rest(face), there, 2 * SIZE)
    asked = there[..., :2] - face[..., :2]
    missing = (there[..., :2] - at_landmarks(field, there) - asked)[0, :468].norm(dim=1)
    assert (missing <= 0.05 * asked[0, :468].norm(dim=1) + 0.25 / SIZE).float().mean() > (
        0.93 if "yaw" in motion or "pitch" in motion else 0.99  # the rest has turned out of sight
    )
    assert missing.mean() < 0.09 * asked[0, :468].norm(dim=1).mean()


def test_lips_part_freely_and_what_lies_between_is_named(face):
    there = moved(face, jaw=0.15)
    field = dense_field(at_rest(face), there, SIZE)
    back = at_landmarks(field, there)[0]
    for upper, lower in ((13, 14), (82, 87), (312, 317)):
        asked = (there[0, lower, 1] - there[0, upper, 1]) - (face[0, lower, 1] - face[0, upper, 1])
        got = (there[0, lower, 1] - there[0, upper, 1]) - (back[lower, 1] - back[upper, 1])
        assert got > 0.95 * asked
    x, y = (there[0, [13, 14], :2].mean(0) * SIZE).int().tolist()
    assert field.region[0, y, x] == MOUTH
    x, y = (there[0, 468, :2] * SIZE).int().tolist()
    assert field.region[0, y, x] == EYE
    x, y = (there[0, 50, :2] * SIZE).int().tolist()
    assert field.region[0, y, x] == FACE


def test_upper_teeth_keep_their_height_in_a_mouth_that_opens_and_the_rest_is_dark(face):
    there = moved(face, jaw=0.15)
    field = dense_field(at_rest(face), there, SIZE)
    lips = torch.tensor([0.8, 0.4, 0.4])
    kept, dark, share = teeth_kept(field, lips)
    x = round(float(there[0, 13, 0]) * SIZE)
    rows = (field.region[0, :, x] == MOUTH).nonzero()[:, 0]
    below_the_lip, above_the_chin = rows[: len(rows) // 4], rows[-(len(rows) // 4) :]

    def shown(position, part):
        """Rows of the photo for each row of the picture."""
        return float((position[0, part[-1], x, 1] - position[0, part[0], x, 1]) * SIZE / (part[-1] - part[0]))

    assert shown(kept.position, below_the_lip) > 1.7 * shown(field.position, below_the_lip)
    assert shown(kept.position, above_the_chin) < shown(field.position, above_the_chin)
    assert share[0, 0, rows[0], x] < 0.05 and share[0, 0, rows[-3], x] > 0.9
    assert (dark[0, :, rows[len(rows) // 2], x] < 0.3 * lips).all()  # behind the teeth
    tongue = dark[0, :, rows[-3], x] / lips
    assert (tongue < 0.75).all() and tongue[0] > tongue[1] > 0.3
    assert (kept.position != field.position).any(-1)[field.region != MOUTH].sum() == 0
    assert torch.allclose(kept.position - kept.inner, field.position - field.inner, atol=1e-6)


def test_lids_close_without_a_fold(face):
    there = face.clone()
    for upper, lower in ((159, 145), (158, 153), (160, 144), (386, 374), (385, 380), (387, 373)):
        there[:, upper] = there[:, lower]
    field = dense_field(at_rest(face), there, SIZE)
    assert (determinant(field) <= 0).float().mean() < 1e-4
    assert (field.region == EYE).sum() < 0.75 * (dense_field(at_rest(face), face, SIZE).region == EYE).sum()


EXTREMES = [
    {"yaw": 45}, {"yaw": -45}, {"pitch": 35}, {"roll": 60}, {"x": 0.3, "y": 0.2}, {"scale": 1.6}, {"scale": 0.6},
    {"jaw": -0.1}, {"jaw": 0.3, "yaw": 30, "roll": 20, "x": 0.15},
]  # fmt: skip


@pytest.mark.parametrize("motion", EXTREMES, ids=str)
def test_no_motion_folds_the_picture(face, motion):
    there = moved(face, **motion)
    triangles, _ = triangulation(there.device)
    a, b, c = at_rest(there, iterations=256).points[:, triangles].unbind(2)
    u, v = b - a, c - a
    assert (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]).min() > 0
    # Differences between neighbouring pixels also meet the kinks at slivers.
    assert (determinant(dense_field(at_rest(face), there, SIZE, iterations=256)) <= 0).float().mean() < 2e-3


def test_hair_goes_with_the_head_and_the_far_background_stays(face):
    there = moved(face, x=0.06)
    view = torch.tensor([[0.5, 0.5, 2.0]])
    position = dense_field(at_rest(face), there, SIZE, view).position[0]
    own = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 0.5
    movement = own[None, :] - position[..., 0]
    top = int((there[0, 10, 1] - 0.06 + 0.5) / 2 * SIZE)
    above = int((there[0, 10, 0] + 0.5) / 2 * SIZE)
    assert movement[top, above] == pytest.approx(0.06, abs=0.005)
    border = torch.cat([movement[0], movement[-1], movement[:, 0], movement[:, -1]])
    assert border.abs().max() < 1e-6
    assert (movement.diff(dim=0).abs().max() < 0.01) & (movement.diff(dim=1).abs().max() < 0.01)


def test_a_moved_and_scaled_photo_moves_alike(face):
    there = moved(face, yaw=15, jaw=0.1, roll=8)
    plain = dense_field(at_rest(face), there, SIZE).position
    scale, shift = 0.5, torch.tensor([0.2, 0.1])
    view = torch.tensor([[0.5 * scale + 0.2, 0.5 * scale + 0.1, scale]])
    field = dense_field(at_rest(face[..., :2] * scale + shift), there[..., :2] * scale + shift, SIZE, view)
    assert ((field.position - shift) / scale - plain).abs().max() < 1e-3


def test_a_mirrored_photo_moves_alike(face):
    def mirrored(mesh):
        return torch.from_numpy(mirrored_mesh(mesh.numpy()))

    there = moved(face, yaw=15, jaw=0.1, roll=8)
    plain = dense_field(at_rest(face), there, SIZE).position
    turned = dense_field(at_rest(mirrored(face)), mirrored(there), SIZE).position.flip(2)
    turned[..., 0] = 1 - turned[..., 0]
    assert (turned - plain).norm(dim=-1).mean() < 0.1 / SIZE
    assert (turned - plain).norm(dim=-1).max() < 3 / SIZE


def test_training_sees_the_field_that_is_shown_and_each_frame_is_its_own(face):
    there = torch.cat([moved(face, **motion) for motion in [*MOTIONS, *EXTREMES]])
    n = len(there)
    trained = dense_field(at_rest(face.repeat(n, 1, 1), 64, fixed_work=True), there, SIZE, fixed_work=True)
    shown = dense_field(at_rest(face), there, SIZE)
    assert (at_landmarks(trained, there) - at_landmarks(shown, there)).abs().max() < 0.02 / SIZE
    assert (trained.position - shown.position).abs().max() < 0.1 / SIZE
    assert (trained.region != shown.region).float().mean() < 1e-4
    for i in range(n):
        alone, of_many = dense_field(at_rest(face), there[i : i + 1], SIZE), shown[i : i + 1]
        assert torch.equal(alone.region, of_many.region)
        assert (alone.position - of_many.position).abs().max() < 1e-5
        places = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(i))
        for own, its in zip(alone.rigid.back(*places), of_many.rigid.back(*places), strict=True):
            assert torch.allclose(own, its, atol=1e-6)


def test_on_a_cpu_a_field_costs_only_what_there_is_to_do(face):
    there = torch.cat([moved(face, yaw=turn, jaw=0.01 * turn) for turn in range(8)])

    def cost(fixed_work):
        """Least processor time of three tries, which other programs do not change much."""
        rest = at_rest(face.repeat(len(there), 1, 1), 12, fixed_work=True) if fixed_work else at_rest(face)
        spent = []
        for _ in range(3):
            began = time.process_time()
            dense_field(rest, there, SIZE, fixed_work=fixed_work)
            spent.append(time.process_time() - began)
        return min(spent)

    assert cost(fixed_work=False) < cost(fixed_work=True) / 2


def test_a_photo_that_does_not_move_comes_back(face):
    position = dense_field(at_rest(face), face, SIZE).position[0]
    own = (torch.arange(SIZE) + 0.5) / SIZE
    assert (position[..., 0] - own).abs().max() < 1e-4
    assert (position[..., 1] - own[:, None]).abs().max() < 1e-4


def test_a_photo_pulled_through_the_field_moves_with_its_face(face):
    y, x = np.mgrid[:128, :128]
    photo = np.stack([2 * x, 2 * y, x + y], 2).clip(0, 255).astype(np.uint8)
    mesh = face[0].numpy() * 128
    field = MeshField(mesh, 128)
    assert np.abs(sample(photo, field(np.zeros((478, 3)))).astype(int) - photo).max() <= 1
    shifted = sample(photo, field(np.tile([6.0, -4.0, 0.0], (478, 1))))
    assert np.abs(shifted[52:76, 56:80].astype(int) - photo[56:80, 50:74]).max() <= 2
    assert np.abs(shifted[:1, :1].astype(int) - photo[:1, :1]).max() <= 2
