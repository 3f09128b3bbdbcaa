"""`vaegan prepare`: a data set made of the shared raw photos and a clip, read back, resumed and made by many."""

import numpy as np
import pytest
from prepare_sources import bytes_of, cut, index_of, people, photos_of_people, read_rejected

from vaegan.data.format import read_index, read_labels, read_pictures
from vaegan.data.prepare import jobs as jobs_module
from vaegan.data.prepare.prepare import prepare
from vaegan.data.prepare.settings import PrepareSettings
from vaegan.errors import UserError
from vaegan.faces.blendshapes import MIRRORED_BLENDSHAPES
from vaegan.faces.geometry import MIRRORED_POINTS, CropTransform
from vaegan.media import VideoReader, read_image, write_image


@pytest.fixture(scope="module")
def lfw(data_dir):
    """Three photos of three people."""
    return photos_of_people(data_dir)


@pytest.fixture(scope="module")
def clip(data_dir):
    return data_dir / "raw/videos/lipnet_GRID-bbaf2n.mpg"


@pytest.fixture(scope="module")
def tracker(models_dir):
    from vaegan.faces.tracker import FaceTracker

    return FaceTracker(smoothing=False)


@pytest.fixture(scope="module")
def mixed(data_dir, clip, models_dir, tmp_path_factory):
    """A prepared set of three photos and eight frames of one clip, and the folder it came from."""
    root = tmp_path_factory.mktemp("mixed")
    people(data_dir, root / "in")
    cut(clip, root / "in" / "clips" / "talk.mp4", frames=8)
    (root / "in" / "AJ_Cook" / "notes.jpg").write_bytes(b"not a picture")
    write_image(root / "in" / "AJ_Cook" / "wall.png", np.full((200, 200, 3), 90, np.uint8))
    summary = prepare([root / "in"], root / "set", PrepareSettings(min_shot=0.2), workers=1)
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
    for index in (MIRRORED_POINTS, MIRRORED_BLENDSHAPES):
        assert (index[index] == np.arange(len(index))).all()


def test_frames_of_a_clip_stay_together_and_in_order(mixed):
    _, folder, _ = mixed
    rows = [row for row in index_of(folder) if row["video"]]
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
    prepare([source], tmp_path / "set", PrepareSettings(min_shot=0.2), workers=2)
    assert bytes_of(tmp_path / "set") == bytes_of(folder)


def test_a_killed_run_goes_on_where_it_stopped(mixed, monkeypatch, tmp_path):
    source, folder, _ = mixed
    done = []
    run_job = jobs_module.run_job

    def killed(job, **rest):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(job.id)
        return run_job(job, **rest)

    monkeypatch.setattr(jobs_module, "run_job", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare([source], tmp_path / "set", PrepareSettings(min_shot=0.2), workers=1)
    assert not (tmp_path / "set" / "index.csv").exists()

    def counted(job, **rest):
        assert job.id not in done, "finished work is not repeated"
        return run_job(job, **rest)

    with pytest.raises(UserError, match="unfinished run with other"):
        prepare([source], tmp_path / "set", PrepareSettings(min_shot=0.2, size=64), workers=1)
    monkeypatch.setattr(jobs_module, "run_job", counted)
    summary = prepare([source], tmp_path / "set", PrepareSettings(min_shot=0.2), workers=1)
    assert summary.resumed == 1
    assert bytes_of(tmp_path / "set") == bytes_of(folder)


def test_finished_work_survives_a_full_disk(mixed, monkeypatch, tmp_path):
    source, folder, _ = mixed
    from vaegan.data.prepare import output

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(output._Local, "publish", full)
        with pytest.raises(UserError, match="make room and run the same command again"):
            prepare([source], tmp_path / "set", PrepareSettings(min_shot=0.2), workers=1)
    monkeypatch.setattr(jobs_module, "run_job", lambda *_, **__: pytest.fail("nothing is left to be done"))
    prepare([source], tmp_path / "set", PrepareSettings(min_shot=0.2), workers=1)
    assert bytes_of(tmp_path / "set") == bytes_of(folder)


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
    assert len(index_of(tmp_path / "all")) == 3
