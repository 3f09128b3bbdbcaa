"""`vaegan prepare`: data sets made of the shared raw photos and clips, and of small trees in authors' layouts."""

import csv
import datetime
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vaegan.data.labels import mirror_points, mirror_shapes, read_labels
from vaegan.data.prepare import engine as engine_module
from vaegan.data.prepare.merge import divide, read_rejected
from vaegan.data.prepare.named import recognise
from vaegan.data.prepare.parts import Row
from vaegan.data.prepare.run import prepare
from vaegan.data.prepare.settings import Settings, Splits, parse_framing, parse_split
from vaegan.data.shards import read_index, read_pictures
from vaegan.errors import UserError
from vaegan.faces.geometry import CropTransform, framing, mesh_box
from vaegan.faces.stable import stable_framing
from vaegan.media import VideoReader, VideoWriter, read_image, write_image

PEOPLE = ("AJ_Cook", "Abdulaziz_Kamilov", "Abid_Hamid_Mahmud_Al-Tikriti")


@pytest.fixture(scope="module")
def lfw(data_dir):
    """Three photos of three people."""
    return [next((data_dir / "raw/photos/lfw" / name).glob("*.jpg")) for name in PEOPLE]


@pytest.fixture(scope="module")
def clip(data_dir):
    return data_dir / "raw/videos/lipnet_GRID-bbaf2n.mpg"


@pytest.fixture(scope="module")
def tracker(models_dir):
    from vaegan.faces.tracker import FaceTracker

    return FaceTracker(smoothing=False)


@pytest.fixture(scope="module")
def mixed(lfw, clip, models_dir, tmp_path_factory):
    """A prepared set of three photos and eight frames of one clip, and the folder it came from."""
    root = tmp_path_factory.mktemp("mixed")
    for photo in lfw:
        _copy(photo, root / "in" / photo.parent.name / photo.name)
    _cut(clip, root / "in" / "clips" / "talk.mp4", frames=8)
    (root / "in" / "AJ_Cook" / "notes.jpg").write_bytes(b"not a picture")
    write_image(root / "in" / "AJ_Cook" / "wall.png", np.full((200, 200, 3), 90, np.uint8))
    summary = prepare([root / "in"], root / "set", Settings(min_shot=0.2), workers=1)
    return root / "in", root / "set", summary


def test_a_prepared_set_is_read_by_the_training_data_reader(mixed):
    _, folder, summary = mixed
    entries = read_index(folder, "train") + read_index(folder, "val")
    assert len(entries) == sum(summary.pictures.values()) == 11
    for _, picture in read_pictures(folder, entries):
        assert picture.shape == (96, 96, 3)


def test_every_crop_is_what_the_index_says_was_cut_from_its_file(mixed):
    source, folder, _ = mixed
    entries = [e for split in ("train", "val") for e in read_index(folder, split)]
    frames = {frame.time: frame.image for frame in VideoReader(source / "clips" / "talk.mp4")}
    for i, stored in read_pictures(folder, entries):
        row = entries[i].columns
        image = frames[float(row["timestamp"])] if row["video"] else read_image(source / row["file"])
        region = CropTransform(*(float(row[f"crop_{name}"]) for name in ("x", "y", "side", "roll")))
        assert np.abs(region.crop(image, 96).astype(int) - stored).mean() < 3  # WebP


def test_labels_are_the_landmarkers_own_in_crop_coordinates(mixed, tracker):
    source, folder, _ = mixed
    entries = [e for e in read_index(folder, "train") if not e.columns["video"]]
    labels = read_labels(folder, [e.key for e in entries])
    for entry, mesh, shapes in zip(entries, labels.mesh, labels.blendshapes, strict=True):
        row = entry.columns
        face = tracker.detect(read_image(source / row["file"]))[0]
        region = CropTransform(*(float(row[f"crop_{name}"]) for name in ("x", "y", "side", "roll")))
        assert np.abs(region.to_crop(face.mesh, 96) - mesh * 96).mean() < 0.2
        assert np.abs(face.blendshapes - shapes).mean() < 0.02


def test_mirrored_labels_are_those_of_the_mirrored_picture(mixed, tracker):
    source, folder, _ = mixed
    entry = next(e for e in read_index(folder, "train") if "AJ_Cook" in e.columns["file"])
    mirrored = read_labels(folder, [entry.key]).mirrored()
    image = read_image(source / entry.columns["file"])[:, ::-1]
    face = tracker.detect(image)[0]
    row = entry.columns
    region = CropTransform(image.shape[1] - float(row["crop_x"]), float(row["crop_y"]), float(row["crop_side"]))
    # The landmarker itself is not quite symmetric; a wrong pairing of points would be off by many px.
    assert np.abs(region.to_crop(face.mesh, 96) - mirrored.mesh[0] * 96)[:, :2].max() < 6
    assert np.abs(face.blendshapes - mirrored.blendshapes[0]).mean() < 0.05
    for index in (mirror_points(), mirror_shapes()):
        assert (index[index] == np.arange(len(index))).all()


def test_frames_of_a_clip_stay_together_and_in_order(mixed):
    _, folder, _ = mixed
    rows = [row for row in _index(folder) if row["video"]]
    assert [int(row["frame"]) for row in rows] == list(range(8))
    assert len({row["split"] for row in rows}) == 1
    assert np.allclose(np.diff([float(row["timestamp"]) for row in rows]), 0.04, atol=1e-3)
    assert len({row["crop_x"] for row in rows}) == 1, "a fixed framing has one crop per clip"
    numbers = [int(row["key"][-6:]) for row in rows]
    assert numbers == list(range(numbers[0], numbers[0] + 8))


def test_every_file_left_out_is_listed_with_its_reason(mixed):
    _, folder, _ = mixed
    rejected = {entry.file: entry.reason for entry in read_rejected(folder / "rejected.csv")}
    assert rejected == {"AJ_Cook/notes.jpg": "unreadable", "AJ_Cook/wall.png": "no face"}


def test_workers_do_not_change_a_byte(mixed, models_dir, tmp_path):
    source, folder, _ = mixed
    prepare([source], tmp_path / "set", Settings(min_shot=0.2), workers=2)
    assert _bytes(tmp_path / "set") == _bytes(folder)


def test_a_killed_run_goes_on_where_it_stopped(mixed, monkeypatch, tmp_path):
    source, folder, _ = mixed
    done = []
    run_job = engine_module.run_job

    def killed(job, *rest):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(job.id)
        return run_job(job, *rest)

    monkeypatch.setattr(engine_module, "run_job", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare([source], tmp_path / "set", Settings(min_shot=0.2), workers=1)
    assert not (tmp_path / "set" / "index.csv").exists()

    def counted(job, *rest):
        assert job.id not in done, "finished work is not repeated"
        return run_job(job, *rest)

    with pytest.raises(UserError, match="unfinished run with other"):
        prepare([source], tmp_path / "set", Settings(min_shot=0.2, size=64), workers=1)
    monkeypatch.setattr(engine_module, "run_job", counted)
    summary = prepare([source], tmp_path / "set", Settings(min_shot=0.2), workers=1)
    assert summary.resumed == 1
    assert _bytes(tmp_path / "set") == _bytes(folder)


def test_finished_work_survives_a_full_disk(mixed, monkeypatch, tmp_path):
    source, folder, _ = mixed
    from vaegan.data.prepare import run as run_module

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_publish", full)
        with pytest.raises(UserError, match="make room and run the same command again"):
            prepare([source], tmp_path / "set", Settings(min_shot=0.2), workers=1)
    monkeypatch.setattr(engine_module, "run_job", None)  # nothing is left to be done
    prepare([source], tmp_path / "set", Settings(min_shot=0.2), workers=1)
    assert _bytes(tmp_path / "set") == _bytes(folder)


def test_near_duplicates_are_dropped_and_named(lfw, models_dir, tmp_path):
    image = read_image(lfw[0])
    for name, photo in (("a", image), ("b", np.clip(image * 0.93 + 5, 0, 255).astype(np.uint8)), ("c", lfw[1])):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_image(tmp_path / "in" / f"{name}.jpg", photo if name != "c" else read_image(photo))
    summary = prepare([tmp_path / "in"], tmp_path / "set", workers=1)
    assert sum(summary.pictures.values()) == 2
    (entry,) = read_rejected(tmp_path / "set" / "rejected.csv")
    assert (entry.file, entry.reason, entry.detail) == ("b.jpg", "near-duplicate", "of a.jpg")
    prepare([tmp_path / "in"], tmp_path / "all", workers=1, keep_near=True)
    assert len(_index(tmp_path / "all")) == 3


def test_a_video_is_cut_into_shots_where_the_face_jumps(lfw, clip, models_dir, tmp_path):
    """Ten frames of a speaker, a blurred one, five without a face, then another person elsewhere in the picture."""
    frames = [frame.image for frame in VideoReader(clip, end=0.4)]
    import cv2

    height, width = frames[0].shape[:2]
    other = np.zeros_like(frames[0])
    photo = read_image(lfw[0])
    other[-220:, -220:] = cv2.resize(photo, (220, 220), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(frames[-1], (0, 0), 9)
    (tmp_path / "in").mkdir()
    with VideoWriter(tmp_path / "in" / "talk.mp4", width, height, 25) as writer:
        for image in [*frames, blurred, *[np.zeros_like(other)] * 5, *[other] * 12]:
            writer.write(image)
    settings = Settings(min_shot=0.1, min_sharpness=40)
    prepare([tmp_path / "in"], tmp_path / "set", settings, workers=1)
    shots = {}
    for row in _index(tmp_path / "set"):
        shots.setdefault(row["video"], []).append(int(row["frame"]))
    assert [frames[0] for frames in shots.values()] == [0, 16]
    assert all(name.startswith("talk.mp4#") for name in shots)
    dropped = {entry.reason: entry.count for entry in read_rejected(tmp_path / "set" / "rejected.csv")}
    assert dropped["no face"] == 5
    assert dropped["blurred"] >= 1
    assert sum(map(len, shots.values())) + sum(dropped.values()) == 28


def test_videos_are_sampled_by_timestamp(clip, models_dir, tmp_path):
    _cut(clip, tmp_path / "in" / "talk.mp4", frames=20)
    prepare([tmp_path / "in"], tmp_path / "set", Settings(fps=10, min_shot=0.2), workers=1)
    times = [float(row["timestamp"]) for row in _index(tmp_path / "set")]
    assert np.allclose(times, np.arange(8) / 10)


def test_the_following_crop_ignores_jaw_blink_and_yaw(tracker, lfw):
    mesh = tracker.detect(read_image(lfw[0]))[0].mesh.astype(np.float64)
    rest = stable_framing(mesh, 1.2)
    opened = mesh.copy()
    lower = mesh[:, 1] > mesh[[61, 291], 1].mean()
    lower[[234, 454]] = False
    opened[lower, 1] += 0.2 * mesh_box(mesh)[2]
    assert stable_framing(opened, 1.2) == rest
    assert framing(opened, 1.2, follow=True).side > 1.05 * rest.side, "the mesh box does grow"
    angle = np.radians(25)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    turned = stable_framing(mesh @ turn.T, 1.2)
    assert turned.side == pytest.approx(rest.side, rel=1e-6)
    roll = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    assert stable_framing(mesh @ roll.T, 1.2).roll == pytest.approx(rest.roll + angle, abs=1e-6)


def test_a_following_crop_moves_with_the_face(clip, models_dir, tmp_path):
    _cut(clip, tmp_path / "in" / "talk.mp4", frames=12)
    prepare([tmp_path / "in"], tmp_path / "set", Settings(scale=1.2, follow=True, size=64), workers=1)
    rows = _index(tmp_path / "set")
    labels = read_labels(tmp_path / "set", [row["key"] for row in rows])
    assert len({(row["crop_x"], row["crop_y"]) for row in rows}) == 12
    eyes = labels.mesh[:, [33, 263], :2]
    assert np.abs(eyes - eyes.mean(0)).max() < 0.02, "the eyes stay where they are"
    assert np.abs(eyes[:, 0, 1] - eyes[:, 1, 1]).max() < 0.04, "upright"


# ------- sources


def test_imdb_wiki_is_filtered_by_its_own_figures(lfw, models_dir, tmp_path):
    root = tmp_path / "wiki_crop"
    files = ["00/a.jpg", "00/b.jpg", "00/c.jpg", "00/d.jpg", "00/gone.jpg", "00/e.jpg"]
    for i, file in enumerate(files):
        if "gone" not in file:
            _copy(lfw[i % 3], root / file)
    born = datetime.date(1960, 3, 1).toordinal() + 366
    table = {
        "full_path": files,
        "name": ["Ann Lee", "Ann Lee", "Bo Li", "Bo Li", "Cy", "Di"],
        "face_location": [np.array([[60.0, 60.0, 190.0, 190.0]])] * 6,
        "face_score": [3.0, 0.3, 4.0, -np.inf, 5.0, 2.0],
        "second_face_score": [np.nan, np.nan, 1.7, np.nan, np.nan, np.nan],
        "dob": [born, born, born, born, born, 700],
        "photo_taken": [2004] * 6,
    }
    _write_mat(root / "wiki.mat", "wiki", table)
    assert recognise(root) == "imdb_wiki"
    prepare([root], tmp_path / "set", workers=1)
    (row,) = _index(tmp_path / "set")
    assert (row["file"], row["person"]) == ("00/a.jpg", "n:Ann_Lee")
    rejected = {entry.file: entry.reason for entry in read_rejected(tmp_path / "set" / "rejected.csv")}
    assert rejected == {
        "00/b.jpg": "low face score",
        "00/c.jpg": "second face",
        "00/d.jpg": "no face",
        "00/gone.jpg": "missing",
        "00/e.jpg": "age not sane",
    }


def test_imdb_wiki_without_its_mat_is_one_clear_line(lfw, models_dir, tmp_path):
    _copy(lfw[0], tmp_path / "imdb" / "00" / "a.jpg")
    with pytest.raises(UserError, match=r"no imdb\.mat or wiki\.mat"):
        prepare([tmp_path / "imdb"], tmp_path / "set", kind="imdb_wiki", workers=1)
    (tmp_path / "imdb" / "imdb.mat").write_bytes(b"MATLAB 5.0 MAT-file cut sh")
    with pytest.raises(UserError, match="is not the imdb table"):
        prepare([tmp_path / "imdb"], tmp_path / "set", workers=1)
    assert not (tmp_path / "set").exists()


def test_celeba_keeps_its_partition_and_identities(lfw, models_dir, tmp_path):
    root = tmp_path / "celeba"
    for i, photo in enumerate(lfw, 1):
        _copy(photo, root / "Img" / "img_align_celeba" / f"{i:06d}.jpg")
    (root / "Anno").mkdir()
    (root / "Eval").mkdir()
    names = [f"{i:06d}.jpg" for i in range(1, 5)]
    (root / "Anno" / "identity_CelebA.txt").write_text(
        "".join(f"{n} {i}\n" for n, i in zip(names, (7, 8, 9, 9), strict=True))
    )
    (root / "Eval" / "list_eval_partition.txt").write_text(
        "".join(f"{n} {i}\n" for n, i in zip(names, (0, 1, 2, 2), strict=True))
    )
    prepare([root], tmp_path / "set", workers=1)
    rows = {Path(row["file"]).name: (row["person"], row["split"]) for row in _index(tmp_path / "set")}
    assert rows == {
        "000001.jpg": ("celeba:id7", "train"),
        "000002.jpg": ("celeba:id8", "val"),
        "000003.jpg": ("celeba:id9", "test"),
    }
    (entry,) = read_rejected(tmp_path / "set" / "rejected.csv")
    assert (entry.file, entry.reason) == ("000004.jpg", "missing")


def test_ffhq_fairface_voxceleb_and_lfw_are_recognised_and_divided(lfw, clip, models_dir, tmp_path):
    ffhq, fairface, vox = tmp_path / "ffhq", tmp_path / "fairface", tmp_path / "vox"
    for i, photo in zip((0, 65000), lfw, strict=False):
        target = ffhq / "thumbnails128x128" / f"{i // 1000 * 1000:05d}" / f"{i:05d}.png"
        target.parent.mkdir(parents=True)
        write_image(target, CropTransform(125, 125, 230).crop(read_image(photo), 128))
    for split, photo in zip(("train", "val"), lfw, strict=False):
        _copy(photo, fairface / split / "1.jpg")
        (fairface / f"fairface_label_{split}.csv").write_text(f"file,age,gender,race\n{split}/1.jpg,20-29,Male,White\n")
    for folder in ("dev/mp4/id00012/21Uxsk56VDQ", "test/mp4/id00017/01dfn2spqyE"):
        _cut(clip, vox / folder / "00001.mp4", frames=4)
    settings = Settings(min_shot=0.1)
    found = {}
    for root in (ffhq, fairface, vox):
        prepare([root], tmp_path / f"{root.name}-set", settings, workers=1, keep_near=True)
        rows = _index(tmp_path / f"{root.name}-set")
        found[recognise(root)] = sorted({(row["person"], row["split"]) for row in rows})
    assert found == {
        "ffhq": [("ffhq:00000", "train"), ("ffhq:65000", "val")],
        "fairface": [("fairface:train/1.jpg", "train"), ("fairface:val/1.jpg", "val")],
        "voxceleb": [("vox:id00012", "train"), ("vox:id00017", "test")],
    }
    for photo in lfw:
        _copy(photo, tmp_path / "lfw" / photo.parent.name / photo.name)
    assert recognise(tmp_path / "lfw") == "lfw"
    assert recognise(lfw[0].parent) is None, "one person's folder alone is a folder of photos"


def test_archives_are_read_like_the_folder_in_them(lfw, models_dir, tmp_path):
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as file:
        for photo in lfw:
            file.write(photo, f"lfw/{photo.parent.name}/{photo.name}")
    with tarfile.open(tmp_path / "more.tar.gz", "w:gz") as file:
        file.add(lfw[0], "photo.jpg")
    prepare([tmp_path / "faces.zip", tmp_path / "more.tar.gz"], tmp_path / "set", workers=1, keep_near=True)
    rows = _index(tmp_path / "set")
    assert {(row["source"], row["person"]) for row in rows} == {
        *(("faces", f"n:{name}") for name in PEOPLE),
        ("more", "more:photo.jpg"),
    }
    assert sorted(path.name for path in (tmp_path / "set").iterdir() if path.is_dir()) == []
    data = (tmp_path / "more.tar.gz").read_bytes()
    (tmp_path / "more.tar.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"more\.tar\.gz cannot be unpacked"):
        prepare([tmp_path / "more.tar.gz"], tmp_path / "other", workers=1)


def test_shards_are_cropped_anew_inside_their_margin(data_dir, models_dir, tmp_path):
    """The shared stills at 1.6 become a tight set; labels move along, and agree with a fresh look at the crop."""
    from vaegan.data.prepare.gather import _job
    from vaegan.data.prepare.parts import read_part
    from vaegan.data.prepare.sources import shards
    from vaegan.faces.geometry import head_pose

    (item,) = [item for item in shards(data_dir / "faces", "faces").shards if "val" in item.path]
    keep = dict(list(item.rows.items())[:12])
    item = type(item)(item.path, item.file, "faces", "faces", rows=keep)
    settings = Settings(scale=1.1, size=66, min_px=48)
    job = _job("shard", [item], settings)
    engine_module.run_job(job, settings, tmp_path)
    part = read_part(tmp_path / f"{job.id}.part")
    assert len(part.rows) == 12
    for row, (old, sample) in zip(part.rows, zip(keep.values(), part.samples(), strict=True), strict=True):
        assert (row.person, row.split, row.source) == (old["person"], "val", old["source"])
        assert row.native_px == pytest.approx(int(old["native_px"]) * 1.1 / 1.6, rel=0.02)
        assert row.yaw == pytest.approx(float(old["yaw"]), abs=1)
        mesh = sample.mesh / 16384
        assert mesh_box(mesh)[2] == pytest.approx(1 / 1.1, abs=0.001)
        assert head_pose(mesh)[0] == pytest.approx(row.yaw, abs=0.2)


# ------- splits, options, errors


def test_a_person_is_in_one_split_and_stays_there_when_others_come():
    def rows(count):
        return [Row("s", f"n:{i % count}", "", 90, 1.0, 1.0, 100, 0, 0, 0, 0, f"{i}.jpg") for i in range(3 * count)]

    few, many = rows(200), rows(2000)
    splits = Splits((("val", 0.1), ("test", 0.1)))
    divide(few, splits)
    divide(many, splits)
    assert all(len({row.split for row in few if row.person == f"n:{i}"}) == 1 for i in range(200))
    place = {row.person: row.split for row in many}
    assert all(place[row.person] == row.split for row in few)
    share = sum(row.split == "val" for row in many) / len(many)
    assert share == pytest.approx(0.1, abs=0.02)
    two = rows(2)
    divide(two, Splits())
    assert {row.split for row in two} == {"train", "val"}, "with two people there is something to validate on"


def test_a_partition_file_decides_who_goes_where(mixed, models_dir, tmp_path):
    source, _, _ = mixed
    (tmp_path / "table.csv").write_text("name,split\nAJ_Cook,test\nn:Abdulaziz_Kamilov,val\nclips/talk.mp4,val\n")
    prepare(
        [source],
        tmp_path / "set",
        Settings(min_shot=0.2),
        splits=parse_split(str(tmp_path / "table.csv")),
        workers=1,
    )
    split = {row["person"]: row["split"] for row in _index(tmp_path / "set")}
    assert split[f"n:{PEOPLE[0]}"] == "test"
    assert split[f"n:{PEOPLE[1]}"] == "val"
    assert split[f"n:{PEOPLE[2]}"] == "train"
    assert {row["split"] for row in _index(tmp_path / "set") if row["video"]} == {"val"}


@pytest.mark.parametrize("text", ["val=2", "val", "gone.csv", "train=0.5", "val=0.6,test=0.5"])
def test_a_split_that_cannot_be_is_refused(text):
    with pytest.raises(UserError, match="split"):
        parse_split(text)


def test_framing_is_parsed_and_bounded():
    assert parse_framing("scale=1.2,follow=true") == (1.2, True)
    assert parse_framing("follow=true") == (Settings.scale, True)
    for text in ("scale=big", "zoom=2", "follow=maybe"):
        with pytest.raises(UserError, match="framing"):
            parse_framing(text)
    with pytest.raises(UserError, match="scale"):
        Settings(scale=40)


def test_wrong_inputs_are_one_clear_line_and_leave_nothing(lfw, mixed, models_dir, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        prepare([tmp_path / "gone"], tmp_path / "set", workers=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no photos or videos"):
        prepare([tmp_path / "empty"], tmp_path / "set", workers=1)
    (tmp_path / "walls").mkdir()
    write_image(tmp_path / "walls" / "a.png", np.full((99, 99, 3), 200, np.uint8))
    with pytest.raises(UserError, match=r"no usable face.*1 no face"):
        prepare([tmp_path / "walls"], tmp_path / "set", workers=1)
    assert not (tmp_path / "set").exists()
    with pytest.raises(UserError, match="is not empty"):
        prepare([lfw[0]], mixed[1], workers=1)
    with pytest.raises(UserError, match="is a file"):
        prepare([lfw[0]], lfw[1], workers=1)


def test_the_command_tells_what_it_wrote(lfw, models_dir, tmp_path):
    from typer.testing import CliRunner

    from vaegan.cli.prepare import app

    for photo in lfw:
        _copy(photo, tmp_path / "lfw" / photo.parent.name / photo.name)
    given = [str(tmp_path / "lfw"), "--output", str(tmp_path / "set"), "--workers", "1"]
    result = CliRunner().invoke(app, [*given, "--framing", "scale=1.1,follow=false", "--size", "64"])
    assert result.exit_code == 0, result.output
    assert "3 photos, read as lfw" in result.output
    assert "3 crops" in result.output
    about = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert about["settings"]["scale"] == 1.1
    assert CliRunner().invoke(app, [*given, "--kind", "mugshots"]).exit_code == 2


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _cut(source: Path, target: Path, frames: int) -> None:
    """The first frames of a video."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with VideoReader(source) as reader, VideoWriter(target, reader.width, reader.height, reader.rate) as writer:
        for _, frame in zip(range(frames), reader, strict=False):
            writer.write(frame.image)


def _write_mat(path: Path, name: str, table: dict) -> None:
    """A struct of one row per field, strings and boxes as cells, as in the files that the authors distribute."""
    from scipy.io import savemat

    struct = {}
    for field, values in table.items():
        if isinstance(values[0], (str, np.ndarray)):
            cells = np.empty((1, len(values)), object)
            cells[0] = [np.array([value]) if isinstance(value, str) else value for value in values]
        else:
            cells = np.array([values])
        struct[field] = cells
    savemat(path, {name: struct})


def _index(folder: Path) -> list[dict[str, str]]:
    with open(folder / "index.csv", newline="") as file:
        return list(csv.DictReader(file))


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
