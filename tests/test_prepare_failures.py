"""What stops `vaegan prepare` is one clear line, and what was done before is not lost."""

import os
import resource
import shutil
import subprocess
import sys
import zipfile

import pytest
from prepare_sources import bytes_of, copy, cut, index_of, people, photos_of_people, read_rejected

from vaegan.data.prepare import jobs
from vaegan.data.prepare.prepare import prepare
from vaegan.data.prepare.settings import PrepareSettings
from vaegan.errors import UserError

COMMAND = [sys.executable, "-W", "ignore", "-c", "from vaegan.cli.main import main; main()", "prepare"]


def test_a_disk_that_fills_up_costs_the_piece_that_was_written(data_dir, models_dir, tmp_path):
    """A limit on the size of files answers like a full disk: the photos fit, the frames of the clip do not."""
    people(data_dir, tmp_path / "in")
    cut(data_dir / "raw/videos/lipnet_GRID-bbaf2n.mpg", tmp_path / "in" / "clips" / "talk.mp4", frames=12)
    given = [*COMMAND, str(tmp_path / "in"), "--output", str(tmp_path / "set"), "--workers", "1", "--min-shot", "0.2"]

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    stopped = subprocess.run(given, preexec_fn=full, capture_output=True, text=True, timeout=300)
    assert stopped.returncode == 1, stopped.stderr
    (line,) = stopped.stderr.splitlines()
    assert line.startswith("error: ") and "could not be written" in line and "make room" in line
    assert not (tmp_path / "set" / "index.csv").exists()
    again = subprocess.run(given, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "resumed: 1 of 2 jobs" in again.stdout
    prepare([tmp_path / "in"], tmp_path / "other" / "set", PrepareSettings(min_shot=0.2), workers=1)
    assert bytes_of(tmp_path / "set") == bytes_of(tmp_path / "other" / "set")


def test_an_archive_cut_short_or_too_large_is_one_clear_line(data_dir, models_dir, tmp_path, monkeypatch):
    archive = tmp_path / "faces.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for photo in photos_of_people(data_dir):
            file.write(photo, photo.name)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"faces\.zip cannot be unpacked .*fetch it again"):
        prepare([archive], tmp_path / "set", workers=1)
    archive.write_bytes(whole)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(jobs.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"unpacks to 0 MiB, .* has 0 free: make room"):
        prepare([archive], tmp_path / "set", workers=1)
    assert not (tmp_path / "set").exists()


def test_a_half_extracted_data_set_gives_what_is_there_and_names_what_is_not(data_dir, models_dir, tmp_path):
    root = tmp_path / "fairface"
    first, second, _ = photos_of_people(data_dir)
    copy(first, root / "train" / "1.jpg")
    copy(second, root / "train" / "2.jpg")
    os.truncate(root / "train" / "2.jpg", 4000)
    (root / "train" / "3.jpg").touch()
    lines = "".join(f"train/{i}.jpg,20-29,Male,White\n" for i in range(1, 5))
    (root / "fairface_label_train.csv").write_text(f"file,age,gender,race\n{lines}")
    prepare([root], tmp_path / "set", workers=1)
    assert [row["file"] for row in index_of(tmp_path / "set")] == ["train/1.jpg"]
    rejected = {entry.file: (entry.reason, entry.detail) for entry in read_rejected(tmp_path / "set" / "rejected.csv")}
    assert [reason for reason, _ in rejected.values()] == ["unreadable", "unreadable", "missing"]
    assert rejected["train/4.jpg"][1] == "fairface_label_train.csv names it, but it is not on the disk"
    assert all(detail and "\n" not in detail and str(root) not in detail for _, detail in rejected.values())
