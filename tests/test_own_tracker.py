"""The face tracker that ships with the program, on the shipped photo and whatever a user may hand in."""

import shutil

import cv2
import numpy as np
import pytest
import yaml

from vaegan.errors import UserError
from vaegan.evaluation.metrics import correlation
from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.faces.geometry import CropTransform, head_pose, mesh_box, mesh_roll
from vaegan.faces.own import FOLDER, OwnBackend, letterbox
from vaegan.faces.tracker import FaceTracker
from vaegan.media import VideoReader, read_image
from vaegan.samples import shipped_photos
from vaegan.tracker_training.augment import warp

# Of the sample photo, 512 px, by the teacher: outer eye corners, tip of the nose, corners of the mouth, chin.
KNOWN = {
    33: (195.5, 100.5),
    263: (255.9, 103.7),
    4: (223.6, 127),
    61: (202.5, 139.4),
    291: (245, 140.8),
    152: (221.3, 178.6),
}
EYES = 60.5
BOX = (225.8, 124.3, 108.6)


@pytest.fixture(scope="module")
def shipped():
    if not (FOLDER / "weights.safetensors").is_file():
        pytest.skip("the trained tracker is not in this checkout (vaegan/pretrained/tracker)")
    return FOLDER


@pytest.fixture
def tracker(shipped):
    return FaceTracker("own")


@pytest.fixture(scope="module")
def photo():
    return read_image(shipped_photos()["sample"])


def error(mesh, known) -> float:
    """Mean distance of some points {index: (x, y)}, in eye distances of the known ones."""
    points = np.array(list(known.values()))
    eyes = np.linalg.norm(np.subtract(known[33], known[263]))
    return float(np.linalg.norm(mesh[list(known), :2] - points, axis=1).mean() / eyes)


def test_the_photo_shows_one_face_where_it_is(tracker, photo):
    (face,) = tracker.detect(photo)
    assert error(face.mesh, KNOWN) < 0.08
    assert np.allclose(mesh_box(face.mesh), BOX, atol=0.08 * BOX[2])
    assert face.score > 0.9
    assert np.abs(np.subtract(head_pose(face.mesh), (0.7, 6.5, 3.0))).max() < 8
    smile = face.blendshapes[[BLENDSHAPES.index("mouthSmileLeft"), BLENDSHAPES.index("mouthSmileRight")]]
    assert smile.min() > 0.4 and face.blendshapes[BLENDSHAPES.index("jawOpen")] < 0.3


def test_a_moving_face_is_followed_without_being_searched_again(tracker, photo, monkeypatch):
    searches = []
    detect = tracker.backend.detect
    monkeypatch.setattr(tracker.backend, "detect", lambda image: searches.append(1) or detect(image))
    still = tracker.detect(photo)[0].mesh
    searches.clear()
    for t in range(30):
        # The camera drifts, comes nearer and tilts, as a hand-held phone does.
        swing = np.sin(t / 5)
        region = CropTransform(235 + 20 * swing, 140 - 2 * t * 0.7, 300 - 3 * t, np.radians(12 * swing))
        face = tracker.track(region.crop(photo, 256))
        assert face is not None, f"lost in frame {t}"
        there = region.to_crop(still, 256)
        apart = np.linalg.norm((face.mesh - there)[:, :2], axis=1).mean()
        assert apart < 0.07 * np.linalg.norm(there[33] - there[263]), f"frame {t}"
        assert mesh_roll(face.mesh) == pytest.approx(mesh_roll(there), abs=0.06)
    assert len(searches) == 1


def test_a_face_that_is_hidden_is_none_and_is_found_again(tracker, photo):
    wall = np.full_like(photo, 90)
    assert tracker.track(photo) is not None
    assert [tracker.track(wall) for _ in range(3)] == [None] * 3
    assert error(tracker.track(photo).mesh, KNOWN) < 0.08


def test_several_faces_are_found_largest_first(tracker, photo):
    canvas = np.full((720, 1280, 3), 100, np.uint8)
    expected = []
    for x, y, scale in ((30, 150, 1.0), (650, 40, 1.2)):
        small = cv2.resize(photo[:400, 60:420], None, fx=scale, fy=scale)
        canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
        expected.append([(BOX[0] - 60) * scale + x, BOX[1] * scale + y, BOX[2] * scale])
    found = [mesh_box(face.mesh) for face in tracker.detect(canvas)]
    assert len(found) == 2
    for box, true in zip(found, expected[::-1], strict=True):
        assert np.allclose(box, true, atol=0.12 * true[2])


@pytest.mark.parametrize("share", [0.1, 0.3, 0.8])
def test_small_and_large_faces_are_found(tracker, photo, share):
    size, side = 500, BOX[2] / share
    region = CropTransform(BOX[0], BOX[1] + 0.1 * side, side)
    grey = (100, 100, 100)
    (face,) = tracker.detect(warp(photo, region.matrix(size), (size, size), cv2.BORDER_CONSTANT, grey))
    there = region.to_crop(np.array(list(KNOWN.values())), size)
    assert error(face.mesh, dict(zip(KNOWN, map(tuple, there), strict=True))) < 0.12


@pytest.mark.parametrize(("top", "bottom", "left", "right"), [(68, 512, 0, 512), (0, 181, 0, 512), (0, 512, 172, 281)])
def test_a_face_that_touches_the_border_is_found(tracker, photo, top, bottom, left, right):
    part = photo[top:bottom, left:right]
    faces = tracker.detect(part)
    assert len(faces) == 1
    there = {i: (x - left, y - top) for i, (x, y) in KNOWN.items()}
    assert error(faces[0].mesh, there) < 0.12


def test_turned_pictures_give_the_turned_mesh(tracker, photo):
    for degrees in (-30, 30):
        turn = CropTransform(BOX[0], 140, 280, np.radians(degrees))
        (face,) = tracker.detect(turn.crop(photo, 320))
        there = turn.to_crop(np.array(list(KNOWN.values())), 320)
        assert error(face.mesh, dict(zip(KNOWN, map(tuple, there), strict=True))) < 0.1
        assert np.degrees(mesh_roll(face.mesh)) == pytest.approx(3.1 - degrees, abs=5)


def empty_pictures() -> dict[str, np.ndarray]:
    """What has no face in it, by name."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:300, :400]
    coarse = rng.integers(0, 256, (9, 12, 3), np.uint8)
    return {
        "one pixel": np.zeros((1, 1, 3), np.uint8),
        "one line": np.full((1, 500, 3), 128, np.uint8),
        "very wide": np.full((30, 20000, 3), 128, np.uint8),
        "flat": np.full((300, 400, 3), 200, np.uint8),
        "noise": rng.integers(0, 256, (300, 400, 3), np.uint8),
        "blotches": cv2.resize(coarse, (400, 300), interpolation=cv2.INTER_CUBIC),
        "ramp": np.repeat((x % 256).astype(np.uint8)[..., None], 3, 2),
        "stripes": np.repeat(((y // 20 % 2) * 255).astype(np.uint8)[..., None], 3, 2),
    }


@pytest.mark.parametrize("kind", empty_pictures())
def test_pictures_without_a_face_give_none(tracker, kind):
    image = empty_pictures()[kind]
    assert tracker.detect(image) == []
    assert tracker.track(image) is None


def test_an_upside_down_face_is_none_or_said_to_be_upside_down_never_an_upright_one(tracker, photo):
    for face in tracker.detect(np.ascontiguousarray(photo[::-1, ::-1])):
        assert abs(mesh_roll(face.mesh)) > np.radians(150)


def test_grey_alpha_and_16_bits_are_read(tracker, photo):
    (face,) = tracker.detect(photo)
    alpha = np.dstack([photo, np.full(photo.shape[:2], 7, np.uint8)])
    assert np.allclose(tracker.detect(alpha)[0].mesh, face.mesh)
    assert np.allclose(tracker.detect(photo.astype(np.uint16) * 257)[0].mesh, face.mesh)
    (grey,) = tracker.detect(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY))
    assert error(grey.mesh, KNOWN) < 0.1


def test_a_huge_picture_is_answered_in_its_own_pixels(tracker, photo):
    wide = np.zeros((1200, 4800, 3), np.uint8)
    wide[:1120, 3000:4120] = cv2.resize(photo, (1120, 1120))
    (face,) = tracker.detect(wide)
    scale = 1120 / 512
    assert error(face.mesh, {i: (x * scale + 3000, y * scale) for i, (x, y) in KNOWN.items()}) < 0.1


def test_the_folder_is_small_and_says_what_it_was_made_of(shipped):
    assert sum(file.stat().st_size for file in shipped.iterdir()) <= 4 * 2**20
    card = (shipped / "README.md").read_text(encoding="utf-8")
    for words in ("research only", "FairFace", "CelebA", "python train.py model=tracker", "samples"):
        assert words in card
    config = yaml.safe_load((shipped / "config.yaml").read_text(encoding="utf-8"))
    assert {"landmarker", "detector", "detection", "training"} <= config.keys()


def test_a_missing_or_broken_folder_is_said_in_one_line(tmp_path, shipped):
    with pytest.raises(UserError, match="install the package again"):
        OwnBackend(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(shipped, broken)
    (broken / "config.yaml").write_text("landmarker: {size: 64}\ndetector: {}\n")
    with pytest.raises(UserError, match="install the package again"):
        OwnBackend(broken)
    shutil.copy(shipped / "config.yaml", broken)
    (broken / "weights.safetensors").write_bytes((shipped / "weights.safetensors").read_bytes()[:5000])
    with pytest.raises(UserError, match="install the package again"):
        OwnBackend(broken)


@pytest.mark.parametrize("size", [(1080, 1920), (1081, 1921), (333, 77), (1, 9000), (40, 30)])
def test_the_detectors_view_keeps_places(size):
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    y, x = slice(height // 2, height // 2 + max(1, height // 8)), slice(width // 4, width // 4 + max(1, width // 8))
    image[y, x] = 255
    small, scale = letterbox(image, 192)
    assert small.shape[0] % 32 == small.shape[1] % 32 == 0 and small.shape[0] * small.shape[1] < 60_000
    weight = np.clip(small[..., 0].astype(float) - 127, 0, None)
    rows, columns = np.nonzero(weight > 40)
    if height > 1:
        assert (rows.mean() + 0.5) / scale[1] == pytest.approx((y.start + y.stop) / 2, abs=0.03 * height + 1)
    assert (columns.mean() + 0.5) / scale[0] == pytest.approx((x.start + x.stop) / 2, abs=0.03 * width)


def test_it_agrees_with_its_teacher_on_people_it_never_saw(shipped, data_dir, models_dir):
    pytest.importorskip("ai_edge_litert")
    own, teacher = FaceTracker("own", smoothing=False), FaceTracker("mediapipe", smoothing=False)
    apart, mine, true, pose = [], [], [], ([], [])
    for name in ("liveportrait_driving-d10.mp4", "spectre_MEAD-M003_level_1_happy_024.mp4"):
        own.reset(), teacher.reset()
        with VideoReader(data_dir / "clips" / "dev" / name, end=2) as frames:
            for frame in frames:
                one, other = own.track(frame.image), teacher.track(frame.image)
                assert one is not None and other is not None
                eyes = np.linalg.norm(other.mesh[33, :2] - other.mesh[263, :2])
                apart.append(np.linalg.norm((one.mesh - other.mesh)[:, :2], axis=1).mean() / eyes)
                mine.append(one.blendshapes), true.append(other.blendshapes)
                pose[0].append(head_pose(one.mesh)), pose[1].append(head_pose(other.mesh))
    assert np.median(apart) < 0.02 and np.percentile(apart, 95) < 0.04
    assert correlation(np.array(mine), np.array(true)) > 0.9
    assert correlation(np.array(pose[0]), np.array(pose[1])) > 0.85
