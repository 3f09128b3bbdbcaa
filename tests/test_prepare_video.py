"""`vaegan prepare` on videos: sampled, followed, cut into shots."""

import numpy as np
import pytest
from prepare_sources import bytes_of, cut, index_of, photos_of_people, read_rejected

from vaegan.data.format import read_labels
from vaegan.data.prepare import jobs
from vaegan.data.prepare.prepare import prepare
from vaegan.data.prepare.settings import PrepareSettings
from vaegan.media import VideoReader, VideoWriter, read_image


@pytest.fixture(scope="module")
def lfw(data_dir):
    """Three photos of three people."""
    return photos_of_people(data_dir)


@pytest.fixture(scope="module")
def clip(data_dir):
    return data_dir / "raw/videos/lipnet_GRID-bbaf2n.mpg"


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
    settings = PrepareSettings(min_shot=0.1, min_sharpness=40)
    prepare([tmp_path / "in"], tmp_path / "set", settings, workers=1)
    shots = {}
    for row in index_of(tmp_path / "set"):
        shots.setdefault(row["video"], []).append(int(row["frame"]))
    assert [frames[0] for frames in shots.values()] == [0, 16]
    assert all(name.startswith("talk.mp4#") for name in shots)
    dropped = {entry.reason: entry.count for entry in read_rejected(tmp_path / "set" / "rejected.csv")}
    assert dropped["no face"] == 5
    assert dropped["blurred"] >= 1
    assert sum(map(len, shots.values())) + sum(dropped.values()) == 28


def test_videos_are_sampled_by_timestamp(clip, models_dir, tmp_path):
    cut(clip, tmp_path / "in" / "talk.mp4", frames=20)
    prepare([tmp_path / "in"], tmp_path / "set", PrepareSettings(fps=10, min_shot=0.2), workers=1)
    times = [float(row["timestamp"]) for row in index_of(tmp_path / "set")]
    assert np.allclose(times, np.arange(8) / 10)


def test_a_following_crop_moves_with_the_face(clip, models_dir, tmp_path):
    cut(clip, tmp_path / "in" / "talk.mp4", frames=12)
    prepare([tmp_path / "in"], tmp_path / "set", PrepareSettings(scale=1.2, follow=True, size=64), workers=1)
    rows = index_of(tmp_path / "set")
    labels = read_labels(tmp_path / "set", [row["key"] for row in rows])
    assert len({(row["crop_x"], row["crop_y"]) for row in rows}) == 12
    eyes = labels.mesh[:, [33, 263], :2]
    assert np.abs(eyes - eyes.mean(0)).max() < 0.02, "the eyes stay where they are"
    assert np.abs(eyes[:, 0, 1] - eyes[:, 1, 1]).max() < 0.04, "upright"


def test_a_long_video_is_shared_among_processes(data_dir, models_dir, tmp_path, monkeypatch):
    """Three ranges give the frames of one piece, once each, and the same bytes with one process and with two."""
    video = tmp_path / "in" / "talk.mp4"
    cut(data_dir / "raw/videos/liveportrait_driving-d3.mp4", video, frames=40)
    settings = PrepareSettings(fps=12, min_shot=0.2)
    prepare([video.parent], tmp_path / "whole", settings, workers=1)
    monkeypatch.setattr(jobs, "RANGE", 0.5)
    monkeypatch.setattr(jobs, "LONG_BYTES", 0)
    assert prepare([video.parent], tmp_path / "one" / "set", settings, workers=1).jobs == 3
    prepare([video.parent], tmp_path / "two" / "set", settings, workers=2)
    assert bytes_of(tmp_path / "one" / "set") == bytes_of(tmp_path / "two" / "set")
    whole, ranges = index_of(tmp_path / "whole"), index_of(tmp_path / "one" / "set")
    assert [row["frame"] for row in ranges] == [row["frame"] for row in whole] == [str(i) for i in range(len(whole))]
    times = [[float(row["timestamp"]) for row in rows] for rows in (ranges, whole)]
    assert np.allclose(*times, atol=1 / 25)
    shots = list(dict.fromkeys(row["video"] for row in ranges))
    assert shots == ["talk.mp4#0s.000", "talk.mp4#0.5s.000", "talk.mp4#1s.000"]


def test_the_missing_end_of_a_long_video_is_told_once(data_dir, models_dir, tmp_path, monkeypatch):
    video = tmp_path / "in" / "talk.mp4"
    cut(data_dir / "raw/videos/liveportrait_driving-d3.mp4", video, frames=50)
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 4 // 10])
    monkeypatch.setattr(jobs, "RANGE", 0.5)
    monkeypatch.setattr(jobs, "LONG_BYTES", 0)
    assert prepare([video.parent], tmp_path / "set", PrepareSettings(fps=10, min_shot=0.2), workers=1).jobs == 3
    assert [entry.reason for entry in read_rejected(tmp_path / "set" / "rejected.csv")].count("damaged") == 1
