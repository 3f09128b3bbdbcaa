"""Named directions of the shipped model as trackers see them: read off the decoded picture, not off the heads."""

import numpy as np
import pytest
import torch

from vaegan import FaceTracker, UserError, load_directions, load_model, shipped_models
from vaegan.directions import FREE, NAMES, POSE, named_shapes
from vaegan.faces.geometry import head_pose
from vaegan.render.view import resize

MODEL = "motion64"
AMOUNT = {"yaw": 15.0, "pitch": 10.0, "jaw": 0.5}
UNIT = {"yaw": 15.0, "pitch": 15.0}
"""What is as much as a whole blendshape."""

pytestmark = pytest.mark.skipif(MODEL not in shipped_models(), reason=f"{MODEL} does not ship yet")


@pytest.fixture(scope="module")
def model():
    return load_model(MODEL)


@pytest.fixture(scope="module", params=["own", "mediapipe"])
def see(request, model):
    """Latent (D,) -> what a tracker sees in the decoded picture, in the order of NAMES."""
    try:
        tracker = FaceTracker(request.param)
    except UserError as error:
        pytest.skip(str(error))

    def look(z):
        picture = model.decode(torch.from_numpy(z)[None])[0].permute(1, 2, 0).numpy()
        face = tracker.detect(resize(picture, 256))[0]
        return np.array([*head_pose(face.mesh)[: len(POSE) - 1], *named_shapes(face.blendshapes)])

    return look


@pytest.fixture(scope="module")
def latent(model):
    """The average face: it smiles a little, looks ahead and has its mouth shut."""
    return np.zeros(model.latent_dim, np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_a_direction_moves_what_it_is_named_after(name, model, see, latent):
    amount = AMOUNT.get(name, 0.7)
    moved = see(latent + load_directions(MODEL).delta(**{name: amount})) - see(latent)
    share = moved / np.array([UNIT.get(other, 1.0) for other in NAMES])
    own = NAMES.index(name)
    assert moved[own] > 0.3 * amount
    others = [k for k, other in enumerate(NAMES) if other not in (name, *FREE.get(name, ())) and other[:5] != name[:5]]
    assert np.abs(share[others]).max() < share[own]
