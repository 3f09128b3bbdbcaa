"""`vaegan prepare` on small trees in the layouts in which authors distribute their data sets."""

import datetime
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from prepare_sources import PEOPLE, copy, cut, index_of, photos_of_people, read_rejected

from vaegan.data.prepare import jobs as jobs_module
from vaegan.data.prepare.prepare import prepare
from vaegan.data.prepare.public_datasets import recognise
from vaegan.data.prepare.settings import PrepareSettings
from vaegan.errors import UserError
from vaegan.faces.geometry import CropTransform, mesh_box
from vaegan.media import read_image, write_image


@pytest.fixture(scope="module")
def lfw(data_dir):
    """Three photos of three people."""
    return photos_of_people(data_dir)


@pytest.fixture(scope="module")
def clip(data_dir):
    return data_dir / "raw/videos/lipnet_GRID-bbaf2n.mpg"


def test_imdb_wiki_is_filtered_by_its_own_figures(lfw, models_dir, tmp_path):
    root = tmp_path / "wiki_crop"
    files = ["00/a.jpg", "00/b.jpg", "00/c.jpg", "00/d.jpg", "00/gone.jpg", "00/e.jpg"]
    for i, file in enumerate(files):
        if "gone" not in file:
            copy(lfw[i % 3], root / file)
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
    (row,) = index_of(tmp_path / "set")
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
    copy(lfw[0], tmp_path / "imdb" / "00" / "a.jpg")
    with pytest.raises(UserError, match=r"no imdb\.mat or wiki\.mat"):
        prepare([tmp_path / "imdb"], tmp_path / "set", kind="imdb_wiki", workers=1)
    (tmp_path / "imdb" / "imdb.mat").write_bytes(b"MATLAB 5.0 MAT-file cut sh")
    with pytest.raises(UserError, match="is not the imdb table"):
        prepare([tmp_path / "imdb"], tmp_path / "set", workers=1)
    assert not (tmp_path / "set").exists()


def test_celeba_keeps_its_partition_and_identities(lfw, models_dir, tmp_path):
    root = tmp_path / "celeba"
    for i, photo in enumerate(lfw, 1):
        copy(photo, root / "Img" / "img_align_celeba" / f"{i:06d}.jpg")
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
    rows = {Path(row["file"]).name: (row["person"], row["split"]) for row in index_of(tmp_path / "set")}
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
        copy(photo, fairface / split / "1.jpg")
        (fairface / f"fairface_label_{split}.csv").write_text(f"file,age,gender,race\n{split}/1.jpg,20-29,Male,White\n")
    for folder in ("dev/mp4/id00012/21Uxsk56VDQ", "test/mp4/id00017/01dfn2spqyE"):
        cut(clip, vox / folder / "00001.mp4", frames=4)
    settings = PrepareSettings(min_shot=0.1)
    found = {}
    for root in (ffhq, fairface, vox):
        prepare([root], tmp_path / f"{root.name}-set", settings, workers=1, keep_near=True)
        rows = index_of(tmp_path / f"{root.name}-set")
        found[recognise(root)] = sorted({(row["person"], row["split"]) for row in rows})
    assert found == {
        "ffhq": [("ffhq:00000", "train"), ("ffhq:65000", "val")],
        "fairface": [("fairface:train/1.jpg", "train"), ("fairface:val/1.jpg", "val")],
        "voxceleb": [("vox:id00012", "train"), ("vox:id00017", "test")],
    }
    for photo in lfw:
        copy(photo, tmp_path / "lfw" / photo.parent.name / photo.name)
    assert recognise(tmp_path / "lfw") == "lfw"
    assert recognise(lfw[0].parent) is None, "one person's folder alone is a folder of photos"


def test_archives_are_read_like_the_folder_in_them(lfw, models_dir, tmp_path):
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as file:
        for photo in lfw:
            file.write(photo, f"lfw/{photo.parent.name}/{photo.name}")
    with tarfile.open(tmp_path / "more.tar.gz", "w:gz") as file:
        file.add(lfw[0], "photo.jpg")
    prepare([tmp_path / "faces.zip", tmp_path / "more.tar.gz"], tmp_path / "set", workers=1, keep_near=True)
    rows = index_of(tmp_path / "set")
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
    from vaegan.data.prepare.jobs import _job
    from vaegan.data.prepare.parts import read_part
    from vaegan.data.prepare.sources import shards
    from vaegan.faces.geometry import head_pose

    (item,) = [item for item in shards(data_dir / "faces", "faces").shards if "val" in item.path]
    keep = dict(list(item.rows.items())[:12])
    item = type(item)(item.path, item.file, "faces", "faces", rows=keep)
    settings = PrepareSettings(scale=1.1, size=66, min_px=48)
    job = _job("shard", [item], settings)
    jobs_module.run_job(job, settings, tmp_path)
    part = read_part(tmp_path / f"{job.id}.part")
    assert len(part.rows) == 12
    for row, (old, sample) in zip(part.rows, zip(keep.values(), part.samples(), strict=True), strict=True):
        assert (row.person, row.split, row.source) == (old["person"], "val", old["source"])
        assert row.native_px == pytest.approx(int(old["native_px"]) * 1.1 / 1.6, rel=0.02)
        assert row.yaw == pytest.approx(float(old["yaw"]), abs=1)
        mesh = sample.mesh / 16384
        assert mesh_box(mesh)[2] == pytest.approx(1 / 1.1, abs=0.001)
        assert head_pose(mesh)[0] == pytest.approx(row.yaw, abs=0.2)


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


@pytest.mark.parametrize("filtered", [True, False])
def test_an_archive_that_points_outside_itself_is_refused_by_any_python(tmp_path, monkeypatch, filtered):
    if not filtered:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)  # Python before 3.11.4
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../outside.png"))
    with pytest.raises(UserError, match="outside"):
        jobs_module._unpacked(tmp_path / "photos.tar", tmp_path / "parts/photos")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["parts", "photos.tar"]
