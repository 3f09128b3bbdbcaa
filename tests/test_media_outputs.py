"""Outputs appear whole or not at all, and what the user can mend about inputs and outputs is told in one line."""

import os
import signal
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from media_clips import make_clip, numbered

from vaegan.errors import UserError
from vaegan.media import VIDEO_SUFFIXES, VideoReader, VideoWriter, atomic_path, check_output, write_image

OUTPUTS = ["out.mp4", "out.mkv", "out.gif", "out.webp", "out"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    times = [Fraction(i, 25) for i in range(50)]
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", times, sound="aac")


def test_a_file_appears_only_when_the_block_succeeds(tmp_path):
    target = tmp_path / "result.txt"
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".txt" and temporary.exists()
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    for error in (KeyboardInterrupt, SystemExit, RuntimeError):
        with pytest.raises(error), atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error
        assert target.read_text() == "new" and os.listdir(tmp_path) == ["result.txt"]
    with atomic_path(tmp_path / "folder", folder=True) as temporary:
        (temporary / "a").touch()
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "other", folder=True) as temporary:
        (temporary / "a").touch()
        raise KeyboardInterrupt
    assert sorted(os.listdir(tmp_path)) == ["folder", "result.txt"]


def test_new_files_have_the_permissions_that_the_user_set(tmp_path):
    before = os.umask(0o027)
    try:
        write_image(tmp_path / "picture.png", numbered(0))
    finally:
        os.umask(before)
    assert (tmp_path / "picture.png").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", OUTPUTS)
def test_control_c_while_writing_leaves_nothing_and_keeps_what_was_there(tmp_path, clip, name):
    out = tmp_path / name
    if out.suffix:
        out.write_bytes(b"an earlier result")
    with pytest.raises(KeyboardInterrupt), VideoWriter(out, 64, 64, 25, audio_from=clip) as writer:
        for number in range(40):
            writer.write(numbered(number))
            if number == 30:
                signal.raise_signal(signal.SIGINT)
    assert os.listdir(tmp_path) == ([name] if out.suffix else [])
    assert not out.suffix or out.read_bytes() == b"an earlier result"


@pytest.mark.parametrize("name", OUTPUTS)
def test_success_replaces_what_was_there(tmp_path, name):
    for count in (3, 5):
        if name == "out" and count == 5:
            break  # a folder with files in it is never replaced
        with VideoWriter(tmp_path / name, 64, 64, 25) as writer:
            for number in range(count):
                writer.write(numbered(number))
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as Unix does")
@pytest.mark.parametrize("name", [*OUTPUTS, "out.png"])
def test_a_disk_without_room_is_one_clear_line(tmp_path, clip, name):
    import resource

    rng = np.random.default_rng(0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(UserError, match="could not be written") as told:
            if name == "out.png":
                write_image(tmp_path / name, rng.integers(0, 256, (128, 128, 3), np.uint8))
            else:
                with VideoWriter(tmp_path / name, 128, 128, 25, audio_from=clip) as writer:
                    for _ in range(120):
                        writer.write(rng.integers(0, 256, (128, 128, 3), np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "make room" in str(told.value) and str(tmp_path / name) in str(told.value) and "\n" not in str(told.value)
    assert not os.listdir(tmp_path)


def test_an_output_that_cannot_be_written_is_told_before_the_work(tmp_path, clip):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "frame.png").touch()
    (tmp_path / "folder.mp4").mkdir()
    link = tmp_path / "link.mp4"
    link.symlink_to(clip)
    cases = {
        tmp_path / "nowhere" / "out.mp4": "there is no folder",
        tmp_path / "file" / "out.mp4": "there is no folder",
        tmp_path / "out.xyz": "do not know how to write",
        tmp_path / "full": "with files in it",
        clip: "is also an input",
        link: "is also an input",
        clip.parent / ".." / clip.parent.name / "clip.mp4": "is also an input",
    }
    if os.path.isdir("/proc/self"):
        cases["/proc/out.mp4"] = "cannot write in /proc"
    for path, words in cases.items():
        with pytest.raises(UserError, match=words) as told:
            check_output(path, clip, "/no/such/photo.png", suffixes=VIDEO_SUFFIXES)
        assert "\n" not in str(told.value)
        with pytest.raises(UserError, match=words):
            VideoWriter(path, 64, 64, 25, audio_from=clip)
    assert check_output(tmp_path / "out.mp4", clip) == tmp_path / "out.mp4"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.mp4", "full", "link.mp4"]
    assert clip.stat().st_size > 1000


def test_a_folder_that_is_read_only_is_told(tmp_path):
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(UserError, match="cannot write in"):
            check_output(tmp_path / "out.mp4")
    finally:
        tmp_path.chmod(0o755)


def test_writing_nothing_or_the_wrong_thing_is_refused(tmp_path, clip):
    with pytest.raises(UserError, match="no frame to write"), VideoWriter(tmp_path / "out.mp4", 64, 64, 25):
        pass
    with pytest.raises(ValueError, match="expected"), VideoWriter(tmp_path / "out.mp4", 64, 64, 25) as writer:
        writer.write(numbered(0, 80, 64))
    with pytest.raises(UserError, match="no such file"):
        VideoWriter(tmp_path / "out.mp4", 64, 64, 25, audio_from=tmp_path / "gone.mp4").__enter__()
    for width, height, rate in ((0, 64, 25), (9000, 64, 25), (64, 64, 0)):
        with pytest.raises(UserError):
            VideoWriter(tmp_path / "out.mp4", width, height, rate)
    assert not os.listdir(tmp_path)


def test_what_is_no_video_is_one_clear_line(tmp_path, clip):
    data = clip.read_bytes()
    assert data.index(b"mdat") < data.index(b"moov")
    sound = tmp_path / "sound.m4a"
    with av.open(str(sound), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    write_image(tmp_path / "photo.png", numbered(0))
    (tmp_path / "photo.mp4").write_bytes((tmp_path / "photo.png").read_bytes())
    (tmp_path / "empty").mkdir()
    texts = {
        "text.mp4": b"This is not a video.\n" * 50,
        "empty.mp4": b"",
        "cut.mp4": data[: data.index(b"moov")],
        "noise.mp4": np.random.default_rng(0).bytes(50_000),
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n".encode(),
        "list.mp4": f"ffconcat version 1.0\nfile {clip}\n".encode(),
    }
    for name, content in texts.items():
        (tmp_path / name).write_bytes(content)
    cases = {
        "missing.mp4": "no such file",
        "empty.mp4": "zero bytes",
        "text.mp4": "not a video",
        "cut.mp4": "its end is missing",
        "noise.mp4": "not a video",
        "photo.mp4": "is a picture, which does not move; name a video",
        "photo.png": "is a picture, which does not move; name a video",
        "list.m3u8": "not a video",
        "list.mp4": "not a video",
        "sound.m4a": "only sound",
        "empty": "no pictures",
    }
    for name, words in cases.items():
        with pytest.raises(UserError, match=words) as told:
            VideoReader(tmp_path / name)
        assert name in str(told.value) and "\n" not in str(told.value)
    with pytest.raises(UserError, match="regular file"):
        VideoReader("/dev/null")


def test_sizes_lengths_and_streams_are_bounded_before_decoding(tmp_path, clip, monkeypatch):
    from vaegan.media import container

    monkeypatch.setattr(container, "MAX_SIDE", 32)
    with pytest.raises(UserError, match="64x64 px, more than 32x32"):
        VideoReader(clip)
    monkeypatch.undo()
    monkeypatch.setattr(container, "MAX_PIXELS", 1000)
    with pytest.raises(UserError, match="64x64 px"):
        VideoReader(clip)
    monkeypatch.undo()
    monkeypatch.setattr(container, "MAX_SECONDS", 1)
    with pytest.raises(UserError, match="lasts more than"):
        VideoReader(clip)
    monkeypatch.undo()
    with av.open(str(tmp_path / "many.mkv"), "w") as output:
        streams = [output.add_stream("libx264", rate=25) for _ in range(40)]
        for stream in streams:
            stream.width = stream.height = 16
            for packet in stream.encode(av.VideoFrame(16, 16, "yuv420p")):
                output.mux(packet)
        for stream in streams:
            output.mux(stream.encode(None))
    with pytest.raises(UserError, match="streams"):
        VideoReader(tmp_path / "many.mkv")


def test_times_outside_the_clip_are_told(clip):
    for start, end, words in ((-1, None, "0 or more"), (1, 1, "not after"), (30, None, "nothing is left")):
        with pytest.raises(UserError, match=words):
            VideoReader(clip, start=start, end=end)
    with pytest.raises(UserError, match="has no frame from"):
        list(VideoReader(clip, start=2.5))
    with pytest.raises(UserError):
        VideoReader(clip, fps=0)
