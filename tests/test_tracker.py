"""Following a face: on a clip where its weights are at hand, and with a scripted backend for what no clip shows."""

import cv2
import numpy as np
import pytest

import vaegan.faces.tracker as tracker_module
from vaegan.errors import UserError
from vaegan.faces.backend import Detection, Face
from vaegan.faces.geometry import CropTransform, mesh_box, mesh_roll
from vaegan.faces.tracker import FaceTracker
from vaegan.faces.weights import find_weights, require_weights
from vaegan.media import VideoReader, read_image

PICTURE = np.zeros((400, 600, 3), np.uint8)


def mesh_at(x: float, y: float, side: float) -> np.ndarray:
    """A disc of 478 points, exactly this wide and high, around a point, with level eye corners."""
    angle = np.arange(478) * 2.399963
    mesh = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1) * np.sqrt(np.arange(478) / 467)[:, None] * side / 2
    mesh[[33, 133, 362, 263], :2] = side * np.array([[-0.3, -0.1], [-0.1, -0.1], [0.1, -0.1], [0.3, -0.1]])
    mesh[:4, :2] = side / 2 * np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])
    return (mesh + np.array([x, y, 0])).astype(np.float32)


class ScriptedBackend:
    """Sees the faces (x, y, side) of the list `faces`; a region shows the one whose centre it holds."""

    name, roi_scale, easily_fooled = "scripted", 1.5, False

    def __init__(self, faces):
        self.faces, self.detections, self.noise = faces, 0, None

    def detect(self, image):
        self.detections += 1
        return [Detection(CropTransform(x + 3, y - 2, side * 0.9, 0.05), 0.9) for x, y, side in self.faces]

    def landmarks(self, image, roi):
        for x, y, side in self.faces:
            if max(abs(roi.cx - x), abs(roi.cy - y)) < roi.side / 2:
                mesh = mesh_at(x, y, side)
                if self.noise is not None:
                    mesh += self.noise.normal(0, 0.002 * side, mesh.shape).astype(np.float32)
                return Face(mesh, np.zeros(52, np.float32), 0.99)
        return Face(mesh_at(roi.cx, roi.cy, roi.side), np.zeros(52, np.float32), 0.05)


def scripted(monkeypatch, faces, smoothing=False) -> FaceTracker:
    monkeypatch.setattr(tracker_module, "_make_backend", lambda name: ScriptedBackend(faces))
    return FaceTracker(smoothing=smoothing)


def place(face) -> tuple[float, ...]:
    return tuple(round(value) for value in mesh_box(face.mesh))


def test_stills_give_every_face_once_largest_first(monkeypatch):
    tracker = scripted(monkeypatch, [(100, 100, 60), (400, 200, 140), (402, 203, 141), (250, 300, 90)])
    assert [round(mesh_box(face.mesh)[2]) for face in tracker.detect(PICTURE)] == [140, 90, 60]


class Fooled(ScriptedBackend):
    """Sees a face in the same place everywhere, its presence a function of the region."""

    easily_fooled = True

    def __init__(self, faces, presence):
        super().__init__(faces)
        self.presence = presence

    def landmarks(self, image, roi):
        return Face(mesh_at(*self.faces[0]), np.zeros(52, np.float32), self.presence(roi))


@pytest.mark.parametrize(
    ("found", "presence"),
    [
        (1, lambda roi: 0.2 if abs(roi.roll) > 1 else 0.95),  # upright, and steady
        (0, lambda roi: 0.2 if abs(roi.roll) > 1 else 0.78),  # never sure
        (0, lambda roi: 0.2 if abs(roi.roll) > 1 else 0.9 if roi.cy > 199 else 0.6),  # gone a little higher
        (0, lambda roi: 0.2 if abs(roi.roll) > 1 else 0.9 if roi.side > 149 else 0.6),  # gone from nearer
        (0, lambda roi: 0.97 if abs(roi.roll) > 1 else 0.95),  # better on its head
    ],
)
def test_what_a_fooled_backend_finds_is_looked_at_from_beside(monkeypatch, found, presence):
    monkeypatch.setattr(tracker_module, "_make_backend", lambda name: Fooled([(200, 200, 100)], presence))
    assert len(FaceTracker(smoothing=False).detect(PICTURE)) == found


@pytest.mark.parametrize(("side", "height", "found"), [(19, 400, 0), (21, 400, 1), (19, 220, 1), (17, 220, 0)])
def test_a_fooled_backend_is_not_believed_about_the_very_small(monkeypatch, side, height, found):
    backend = Fooled([(100, 100, side)], lambda roi: 0.2 if abs(roi.roll) > 1 else 0.95)
    monkeypatch.setattr(tracker_module, "_make_backend", lambda name: backend)
    assert len(FaceTracker().detect(np.zeros((height, 400, 3), np.uint8))) == found


def test_a_face_is_detected_once_and_then_followed(monkeypatch):
    tracker = scripted(monkeypatch, [(200, 200, 100)])
    for x in range(200, 300, 10):
        tracker.backend.faces = [(x, 200, 100), (500, 200, 150)] if x > 200 else [(x, 200, 100)]
        assert place(tracker.track(PICTURE)) == (x, 200, 100)
    assert tracker.backend.detections == 1


def test_a_cut_to_another_face_is_followed_in_the_same_frame(monkeypatch):
    tracker = scripted(monkeypatch, [(100, 200, 80)])
    tracker.track(PICTURE)
    tracker.backend.faces = [(480, 150, 200)]
    assert place(tracker.track(PICTURE)) == (480, 150, 200)
    assert tracker.backend.detections == 2


def test_a_face_that_jumps_within_its_region_is_looked_for_again(monkeypatch):
    tracker = scripted(monkeypatch, [(200, 200, 100)])
    tracker.track(PICTURE)
    tracker.backend.faces = [(260, 200, 100)]  # seen at once, but no head moves by .6 of itself
    assert place(tracker.track(PICTURE)) == (260, 200, 100)
    assert tracker.backend.detections == 2


def test_a_lost_face_is_none_and_comes_back(monkeypatch):
    tracker = scripted(monkeypatch, [(200, 200, 80)])
    assert tracker.track(PICTURE) is not None
    tracker.backend.faces = []
    assert [tracker.track(PICTURE) for _ in range(8)] == [None] * 8
    tracker.backend.faces = [(500, 200, 160), (240, 200, 80)]
    assert place(tracker.track(PICTURE)) == (240, 200, 80)  # the one that was followed, though not the largest


def test_a_new_video_begins_with_its_largest_face(monkeypatch):
    tracker = scripted(monkeypatch, [(200, 200, 80)])
    tracker.track(PICTURE)
    tracker.backend.faces = [(500, 200, 160), (200, 200, 80)]
    assert place(tracker.track(PICTURE)) == (200, 200, 80)
    tracker.reset()
    assert place(tracker.track(PICTURE)) == (500, 200, 160)


class HesitantBackend(ScriptedBackend):
    """Sees a face only three fifths of the way from the region to where it is; `restless`: another way each time."""

    restless = False

    def detect(self, image):
        self.looks = 0
        return [Detection(CropTransform(x + 0.3 * side, y, side * 1.3), 0.9) for x, y, side in self.faces]

    def landmarks(self, image, roi):
        self.looks += 1
        ((x, y, side),) = self.faces
        region = np.array([roi.cx, roi.cy, roi.side / self.roi_scale])
        seen = region + 0.6 * (np.array([x, y, side]) - region)
        seen[0] += 0.1 * side * (-1) ** self.looks * self.restless
        return Face(mesh_at(*seen), np.zeros(52, np.float32), 0.99)


@pytest.mark.parametrize("restless", [False, True])
def test_a_new_face_is_looked_at_until_its_region_rests_but_not_for_ever(monkeypatch, restless):
    tracker = scripted(monkeypatch, [])
    tracker.backend = HesitantBackend([(200, 200, 100)])
    tracker.backend.restless = restless
    x, y, side = mesh_box(tracker.track(PICTURE).mesh)
    assert abs(x - 200) < (8 if restless else 1) and abs(y - 200) < 1 and abs(side - 100) < 2
    assert tracker.backend.looks == 8 if restless else tracker.backend.looks < 8
    tracker.track(PICTURE)
    looks = tracker.backend.looks
    tracker.track(PICTURE)
    assert tracker.backend.looks == looks + 1  # and once a frame from then on


def test_smoothing_steadies_a_resting_face(monkeypatch):
    def jitter(smoothing):
        tracker = scripted(monkeypatch, [(200, 200, 100)], smoothing)
        tracker.backend.noise = np.random.default_rng(0)
        return np.abs(np.diff([tracker.track(PICTURE).mesh for _ in range(40)], 2, axis=0)[:, :468, :2]).mean()

    assert jitter(True) < 0.75 * jitter(False)


@pytest.mark.parametrize("speed", [0.5, 2.0, 8.0])
def test_smoothing_does_not_trail_a_moving_face(monkeypatch, speed):
    tracker = scripted(monkeypatch, [(100, 200, 100)], True)
    behind = []
    for frame in range(30):
        tracker.backend.faces = [(100 + speed * frame, 200, 100)]
        behind.append(100 + speed * frame - mesh_box(tracker.track(PICTURE).mesh)[0])
    assert np.mean(behind[5:]) < 0.35 * speed  # in frames; at speed 8 far less:
    assert speed < 8 or np.mean(behind[5:]) < 0.05 * speed


def test_stills_are_not_smoothed_and_do_not_disturb_a_video(monkeypatch):
    tracker = scripted(monkeypatch, [(200, 200, 100)], True)
    tracker.track(PICTURE)
    tracker.backend.faces = [(400, 100, 150)]
    assert place(tracker.detect(PICTURE)[0]) == (400, 100, 150)
    tracker.backend.faces = [(205, 200, 100)]
    assert place(tracker.track(PICTURE))[1:] == (200, 100) and tracker.backend.detections == 2


def test_huge_pictures_are_searched_smaller_and_answered_in_their_own_pixels(monkeypatch):
    tracker = scripted(monkeypatch, [(2000, 30, 50)])
    face = tracker.detect(np.zeros((120, 9000, 3), np.uint8))[0]
    assert np.allclose(mesh_box(face.mesh), (8000, 120, 200), atol=0.1)  # seen at a quarter


def test_a_picture_that_is_none_is_refused(monkeypatch):
    tracker = scripted(monkeypatch, [])
    for wrong in (np.zeros((4, 4, 3)), np.zeros((2, 2, 2, 3), np.uint8), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(ValueError, match="expected a uint8"):
            tracker.detect(wrong)


def test_an_unknown_backend_and_missing_weights_are_said_in_one_line(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="own or mediapipe"):
        FaceTracker("dlib")
    monkeypatch.setenv("VAEGAN_MODELS", str(tmp_path / "nowhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"face_landmarker\.task is not in .*nowhere.*VAEGAN_MODELS"):
        FaceTracker("mediapipe")


def test_weights_are_looked_for_in_the_named_folder_then_in_the_cache(monkeypatch, tmp_path):
    named, cache = tmp_path / "named", tmp_path / "cache" / "vaegan"
    named.mkdir()
    cache.mkdir(parents=True)
    monkeypatch.setenv("VAEGAN_MODELS", str(named))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert find_weights("x.bin") is None
    (cache / "x.bin").touch()
    assert find_weights("x.bin") == cache / "x.bin"
    (named / "x.bin").touch()
    assert require_weights("x.bin") == named / "x.bin"


def test_small_faces_of_a_big_picture_are_found_in_its_tiles(monkeypatch):
    class ShortSighted(ScriptedBackend):
        """Sees only faces larger than a tenth of the picture that lie whole in it; knows tiles by their own marks."""

        def detect(self, image):
            self.detections += 1
            left, top = (int(n) for n in image[0, 0, :2].astype(int) * 20)
            return [
                Detection(CropTransform(x - left, y - top, side, 0.0), 0.9)
                for x, y, side in self.faces
                if side > 0.1 * min(image.shape[:2])
                and side / 2 < x - left < image.shape[1] - side / 2
                and side / 2 < y - top < image.shape[0] - side / 2
            ]

    big = np.zeros((3000, 4000, 3), np.uint8)
    big[..., 0], big[..., 1] = np.arange(4000)[None] // 20, np.arange(3000)[:, None] // 20
    backend = ShortSighted([(3500, 2400, 130), (800, 700, 110)])
    monkeypatch.setattr(tracker_module, "_make_backend", lambda name: backend)
    tracker = FaceTracker(smoothing=False)
    assert [place(face) for face in tracker.detect(big)] == [(3500, 2400, 130), (800, 700, 110)]
    assert place(tracker.track(big)) == (3500, 2400, 130)
    backend.faces[:] = [(1000, 1000, 400)]
    backend.detections = 0
    assert len(tracker.detect(big)) == 1 and backend.detections == 1, "what is seen at once needs no tiles"
    backend.faces.clear()
    tracker.reset()
    backend.detections = 0
    for _ in range(50):
        assert tracker.track(big) is None
    assert backend.detections < 50 + 2 * 40
    assert backend.detections > 50
    backend.detections = 0
    assert tracker.detect(PICTURE) == [] and backend.detections == 1, "a picture of usual size is seen at once"


def test_own_is_taken_where_mediapipe_lacks_its_weights(monkeypatch, tmp_path):
    own = pytest.importorskip("vaegan.faces.own")
    monkeypatch.setattr(own, "OwnBackend", lambda: ScriptedBackend([]))
    monkeypatch.setenv("VAEGAN_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert FaceTracker().name == "scripted"


def test_a_clip_is_followed_without_a_gap_and_a_cut_without_a_stumble(data_dir, models_dir):
    pytest.importorskip("ai_edge_litert")
    tracker = FaceTracker()
    assert tracker.name == "mediapipe"
    frames = []
    for name in ("liveportrait_driving-d10.mp4", "spectre_MEAD-M003_level_1_happy_024.mp4"):
        with VideoReader(data_dir / "clips" / "dev" / name, end=1.2) as reader:
            frames.append([frame.image for frame in reader])
    cut = len(frames[0])
    assert cut > 15
    faces = [tracker.track(image) for image in frames[0] + frames[1]]
    assert all(face is not None and face.score > 0.5 for face in faces)
    assert {face.mesh.shape for face in faces} == {(478, 3)} and {face.blendshapes.shape for face in faces} == {(52,)}
    # What follows says the same as what looks afresh at the frame, right after the cut as well.
    for index in (cut - 1, cut, len(faces) - 1):
        still = tracker.detect((frames[0] + frames[1])[index])[0].mesh
        assert np.abs(still - faces[index].mesh)[:, :2].mean() < 0.015 * mesh_box(still)[2]
        assert mesh_roll(still) == pytest.approx(mesh_roll(faces[index].mesh), abs=0.03)


@pytest.mark.parametrize("name", ["own", "mediapipe"])
def test_a_sharp_face_is_found_in_a_photo_of_48_million_pixels(data_dir, models_dir, name):
    if name == "mediapipe":
        pytest.importorskip("ai_edge_litert")
    photo = cv2.resize(read_image(data_dir / "photos" / "mica_connelly.jpg"), None, fx=0.25, fy=0.25)
    tracker = FaceTracker(name)
    (near,) = tracker.detect(photo)
    big = np.empty((6000, 8000, 3), np.uint8)
    big[:] = np.linspace(90, 200, 6000)[:, None, None] * [0.8, 0.9, 1]
    big[2000 : 2000 + photo.shape[0], 5000 : 5000 + photo.shape[1]] = photo
    (far,) = tracker.detect(big)
    assert mesh_box(near.mesh)[2] < 200
    assert np.abs(far.mesh[:, :2] - near.mesh[:, :2] - [5000, 2000]).mean() < 0.01 * mesh_box(near.mesh)[2]
