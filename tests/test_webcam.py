"""A webcam as driver, played by a camera that films in real time, loses frames, is late, is not there, or vanishes."""

import os
import signal
import threading
import time

import cv2
import numpy as np
import pytest
from standin import SquareTracker, picture, save_tiny_model, talking

import vaegan
import vaegan.preview
from vaegan.errors import UserError
from vaegan.media import VideoReader, write_image
from vaegan.sources import WebcamSource, webcam_number


class Camera:
    """Shaped like cv2.VideoCapture: hands out BGR frames at their times, never earlier; vanishes at the end.

    late: numbers of frames that come 0.15 s late; interrupt_at: number of a frame at which Ctrl-C is pressed
    """

    opened = 0

    def __init__(self, number, frames=(), fps=30.0, late=(), busy=False, interrupt_at=None):
        Camera.opened += 1
        self.frames, self.fps, self.late, self.busy, self.began, self.at = frames, fps, late, busy, None, 0
        self.released, self.interrupt_at = False, interrupt_at

    def isOpened(self):
        return not self.busy and len(self.frames) > 0

    def set(self, what, value):
        return False

    def get(self, what):
        return self.fps if what == cv2.CAP_PROP_FPS else 0.0

    def read(self):
        self.began = self.began or time.monotonic()
        if self.busy or self.at == len(self.frames):
            return False, None
        if self.interrupt_at is not None and self.at >= self.interrupt_at:
            self.interrupt_at = os.kill(os.getpid(), signal.SIGINT)
        due = self.began + self.at / 30 + (0.15 if self.at in self.late else 0)
        time.sleep(max(0, due - time.monotonic()))
        # A frame that nobody fetched in time is overwritten, as a camera's buffer is.
        self.at = max(self.at, min(len(self.frames) - 1, int((time.monotonic() - self.began) * 30)))
        image = self.frames[self.at]
        self.at += 1
        return True, np.ascontiguousarray(image[..., ::-1])

    def release(self):
        self.released = True


class Screen:
    """Shaped like Window: keeps what it is shown; presses keys once so many seconds have passed."""

    def __init__(self, keys=None):
        self.keys, self.shown, self.words, self.closed = keys or {}, [], [], False
        self.began = None

    def __call__(self, title, key):
        self.title, self.key = title, key
        return self

    def show(self, image, words=""):
        self.shown.append(image)
        self.words.append(words)
        self.began = self.began or time.monotonic()
        for seconds in [s for s in self.keys if s < time.monotonic() - self.began]:
            self.key(self.keys.pop(seconds))

    def close(self):
        self.closed = True


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    save_tiny_model(tmp_path / "tiny")
    write_image(tmp_path / "me.png", picture(x=70, y=40))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def film(shelf, monkeypatch):
    """film(frames, screen, **options): transfer with such a camera and screen. Returns Result and what was noted."""

    def run(frames, screen=None, camera=None, **options):
        seen = []
        monkeypatch.setattr(
            cv2, "VideoCapture", lambda number: seen.append(Camera(number, frames, **camera or {})) or seen[-1]
        )
        monkeypatch.setattr(vaegan.preview, "Window", screen or no_display)
        monkeypatch.setattr(vaegan.preview.on_screen, "__defaults__", (screen or no_display,))
        notes = []
        result = vaegan.transfer(
            "me.png", "webcam", "o.mp4", model="tiny", tracker=SquareTracker(), on_note=notes.append, **options
        )
        assert [camera.released for camera in seen] == [True]
        return result, [note.text for note in notes if note.kind == "live"]

    return run


def no_display(title, key):
    raise RuntimeError("no display name")


def test_q_ends_and_writes_what_was_shown(film):
    screen = Screen({1.5: "q"})
    result, (begin, end) = film(talking(300), screen)
    video = VideoReader("o.mp4")
    frames = list(video)
    assert len(screen.shown) == result.frames == len(frames) > 3 and screen.closed
    assert 1.4 < frames[-1].time < 5 and "q in the window" in begin
    assert all(np.abs(a.image.astype(int) - b).mean() < 12 for a, b in zip(frames, screen.shown, strict=True))
    assert "ms" in screen.words[-1] and "frames/s" in end and "from the camera to the screen in" in end
    assert not [thread for thread in threading.enumerate() if "webcam" in thread.name or "prefetch" in thread.name]


def test_dropped_and_late_frames_keep_their_times(film):
    frames = [picture(x=60)] * 40 + [picture(x=60 + t) for t in range(1, 51)]
    film(frames, Screen(), camera={"late": range(50, 85)}, view="full", save_motion="m.motion")
    motion = vaegan.Motion.load("m.motion")
    # the face moves by its fortieth, a px, each thirtieth of a second, however many frames were lost
    moved, at = motion.placement[:, 0] * 40, (motion.times - motion.times[0]) * 30
    assert len(motion) < 90 and np.polyfit(at[at > 42], moved[at > 42], 1)[0] == pytest.approx(1, abs=0.3)
    written = [frame.time for frame in VideoReader("o.mp4")]
    assert np.allclose(np.diff(written), np.diff(motion.times), atol=0.002)


def test_a_camera_that_vanishes_loses_nothing_that_was_recorded(film):
    result, notes = film(talking(40), Screen())
    assert len(list(VideoReader("o.mp4"))) == result.frames > 2
    assert "webcam 0 stopped by itself: what was recorded until then is written" in notes


def test_ctrl_c_ends_and_writes_where_there_is_no_display(film):
    before = signal.getsignal(signal.SIGINT)
    result, notes = film(talking(300), camera={"interrupt_at": 30})
    assert 2 < result.frames < 200 and len(list(VideoReader("o.mp4"))) == result.frames
    assert "no preview, there is no display (no display name)" in notes[0] and "to the result in" in notes[-1]
    assert signal.getsignal(signal.SIGINT) is before


def test_end_ends_and_c_calibrates(film):
    screen = Screen({1.8: "c"})
    open_wide = [picture(mouth=0)] * 40 + [picture(mouth=10)] * 300
    film(open_wide, screen, end=5, fps=30)
    assert 4.9 < list(VideoReader("o.mp4"))[-1].time < 7
    assert np.abs(screen.shown[-1].astype(int) - screen.shown[0]).mean() < 0.1


def test_a_camera_that_is_not_there_or_is_busy_is_told_in_one_line(film):
    for frames, camera in (((), {}), (talking(10), {"busy": True})):
        with pytest.raises(UserError, match=r"webcam 0 gives no picture: connect it.*webcam:1"):
            film(frames, Screen(), camera)
    assert not os.path.exists("o.mp4")


def test_a_recording_without_an_end_does_not_go_into_an_animation(shelf, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Camera(number, talking(10)))
    for name in ("o.gif", "o.webp"):
        with pytest.raises(UserError, match=r"write \.mp4, or say --end"):
            vaegan.transfer("me.png", "webcam", name, model="tiny", tracker=SquareTracker())


def test_options_that_do_not_go_with_a_camera_are_told_before_it_is_opened(shelf, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: pytest.fail("the camera was opened"))
    for options, told in (
        ({"steady": 0.5}, "--steady does not go with a live driver"),
        ({"reference": "whole"}, "--reference whole does not go"),
        ({"sound": "photo"}, "a still photo has no sound"),
        ({"loop": True}, "--loop is for a video as --photo"),
        ({"output": "o.gif"}, r"write \.mp4, or say --end"),
    ):
        with pytest.raises(UserError, match=told):
            vaegan.transfer("me.png", "webcam", model="tiny", tracker=SquareTracker(), **options)


def test_nobody_before_the_camera_is_told_and_the_recording_stays(film):
    with pytest.raises(UserError, match=r"webcam: no face was seen, so that the photo rests in o\.mp4"):
        film([picture(face=False)] * 30, Screen(), save_motion="m.motion")
    assert os.path.exists("o.mp4") and not os.path.exists("m.motion")


def test_a_preview_that_breaks_does_not_end_the_recording(film):
    class Breaks(Screen):
        def show(self, image, words=""):
            super().show(image, words)
            if len(self.shown) == 5:
                raise RuntimeError("X server gone")

    result, notes = film(talking(60), Breaks())
    assert result.frames > 5 and any("the preview is gone (X server gone)" in note for note in notes)


def test_which_camera_is_meant(tmp_path, monkeypatch):
    assert [webcam_number(name) for name in ("webcam", "webcam:0", "webcam:2")] == [0, 0, 2]
    assert webcam_number("webcam.mp4") is webcam_number("webcam:x") is webcam_number("my webcam") is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "webcam").mkdir()
    assert webcam_number("webcam") is None  # a folder of that name is one


def test_this_machine_without_a_camera_says_so():
    if os.path.exists("/dev/video9"):
        pytest.skip("there is a tenth camera")
    with pytest.raises(UserError, match="webcam 9 gives no picture"):
        WebcamSource(9)
