"""What options make of a motion: numbers in, numbers out."""

import shutil

import numpy as np
import pytest
from standin import save_tiny_model

from vaegan.adjust import QUICKEST_SECONDS, REST_SECONDS, Adjustment, Ease
from vaegan.directions import FILE, directions_of, part_rows
from vaegan.errors import UserError
from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.model import load_model
from vaegan.motion import Motion, Steps
from vaegan.reference import OPENINGS, read_heads
from vaegan.samples import shipped_motions
from vaegan.settings import TransferSettings

FPS = 25


def eased(found, values=None, batch=None):
    """One value over time, 1 by default."""
    found, ease = np.asarray(found, bool), Ease()
    values = np.ones((len(found), 1), np.float32) if values is None else values
    times, step = np.arange(len(found)) / FPS, batch or len(found)
    parts = [slice(at, at + step) for at in range(0, len(found), step)]
    return np.concatenate([ease(times[part], values[part], found[part]) for part in parts])[:, 0]


def gap(before, lost, after):
    return [True] * before + [False] * lost + [True] * after


@pytest.mark.parametrize("lost", [1, 3, 10, 24, 25, 26, 100])
def test_a_lost_face_brings_the_motion_to_rest_and_back_without_a_jump(lost):
    moved = eased(gap(10, lost, 60))
    assert (moved[:10] == 1).all() and (moved[-60 + FPS + 1 :] == 1).all()
    assert np.abs(np.diff(moved)).max() <= 1.6 / REST_SECONDS / FPS
    if lost > REST_SECONDS * FPS:
        assert moved[10 + FPS] == 0


def test_a_driver_who_comes_back_elsewhere_is_met_without_a_jump():
    values = np.where(np.arange(80)[:, None] < 20, 1, -1).astype(np.float32)
    moved = eased(gap(10, 10, 60), values)
    assert np.abs(np.diff(moved)).max() <= 1.5 * 2 / 0.4 / FPS + 1e-6
    assert (moved[-60 + FPS + 1 :] == -1).all()


def test_a_face_that_flickers_makes_no_jumps():
    found = np.random.default_rng(0).random(200) > 0.4
    assert np.abs(np.diff(eased(found))).max() <= 1.5 / QUICKEST_SECONDS / FPS + 1e-6


def test_a_driver_who_comes_late_is_met_from_rest():
    moved = eased(gap(0, 40, 40))
    assert (moved[:40] == 0).all() and np.diff(moved).max() <= 1.5 / REST_SECONDS / FPS + 1e-6 and moved[-1] == 1


def test_batches_make_no_difference():
    found = np.random.default_rng(1).random(90) > 0.5
    values = np.random.default_rng(2).normal(size=(90, 1)).astype(np.float32)
    assert np.array_equal(eased(found, values), eased(found, values, batch=7))


def steps(count=20, lost=slice(0), **values):
    found = np.ones(count, bool)
    found[lost] = False
    given = {"deltas": np.ones((count, 6), np.float32), "placement": np.ones((count, 4), np.float32)} | values
    rest = {
        "times": np.arange(count) / FPS,
        "found": found,
        "pose": np.zeros((count, 3)),
        "heads": np.zeros((count, 0)),
    }
    return Steps(**given, **rest)


@pytest.fixture(scope="module")
def model():
    return load_model("motion64")


@pytest.mark.parametrize(
    ("part", "others"), [("pose", ("mouth", "eyes")), ("mouth", ("pose", "eyes")), ("eyes", ("pose", "mouth"))]
)
def test_a_part_of_the_motion_is_scaled_and_the_others_stay(model, part, others):
    motion, directions = Motion.load(shipped_motions("motion64")["smiling"]), directions_of(model)
    steps = motion.steps(slice(None))

    def read(factor):
        deltas, _ = Adjustment(TransferSettings(**{part: factor}), directions)(steps)
        return deltas @ directions.readings.T

    once, none, twice = (read(factor) for factor in (1, 0, 2))
    rows = part_rows(part)
    rows = rows[:2] if part == "pose" else rows  # a roll that the crop takes away is no movement
    assert none[:, rows].std(0).mean() < 0.15 * once[:, rows].std(0).mean()
    assert (twice - 2 * once)[:, rows].std(0).mean() < 0.15 * once[:, rows].std(0).mean()
    for other in others:
        rows = part_rows(other)[:2] if other == "pose" else part_rows(other)
        assert (none - once)[:, rows].std(0).mean() < 0.15 * once[:, rows].std(0).mean(), other


def test_without_expression_the_head_alone_moves_and_without_pose_it_stays_where_it_is(model):
    motion, directions = Motion.load(shipped_motions("motion64")["turning"]), directions_of(model)
    steps, z = motion.steps(slice(None)), np.zeros(model.latent_dim, np.float32)
    deltas, placement = Adjustment(TransferSettings(expression=0), directions)(steps)
    whole, still = (read_heads(model, z + d)[:, OPENINGS].std(0) for d in (steps.deltas, deltas))
    assert (still < 0.2 * whole).all() and np.array_equal(placement, steps.placement)
    deltas, placement = Adjustment(TransferSettings(pose=0), directions)(steps)
    whole, still = (read_heads(model, z + d)[:, :2].std(0) for d in (steps.deltas, deltas))
    assert (still < 0.2 * whole).all() and not placement.any()


READ = {"smile": "mouthSmileLeft", "jaw": "jawOpen"}


def grown(model, at, **direction):
    """One reading over time of a face whose photo has `at`: as asked for, as it is; and the deltas of both."""
    directions = directions_of(model)
    (name, most), rest = next(iter(direction.items())), np.zeros(len(directions.readings), np.float32)
    row = ["yaw", "pitch", "roll", *BLENDSHAPES].index(READ.get(name, name))
    rest[[row, *([BLENDSHAPES.index("mouthSmileRight") + 3] if name == "smile" else [])]] = at
    deltas = np.linspace(0, most, 200, dtype=np.float32)[:, None] * directions.delta(**{name: 1.0})
    given = steps(200, deltas=deltas, placement=np.zeros((200, 4), np.float32))
    moved, _ = Adjustment(TransferSettings(), directions, rest)(given)
    return *(at + each @ directions.readings[row] for each in (deltas, moved)), deltas, moved


@pytest.mark.parametrize(
    ("at", "direction", "limit"),
    [(0.6, {"smile": 1.2}, 1.05), (0.0, {"jaw": -0.8}, -0.3), (10.0, {"yaw": 90}, 44), (-5.0, {"pitch": -60}, -33)],
)
def test_what_goes_beyond_a_face_is_bounded_softly(model, at, direction, limit):
    asked, moved, deltas, bounded = grown(model, at, **direction)
    scale = abs(limit)
    assert 0.85 * scale < np.abs(moved).max() < 1.15 * scale < np.abs(asked).max()  # neighbours give way, too
    assert (np.diff(np.abs(moved)) > -1e-3 * scale).all()  # more is asked for, no less is given
    assert np.abs(np.diff(moved, 2)).max() < 0.2 * np.abs(np.diff(asked)).max()  # a clip would have 1
    assert np.array_equal(bounded[:20], deltas[:20])  # within the range nothing is touched


def test_a_photo_that_is_beyond_the_knee_itself_stays_as_it_is(model):
    asked, moved, *_ = grown(model, 1.0, smile=-0.5)
    assert moved[:50] == pytest.approx(asked[:50], abs=1e-4)


def test_a_model_without_directions_is_told_how_to_get_them(tmp_path):
    with pytest.raises(UserError, match=r"tiny has no named directions.*use motion64"):
        directions_of(load_model(save_tiny_model(tmp_path / "tiny")))


def test_a_model_folder_brings_its_own_directions(model, tmp_path):
    model.save(tmp_path / "mine")
    shutil.copy(model.folder / FILE, tmp_path / "mine")
    mine = load_model(tmp_path / "mine")
    assert np.array_equal(directions_of(mine).vectors, directions_of(model).vectors)


def test_strength_is_a_factor_of_all_that_moves():
    deltas, placement = Adjustment(TransferSettings(strength=0.2))(steps())
    assert np.allclose(deltas, 0.2) and np.allclose(placement, 0.2) and deltas.shape == (20, 6)


def test_strength_takes_a_head_no_further_than_photos_hold_but_a_drivers_own_way_is_its_own():
    own = np.zeros((101, 4), np.float32)
    own[:, 0], own[:, 3] = np.linspace(0, 1.2, 101), np.linspace(0, 0.3, 101)
    steps = Steps(np.arange(101) / FPS, np.zeros((101, 3), np.float32), own, *[np.ones(101, bool)] * 3)
    placed = {s: Adjustment(TransferSettings(strength=s))(steps)[1] for s in (1, 2, 10, -10)}
    assert np.array_equal(placed[1], own)
    assert np.allclose(placed[2][:20], 2 * own[:20])
    assert placed[10][50, 0] < own[50, 0] + 0.26 and placed[10][:, 0].max() < 1.2 + 0.26
    assert np.degrees(placed[10][:, 3]).max() < 38 and np.allclose(placed[-10], -placed[10])
    assert (np.diff(placed[10][:, 0]) >= 0).all()
