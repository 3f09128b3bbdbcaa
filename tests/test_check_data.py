"""`vaegan check-data`: it finds what was broken on purpose, and says what is over-represented."""

import csv
import json
import shutil
import tarfile
import wave

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from vaegan.cli.check_data import app
from vaegan.data.check import check_data
from vaegan.data.check.findings import _judged, expression_shares
from vaegan.data.check.probe import run_probe
from vaegan.data.check.report import write_report
from vaegan.data.prepare.prepare import prepare
from vaegan.errors import UserError
from vaegan.media import VideoReader, VideoWriter, encode_image, read_image

COUNT = 60


@pytest.fixture(scope="module")
def stills(data_dir, tmp_path_factory):
    """The first pictures of the shared val shard with their labels, as a set of its own."""
    shared, root = data_dir / "faces", tmp_path_factory.mktemp("stills")
    with open(shared / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"][:COUNT]
    with tarfile.open(shared / rows[0]["shard"]) as tar:
        pictures = [tar.extractfile(f"{row['key']}.webp").read() for row in rows]
    people = sorted({row["person"] for row in rows})
    for row in rows:
        row["split"] = "val" if row["person"] in people[: len(people) // 3] else "train"
        row["shard"] = f"{row['split']}.tar"
    _write(root, rows, pictures)
    with np.load(shared / "labels.npz") as labels:
        place = {key: i for i, key in enumerate(labels["key"].tolist())}
        chosen = [place[row["key"]] for row in rows]
        whole = ("mesh_mean", "mesh_basis")
        np.savez(root / "labels.npz", **{k: labels[k] if k in whole else labels[k][chosen] for k in labels})
    return root, rows, pictures


@pytest.fixture
def broken(stills, tmp_path):
    """A copy of it, and what to write a changed one with."""
    root, rows, pictures = stills
    folder = tmp_path / "set"
    shutil.copytree(root, folder)
    return folder, [dict(row) for row in rows], list(pictures)


def test_a_sound_set_passes_and_its_figures_are_those_of_the_index(stills):
    checked = check_data(stills[0], probe=False)
    assert checked.good
    assert len(checked.looked) == COUNT
    rows = {row["key"]: row for row in stills[1]}
    for key, yaw, native in zip(checked.looked.key, checked.looked.yaw, checked.looked.native_px, strict=True):
        assert (yaw, native) == (float(rows[key]["yaw"]), float(rows[key]["native_px"]))
    assert len(set(checked.looked.person)) == len({row["person"] for row in stills[1]})


def test_a_broken_picture_is_named(broken):
    folder, rows, pictures = broken
    pictures[3] = pictures[3][: len(pictures[3]) // 3]
    _write(folder, rows, pictures)
    checked = check_data(folder, probe=False)
    assert not checked.good
    assert [where for where, _ in checked.looked.broken] == [f"{rows[3]['shard']}:{rows[3]['key']}"]
    assert len(checked.looked) == COUNT - 1


def test_a_truncated_shard_and_a_missing_one_are_told_of(broken):
    folder, _, _ = broken
    data = (folder / "train.tar").read_bytes()
    (folder / "train.tar").write_bytes(data[: len(data) // 2 + 700])
    (folder / "val.tar").unlink()
    told = " ".join(f"{where} {why}" for where, why in check_data(folder, probe=False).looked.broken)
    assert "train.tar lacks" in told
    assert "val.tar broken shard" in told


def test_labels_that_do_not_belong_are_told_of(broken):
    folder, rows, _ = broken
    with np.load(folder / "labels.npz") as labels:
        arrays = {name: labels[name] for name in labels}
    arrays["mesh_mean"] = arrays["mesh_mean"] + 3
    short = {name: value if name in ("mesh_mean", "mesh_basis") else value[:-5] for name, value in arrays.items()}
    np.savez(folder / "labels.npz", **short)
    checked = check_data(folder, probe=False)
    assert checked.looked.unlabelled == 5
    assert (f"labels.npz:{rows[0]['key']}", "its mesh lies far outside the crop") in checked.looked.broken
    assert not checked.good


def test_labels_in_the_wrong_order_are_told_of(broken):
    folder, _, _ = broken
    with np.load(folder / "labels.npz") as labels:
        arrays = {name: labels[name] for name in labels}
    np.savez(folder / "labels.npz", **(arrays | {"key": arrays["key"][::-1]}))
    (finding,) = [f for f in check_data(folder, probe=False).findings if f.level == "spoils"]
    assert "yaw of its meshes" in finding.text


def test_a_person_in_two_splits_is_leakage(broken):
    folder, rows, pictures = broken
    train = next(row for row in rows if row["split"] == "train")
    val = next(row for row in rows if row["split"] == "val")
    val["person"] = train["person"]
    _write(folder, rows, pictures)
    (finding,) = [f for f in check_data(folder, probe=False).findings if f.level == "spoils"]
    assert finding.about == "leakage"
    assert train["person"] in finding.text


def test_a_picture_in_two_splits_is_leakage_even_when_saved_again(broken):
    folder, rows, pictures = broken
    train = next(i for i, row in enumerate(rows) if row["split"] == "train")
    val = next(i for i, row in enumerate(rows) if row["split"] == "val")
    from vaegan.media import decode_image

    smaller = cv2.resize(decode_image(pictures[train]), (80, 80), interpolation=cv2.INTER_AREA)
    pictures[val] = encode_image(np.clip(smaller * 1.05, 0, 255).astype(np.uint8), ".jpg")
    _write(folder, rows, pictures)
    (finding,) = [f for f in check_data(folder, probe=False).findings if f.level == "spoils"]
    assert finding.about == "leakage"
    assert rows[train]["key"] in finding.text and rows[val]["key"] in finding.text


def test_grey_blurred_and_repeated_pictures_are_counted(broken):
    folder, rows, pictures = broken
    from vaegan.media import decode_image

    train = [i for i, row in enumerate(rows) if row["split"] == "train"]
    for i in train[:6]:
        grey = cv2.cvtColor(decode_image(pictures[i]), cv2.COLOR_RGB2GRAY)
        pictures[i] = encode_image(np.repeat(grey[..., None], 3, 2), ".webp")
    for i in train[6:12]:
        pictures[i] = encode_image(cv2.GaussianBlur(decode_image(pictures[i]), (0, 0), 4), ".webp")
    for i in train[13:18]:
        pictures[i] = pictures[train[12]]
    _write(folder, rows, pictures)
    found = {f.about: f for f in check_data(folder, probe=False).findings if f.level == "mind"}
    assert "10.0% of the pictures are grey" in found["colour"].text
    assert float(found["sharpness"].text.partition("%")[0]) >= 10
    assert found["duplicates"].text.startswith("5 pictures")


def test_the_smile_bias_of_the_stills_is_told(stills):
    checked = check_data(stills[0], probe=False)
    share = expression_shares(checked.looked)["smile"]
    with np.load(stills[0] / "labels.npz") as labels:
        smiles = labels["blendshapes"][:, 44:46].mean(1) / 255
    assert share == pytest.approx((smiles > 0.4).mean())
    (text,) = [f.text for f in checked.findings if f.text.startswith("smile")]
    assert f"{share:.0%} of 60 faces; of people who talk, 16%" in text


def test_shares_are_judged_when_there_are_enough_faces():
    assert _judged("smile", 0.35, 1000)[0] == "mind"
    assert "over-represented" in _judged("smile", 0.35, 1000)[1]
    assert "under-represented" in _judged("closed eyes", 0.02, 1000)[1]
    assert _judged("smile", 0.35, 20) == _judged("smile", 0.18, 1000) == ("note", "")


def test_the_probe_tells_faces_from_noise(stills):
    from vaegan.media import decode_image

    faces = np.array([cv2.resize(decode_image(p), (32, 32), interpolation=cv2.INTER_AREA) for p in stills[2]] * 2)
    none = np.zeros(len(faces), bool)
    learned = run_probe(faces, none, steps=40)
    noise = np.random.default_rng(0).integers(0, 256, faces.shape, dtype=np.uint8)
    assert learned.learns
    assert not run_probe(noise, none, steps=40).learns
    assert run_probe(faces, none, steps=3) == run_probe(faces, none, steps=3), "the same set, the same figure"
    assert run_probe(faces[:10], none[:10]) is None


def test_damaged_videos_and_sound_are_found(data_dir, tmp_path):
    clip = data_dir / "raw/videos/lipnet_GRID-bbaf2n.mpg"
    rng = np.random.default_rng(0)
    with wave.open(str(tmp_path / "hum.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(rng.integers(-9000, 9000, 16000, dtype=np.int16).tobytes())
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("good", "cut"):
        with VideoWriter(folder / f"{name}.mp4", 360, 288, 25, audio_from=clip) as writer:
            for _, frame in zip(range(30), VideoReader(clip), strict=False):
                writer.write(frame.image)
    data = bytearray((folder / "cut.mp4").read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (folder / "cut.mp4").write_bytes(data)
    (folder / "page.mp4").write_text("<html>404</html>")
    checked = check_data(folder, probe=False)
    assert {where for where, _ in checked.looked.broken} == {"cut.mp4", "page.mp4"}
    assert not checked.good
    good = next(video for video in checked.videos if video.file == "good.mp4")
    assert (good.width, good.height, good.fps, good.sound, good.damage) == (360, 288, 25.0, "good", "")
    assert good.seconds == pytest.approx(1.2, abs=0.05)


def test_the_report_holds_findings_figures_and_faces(stills, tmp_path):
    checked = check_data(stills[0], probe=False)
    files = write_report(checked, tmp_path / "report.html")
    assert [path.name for path in files] == ["report.html", "report.png", "report.json"]
    page = files[0].read_text()
    assert all(word in page for word in ("of people who talk", "broadest smiles", "data:image/webp;base64"))
    assert "http" not in page.replace("http-equiv", ""), "it needs nothing from elsewhere"
    table = json.loads(files[2].read_text())
    assert table["good"] is True
    assert sum(table["splits"].values()) == COUNT
    assert all(sum(histogram["counts"]) > 0 for histogram in table["histograms"].values())
    assert read_image(files[1]).shape[1] == 1152


def test_the_exit_status_says_whether_training_would_be_spoiled(stills, broken, tmp_path):
    good = CliRunner().invoke(app, [str(stills[0]), "--no-probe"])
    assert good.exit_code == 0
    folder, rows, pictures = broken
    pictures[0] = b"RIFF"
    _write(folder, rows, pictures)
    bad = CliRunner().invoke(app, [str(folder), "--no-probe"])
    assert bad.exit_code == 1
    assert isinstance(bad.exception, UserError)
    assert bad.output.startswith("spoils broken")


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        check_data(tmp_path / "gone")
    with pytest.raises(UserError, match="neither"):
        check_data(tmp_path)
    (tmp_path / "index.csv").write_text("name,size\na,1\n")
    with pytest.raises(UserError, match="not a data set index"):
        check_data(tmp_path)


def test_what_prepare_writes_passes_the_check(data_dir, models_dir, tmp_path):
    photos = tmp_path / "lfw"
    for person in sorted((data_dir / "raw/photos/lfw").iterdir())[:8]:
        shutil.copytree(person, photos / person.name)
    prepare([photos], tmp_path / "set", workers=1)
    checked = check_data(tmp_path / "set", probe=False)
    assert checked.good
    assert len(checked.looked) == 8


def _write(folder, rows, pictures) -> None:
    """index.csv and shards."""
    with open(folder / "index.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    for split in ("train", "val"):
        with tarfile.open(folder / f"{split}.tar", "w") as tar:
            for row, data in zip(rows, pictures, strict=True):
                if row["split"] == split:
                    path = folder / "one"
                    path.write_bytes(data)
                    tar.add(path, f"{row['key']}.webp")
                    path.unlink()
