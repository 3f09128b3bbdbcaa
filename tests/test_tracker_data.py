"""What the tracker learns from: other faces and hands drawn into pictures, what the teacher is asked, compositions."""

import cv2
import numpy as np
import torch
from drawn_faces import drawn_group, symmetric_points

from vaegan.faces.backend import Detection, Face
from vaegan.faces.geometry import CropTransform, face_region
from vaegan.faces.own import peaks
from vaegan.tracker_training import groups as tracker_data
from vaegan.tracker_training.groups import HELD_OUT, TRAIN, Made, Sample
from vaegan.tracker_training.made_faces import cover_with_hair, cover_with_hand, reshaped, with_other_face
from vaegan.tracker_training.mosaic import Composer, Composition, target_maps
from vaegan.tracker_training.negatives import LOOKS, mined_negatives
from vaegan.tracker_training.samples import LandmarkerBatches


def test_a_reshaped_picture_moves_its_mesh_with_its_face():
    """Marks on a picture are found where the reshaped mesh says, though it is stretched and bulged by many px."""
    group = drawn_group("faces", 4, side=160)
    mesh = group.mesh_px(0)
    points = [33, 263, 61, 10, 152, 5]
    image = np.zeros((160, 160, 3), np.uint8)
    for x, y in mesh[points, :2]:
        cv2.circle(image, (round(float(x - 0.5)), round(float(y - 0.5))), 2, (255, 255, 255), -1)
    moved_by = []
    for seed in range(5):
        out, (moved,) = reshaped(image, [mesh], np.random.default_rng(seed))
        assert out.shape == image.shape and moved.shape == (478, 3)
        for i in points:
            x, y = (round(float(v - 0.5)) for v in moved[i, :2])
            if 4 < x < 155 and 4 < y < 155:
                assert out[y - 1 : y + 2, x - 1 : x + 2].max() > 100
        moved_by.append(np.linalg.norm((moved - mesh)[:, :2], axis=1).mean())
    assert min(moved_by) > 1 and max(moved_by) < 16


def test_a_hand_covers_a_part_of_a_face_and_comes_from_below():
    group = drawn_group("faces", 1, side=160)
    image, mesh = group.images[0], group.mesh_px(0)
    low, high = (getattr(mesh[:, :2], which)(0).astype(int) for which in ("min", "max"))
    for seed in range(20):
        changed = (cover_with_hand(image, mesh, np.random.default_rng(seed)) != image).any(2)
        assert 0.01 < changed[low[1] : high[1], low[0] : high[0]].mean() < 0.9
        assert not changed[: max(0, low[1] - 20)].any()
        assert changed[-1].any() or changed[:, 0].any() or changed[:, -1].any()  # the arm
    assert (
        cover_with_hand(image, mesh, np.random.default_rng(3)) == cover_with_hand(image, mesh, np.random.default_rng(3))
    ).all()


def test_hair_covers_a_part_of_a_face_from_its_border_inwards():
    group = drawn_group("faces", 1, side=160)
    image, mesh = group.images[0], group.mesh_px(0)
    low, high = (getattr(mesh[:, :2], which)(0).astype(int) for which in ("min", "max"))
    most = np.zeros(image.shape[:2])
    for seed in range(40):
        changed = (cover_with_hair(image, mesh, np.random.default_rng(seed)) != image).any(2)
        assert 0.01 < changed.mean() < 0.75
        most += changed / 40
    middle = most[(low[1] + high[1]) // 2]
    assert middle[low[0]] > 0.3 and middle[high[0]] > 0.3 and middle[(low[0] + high[0]) // 2] < 0.2
    again = [cover_with_hair(image, mesh, np.random.default_rng(3)) for _ in range(2)]
    assert (again[0] == again[1]).all()


def test_anothers_features_lie_where_the_mesh_has_them_and_the_outline_stays():
    """A mark beside the donor's mouth is seen beside this face's, however the two faces lie and are shaped."""
    group = drawn_group("faces", 8, side=160)
    for seed in range(1, 6):
        mesh, donor_mesh = group.mesh_px(0), group.mesh_px(seed)
        image, donor = np.full((160, 160, 3), 60, np.uint8), np.full((160, 160, 3), 60, np.uint8)
        marked = 5  # a point well inside
        mesh[marked, :2] = mesh[:468, :2].mean(0) + np.array([3, 4])
        donor_mesh[marked, :2] = donor_mesh[:468, :2].mean(0) + np.array([3, 4])
        cv2.circle(donor, [round(float(v - 0.5)) for v in donor_mesh[marked, :2]], 4, (255, 255, 255), -1)
        out = with_other_face(image, mesh, donor, donor_mesh, np.random.default_rng(seed))
        bright = np.argwhere(out.astype(int).sum(2) > 3 * 60 + 60)[:, ::-1] + 0.5
        assert len(bright) and np.linalg.norm(bright.mean(0) - mesh[marked, :2]) < 6
        changed = np.argwhere((out != image).any(2))[:, ::-1]
        hull = cv2.convexHull(mesh[:468, :2].astype(np.float32))
        assert all(cv2.pointPolygonTest(hull, (float(x), float(y)), True) > -8 for x, y in changed)


class _Teacher:
    """A backend that says of a region that the face is `shift` sides beside it, half as far at each look."""

    roi_scale = 1.0

    def __init__(self, shift: float, presence: float = 1.0) -> None:
        self.shift, self.presence, self.looks = shift, presence, 0

    def landmarks(self, image, roi):
        shift, self.looks = self.shift / 2**self.looks, self.looks + 1
        mesh = roi.to_picture(symmetric_points()[0] + [0.5 + shift, 0.5, 0], 1.0).astype(np.float32)
        return Face(mesh, np.full(52, 0.25, np.float32), self.presence)


class _Own(_Teacher):
    """Finds a face in the middle of whatever it is shown, and remembers what that was."""

    def __init__(self, presence: float = 1.0) -> None:
        super().__init__(0.0, presence)
        self.shown = []

    def detect(self, image):
        self.shown.append(image)
        return [Detection(CropTransform(image.shape[1] / 2, image.shape[0] / 2, 20), 0.5)]


def test_mined_negatives_are_what_fools_our_tracker_in_turned_training_pictures_but_not_the_teacher():
    photos = drawn_group("photos", 16)
    for teacher, own, looks in ((0.1, _Own(0.9), LOOKS), (0.1, _Own(0.05), 1), (0.9, _Own(0.9), 0)):
        crops = mined_negatives(own, _Teacher(0.0, presence=teacher), photos, 24, seed=3)
        assert crops.shape == (12 * looks, 24, 24, 3) and crops.dtype == np.uint8  # twelve of sixteen are not held out
    upright, turned = photos.images[:12], np.rot90(photos.images[:12], 2, axes=(1, 2))
    assert not any((image == whole).all() for image in own.shown for whole in upright if image.shape == whole.shape)
    kept = sum(
        (image == whole).all() for image, whole in zip(own.shown, turned, strict=True) if image.shape == whole.shape
    )
    assert kept < 4  # the others are painted out, lie on a side, or are parts


def test_the_teacher_is_believed_once_it_has_come_to_rest_at_the_face_that_was_meant():
    group = drawn_group("faces", 1)
    mesh, image = group.mesh_px(0), group.images[0]
    calm = _Teacher(0.04)
    seen, blendshapes = tracker_data._asked(calm, image, mesh)
    assert calm.looks == 4 and (blendshapes == 0.25).all()  # .04, .02, .01, .005 of the side
    shift = (face_region(seen).cx - face_region(mesh).cx) / face_region(mesh).side
    assert abs(shift - 0.075) < 0.005
    for teacher in (_Teacher(0.3), _Teacher(0.1), _Teacher(0.0, presence=0.2)):  # .1 + .05 + ... is too far as well
        assert tracker_data._asked(teacher, image, mesh) is None


def test_training_pictures_come_again_with_other_faces_unless_the_teacher_sees_none(monkeypatch):
    group = drawn_group("faces", 3)
    samples = [
        Sample(group.images[i], split, -1, [group.mesh_px(i)], [np.zeros(52)])
        for i, split in enumerate((TRAIN, TRAIN, HELD_OUT))
    ]
    for teacher, expected in ((_Teacher(0.0), 7), (_Teacher(0.0, presence=0.2), 3)):
        tracker = type("Tracker", (), {"backend": teacher})
        monkeypatch.setattr(tracker_data, "FaceTracker", lambda name, tracker=tracker: tracker)
        made = list(tracker_data._with_made(iter(samples), Made(2, features=1.0, hand=0.5, hair=0.5)))
        assert len(made) == expected and [s.split for s in made] == [TRAIN] * (expected - 1) + [HELD_OUT]
        assert all(s.image.shape == group.images[0].shape for s in made)
    assert len(list(tracker_data._with_made(iter(samples), Made()))) == 3


def test_backgrounds_that_are_no_faces_touch_none():
    group = drawn_group("photos", 12, side=160)
    batches = LandmarkerBatches(
        {"photos": group}, size=32, roi_scale=1.35, batch=4, shares={"photos": 1},
        negatives=1.0, spoiled=0.0, seed=0, start=0, count=1,
    )  # fmt: skip
    rng, found = np.random.default_rng(0), 0
    for _ in range(60):
        elsewhere = batches._background(rng)
        if elsewhere:
            found += 1
            image, region = elsewhere
            i = next(i for i in range(12) if np.array_equal(group.images[i], image))
            face = face_region(group.mesh_px(i))
            assert np.hypot(region.cx - face.cx, region.cy - face.cy) > (region.side / 1.35 + face.side) / 2
    assert found > 20


def test_a_composed_face_may_be_partly_covered_but_only_within_its_box():
    groups = {"photos": drawn_group("photos", 12, 160), "faces": drawn_group("faces", 12)}
    composer = Composer(groups, TRAIN, {"photos": 1, "faces": 1}, 96, (16, 80))
    image = np.full((96, 96, 3), 90, np.uint8)
    changed = np.zeros((96, 96), bool)
    for seed in range(30):
        covered = image.copy()
        composer._cover(covered, CropTransform(40, 50, 40), np.random.default_rng(seed))
        changed |= (covered != image).any(2)
    assert changed[31:69, 21:59].mean() > 0.8
    changed[30:70, 20:60] = False
    assert not changed.any()
    for face in (CropTransform(10, 50, 40), CropTransform(40, 50, 10)):  # cut by the border; too small
        covered = image.copy()
        composer._cover(covered, face, np.random.default_rng(0))
        assert (covered == image).all()


def test_target_maps_read_back_as_the_faces_they_were_made_of():
    faces = [CropTransform(40.0, 50.5, 30.0, 0.4), CropTransform(140.2, 120.0, 90.0, -0.6)]
    heat, box = target_maps(Composition(np.zeros((192, 192, 3), np.uint8), faces))
    logits = torch.from_numpy(np.log(np.clip(heat, 1e-6, 1 - 1e-6) / (1 - np.clip(heat, 1e-6, 1 - 1e-6))))
    boxes, scores = peaks(torch.cat([logits[None], torch.from_numpy(box[1:])]), 0.5)
    expected = [[f.cx, f.cy, f.side, f.roll] for f in faces]
    assert np.allclose(sorted(boxes.tolist()), expected, atol=1e-3) and (scores > 0.99).all()
