"""`vaegan annotations`: labels go out as JSON Lines and COCO, and come back the same."""

import csv
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vaegan.cli.annotations import app
from vaegan.data.annotations import read_annotations, write_annotations
from vaegan.data.format import mesh_codes, read_labels, shape_codes, write_labels
from vaegan.errors import UserError
from vaegan.faces.geometry import RIGID_POINTS, head_pose

KEYS = ["train000000", "train000001", "val000000"]


@pytest.fixture
def folder(tmp_path):
    """A data set of three faces: heads turned by 0, 10 and 20 degrees, with pictures of 48 px."""
    root = tmp_path / "set"
    root.mkdir()
    generator = np.random.default_rng(0)
    meshes = []
    with tarfile.open(root / "set-0.tar", "w") as tar:
        for i, key in enumerate(KEYS):
            buffer = io.BytesIO()
            Image.new("RGB", (48, 48), (80 * i, 90, 100)).save(buffer, "webp")
            member = tarfile.TarInfo(f"{key}.webp")
            member.size = buffer.tell()
            tar.addfile(member, io.BytesIO(buffer.getvalue()))
            mesh = generator.uniform(0.2, 0.8, (478, 3))
            mesh[RIGID_POINTS, 0] += 0.01 * i
            meshes.append(mesh)
    write_labels(root / "labels.npz", KEYS, mesh_codes(np.array(meshes)), shape_codes(generator.random((3, 52))))
    with open(root / "index.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["key", "split", "shard", "person", "yaw", "pitch", "roll"], lineterminator="\n")
        writer.writeheader()
        for key in KEYS:
            row = {"key": key, "split": key[:-6], "shard": "set-0.tar", "person": f"n:{key}"}
            writer.writerow(row | {"yaw": 1.0, "pitch": 2.0, "roll": 3.0})
    return root


@pytest.mark.parametrize(("format", "name"), [("jsonl", "faces.jsonl"), ("coco", "faces.json")])
def test_what_goes_out_comes_back_the_same(folder, tmp_path, format, name):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = CliRunner().invoke(app, ["export", str(folder), "--output", str(tmp_path / name)])
    assert result.exit_code == 0 and "3 faces" in result.output, result.output
    assert read_annotations(folder, tmp_path / name, format) == (3, 0)
    (folder / "labels.npz").unlink()
    assert read_annotations(folder, tmp_path / name, format) == (3, 3), "an unlabelled set gets all of them"
    assert (folder / "labels.npz").read_bytes() == before["labels.npz"]


def test_corrections_replace_labels_and_leave_the_others(folder, tmp_path):
    old = read_labels(folder)
    write_annotations(folder, tmp_path / "faces.jsonl", "jsonl")
    lines = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]
    lines[1]["mesh"] = [[x + 4.8, y, z] for x, y, z in lines[1]["mesh"]]
    lines[1]["mesh"][33][1] += 1
    lines[1]["blendshapes"]["jawOpen"] = 0.4
    lines[1]["person"] = "n:Ann"
    (tmp_path / "one.jsonl").write_text(json.dumps(lines[1]) + "\n")
    assert CliRunner().invoke(app, ["import", str(folder), str(tmp_path / "one.jsonl")]).exit_code == 0
    new = read_labels(folder)
    assert np.array_equal(new.mesh[[0, 2]], old.mesh[[0, 2]])
    assert np.allclose(new.mesh[1, 34:, 0] - old.mesh[1, 34:, 0], 0.1, atol=1e-4)
    assert new.blendshapes[1, 25] == pytest.approx(0.4, abs=1 / 255)
    with open(folder / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["person"] for row in rows] == ["n:train000000", "n:Ann", "n:val000000"]
    assert [row["yaw"] for row in rows[::2]] == ["1.0", "1.0"]
    assert float(rows[1]["yaw"]) == pytest.approx(head_pose(new.mesh[1])[0], abs=0.06)


def test_coco_of_other_tools_keeps_depth_and_what_it_does_not_show(folder, tmp_path):
    """Another tool drops unknown fields, scales the pictures, and hides a point."""
    old = read_labels(folder)
    write_annotations(folder, tmp_path / "faces.json", "coco")
    content = json.loads((tmp_path / "faces.json").read_text())
    content["images"][0] |= {"file_name": "sub/train000000.jpg", "width": 96, "height": 96}
    annotation = content["annotations"][0]
    del annotation["vaegan"]
    annotation["keypoints"] = [n if i % 3 == 2 else 2 * n + 9.6 for i, n in enumerate(annotation["keypoints"])]
    annotation["keypoints"][3:6] = [0, 0, 0]
    (tmp_path / "back.json").write_text(json.dumps(content | {"annotations": [annotation]}))
    assert read_annotations(folder, tmp_path / "back.json", "coco") == (1, 1)
    moved = read_labels(folder).mesh - old.mesh
    assert np.allclose(moved[0, 2:, :2], 0.1, atol=1e-4) and not moved[0, :, 2].any()
    assert not moved[0, 1].any() and not moved[1:].any()
    (folder / "labels.npz").unlink()
    with pytest.raises(UserError, match="lacks points, depth or blendshapes"):
        read_annotations(folder, tmp_path / "back.json", "coco")


def test_coco_is_read_by_its_own_tools_beside_its_pictures(folder, tmp_path):
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed").COCO
    write_annotations(folder, tmp_path / "faces.json", "coco", tmp_path / "pictures")
    read = coco(tmp_path / "faces.json")
    assert len(read.getAnnIds(catIds=read.getCatIds(["face"]))) == 3
    mesh = read_labels(folder).mesh * 48
    for image in read.loadImgs(read.getImgIds()):
        with Image.open(tmp_path / "pictures" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
        (face,) = read.loadAnns(read.getAnnIds(imgIds=image["id"]))
        points = mesh[KEYS.index(image["file_name"][:-5]), :468, :2]
        assert face["bbox"][:2] == pytest.approx(points.min(0), abs=0.01)
        assert face["bbox"][2:] == pytest.approx(np.ptp(points, axis=0), abs=0.01)
        assert len(face["keypoints"]) == 3 * 478


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"key": "other", "side": 48}', "other, which is not in"),
        ('{"key": "train000000", "side": 48, "mesh": [1, 2]}', "line 1: not a face"),
        ('{"side": 48}', "key is missing"),
        ("oops", "line 1"),
        ('{"key": "val000000"}\n{"key": "val000000"}', "twice"),
    ],
)
def test_a_wrong_file_changes_nothing_and_is_one_clear_line(folder, tmp_path, text, says):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "faces.jsonl").write_text(text)
    with pytest.raises(UserError, match=says):
        read_annotations(folder, tmp_path / "faces.jsonl", "jsonl")
    (tmp_path / "faces.json").write_text(text)
    with pytest.raises(UserError, match="not a COCO file"):
        read_annotations(folder, tmp_path / "faces.json", "coco")
    with pytest.raises(UserError, match="cannot be read"):
        read_annotations(folder, tmp_path / "gone.json", "coco")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
