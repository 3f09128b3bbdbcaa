"""Named directions: found by the heads, free of each other, stored in a model folder; motions made of them."""

import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vaegan import UserError
from vaegan.cli.motion import app
from vaegan.directions import BY_BLENDSHAPES, FREE, NAMES, PARTS, fit_directions, load_directions, part_rows
from vaegan.faces.blendshapes import BLENDSHAPES
from vaegan.keyframes import Key, beyond, make_motion
from vaegan.model import FaceModel, Framing, load_model
from vaegan.motion import Motion
from vaegan.networks import VAE, Heads

LATENT = 70


@pytest.fixture(scope="module")
def model():
    """Random heads: every blendshape is read off the latent in another way, and the mesh turns with two numbers."""
    torch.manual_seed(0)
    narrow = {"encoder_widths": [8] * 7, "decoder_widths": [8] * 7, "hidden": 2 * LATENT}
    strides = {"encoder_strides": [4, 1, 2, 1, 1, 1, 1], "decoder_strides": [1, 1, 1, 2, 1, 2, 2]}
    heads = Heads(LATENT)
    torch.nn.init.normal_(heads.blendshapes.weight, std=0.1)
    from vaegan.faces.geometry import _HEAD_INDEX, _HEAD_POINTS

    head = torch.zeros(478, 3)
    head[_HEAD_INDEX] = torch.tensor(_HEAD_POINTS, dtype=torch.float32)
    head /= 4 * head.abs().max()
    heads.mesh.bias.data.copy_(head.flatten())
    heads.mesh.weight.data.mul_(0.01)
    x, y, z = head.T
    turned = {0: torch.stack([z, 0 * y, -x], 1), 1: torch.stack([0 * x, -z, y], 1)}
    for number, change in turned.items():
        heads.mesh.weight.data[:, number] = 0.05 * change.flatten()
    return FaceModel(VAE(size=64, latent=LATENT, **narrow, **strides), Framing(1.25, True), "tiny", heads=heads)


@pytest.fixture(scope="module")
def latents():
    """400 latents of 40 people whose covariance is not round."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(40), 10)
    return 3 * rng.normal(size=(40, LATENT))[person] + rng.normal(size=(400, LATENT)) @ rng.normal(
        size=(LATENT, LATENT)
    ) / LATENT**0.5, person


@pytest.fixture(scope="module")
def folder(model, latents, tmp_path_factory):
    folder = model.save(tmp_path_factory.mktemp("models") / "tiny")
    fit_directions(model, *latents).save(folder)
    return folder


def read(model, delta, name):
    """What the blendshape head says of `name` after a step of `delta` from a latent, less what it said before."""
    z = torch.randn(1, LATENT, generator=torch.Generator().manual_seed(3))
    before, after = (
        model.heads(z + step)[1][0].numpy() for step in (torch.zeros(1, LATENT), torch.tensor(delta)[None])
    )
    return sum(weight * (after - before)[BLENDSHAPES.index(shape)] for shape, weight in BY_BLENDSHAPES[name].items())


@pytest.mark.parametrize("name", BY_BLENDSHAPES)
def test_one_of_a_direction_is_one_of_its_blendshapes_and_next_to_none_of_the_others(name, model, folder):
    delta = load_directions(folder).delta(**{name: 1.0})
    for other in set(BY_BLENDSHAPES) - set(FREE.get(name, ())):
        assert read(model, delta, other) == pytest.approx(float(other == name), abs=0.001 if other == name else 0.15)


def test_what_is_named_is_exact_and_stays_at_rest_when_that_is_said(model, folder):
    delta = load_directions(folder).delta(blink_left=1.0, blink_right=0.0, gaze_y=0.5)
    found = [read(model, delta, name) for name in ("blink_left", "blink_right", "gaze_y")]
    assert found == pytest.approx([1, 0, 0.5], abs=1e-3)


@pytest.mark.parametrize(("name", "axis"), [("yaw", 0), ("pitch", 1)])
def test_ten_degrees_turn_the_mesh_by_ten_degrees_and_move_nothing_else(name, axis, model, folder):
    from vaegan.faces.geometry import head_pose

    directions = load_directions(folder)
    delta = directions.delta(**{name: 10.0})
    z = torch.zeros(1, LATENT)
    before, after = (np.asarray(head_pose(model.heads(each)[0][0].double().numpy())) for each in (z, z + delta))
    expected = np.zeros(3)
    expected[axis] = 10
    assert after - before == pytest.approx(expected, abs=2.0)
    assert max(abs(read(model, delta, other)) for other in BY_BLENDSHAPES) < 0.15


def test_a_part_keeps_its_own_readings_and_no_others(folder):
    directions = load_directions(folder)
    whole = np.random.default_rng(1).normal(size=(200, LATENT)).astype(np.float32)
    for part in ("pose", "mouth", "eyes"):
        own = part_rows(part)
        others = np.setdiff1d(np.arange(len(directions.readings)), own)
        before, after = whole @ directions.readings.T, directions.part(whole, part) @ directions.readings.T
        kept = (before * after).sum(0) / (before**2).sum(0)
        assert kept[own].min() > 0.5 and np.abs(kept[others]).max() < 0.3


def test_keys_are_reached_at_their_times_and_held():
    key = Key.parse("1.5: smile=1, yaw=-20")
    assert key == Key(1.5, {"smile": 1.0, "yaw": -20.0})


@pytest.mark.parametrize("text", ["smile=1", "1:smile", "1:smile=much", "0:smile=1", "nan:smile=1", "1:grin=1"])
def test_what_is_no_key_is_told(text):
    with pytest.raises(UserError):
        Key.parse(text)


def test_a_value_that_is_no_number_is_told():
    with pytest.raises(UserError, match="finite"):
        Key(1.0, {"smile": float("nan")})


def test_what_no_photo_can_show_is_named():
    assert beyond([Key(1.0, {"smile": 9.0, "jaw": 1.0}), Key(2.0, {"yaw": -60.0, "pitch": 20.0})]) == "smile=9, yaw=-60"
    assert beyond([Key(1.0, {"gaze_x": -1.0, "yaw": 30.0})]) == ""


def test_a_sequence_smiles_then_turns(folder):
    directions = load_directions(folder)
    keys = [Key(2.0, {"yaw": -20.0}), Key(1.0, {"smile": 1.0})]
    motion = make_motion(directions, keys, seconds=3.0)
    smile, turn = directions.delta(smile=1.0, yaw=0.0), directions.delta(yaw=-20.0, smile=0.0)
    assert len(motion) == 76
    assert not motion.deltas[0].any()
    assert motion.deltas[25] == pytest.approx(smile, abs=1e-4)
    assert motion.deltas[50] == pytest.approx(smile + turn, abs=1e-3)
    assert motion.deltas[75] == pytest.approx(motion.deltas[50])
    assert motion.pose[50] == pytest.approx([-20, 0, 0])
    speed = np.linalg.norm(np.diff(motion.deltas[:26], axis=0), axis=1)
    assert speed[0] < 0.1 * speed[12] > speed[-1]


def test_a_motion_made_by_the_command_is_one_of_the_model(folder, model, tmp_path):
    out = tmp_path / "out.motion"
    done = CliRunner().invoke(
        app, ["make", str(out), "--smile", "1", "--yaw", "-15", "--seconds", "2", "--model", str(folder)]
    )
    assert done.exit_code == 0, done.output
    motion = Motion.load(out)
    assert (motion.model_id, motion.fps, motion.times[-1]) == (model.id, Fraction(25), 2.0)
    assert motion.deltas[-1] == pytest.approx(load_directions(folder).delta(smile=1, yaw=-15), abs=0.02)


def test_only_and_without_a_part_make_up_the_whole(folder):
    directions = load_directions(folder)
    motion = make_motion(directions, [Key(1.0, {"smile": 1.0, "yaw": 20.0})])
    for part in PARTS:
        only, without = motion.only(part, directions), motion.without(part, directions)
        assert only.deltas + without.deltas == pytest.approx(motion.deltas, abs=1e-4)
    still = motion.without("pose", directions)
    assert np.ptp(still.pose, axis=0) == pytest.approx([0, 0, 0])
    assert np.ptp(motion.only("pose", directions).pose[:, 0]) == pytest.approx(20)
    with pytest.raises(UserError, match="no part 'ears'"):
        motion.only("ears", directions)


def test_a_folder_keeps_its_directions_under_another_name(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "other")
    assert load_directions(copy).model_id == load_model(copy).id


def test_a_model_without_directions_says_how_to_make_them(model, tmp_path):
    with pytest.raises(UserError, match="vaegan motion directions"):
        load_directions(model.save(tmp_path / "bare"))


def test_names_and_options_are_the_same():
    import inspect

    from vaegan.cli.motion_make import make

    assert set(NAMES) <= set(inspect.signature(make).parameters)
