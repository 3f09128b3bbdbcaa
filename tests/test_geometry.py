"""Crops and their inverses, pixel exact; framing and head pose against the shared labels."""

import csv
import math

import cv2
import numpy as np
import pytest

from vaegan.faces.blendshapes import BLENDSHAPES, MIRRORED_BLENDSHAPES
from vaegan.faces.geometry import (
    MIRRORED_POINTS,
    RIGID_POINTS,
    CropTransform,
    face_region,
    framing,
    head_pose,
    mesh_box,
    mesh_roll,
    mirrored_mesh,
)

REGIONS = [
    CropTransform(100.3, 80.7, 64.0, 0.0),
    CropTransform(150.0, 120.0, 333.0, 0.4),
    CropTransform(-20.0, 40.0, 50.5, -1.1),
]


@pytest.fixture(scope="module")
def labels(data_dir):
    """Every 60th label of the shared faces: meshes (N, 478, 3) in crop sides, and their rows of index.csv."""
    stored = np.load(data_dir / "faces" / "labels.npz")
    code = stored["mesh_code"][::60].astype(np.float32)
    meshes = (stored["mesh_mean"].ravel() + code @ stored["mesh_basis"].T).reshape(-1, 478, 3)
    with open(data_dir / "faces" / "index.csv", newline="") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    return meshes, [rows[str(key)] for key in stored["key"][::60]]


def smooth_picture(width: int, height: int) -> np.ndarray:
    """A picture whose value at a point is known: red grows with x, green with y, one step per 2 px."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x / 2, y / 2, np.full_like(x, 77)], -1).astype(np.float32)


@pytest.mark.parametrize("region", REGIONS)
def test_to_picture_undoes_to_crop(region):
    points = np.random.default_rng(0).uniform(-50, 300, (40, 3))
    there = region.to_crop(points, 112)
    assert np.allclose(region.to_picture(there, 112), points, atol=1e-9)
    full = np.vstack([region.matrix(112), [0, 0, 1]]) @ np.vstack([region.inverse_matrix(112), [0, 0, 1]])
    assert np.allclose(full, np.eye(3), atol=1e-12)


def test_the_centre_and_the_corner_land_where_they_should():
    region = CropTransform(100, 80, 40, math.pi / 2)
    # Turned clockwise by a quarter: the crop's x axis points down in the picture.
    assert np.allclose(region.to_picture(np.array([[32.0, 32.0], [64.0, 32.0]]), 64), [[100, 80], [100, 100]])
    assert np.allclose(region.to_crop(np.array([[100.0, 100.0, 10.0]]), 64), [[64, 32, 16]])


@pytest.mark.parametrize("size", [40, 64, 25, 10])
@pytest.mark.parametrize("roll", [0.0, 0.3])
def test_crop_reads_the_colour_of_the_picture_at_the_mapped_point(size, roll):
    picture = smooth_picture(400, 300)
    region = CropTransform(200.25, 150.5, 80.0, roll)
    crop = region.crop(picture, size)
    x, y = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    truth = region.to_picture(np.stack([x.ravel(), y.ravel()], 1), size).reshape(size, size, 2) / 2
    error = crop[..., :2] - truth
    assert np.abs(error.mean((0, 1))).max() < 0.05  # half a pixel of shift would be a quarter of a step
    assert np.abs(error).max() < 0.3


def test_a_crop_of_whole_pixels_is_the_slice_itself():
    picture = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    assert np.array_equal(CropTransform(50, 40, 32).crop(picture, 32), picture[24:56, 34:66])


@pytest.mark.parametrize("side", [96, 128, 200, 411, 900])
def test_shrinking_averages_instead_of_aliasing(side):
    stripes = np.zeros((1000, 1000, 3), np.uint8)
    stripes[:, ::2] = 255  # standard deviation 127; sampled without a filter some 90 of it stay
    crop = CropTransform(500.3, 500.6, side, 0.1).crop(stripes, 64)
    assert crop.std() < 35 and abs(crop.mean() - 127.5) < 3


def test_outside_the_picture_the_border_is_replicated():
    picture = np.full((50, 60, 3), (10, 120, 240), np.uint8)
    for side in (40, 400):
        assert (CropTransform(-5, 70, side, 0.5).crop(picture, 32) == (10, 120, 240)).all()
    assert CropTransform(0.5, 0.5, 30).crop(np.full((1, 1, 3), 9, np.uint8), 16).shape == (16, 16, 3)


def test_cover_is_the_share_inside_the_picture():
    assert CropTransform(50, 50, 100).cover(100, 100) == pytest.approx(1)
    assert CropTransform(0, 50, 100).cover(100, 100) == pytest.approx(0.5)
    assert CropTransform(0, 0, 100, math.pi / 4).cover(1000, 1000) == pytest.approx(0.25, abs=1e-4)
    assert CropTransform(-500, 0, 100).cover(100, 100) == 0


@pytest.mark.parametrize("size", [48, 96, 300])
def test_paste_puts_a_crop_back_where_it_was(size):
    picture = cv2.GaussianBlur(np.random.default_rng(2).integers(0, 256, (200, 240, 3), np.uint8), (0, 0), 5)
    region = CropTransform(130.2, 90.4, 96, 0.35)
    back = region.paste(np.zeros_like(picture), region.crop(picture, size))
    inside = region.scaled(0.9).paste(np.zeros_like(picture), np.full((8, 8, 3), 255, np.uint8)).min(-1) == 255
    assert inside.sum() > 5000
    assert np.abs(back[inside].astype(int) - picture[inside]).mean() < 1
    assert back[0, 0].sum() == 0 and back[-1, -1].sum() == 0


def test_paste_leaves_the_picture_alone_where_the_mask_is_zero():
    picture = np.full((80, 80, 3), 50, np.uint8)
    mask = np.zeros((32, 32), np.float32)
    mask[:, 16:] = 1
    out = CropTransform(40, 40, 64).paste(picture, np.full((32, 32, 3), 200, np.uint8), mask)
    assert (out[:, :36] == 50).all() and (out[10:70, 46:70] == 200).all()
    assert (CropTransform(400, 40, 64).paste(picture, out[:32, :32]) == picture).all()
    assert (picture == 50).all()


def test_the_framing_of_the_shared_faces_is_their_crop(labels):
    for mesh in labels[0]:
        region = framing(mesh, 1.6, follow=False)
        assert (region.cx, region.cy) == pytest.approx((0.5, 0.5), abs=5e-3)
        assert region.side == pytest.approx(1.0, abs=0.01) and region.roll == 0


def test_a_faces_region_and_a_following_frame_turn_scale_and_move_with_it(labels):
    mesh = labels[0][0] * 200
    moved = CropTransform(13, -40, 77, 0.5).to_picture(mesh, 200)
    still, seen = framing(mesh, 1.2, follow=True), framing(moved, 1.2, follow=True)
    assert seen.roll - still.roll == pytest.approx(0.5, abs=1e-5)
    assert seen.side / still.side == pytest.approx(77 / 200, rel=1e-4)
    assert np.allclose(seen.to_crop(moved, 64), still.to_crop(mesh, 64), atol=1e-2)
    still, seen = face_region(mesh, 1.2), face_region(moved, 1.2)
    assert seen.roll - still.roll == pytest.approx(0.5, abs=1e-5)
    assert seen.side / still.side == pytest.approx(77 / 200, rel=1e-4)
    assert np.allclose(seen.to_crop(moved, 64), still.to_crop(mesh, 64), atol=1e-2)
    assert mesh_roll(seen.to_crop(moved, 64)) == pytest.approx(0, abs=1e-5)
    cx, cy, side = mesh_box(seen.to_crop(moved, 64))
    assert (cx, cy, side) == pytest.approx((32, 32, 64 / 1.2), abs=1e-2)


def test_a_following_frame_ignores_jaw_and_yaw(labels):
    mesh = labels[0][0].astype(np.float64) * 200
    rest = framing(mesh, 1.2, follow=True)
    opened = mesh.copy()
    lower = mesh[:, 1] > mesh[[61, 291], 1].mean()
    lower[RIGID_POINTS] = False
    opened[lower, 1] += 0.2 * mesh_box(mesh)[2]
    assert framing(opened, 1.2, follow=True) == rest
    assert face_region(opened, 1.2).side > 1.05 * rest.side, "the mesh box does grow"
    angle = np.radians(25)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    assert framing(mesh @ turn.T, 1.2, follow=True).side == pytest.approx(rest.side, rel=1e-6)
    roll = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    assert framing(mesh @ roll.T, 1.2, follow=True).roll == pytest.approx(rest.roll + angle, abs=1e-6)


def test_both_framings_agree_on_faces_at_rest_that_look_ahead(labels):
    meshes, rows = labels
    ahead = [mesh for mesh, row in zip(meshes, rows, strict=True) if abs(float(row["yaw"])) < 15]
    ratio = [framing(mesh, 1.6, follow=True).side / framing(mesh, 1.6, follow=False).side for mesh in ahead]
    assert np.median(ratio) == pytest.approx(1, abs=0.05)


def test_head_pose_agrees_with_the_index_of_the_shared_faces(labels):
    meshes, rows = labels
    found = np.array([head_pose(mesh) for mesh in meshes])
    known = np.array([[float(row[axis]) for axis in ("yaw", "pitch", "roll")] for row in rows])
    for axis in range(3):
        assert np.corrcoef(found[:, axis], known[:, axis])[0, 1] > 0.99
    assert np.abs((found - known).mean(0)).max() < 0.3
    assert np.abs(found - known).mean(0).max() < 1


def test_head_pose_signs(labels):
    meshes, _ = labels
    pose = np.array([head_pose(mesh) for mesh in meshes])
    # The nose tip against the middle of the ears: to the left at positive yaw.
    aside = [(mesh[4, 0] - mesh[[234, 454], 0].mean()) for mesh in meshes]
    down = [(mesh[4, 1] - mesh[[234, 454], 1].mean()) for mesh in meshes]
    assert np.corrcoef(pose[:, 0], aside)[0, 1] < -0.9
    assert np.corrcoef(pose[:, 1], down)[0, 1] > 0.8
    assert np.corrcoef(pose[:, 2], [mesh_roll(mesh) for mesh in meshes])[0, 1] > 0.9


def test_the_mirror_of_the_mirror_is_the_face_and_left_becomes_right():
    generator = np.random.default_rng(0)
    mesh = generator.random((3, 478, 3))
    assert np.allclose(mirrored_mesh(mirrored_mesh(mesh)), mesh)
    assert (MIRRORED_POINTS[[33, 133, 61, 468, 4, 10]] == [263, 362, 291, 473, 4, 10]).all()
    assert (MIRRORED_BLENDSHAPES[MIRRORED_BLENDSHAPES] == np.arange(52)).all()
    left, right = BLENDSHAPES.index("eyeBlinkLeft"), BLENDSHAPES.index("eyeBlinkRight")
    assert MIRRORED_BLENDSHAPES[left] == right and MIRRORED_BLENDSHAPES[right] == left
    assert sum(np.arange(52) != MIRRORED_BLENDSHAPES) == 2 * sum("Left" in name for name in BLENDSHAPES)
