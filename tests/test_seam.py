"""Closed lips part where they meet in the photo, not where a tracker a few pixels off says."""

import cv2
import numpy as np
import pytest

from vaegan.faces.regions import LOWER_LIP, UPPER_LIP
from vaegan.faces.seam import lips_on_seam
from vaegan.faces.tracker import FaceTracker
from vaegan.media import read_image
from vaegan.samples import find_photo

INNER = [column[0] for column in UPPER_LIP + LOWER_LIP]


@pytest.fixture(scope="module")
def mesh():
    """The sample photo's mesh, three times as large, with lips that are shut along its own line."""
    mesh = 3 * np.array(FaceTracker("own").detect(read_image(find_photo("sample")))[0].mesh, np.float64)
    for upper, lower in zip(UPPER_LIP, LOWER_LIP, strict=True):
        mesh[[upper[0], lower[0]]] = (mesh[upper[0]] + mesh[lower[0]]) / 2
    return mesh


def drawn(mesh, beside, depth=90):
    """A mouth whose seam lies `beside` px below the mesh's line."""
    image = np.full((1000, 1400, 3), 180, np.uint8)
    row = mesh[[78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308], :2] + [0, beside]
    cv2.polylines(image, [np.rint(row * 8).astype(np.int32)], False, (180 - depth,) * 3, 3, cv2.LINE_AA, 3)
    return cv2.GaussianBlur(image, (0, 0), 1)


@pytest.mark.parametrize("beside", [-6.0, 0.0, 7.0])
def test_closed_lips_go_to_the_dark_line(mesh, beside):
    placed = lips_on_seam(mesh, drawn(mesh, beside))
    moved = placed[INNER, 1] - mesh[INNER, 1]
    assert np.abs(np.median(moved) - beside) < 1
    assert np.array_equal(np.delete(placed, [p for c in UPPER_LIP + LOWER_LIP for p in c], 0),
                          np.delete(mesh, [p for c in UPPER_LIP + LOWER_LIP for p in c], 0))  # fmt: skip
    for column in UPPER_LIP + LOWER_LIP:  # in order from the inner edge outwards, so that no lip folds
        shifts = np.abs(placed[list(column), 1] - mesh[list(column), 1])
        assert (np.diff(shifts) <= 1e-9).all()


def test_open_lips_and_lips_without_a_seam_stay(mesh):
    opened = mesh.copy()
    opened[[column[0] for column in LOWER_LIP], 1] += 20
    assert lips_on_seam(opened, drawn(mesh, 5)) is opened
    assert lips_on_seam(mesh, drawn(mesh, 5, depth=2)) is mesh
    assert lips_on_seam(mesh - [10_000, 0, 0], drawn(mesh, 5)).shape == mesh.shape  # beyond the picture
