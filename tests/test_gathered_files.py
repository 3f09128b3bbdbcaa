"""Which files of a folder count: all that can be read, no hidden ones; what cannot be read is told."""

from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from media_clips import make_clip

from vaegan.data.check import check_data
from vaegan.data.check.looked import Looked
from vaegan.data.check.videos import look_at_videos
from vaegan.data.format import read_index
from vaegan.data.packer import _pictures
from vaegan.data.prepare import video as prepare_video
from vaegan.data.prepare.prepare import prepare
from vaegan.data.prepare.settings import PrepareSettings
from vaegan.data.prepare.sources import Item, plain
from vaegan.data.tracked import video_files
from vaegan.errors import UserError
from vaegan.evaluation.protocol import chosen_files


def filled(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\5\26\7")
    return folder


def test_a_phones_pictures_are_listed_and_what_nothing_reads_is_told(tmp_path):
    folder = filled(tmp_path / "p", "a.jpg", "b.HEIC", "c.avif", "d.jfif", "e.CR2", "sub/f.jxl", "notes.txt", "._a.jpg")
    listing = plain(folder, "p", "auto")
    assert [item.file for item in listing.photos] == ["a.jpg", "b.HEIC", "c.avif", "d.jfif"]
    assert [(r.file, r.detail) for r in listing.rejected] == [
        ("e.CR2", "CR2 pictures are not read here; convert them to JPEG"),
        ("sub/f.jxl", "JXL pictures are not read here; convert them to JPEG"),
    ]


def test_a_folder_of_what_nothing_reads_names_the_format(tmp_path):
    folder = filled(tmp_path / "raw", "a.nef", "b.nef")
    with pytest.raises(UserError, match=r"holds no photos or videos \(all 2 entries were rejected, first a\.nef"):
        prepare([folder], tmp_path / "set", PrepareSettings(), workers=1)
    with pytest.raises(UserError, match=r"nor videos \(a\.nef: NEF pictures are not read here"):
        check_data(folder)


def test_hidden_files_count_nowhere(tmp_path):
    """macOS puts ._NAME beside each NAME on disks of others."""
    people = ["train/a.mp4", "train/._a.mp4", "val/b.mp4", "val/._b.mp4", ".Trash/train/c.mp4"]
    folder = filled(tmp_path / "videos", *people)
    assert [path.name for split in ("train", "val") for path in video_files(folder, split)] == ["a.mp4", "b.mp4"]
    pictures = filled(tmp_path / "pictures", "1.png", "2.png", "._1.png", ".cache/3.png")
    assert {entry.key for entry in read_index(pictures, None)} == {"1.png", "2.png"}
    assert [path.name for path in _pictures(pictures)] == ["1.png", "2.png"]
    assert [path.name for path in chosen_files(pictures, {".png"}, 9, 0)] == ["1.png", "2.png"]


def test_a_small_folder_of_pictures_has_one_to_validate_with(tmp_path):
    for count in (2, 5, 20):
        folder = filled(tmp_path / str(count), *(f"{n}.jpg" for n in range(count)))
        assert len(read_index(folder, "val")) >= 1
        assert len(read_index(folder, "train")) + len(read_index(folder, "val")) == count


def test_sound_that_lasts_longer_than_the_picture_is_no_damage(tmp_path, monkeypatch):
    """Screen recorders write it, and Matroska's duration is that of its longest stream."""
    clip, path = make_clip(tmp_path / "clip.mp4", [Fraction(i, 25) for i in range(30)]), tmp_path / "recorded.mkv"
    with av.open(str(clip)) as source, av.open(str(path), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0])
        sound = output.add_stream("aac", rate=44100, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                output.mux(packet)
        noise = np.random.default_rng(0).standard_normal((1, 44100 * 4)).astype(np.float32) * 0.05
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    looked, watcher = Looked(), SimpleNamespace(shown=10**9)
    (seen,) = look_at_videos([Item(str(path), path.name, "s", "p")], looked, watcher, lambda: None)
    assert (seen.damage, seen.sound, looked.broken) == ("", "good", [])
    assert seen.seconds == pytest.approx(30 / 25, abs=0.1), "of the picture"
    nobody = SimpleNamespace(reset=lambda: None, track=lambda image: None)
    monkeypatch.setattr(prepare_video, "tracker_for", lambda name: nobody)
    told = list(prepare_video.video(Item(str(path), path.name, "s", "p"), PrepareSettings()))
    assert [entry.reason for entry in told] == ["no face"]
