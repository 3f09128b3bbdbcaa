"""Balancing: what is drawn how often, on the shared stills and on small sets."""

import numpy as np
import pytest
import torch

from vaegan.data.balance import draw_weights, expressions, still_weights
from vaegan.data.batches import CropBatches, drawn
from vaegan.data.format import read_index, read_labels
from vaegan.errors import UserError
from vaegan.faces.blendshapes import BLENDSHAPES

SHARES = {"smile": 0.16, "open_mouth": 0.28, "closed_eyes": 0.1}


def weights(kind: str, **columns) -> np.ndarray | None:
    known = {"source": [], "person": [], "yaw": np.zeros(0), "shapes": None, "expression": SHARES}
    return draw_weights(kind, **(known | columns))


def test_the_share_of_smiling_faces_falls_to_its_target_on_the_shared_stills(data_dir):
    folder = data_dir / "faces"
    entries = read_index(folder, "train", 0.95)
    shapes = np.rint(read_labels(folder, [e.key for e in entries]).blendshapes * 255).astype(np.uint8)
    chosen = drawn(len(entries), 10_000, np.random.default_rng(0), still_weights(folder, entries, "expression", SHARES))
    for name, has in expressions(shapes).items():
        assert abs(has[chosen].mean() - SHARES[name]) < 0.02, name
    assert expressions(shapes)["smile"].mean() > 0.3
    yaw = np.abs([float(e.columns["yaw"]) for e in entries])
    chosen = drawn(len(entries), 10_000, np.random.default_rng(0), still_weights(folder, entries, "pose", SHARES))
    counts = np.histogram(yaw[chosen], [0, 10, 20, 30, 90])[0]
    assert np.abs(counts / 10_000 - 0.25).max() < 0.02


@pytest.mark.parametrize("kind", ["source", "person"])
def test_sources_and_people_come_equally_often(kind):
    names = ["a"] * 80 + ["b"] * 15 + ["c"] * 5
    chosen = drawn(100, 30_000, np.random.default_rng(0), weights(kind, **{kind: names}))
    counts = np.bincount(np.unique(names, return_inverse=True)[1][chosen])
    assert np.abs(counts / 10_000 - 1).max() < 0.05


def test_a_face_smiles_from_the_documented_value_on():
    shapes = np.zeros((3, 52), np.uint8)
    left, right = BLENDSHAPES.index("mouthSmileLeft"), BLENDSHAPES.index("mouthSmileRight")
    shapes[0, [left, right]] = 0.39 * 255
    shapes[1, [left, right]] = 0.42 * 255
    shapes[2, left] = 0.7 * 255
    shapes[:2, BLENDSHAPES.index("eyeBlinkLeft")] = 255
    shapes[0, BLENDSHAPES.index("eyeBlinkRight")] = 255
    found = expressions(shapes)
    assert found["smile"].tolist() == [False, True, False]
    assert found["closed_eyes"].tolist() == [True, False, False]


def test_batches_follow_the_weights_and_are_the_same_after_a_resume():
    crops = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1).repeat(3, 3)
    rare = np.where(np.arange(100) < 10, 9.0, 1.0)

    def epoch(number: int) -> np.ndarray:
        read = CropBatches(crops, 10, shuffle=True, flip=True, seed=1, weights=rare)
        read.set_epoch(number)
        return torch.cat(list(read))[:, 0, 0, 0].mul(255).round().numpy()

    assert np.array_equal(epoch(5), epoch(5)) and not np.array_equal(epoch(5), epoch(6))
    share = np.mean([np.mean(epoch(k) < 10) for k in range(40)])
    assert 0.45 < share < 0.55


def test_what_cannot_be_balanced_is_said_in_one_line():
    for kind, says in (
        ("mood", "data.balance=mood: choose one of none, source, person, expression, pose"),
        ("source", "no column 'source'"),
        ("pose", "no column 'yaw'"),
        ("expression", r"no labels\.npz"),
    ):
        with pytest.raises(UserError, match=says):
            weights(kind, source=["", ""], yaw=np.zeros(2))
    with pytest.raises(UserError, match=r"data\.expression\.frown=0\.5"):
        weights("expression", shapes=np.zeros((2, 52), np.uint8), expression={"frown": 0.5})
    assert weights("none") is None
