"""Clips out of raw videos and prepared sets: framing, frame rate, cache; windows and pairs of them; stills and clips
mixed."""

import csv
import io
import itertools
import multiprocessing
import os
import tarfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reading_sets import told_clips

from vaegan.data import tracked
from vaegan.data.batches import CropBatches
from vaegan.data.clip_batches import ClipBatches, Pairs, Windows
from vaegan.data.clip_frames import ClipSettings, load_clips
from vaegan.errors import UserError
from vaegan.faces.geometry import framing
from vaegan.faces.tracker import FaceTracker
from vaegan.media import VideoReader, VideoWriter

FRAMES = 14


@pytest.fixture(scope="module")
def raw(data_dir, tmp_path_factory) -> Path:
    """The first frames of four shared clips, two to train and two to validate on, and a table of who they show."""
    folder = tmp_path_factory.mktemp("raw") / "people"
    clips = sorted((data_dir / "clips/dev").glob("*.mp4"))[1:5]
    for number, source in enumerate(clips):
        target = folder / ("train" if number < 2 else "dev") / f"{number}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        with VideoReader(source, fps=25) as frames, VideoWriter(target, 256, 256, Fraction(25)) as writer:
            for frame in itertools.islice(frames, FRAMES):
                writer.write(frame.image)
    (folder / "clips.csv").write_text("file,person\ntrain/0.mp4,Ada\n")
    return folder


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Path(os.environ["VAEGAN_CACHE"])


def settings(folder: Path, fps: float = 25) -> ClipSettings:
    return ClipSettings(str(folder), fps, 1.6, False)


def test_frames_are_cropped_by_one_fixed_upright_crop_from_the_first_face(raw):
    clips = load_clips(settings(raw), "train", 64)
    assert len(clips) == 2 and [clip.person for clip in clips.clips] == ["Ada", "1.mp4"]
    assert clips.frames.shape == (2 * FRAMES, 64, 64, 3) and clips.shapes.shape == (2 * FRAMES, 52)
    pictures = [frame.image for frame in VideoReader(raw / "train/0.mp4")]
    region = framing(FaceTracker(smoothing=False).track(pictures[0]).mesh, 1.6, follow=False)
    for t in (0, FRAMES - 1):
        wanted = region.crop(pictures[t], 64).astype(int)
        assert np.abs(clips.frames[clips.clips[0].rows[t]].astype(int) - wanted).mean() < 0.5
    clip = clips[0]
    assert clip.shape == (FRAMES, 3, 64, 64) and clip.dtype == torch.float32
    assert 0 <= clip.min() < 0.2 and 0.8 < clip.max() <= 1


def test_crops_that_leave_the_picture_are_left_out(raw):
    all_frames = load_clips(settings(raw), "val", 64).frames
    assert len(all_frames) == 2 * FRAMES
    tight = tmp = raw.parent / "border"
    (tmp / "train").mkdir(parents=True)
    (tmp / "val").mkdir()
    face = FaceTracker().detect(next(iter(VideoReader(raw / "train/0.mp4"))).image)[0]
    left = int(face.mesh[:, 0].min()) // 2 * 2
    with VideoWriter(tight / "train/cut.mp4", 256 - left, 256, Fraction(25)) as writer:
        for frame in VideoReader(raw / "train/0.mp4"):
            writer.write(np.ascontiguousarray(frame.image[:, left:]))
    assert len(load_clips(settings(tight), "train", 32).frames) > 0
    with pytest.raises(UserError, match=r"no face found in the 1 videos of .*border"):
        load_clips(settings(tight), "train", 32, min_cover=0.95)


def test_clips_come_at_the_set_rate(raw):
    full, slow = (load_clips(settings(raw, fps), "train", 32) for fps in (25, 10))
    assert [len(clip.rows) for clip in slow.clips] == [6, 6]
    for k, (a, b) in enumerate(zip(full.clips, slow.clips, strict=True)):
        for t in range(6):
            near = [full.frames[a.rows[n]].astype(int) for n in (int(2.5 * t), min(FRAMES - 1, int(2.5 * t) + 1))]
            here = slow.frames[b.rows[t]].astype(int)
            assert min(np.abs(here - other).mean() for other in near) < 1, (k, t)
    fast = load_clips(settings(raw, 50), "train", 32)
    assert [len(clip.rows) for clip in fast.clips] == [27, 27], "the video has no more frames: they are shown twice"


def test_the_cache_is_used_again_and_made_again_when_a_video_changes(raw, cache, monkeypatch, capsys):
    before = load_clips(settings(raw), "val", 32)

    def refuse(*_):
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr(tracked, "_read", refuse)
        assert np.array_equal(load_clips(settings(raw), "val", 32).frames, before.frames)
        os.utime(raw / "dev/2.mp4", (1, 1))
        with pytest.raises(AssertionError, match="decoded again"):
            load_clips(settings(raw), "val", 32)
    assert not list(cache.glob(".*.tmp")), "a broken build left something behind"
    (raw / "dev/broken.mp4").write_bytes(b"no video")
    assert np.array_equal(load_clips(settings(raw), "val", 32).frames, before.frames)
    assert "left out: " in (said := capsys.readouterr().err) and "broken.mp4" in said


def _read(folder: str, queue) -> None:
    queue.put(int(load_clips(settings(Path(folder)), "train", 24).frames.astype(np.int64).sum()))


def test_two_processes_make_one_cache_of_clips(raw, cache):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_read, args=(str(raw), queue)) for _ in range(2)]
    for process in processes:
        process.start()
    sums = {queue.get(timeout=300) for _ in processes}
    for process in processes:
        process.join()
    assert len(sums) == 1 and len(list(cache.glob("people-train-24-*.npy"))) == 1


@pytest.fixture
def prepared(tmp_path) -> Path:
    """Two shots: frames at 10/s, frame 3 of the first missing and a second pause; a still; red tells the frame."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    shots = {"a.mp4#000": [0, 1, 2, 4, 5, 15, 16, 17], "b.mp4#000": [0, 1, 2]}
    rows = [{"key": "still", "video": "", "timestamp": 0}]
    rows += [{"key": f"{v[0]}{n:02}", "video": v, "timestamp": n / 10} for v, times in shots.items() for n in times]
    with tarfile.open(folder / "set.tar", "w") as tar:
        for row in rows:
            row |= {"split": "train", "shard": "set.tar", "person": row["video"][:1], "cover": 1}
            buffer = io.BytesIO()
            Image.new("RGB", (8, 8), (int(10 * row["timestamp"]) * 10, 0, 0)).save(buffer, "WEBP", lossless=True)
            member = tarfile.TarInfo(f"{row['key']}.webp")
            member.size = buffer.tell()
            tar.addfile(member, io.BytesIO(buffer.getvalue()))
    with open(folder / "index.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(reversed(rows))
    return folder


def test_prepared_frames_become_clips_again_cut_where_frames_lack(prepared):
    clips = load_clips(settings(prepared, 10), "train", 8)
    told = [(clip.name, clip.person, (clips.frames[clip.rows, 0, 0, 0] // 10).tolist()) for clip in clips.clips]
    assert told == [
        ("a.mp4#000", "a", [0, 1, 2]),
        ("a.mp4#000", "a", [4, 5]),
        ("a.mp4#000", "a", [15, 16, 17]),
        ("b.mp4#000", "b", [0, 1, 2]),
    ]
    half = load_clips(settings(prepared, 5), "train", 8)
    assert (half.frames[half.clips[0].rows, 0, 0, 0] // 10).tolist() == [0, 2]


def test_windows_lie_in_one_clip_in_order_and_begin_elsewhere_each_epoch():
    clips = told_clips([10, 3, 17])
    read = ClipBatches(clips, 2, Windows(4), shuffle=True, flip=False, seed=1)
    assert len(read) == 3, "two windows of the first clip, four of the third, none of the second"
    starts = set()
    for epoch in range(8):
        read.set_epoch(epoch)
        told = torch.cat(list(read))[..., 0, 0].mul(255).round().int()
        assert told.shape == (6, 4, 3)
        assert (told[:, :, 0] == told[:, :1, 0]).all() and (told[:, 1:, 1] - told[:, :-1, 1] == 1).all()
        frames = {(int(k), int(n)) for k, n in told[..., :2].reshape(-1, 2)}
        assert len(frames) == 24, "windows overlap"
        starts.add(min(n for k, n in frames if k == 0))
    assert len(starts) > 1
    with pytest.raises(UserError, match=r"no clip has 18 frames, the longest has 17: lower data\.frames"):
        ClipBatches(clips, 2, Windows(18), shuffle=True, flip=False)


def test_pairs_are_two_frames_of_one_clip_as_far_apart_as_asked():
    clips = told_clips([30, 2, 9])
    read = ClipBatches(clips, 13, Pairs(0.12, 0.4), shuffle=True, flip=False)
    told = torch.cat(list(read))[..., 0, 0].mul(255).round().int()
    assert told.shape == (39, 2, 3), "every frame of the two longer clips comes first once"
    assert (told[:, 0, 0] == told[:, 1, 0]).all() and (told[:, 0, 0] != 1).all()
    gaps = told[:, 1, 1] - told[:, 0, 1]
    assert gaps.abs().min() == 3 and gaps.abs().max() == 10 and (gaps > 0).any() and (gaps < 0).any()
    assert len({(int(k), int(n)) for k, n in told[:, 0, :2]}) == 39


def test_mixed_epochs_have_the_set_share_of_frames_without_repeats():
    stills = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1).repeat(3, 3)
    frames = (100 + np.arange(60, dtype=np.uint8)).reshape(60, 1, 1, 1).repeat(3, 3)

    def epoch(number: int, **share: int) -> list[int]:
        read = CropBatches(stills, 10, shuffle=True, flip=True, seed=2, more=frames, more_share=0.3)
        read.rank, read.world = share.get("rank", 0), share.get("world", 1)
        read.set_epoch(number)
        return torch.cat(list(read))[:, 0, 0, 0].mul(255).round().int().tolist()

    first = epoch(0)
    assert len(first) == len(set(first)) == 100 and sum(value >= 100 for value in first) == 30
    assert epoch(0) == first and epoch(1) != first
    counts = [sum(value >= 100 for value in first[k : k + 10]) for k in range(0, 100, 10)]
    assert len(set(counts)) > 1, "frames are spread at random"
    ranks = [epoch(0, rank=rank, world=2) for rank in range(2)]
    assert sorted(ranks[0] + ranks[1]) == sorted(first)


def test_sets_that_are_not_there_say_how_to_make_them(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEGAN_DATA", str(tmp_path))
    with pytest.raises(UserError, match="no data set 'videos' yet: make it with `vaegan prepare path/to/videos --out"):
        load_clips(settings(Path("videos")), "train", 64)
    (tmp_path / "videos").mkdir()
    with pytest.raises(UserError, match="no 'train' videos in"):
        load_clips(settings(Path("videos")), "train", 64)
