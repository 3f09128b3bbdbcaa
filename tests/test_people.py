"""Several people in a driver: one is followed through crossings, absences and cuts; each shot counts from itself."""

import cv2
import numpy as np
import pytest
from standin import PoolModel, SquareTracker, film, picture, talking

from vaegan.errors import UserError
from vaegan.faces.geometry import face_region, mesh_box
from vaegan.faces.people import Looks, People
from vaegan.faces.tracker import FaceTracker
from vaegan.media import VideoReader, read_image
from vaegan.model import load_model
from vaegan.motion import Motion
from vaegan.pipeline import Transfer
from vaegan.reference import read_heads
from vaegan.settings import TransferSettings

COLOURS = {"red": (200, 90, 60), "blue": (70, 100, 190), "green": (80, 160, 80)}
FACE_PX = 60


def scene(*people, ground=120):
    """uint8 (240, 480, 3): squares (colour, x of the middle[, side]) with hair around, on grey, the last in front."""
    image = np.full((240, 480, 3), ground, np.uint8)
    for colour, x, *side in people:
        half = (side[0] if side else FACE_PX) // 2
        for reach, share in ((1.8 * half, 3), (half, 1)):
            rows, columns = (slice(max(0, int(at - reach)), max(0, int(at + reach))) for at in (120, x))
            image[rows, columns] = np.array(COLOURS[colour]) // share
    return image


class Squares:
    """Sees the squares of `scene` of which it sees more than half; shaped like a FaceTracker."""

    smoothing = False

    def detect(self, image, besides=(), tiled=True):
        row = image[120].astype(int)
        found = []
        for colour in COLOURS.values():
            columns = np.nonzero((row == colour).all(1))[0]
            side = (image[:, columns[len(columns) // 2]] == colour).all(1).sum() if len(columns) else 0
            if len(columns) > side / 2 > 0:
                picture = np.zeros((240, 480, 3), np.uint8)
                picture[120 - side // 2 : 120 + side // 2, columns[0] : columns[-1] + 1] = 200, 120, 60
                found += SquareTracker().detect(picture)
        known = [face_region(face.mesh) for face in besides]
        found = [face for face in found if not any(face_region(face.mesh).near(one, 0.4) for one in known)]
        return sorted(found, key=lambda face: -mesh_box(face.mesh)[2])

    def follow(self, image, region):
        near = [face for face in self.detect(image) if face_region(face.mesh).near(region, 0.6)]
        return min(near, key=lambda face: abs(mesh_box(face.mesh)[0] - region.cx), default=None)


def followed(images, **whom):
    """Where the face was seen in each frame, NaN where it was not; and who followed it."""
    people = People(Squares(), **whom)
    seen = [people.track(image) for image in images]
    return np.array([np.nan if face is None else mesh_box(face.mesh)[0] for face in seen]), people


@pytest.mark.parametrize("front", ["red", "blue"])
@pytest.mark.parametrize("index", [1, 2])
def test_two_people_who_cross_are_not_swapped(front, index):
    way = np.linspace(60, 420, 60)
    sizes = {"red": 64, "blue": 60}
    places = {"red": way, "blue": 480 - way}
    order = sorted(places, key=lambda colour: colour == front)
    images = [scene(*((colour, places[colour][t], sizes[colour]) for colour in order)) for t in range(60)]
    seen, people = followed(images, index=index)
    mine = places["red" if index == 1 else "blue"]
    assert (np.abs(seen - mine)[np.isfinite(seen)] < 20).all()
    assert np.isfinite(seen[[0, -1]]).all() and np.isnan(seen).sum() < 15
    assert (people.faces, people.shot) == (2, 0)


def test_who_enters_late_or_grows_is_not_followed():
    images = [scene(("red", 100)) for _ in range(20)]
    images += [scene(("red", 100), ("blue", 480 - 4 * t, 60 + t)) for t in range(60)]
    seen, people = followed(images)
    assert np.abs(seen - 100).max() < 1 and (people.faces, people.shot) == (1, 0)


def test_who_leaves_is_waited_for_while_the_other_stays():
    gone = [scene(("blue", 350)) for _ in range(60)]
    images = [scene(("red", 100, 70), ("blue", 350))] * 5 + gone + [scene(("red", 160, 70), ("blue", 350))] * 5
    seen, people = followed(images)
    assert np.isnan(seen[5:65]).all() and np.abs(seen[-3:] - 160).max() < 1 and people.shot == 0


def test_a_stranger_is_followed_once_the_first_has_been_gone_for_a_while():
    images = [scene(("red", 100))] * 5 + [scene()] * 40 + [scene(("green", 300))] * 5
    seen, people = followed(images)
    assert np.abs(seen[-3:] - 300).max() < 1 and people.shot == 1


def test_after_a_cut_the_same_person_is_followed_and_else_the_largest():
    before = [scene(("red", 100, 70), ("blue", 350))] * 5
    seen, people = followed(before + [scene(("red", 380), ("green", 100, 90), ground=30)] * 5)
    assert np.abs(seen[5:] - 380).max() < 1 and people.shot == 1
    seen, people = followed(before + [scene(("blue", 380), ("green", 100, 90), ground=30)] * 5)
    assert np.abs(seen[5:] - 100).max() < 1 and people.shot == 1


def test_a_cut_to_another_face_in_the_same_place_begins_a_shot():
    seen, people = followed([scene(("red", 100))] * 5 + [scene(("green", 100))] * 5)
    assert np.isfinite(seen).all() and people.shot == 1


def test_who_is_followed_can_be_known_by_looks():
    image = scene(("red", 100, 90), ("blue", 350))
    blue = Looks.of(image, Squares().detect(image)[1])
    seen, _ = followed([scene(("red", 100), ("green", 300))] * 3 + [image] * 3, looks=blue)
    assert np.isnan(seen[:3]).all() and np.abs(seen[-3:] - 350).max() < 1


def test_a_face_that_the_driver_does_not_show_is_told():
    with pytest.raises(UserError, match="shows 2 faces: there is no driver face 3"):
        followed([scene(("red", 100), ("blue", 350))], index=3)


# ---- on faces


@pytest.fixture(scope="module")
def crossing(data_dir):
    """Two people of photos who change places, the first behind; and where the first is."""
    photos = [read_image(data_dir / "photos" / name) for name in ("tpsmm_source.jpg", "avatarify_avatars-jobs.jpg")]
    cuts = []
    for photo in photos:
        x, y, side = mesh_box(FaceTracker("own").detect(photo)[0].mesh)
        half = round(0.9 * side)
        cut = photo[max(0, round(y) - half) : round(y) + half, max(0, round(x) - half) : round(x) + half]
        cuts.append(cv2.resize(cut, (round(cut.shape[1] * 190 / len(cut)), 190), interpolation=cv2.INTER_AREA))
    images, places = [], []
    for t in range(40):
        image = np.full((220, 640, 3), 110, np.uint8)
        places.append((120 + 10 * t, 510 - 10 * t))
        for cut, x in zip(cuts, places[-1], strict=True):
            left = x - cut.shape[1] // 2
            image[10 : 10 + len(cut), left : left + cut.shape[1]] = cut
        images.append(image)
    return images, np.array(places)


def test_two_real_faces_that_cross_are_not_swapped(crossing):
    images, places = crossing
    for index in (1, 2):
        people = People(FaceTracker("own"), index=index)
        seen = [people.track(image) for image in images]
        middles = np.array([np.nan if face is None else mesh_box(face.mesh)[0] for face in seen])
        off = np.abs(middles[:, None] - places)
        mine = int(np.argmin(off[0]))
        assert np.nanmax(off[:, mine]) < 50 and off[-1, mine] < 50


def test_after_a_cut_to_another_person_the_motion_goes_on(data_dir, tmp_path):
    clips = [data_dir / "clips/dev" / n for n in ("liveportrait_driving-d10.mp4", "facevid1k_asian-003696.mp4")]
    images = []
    for clip in clips:
        frames = (frame.image for _, frame in zip(range(12), VideoReader(clip), strict=False))
        images += [image[::2, ::2][:128, :128] if len(image) > 200 else image[:128, :128] for image in frames]
    model, driver = load_model("motion64"), film(tmp_path / "cut.mp4", images)
    motion = Motion.from_driver(driver, model, FaceTracker("own"))
    alone = Motion.from_driver(driver, model, FaceTracker("own"), start=0.48)
    read = read_heads(model, motion.deltas) - read_heads(model, 0 * motion.deltas)
    asked = motion.heads - motion.heads[0]
    assert np.abs((read - asked)[12:, :2]).mean() < 4  # degrees
    assert np.abs(motion.placement[12, :3]).max() < 1e-5
    assert np.allclose(motion.deltas[12:] - motion.deltas[12], alone.deltas, atol=0.2)
    run = Transfer(
        "sample", driver, model, TransferSettings(renderer="decode", view="crop", size=64), FaceTracker("own")
    )
    notes = [note for frame in run.frames() for note in frame.notes if note.kind == "cut"]
    assert len(notes) == 1 and "at 0.48 s" in notes[0].text and "--end 0.48" in notes[0].text


def test_each_shot_counts_from_its_first_face_where_no_heads_can_tell(tmp_path):
    images = talking(20) + [np.where(image == 110, 30, image).astype(np.uint8) for image in talking(20)[5:]]
    run = Transfer(
        picture(x=70, y=40),
        film(tmp_path / "cut.mp4", images),
        PoolModel(),
        TransferSettings(reference="first"),
        SquareTracker(),
    )
    frames = list(run.frames())
    assert np.abs(frames[20].image.astype(int) - frames[0].image).mean() < 2
    assert np.abs(frames[25].image.astype(int) - frames[0].image).max() > 20
    assert [note.kind for frame in frames for note in frame.notes if note.kind == "cut"] == ["cut"]
