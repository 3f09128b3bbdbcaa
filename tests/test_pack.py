"""Packed parts hold what was packed, and batches of them keep pictures, meshes, masks and blendshapes together."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vaegan.data.pack import read_pack
from vaegan.data.pack_data import PackBatches, PackRows, mirrored_batch, packed
from vaegan.data.packer import write_pack
from vaegan.errors import UserError
from vaegan.faces.blendshapes import BLENDSHAPES, MIRRORED_BLENDSHAPES
from vaegan.faces.geometry import MIRRORED_POINTS
from vaegan.faces.tracker import FaceTracker

DATA = Path(os.environ.get("VAEGAN_DATA", "-"))
pytestmark = pytest.mark.skipif(
    not (DATA / "clips/dev").is_dir() or not (DATA / "faces-fair/index.csv").is_file(),
    reason="VAEGAN_DATA has no clips/dev and faces-fair",
)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two clips (one to train on, one to validate), two people, and 40 stills with polygons: a data folder."""
    root = tmp_path_factory.mktemp("sets")
    for split, number in (("train", 0), ("dev", 1)):
        (root / "films" / split).mkdir(parents=True)
        shutil.copy(sorted((DATA / "clips/dev").glob("*.mp4"))[number], root / "films" / split)
    for person in sorted((DATA / "two-expressions").glob("*"))[:2]:
        if person.is_dir():
            shutil.copytree(person, root / "people" / person.name)
    fair, few = DATA / "faces-fair", root / "fair"
    few.mkdir()
    lines = (fair / "index.csv").read_text().splitlines()
    shard = lines[1].split(",")[2]
    train = [line for line in lines[1:] if line.split(",")[2] == shard][:40]
    val = [line for line in lines[1:] if ",val," in line][:8]
    (few / "index.csv").write_text("\n".join([lines[0], *train, *val]) + "\n")
    for name in {line.split(",")[2] for line in train + val} | {"labels.npz"}:
        shutil.copy(fair / name, few / name)
    return root


@pytest.fixture(scope="module")
def pack(sets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pack")
    clips = [str(sets / "films"), *([str(sets / "people")] if (sets / "people").is_dir() else [])]
    parts = write_pack(folder, {str(sets / "fair"): 0.0}, clips, 2_000_000, FaceTracker("own", smoothing=False))
    assert all(part.stat().st_size <= 2_000_000 for part in parts)
    return folder


def test_what_is_packed_is_read_again(pack):
    train, val = read_pack(pack, "train", frames=True), read_pack(pack, "val", frames=True)
    assert (train.clip < 0).sum() == 40
    assert (val.clip < 0).sum() == 8
    assert len(train.frames) == (train.clip >= 0).sum() > 40
    assert train.crops.std() > 20
    assert 0.3 < train.inside[:40].mean() < 1, "tight pictures end within the crop"


def test_a_mesh_lies_where_the_tracker_sees_the_face(pack):
    train = read_pack(pack, "train", frames=True)
    frame = int(np.flatnonzero(train.clip >= 0)[5])
    row = frame - (train.clip < 0).sum()
    seen = FaceTracker("own").detect(train.frames[row])[0]
    mesh = train.frame_mesh[row, :, :2].astype(float) * 256
    box = np.ptp(seen.mesh[:468, :2], axis=0).max()
    assert np.abs(mesh - seen.mesh[:, :2]).mean() < 0.03 * box
    cx, cy, side, roll = train.placement[row]
    c, s = np.cos(roll), np.sin(roll)
    there = (train.mesh[frame, :, :2].astype(float) - 0.5) * side @ np.array([[c, s], [-s, c]]) + (cx, cy)
    assert np.abs(there * 256 - mesh).max() < 0.3


def test_batches_are_the_same_for_the_same_epoch_and_differ_between_epochs(pack):
    train = read_pack(pack, "train")
    one, two = (PackBatches(train, 16, 0.5, 3, 0, 0.1, 0.05) for _ in range(2))
    two.set_epoch(1)
    first, again, other = list(one), list(one), list(two)
    assert all(torch.equal(a["crops"], b["crops"]) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a["crops"], b["crops"]) for a, b in zip(first, other, strict=True))
    assert len(first) == 3


def test_pairs_are_two_frames_of_one_clip(pack):
    batches = PackBatches(read_pack(pack, "train"), 16, 0.5, 2, 0, 0.1, 0.05)
    for batch in batches:
        p = batch["pairs"]
        assert p == 4
        assert (batch["clip"][: 16 - 2 * p] == -1).all()
        assert torch.equal(batch["clip"][-2 * p : -p], batch["clip"][-p:])
        assert (batch["clip"][-p:] >= 0).all()


def test_a_flip_of_a_flip_is_the_picture_itself_and_left_becomes_right(pack):
    batch = PackRows(read_pack(pack, "val"), 8).__iter__().__next__()
    points, shapes = torch.from_numpy(MIRRORED_POINTS), torch.from_numpy(MIRRORED_BLENDSHAPES)
    turned = torch.ones(8, dtype=torch.bool)
    once = mirrored_batch(batch, turned, points, shapes)
    twice = mirrored_batch(once, turned, points, shapes)
    for name in ("crops", "inside", "mesh", "blendshapes"):
        assert torch.allclose(twice[name], batch[name], atol=1e-6), name
        assert not torch.equal(once[name], batch[name]), name
    left, right = BLENDSHAPES.index("eyeBlinkLeft"), BLENDSHAPES.index("eyeBlinkRight")
    assert torch.equal(once["blendshapes"][:, left], batch["blendshapes"][:, right])
    picture = once["crops"][0].permute(1, 2, 0).mul(255).byte().numpy()
    seen = FaceTracker("own").detect(cv2.resize(np.ascontiguousarray(picture), (256, 256)))
    assert seen and np.abs(seen[0].mesh[:, :2] / 256 - once["mesh"][0, :, :2].numpy()).mean() < 0.04


def test_rows_without_a_flip_stay(pack):
    batch = next(iter(PackRows(read_pack(pack, "val"), 8)))
    points, shapes = torch.from_numpy(MIRRORED_POINTS), torch.from_numpy(MIRRORED_BLENDSHAPES)
    same = mirrored_batch(batch, torch.zeros(8, dtype=torch.bool), points, shapes)
    assert all(torch.equal(same[name], batch[name]) for name in ("crops", "inside", "mesh", "blendshapes"))


def test_a_pack_in_the_cache_is_made_once(sets, tmp_path, monkeypatch):
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path))
    folder = packed({str(sets / "fair"): 0.5}, [])
    before = [(part.name, part.stat().st_mtime_ns) for part in sorted(folder.iterdir())]
    assert packed({str(sets / "fair"): 0.5}, []) == folder
    assert [(part.name, part.stat().st_mtime_ns) for part in sorted(folder.iterdir())] == before


def test_a_folder_whose_clips_lie_elsewhere_is_told(sets, tmp_path):
    (tmp_path / "films").mkdir()
    shutil.copy(next((sets / "films/train").glob("*")), tmp_path / "films")
    with pytest.raises(UserError, match="train and dev"):
        write_pack(tmp_path / "out", {}, [str(tmp_path / "films")], 2_000_000, FaceTracker("own"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["none", "cut", "other"])
def test_parts_that_are_missing_or_damaged_are_said_in_one_line(damage, pack, tmp_path):
    if damage != "none":
        part = Path(shutil.copy(pack / "pack-00.tar", tmp_path))
        part.write_bytes(part.read_bytes()[:100_000] if damage == "cut" else b"no tar" * 1000)
    with pytest.raises(UserError, match="no packed parts" if damage == "none" else "is damaged") as error:
        read_pack(tmp_path)
    assert "\n" not in str(error.value)


def test_packed_parts_train_without_pyav(pack, tmp_path):
    """What a machine without PyAV imports and reads."""
    code = (
        "import sys\n"
        "sys.modules['av'] = None\n"
        "from pathlib import Path\n"
        "import vaegan.training.run, vaegan.training.motion\n"
        "from vaegan.data.pack import read_pack\n"
        f"print(len(read_pack(Path({str(pack)!r}), frames=True)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40
