"""The commands as a user meets them: what they write, say and refuse, and their exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from standin import SquareTracker, film, picture, save_tiny_model, talking

import vaegan.faces.tracker
from vaegan.cli.main import main as vaegan_main
from vaegan.cli.transfer import main as transfer_main
from vaegan.media import VideoReader, read_image, write_image
from vaegan.motion import Motion

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with a model, a photo and a driver; no test changes it."""
    folder = tmp_path_factory.mktemp("shelf")
    save_tiny_model(folder / "tiny")
    write_image(folder / "me.png", picture(x=70, y=40))
    film(folder / "clip.mp4", talking(30))
    return folder


@pytest.fixture
def transfer(shelf, tmp_path, monkeypatch, capsys):
    """Run `transfer` in an empty folder; returns (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vaegan.faces.tracker, "FaceTracker", lambda backend=None: SquareTracker())

    def call(*args, photo=shelf / "me.png", driver=shelf / "clip.mp4", model=shelf / "tiny"):
        words = ["transfer", "--photo", photo, "--driver", driver, "--model", model, *args]
        return _call(transfer_main, words, monkeypatch, capsys)

    return call


def _call(main, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    capsys.readouterr()
    try:
        main()
        status = 0
    except SystemExit as leave:
        status = leave.code or 0
    return status, *capsys.readouterr()


def refused(result, *words):
    """Check for exit status 1 and one line on stderr that holds these words; returns the line."""
    status, out, err = result
    assert status == 1, (out, err)
    lines = [line for line in err.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("error: "), err
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


# ---- what is written


def test_writes_a_video_and_says_so(transfer):
    status, out, _ = transfer("--output", "out.mp4")
    assert status == 0
    assert "wrote out.mp4: 30 frames of 256x256 px at 25 frames/s" in out and "lost" not in out
    reader = VideoReader("out.mp4")
    assert (reader.width, reader.height, reader.rate, len(list(reader))) == (256, 256, 25, 30)
    assert os.listdir() == ["out.mp4"]


def test_output_is_named_after_photo_and_driver(transfer):
    assert transfer()[0] == 0
    assert os.listdir() == ["me_clip.mp4"]


def test_names_that_are_too_long_together_are_cut(transfer, shelf, tmp_path):
    photo, driver = tmp_path / f"{'写' * 80}.png", tmp_path / f"clip {'写' * 78}.mp4"
    photo.write_bytes((shelf / "me.png").read_bytes())
    driver.write_bytes((shelf / "clip.mp4").read_bytes())
    assert transfer("--end", ".2", photo=photo, driver=driver)[0] == 0
    (made,) = {*os.listdir()} - {photo.name, driver.name}
    assert made.startswith("写写写") and "_clip 写写写" in made and made.endswith("写.mp4") and len(made.encode()) < 255
    refused(transfer("--output", f"{'写' * 90}.mp4"), "too long", "another output")
    refused(transfer(driver="写" * 90), "too long")


def test_everything_at_once(transfer):
    status, out, _ = transfer(
        "--output", "o.mp4", "--compare", "--storyboard", "s.png", "--save-motion", "m.motion",
        "--start", ".2", "--end", "1", "--fps", "50", "--size", "128", "--strength", "1.5", "--smooth", ".3",
        "--reference", "best", "--device", "cpu", "--sound", "none",
    )  # fmt: skip
    assert status == 0 and "wrote o.mp4, s.png, m.motion: 40 frames of 384x128 px at 50 frames/s" in out
    assert VideoReader("o.mp4").width == 384
    assert read_image("s.png").shape[1] == 8 * 192
    assert len(Motion.load("m.motion")) == 40
    assert sorted(os.listdir()) == ["m.motion", "o.mp4", "s.png"]


def test_saved_motion_drives_again(transfer):
    transfer("--output", "a.mp4", "--save-motion", "m.motion")
    assert transfer("--output", "b.mp4", driver="m.motion")[0] == 0
    one, other = ([f.image.astype(int) for f in VideoReader(name)] for name in ("a.mp4", "b.mp4"))
    assert len(one) == len(other)
    assert max(np.abs(x - y).mean() for x, y in zip(one, other, strict=True)) < 1


def test_absolute_motion(transfer):
    assert transfer("--motion", "absolute", "--output", "o.mp4")[0] == 0


def test_lost_frames_are_counted_in_the_closing_line(transfer, tmp_path):
    pictures = talking(20)
    pictures[5:8] = [picture(face=False)] * 3
    gap = film(tmp_path / "gap.mp4", pictures)
    assert "the driver's face was lost in 3 of them" in transfer(driver=gap)[1]


def test_a_driver_of_a_variable_rate_gives_the_rate_of_its_motion_and_says_so(transfer, tmp_path):
    from vaegan.media import VideoWriter

    pictures = talking(30)
    with VideoWriter(tmp_path / "screen.mp4", 160, 128, 30) as writer:
        for number, image in enumerate(pictures):
            writer.write(image, number / 30 + 3 * (number > 24))
    _, out, err = transfer("--output", "a.mp4", driver=tmp_path / "screen.mp4")
    assert "screen.mp4 has a variable frame rate; the result has 30 frames/s" in err and "at 30 frames/s" in out
    _, out, err = transfer("--output", "b.mp4", "--fps", "10", driver=tmp_path / "screen.mp4")
    assert "variable" not in err and "at 10 frames/s" in out


def test_sound_comes_along_unless_it_shall_not(transfer, data_dir, tmp_path):
    clip = data_dir / "raw/videos/talkvid_Diversity-Age-19-30_1.mp4"
    assert VideoReader(clip).has_audio
    # the stand-in tracker sees no square there, so that the real clip only lends its sound
    from vaegan.media import VideoWriter

    with VideoWriter(tmp_path / "loud.mp4", 160, 128, 25, audio_from=clip, audio_end=1.2) as writer:
        for image in talking(30):
            writer.write(image)
    _, out, _ = transfer("--output", "a.mp4", driver=tmp_path / "loud.mp4")
    assert "with sound" in out and VideoReader("a.mp4").has_audio
    _, out, _ = transfer("--output", "b.mp4", "--sound", "none", driver=tmp_path / "loud.mp4")
    assert "sound" not in out and not VideoReader("b.mp4").has_audio
    for output in ("c.gif", "d.webp", "frames"):
        for more in (("--dry-run",), ()):
            _, out, err = transfer("--output", output, *more, driver=tmp_path / "loud.mp4")
            assert "holds no sound: the driver's is left out" in err and "with" not in out


def test_dry_run_says_what_would_be_done_and_writes_nothing(transfer):
    status, out, _ = transfer("--dry-run", "--compare", "--strength", "2", "--save-motion", "m.motion")
    assert status == 0 and os.listdir() == []
    for words in (
        "160x128 px, face found",
        "about 30 frames",
        "decode, view crop",
        "tiny-",
        "strength 2",
        "768x256",
        "m.motion",
        "dry run",
    ):
        assert words in out


# ---- what is refused


def test_unknown_model(transfer):
    refused(transfer(model="no-such-model"), "no-such-model")


def test_missing_photo_and_driver(transfer):
    refused(transfer(photo="nobody.jpg"), "nobody.jpg", "no such photo")
    refused(transfer(driver="nothing.mp4"), "nothing.mp4", "no such driver")


def test_a_motion_that_ships_for_other_models_names_them(transfer):
    refused(transfer(driver="talking", model="paper-vae"), "talking ships for motion64", "not for paper-vae")
    address = "https://example.org/clip.mp4"
    refused(transfer(driver=address), f"{address} is an address", "download it")


def test_photo_and_driver_that_are_not_what_they_say(transfer, tmp_path):
    (tmp_path / "text.mp4").write_text("This is not a film.\n" * 100)
    (tmp_path / "text.jpg").write_text("This is not a picture.\n" * 100)
    (tmp_path / "void.mp4").write_bytes(b"")
    (tmp_path / "void.jpg").write_bytes(b"")
    refused(transfer(driver="text.mp4"), "text.mp4")
    refused(transfer(photo="text.jpg"), "text.jpg")
    refused(transfer(driver="void.mp4"), "void.mp4")
    refused(transfer(photo="void.jpg"), "void.jpg")
    (tmp_path / "bad.motion").write_text("This is not a motion.\n" * 100)
    refused(transfer(driver="bad.motion"), "bad.motion")
    refused(transfer(photo="bad.motion"), "bad.motion is a motion, where a picture is expected", "--driver")
    refused(transfer(photo="text.mp4"), "text.mp4 is not a video")  # which may be a photo, were it one


def test_a_video_where_a_picture_is_needed_is_called_one(transfer, shelf, monkeypatch, capsys):
    for words in (["info", "--photo", "clip.mp4"], ["interpolate", "clip.mp4", "me.png", "out.mp4"]):
        monkeypatch.chdir(shelf)
        line = refused(_call(vaegan_main, ["vaegan", *words], monkeypatch, capsys), "save one of its frames as PNG")
        assert line.startswith("error: clip.mp4 is a video, where a picture is expected")


def test_loop_and_keep_are_of_a_video_as_photo(transfer):
    for option, words in (("--loop", ["--loop"]), ("--keep none", ["--keep", "none"])):
        line = refused(transfer(*words))
        assert f"{option} is for a video as --photo" in line and line.count("--") == 2


def test_truncated_driver_is_used_as_far_as_it_goes(transfer, shelf, tmp_path):
    whole = (shelf / "clip.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])  # faststart: the index comes first
    status, out, err = transfer(driver=tmp_path / "cut.mp4")
    assert status == 0 and "wrote me_cut.mp4" in out
    assert len(err.splitlines()) == 1 and err.startswith("warning: ") and "damaged" in err


def test_faces_that_are_not_there(transfer, tmp_path):
    write_image(tmp_path / "wall.png", picture(face=False))
    film(tmp_path / "wall.mp4", [picture(face=False)] * 10)
    refused(transfer(photo="wall.png"), "wall.png", "no face found")
    refused(transfer(driver="wall.mp4"), "wall.mp4", "no face found")
    assert sorted(os.listdir()) == ["wall.mp4", "wall.png"]


def test_inputs_are_never_overwritten(transfer, shelf, tmp_path):
    for name in ("clip.mp4", "me.png"):
        (tmp_path / name).write_bytes((shelf / name).read_bytes())
    (tmp_path / "link.mp4").symlink_to(tmp_path / "clip.mp4")
    refused(transfer("--output", "clip.mp4", driver="clip.mp4"), "clip.mp4", "input")
    refused(transfer("--output", "link.mp4", driver="clip.mp4"), "link.mp4", "input")
    refused(transfer("--storyboard", "me.png", photo="me.png"), "me.png", "input")
    refused(transfer("--output", "a.mp4", "--storyboard", "./a.mp4"), "a.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == (shelf / "clip.mp4").read_bytes()


def test_places_that_cannot_be_written(transfer, tmp_path):
    refused(transfer("--output", "no/such/folder/o.mp4"), "no/such/folder")
    refused(transfer("--output", "o.txt"), "o.txt")
    refused(transfer("--save-motion", "m.mp4"), "m.mp4", ".motion")
    locked = Path("/proc") if os.geteuid() == 0 else tmp_path / "locked"  # root may write wherever a disk lets it
    if locked.name == "locked":
        locked.mkdir(mode=0o555)
    if not locked.is_dir():
        pytest.skip("no folder here that root cannot write in")
    refused(transfer("--output", locked / "o.mp4"), str(locked))


def test_motion_of_another_model(transfer, tmp_path):
    transfer("--output", "a.mp4", "--save-motion", "m.motion")
    other = save_tiny_model(tmp_path / "other", seed=1)
    refused(transfer(driver="m.motion", model=other), "m.motion was made with model tiny-", "not other-")


def test_reference_frame_that_does_not_exist(transfer):
    refused(transfer("--reference", "30"), "frames are 0 to 29")
    assert os.listdir() == []


@pytest.mark.parametrize(
    "args",
    [["--strenght", "2"], ["--strength", "a lot"], ["--smooth", "2"], ["--motion", "odd"], ["--reference", "last"],
     ["--fps", "fast"], ["--fps", "0"], ["--size", "1"], ["--device", "tpu"],
     ["--renderer", "draw"], ["--view", "half"]],
)  # fmt: skip
def test_wrong_usage_is_status_2(transfer, args):
    status, _, err = transfer(*args)
    assert status == 2 and args[0] in err and "Traceback" not in err


# ---- processes of their own


def _start(shelf, folder, *args, interrupt_at=None, driver="clip.mp4", preexec=None):
    words = ["--photo", shelf / "me.png", "--driver", shelf / driver, "--model", shelf / "tiny", *args]
    code = f"import standin; standin.command_line({interrupt_at})"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])},
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=preexec,
    )


@pytest.mark.parametrize("reference", ["first", "best"])
def test_ctrl_c_leaves_nothing_behind(shelf, tmp_path, reference):
    film(tmp_path / "long.mp4", talking(30) * 10)
    (tmp_path / "out").mkdir()
    ended = _start(
        shelf, tmp_path / "out", "--reference", reference, driver=tmp_path / "long.mp4", interrupt_at=100
    )  # fmt: skip
    assert ended.returncode == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    assert os.listdir(tmp_path / "out") == []


def test_full_disk_is_one_line_and_leaves_nothing(shelf, tmp_path):
    resource = pytest.importorskip("resource")

    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    ended = _start(shelf, tmp_path, "--output", "o.mp4", preexec=little_room)
    refused((ended.returncode, ended.stdout, ended.stderr), "o.mp4")
    assert os.listdir(tmp_path) == []


def test_own_bugs_keep_their_traceback(transfer, monkeypatch):
    monkeypatch.setattr("vaegan.render.decode.Decode.render", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        transfer()
    assert os.listdir() == []


def test_help_needs_no_torch():
    for module, words in (("transfer", ["--help"]), ("main", ["--help"]), ("main", ["motion", "inspect", "--help"])):
        code = (
            f"import sys, atexit; sys.argv = ['x', *{words}]; from vaegan.cli.{module} import main\n"
            "atexit.register(lambda: print('torch' in sys.modules))\nmain()"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=TESTS.parent)
        assert ended.returncode == 0 and "Usage" in ended.stdout
        assert ended.stdout.splitlines()[-1] == "False"


# ---- vaegan info, vaegan motion


def test_motion_inspect(transfer, monkeypatch, capsys):
    transfer("--save-motion", "m.motion")
    status, out, _ = _call(vaegan_main, ["vaegan", "motion", "inspect", "m.motion"], monkeypatch, capsys)
    assert status == 0
    for words in ("tiny-", "30 at 25.000 frames/s, 1.20 s", "one fixed crop", "200 numbers"):
        assert words in out
    Path("m.motion").write_text(json.dumps({"a": 1}) * 100)
    refused(_call(vaegan_main, ["vaegan", "motion", "inspect", "m.motion"], monkeypatch, capsys), "m.motion")


def test_info_lists_what_is_here(monkeypatch, capsys):
    from vaegan import __version__
    from vaegan.model import shipped_models

    status, out, _ = _call(vaegan_main, ["vaegan", "info"], monkeypatch, capsys)
    assert status == 0 and __version__ in out
    for word in ("device", "tracker  own", "tracker  mediapipe", "photos", *shipped_models()):
        assert word in out


def test_unknown_subcommand_is_wrong_usage(monkeypatch, capsys):
    status, _, err = _call(vaegan_main, ["vaegan", "frobnicate"], monkeypatch, capsys)
    assert status == 2 and "frobnicate" in err
