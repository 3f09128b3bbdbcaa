"""Google's graphs through our glue: against the labels that the same graphs gave, and on what a user may hand in."""

import csv
import sys
import tarfile
import zipfile

import cv2
import numpy as np
import pytest

from vaegan.errors import UserError
from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.faces.geometry import CropTransform, head_pose, mesh_box
from vaegan.faces.mediapipe import WEIGHTS, MediapipeBackend
from vaegan.faces.tracker import FaceTracker
from vaegan.media import decode_image, read_image

pytest.importorskip("ai_edge_litert")


@pytest.fixture(scope="module")
def tracker(models_dir):
    return FaceTracker("mediapipe")


@pytest.fixture(scope="module")
def photo(data_dir):
    return read_image(data_dir / "photos" / "mica_connelly.jpg")


def test_meshes_and_blendshapes_agree_with_the_labels(tracker, data_dir):
    stored = np.load(data_dir / "faces" / "labels.npz")
    row_of = {str(key): row for row, key in enumerate(stored["key"])}
    with open(data_dir / "faces" / "index.csv", newline="") as file:
        cover = {row["key"]: float(row["cover"]) for row in csv.DictReader(file)}
    errors, bias, shapes = [], [], []
    with tarfile.open(data_dir / "faces" / "faces-val-0000.tar") as shard:
        for member in shard:
            key = member.name.removesuffix(".webp")
            if cover.get(key, 0) < 0.95:
                continue
            # Three times as large, as the label's picture was, not as the detector would need it.
            image = cv2.resize(decode_image(shard.extractfile(member).read()), None, fx=3, fy=3)
            (face, *_) = tracker.detect(image)
            code = stored["mesh_code"][row_of[key]].astype(np.float32)
            label = (stored["mesh_mean"].ravel() + stored["mesh_basis"] @ code).reshape(478, 3) * 96
            difference = face.mesh[:, :2] / 3 - label[:, :2]
            errors.append(np.linalg.norm(difference, axis=1).mean())
            bias.append(difference.mean(0))
            shapes.append(np.abs(face.blendshapes - stored["blendshapes"][row_of[key]] / 255).mean())
            if len(errors) == 40:
                break
    assert np.mean(errors) < 0.7 and np.max(errors) < 2  # px of the 96 px crop
    assert np.abs(np.mean(bias, 0)).max() < 0.3
    assert np.mean(shapes) < 0.05


def test_photos_give_one_face_in_the_known_pose(tracker, data_dir):
    with open(data_dir / "photos" / "photos.csv", newline="") as file:
        rows = list(csv.DictReader(file))[::4]
    for row in rows:
        image = read_image(data_dir / "photos" / row["file"])
        assert sum(detection.score > 0.7 for detection in tracker.backend.detect(image)) == int(row["faces"])
        faces = tracker.detect(image)
        assert len(faces) == int(row["faces"]) and faces[0].score > 0.9
        known = [float(row[axis]) for axis in ("yaw", "pitch", "roll")]
        assert np.abs(np.subtract(head_pose(faces[0].mesh), known)).max() < 2


def test_mirrored_faces_give_mirrored_meshes(tracker, data_dir):
    middle = [10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 2, 0, 17, 152]
    left, right = BLENDSHAPES.index("mouthSmileLeft"), BLENDSHAPES.index("mouthSmileRight")
    apart = []
    for path in sorted((data_dir / "photos").glob("*.jpg"))[::2]:
        photo = read_image(path)
        (face,) = tracker.detect(photo)
        (mirrored,) = tracker.detect(np.ascontiguousarray(photo[:, ::-1]))
        sums = face.mesh[middle, 0] + mirrored.mesh[middle, 0]
        apart.append((sums.mean() - photo.shape[1]) / mesh_box(face.mesh)[2])
        assert head_pose(mirrored.mesh)[2] == pytest.approx(-head_pose(face.mesh)[2], abs=2)
        assert mirrored.blendshapes[left] == pytest.approx(face.blendshapes[right], abs=0.25)
    # Half a pixel of the graph's input, twice, would be .6 % of the face: a slip between corners and centres.
    assert abs(np.mean(apart)) < 0.004


def test_a_turned_picture_gives_the_turned_mesh(tracker, photo):
    (face,) = tracker.detect(photo)
    height, width = photo.shape[:2]
    turn = CropTransform(width / 2, height / 2, max(width, height) * 1.4, np.radians(-35))
    (turned,) = tracker.detect(turn.crop(photo, 700))
    assert head_pose(turned.mesh)[2] == pytest.approx(head_pose(face.mesh)[2] + 35, abs=3)
    there = turn.to_crop(face.mesh, 700)
    assert np.abs(turned.mesh - there)[:, :2].mean() < 0.02 * mesh_box(there)[2]


def test_small_faces_and_several_faces_are_found(tracker, data_dir):
    canvas = np.full((1080, 1920, 3), 90, np.uint8)
    expected = []
    for name, x, y, height in (
        ("mica_connelly.jpg", 60, 80, 230),
        ("avatarify_avatars-jobs.jpg", 900, 100, 700),
        ("tpsmm_source.jpg", 450, 700, 220),
    ):
        picture = read_image(data_dir / "photos" / name)
        scale = height / picture.shape[0]
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
        cx, cy, side = mesh_box(tracker.detect(picture)[0].mesh)
        expected.append((cx * scale + x, cy * scale + y, side * scale))
    found = [mesh_box(face.mesh) for face in tracker.detect(canvas)]
    assert np.allclose(found, sorted(expected, key=lambda box: -box[2]), atol=6)
    assert found[-1][2] < 0.12 * 1080


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.full((30, 20000, 3), 128, np.uint8),
        np.zeros((3, 500, 1), np.uint8),
        np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8),
        np.tile(np.arange(256, dtype=np.uint8), (256, 1)),
    ],
    ids=["one pixel", "very wide", "three lines", "noise", "grey ramp"],
)
def test_pictures_without_a_face_give_none(tracker, image):
    assert tracker.detect(image) == []
    tracker.reset()
    assert tracker.track(image) is None


def test_grey_16_bit_and_alpha_pictures_are_read(tracker, photo):
    (face,) = tracker.detect(photo)
    alpha = np.dstack([photo, np.full(photo.shape[:2], 7, np.uint8)])
    assert np.allclose(tracker.detect(alpha)[0].mesh, face.mesh)
    assert np.allclose(tracker.detect(photo.astype(np.uint16) * 257)[0].mesh, face.mesh)
    grey = tracker.detect(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY))[0]
    assert np.abs(grey.mesh - face.mesh)[:, :2].mean() < 0.02 * mesh_box(face.mesh)[2]


def test_a_face_cut_by_the_border_is_found_or_not_but_never_fails(tracker, photo):
    cx, cy, side = (round(value) for value in mesh_box(tracker.detect(photo)[0].mesh))
    for part in (photo[:, cx - side // 4 :], photo[: cy + side // 3], photo[cy:, :cx]):
        for face in tracker.detect(part):
            assert np.isfinite(face.mesh).all() and face.score >= 0.5


def test_loading_prints_nothing(models_dir, capfd):
    MediapipeBackend()
    out, err = capfd.readouterr()
    assert out == "" and err == ""


def test_without_the_package_the_message_says_what_to_install(models_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(UserError, match=r"pip install 'vaegan\[mediapipe\]'"):
        MediapipeBackend()


def test_broken_weights_are_named(tmp_path):
    broken = tmp_path / WEIGHTS
    broken.write_bytes(b"not a zip")
    with pytest.raises(UserError, match="fetch it again"):
        MediapipeBackend(broken)
    with zipfile.ZipFile(broken, "w") as bundle:
        bundle.writestr("face_detector.tflite", b"rubbish")
    with pytest.raises(UserError, match="fetch it again"):
        MediapipeBackend(broken)
    with zipfile.ZipFile(broken, "w") as bundle:
        for part in ("detector", "landmarks_detector", "blendshapes"):
            bundle.writestr(f"face_{part}.tflite", b"rubbish")
    with pytest.raises(UserError, match="fetch it again"):
        MediapipeBackend(broken)


def test_the_blendshapes_are_52_in_mediapipes_order():
    assert len(set(BLENDSHAPES)) == 52
    assert [BLENDSHAPES[i] for i in (0, 9, 25, 44, 51)] == [
        "_neutral",
        "eyeBlinkLeft",
        "jawOpen",
        "mouthSmileLeft",
        "noseSneerRight",
    ]
