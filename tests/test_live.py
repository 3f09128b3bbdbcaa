"""A photo that follows who is filmed now: frames handed in one by one, in real time, too fast, late, or never."""

import threading
import time

import numpy as np
import pytest
from standin import PoolModel, SquareTracker, picture, talking

from vaegan.adjust import REST_SECONDS
from vaegan.errors import UserError
from vaegan.live import LiveSession
from vaegan.pipeline import Transfer
from vaegan.settings import TransferSettings
from vaegan.sources import LiveSource
from vaegan.streaming import LIVE_SECONDS

PHOTO = picture(x=70, y=40)
FPS = 25
SETTLED = round((LIVE_SECONDS + REST_SECONDS) * FPS) + 2
"""From this frame on the photo follows without easing."""


class SlowModel(PoolModel):
    """Takes its time; counts what it has drawn."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def decode(self, z):
        time.sleep(self.seconds)
        return super().decode(z)


def session(model=None, **options):
    return LiveSession(PHOTO, model or PoolModel(), SquareTracker(), **options)


def late_talker(count):
    """The mouth opens and closes only after the second in which the reference is chosen."""
    return [picture()] * 30 + talking(count - 30)


def test_a_live_driver_moves_the_photo_as_a_transfer_does():
    frames = late_talker(80)
    with session(expression=1.0) as live:
        shown = [live(image, t / FPS) for t, image in enumerate(frames)]
        assert live.figures.dropped == 0 and live.figures.done == 80
    handed_in = ((t / FPS, image) for t, image in enumerate(frames))
    run = Transfer(PHOTO, handed_in, PoolModel(), TransferSettings(reference="first"), SquareTracker())
    asked = [frame.image for frame in run.frames()]
    assert all(np.array_equal(*pair) for pair in list(zip(shown, asked, strict=True))[SETTLED:])
    assert np.ptp(np.stack(shown[SETTLED:]), axis=0).max() > 50


def test_the_photo_rests_until_the_reference_is_known_and_then_moves_off_without_a_jump():
    open_mouth = [picture(mouth=10)] * 20 + [picture(x=60 + t // 2) for t in range(60)]
    with session() as live:
        results = []
        for t, image in enumerate(open_mouth):
            live(image, t / FPS)
            results.append(live._newest)
        resting = [r.image for r in results if not r.calibrated]
        assert len(resting) == LIVE_SECONDS * FPS
        assert all(np.array_equal(image, resting[0]) for image in resting)
    steps = np.abs(np.diff(np.stack([r.image for r in results]).astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() < 4 * steps[SETTLED:].max()


def test_who_falls_behind_drops_frames_and_is_never_late():
    class Busy(PoolModel):
        """Draws a frame each time that it may."""

        begun, may = threading.Semaphore(0), threading.Semaphore(0)

        def decode(self, z):
            self.begun.release()
            assert self.may.acquire(timeout=30)
            return super().decode(z)

    with session(model := Busy()) as live:
        first = live.put(picture())
        assert model.begun.acquire(timeout=30)
        newest = [live.put(picture()) for _ in range(20)][-1]
        time.sleep(0.1)
        model.may.release()
        assert live.get(5).time == first
        model.may.release()
        assert (result := live.get(5)).time == newest and 0.1 <= result.latency < 5
        figures = live.figures
    assert (figures.done, figures.dropped) == (2, 19) and figures.fps > 0 and 0.1 <= figures.latency < 5
    assert "19 of 21 dropped" in str(figures)


def test_calls_from_several_threads_are_all_answered():
    answers = []
    with session(SlowModel(0.01)) as live:
        threads = [threading.Thread(target=lambda: answers.append(live(picture()))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(answers) == 12 and all(answer.shape == (256, 256, 3) for answer in answers)


def test_calibrating_again_takes_a_new_reference():
    with session() as live:
        for t in range(60):
            live(picture(mouth=0), t / FPS)
        still = live(picture(mouth=0), 60 / FPS)
        assert np.abs(live(picture(mouth=10), 61 / FPS).astype(int) - still).max() > 50
        live.calibrate()
        for t in range(62, 62 + SETTLED):
            shown = live(picture(mouth=10), t / FPS)
        assert live._newest.calibrated and np.array_equal(shown, still)
        assert len(live.run._streaming.recorder) == 1  # nothing is kept, however long it lasts


def test_what_needs_frames_to_come_is_refused():
    options = ("smooth", 0.5), ("speed", 2), ("reference", 3), ("reference", "whole"), ("motion", "absolute")
    for option, value in options:
        with pytest.raises(UserError, match=rf"--{option}.* does not go with a live driver"):
            session(**{option: value})


def test_an_error_reaches_whoever_waits_and_a_closed_session_says_so():
    class Broken(PoolModel):
        def decode(self, z):
            raise RuntimeError("broken")

    with session(Broken()) as live, pytest.raises(RuntimeError, match="broken"):
        live(picture())
    with session() as live:
        pass
    with pytest.raises(ValueError, match="closed"):
        live(picture())
    assert live.get() is None and live.over


def test_a_session_that_saw_no_face_shows_the_photo_and_ends_in_peace():
    with session() as live:
        shown = [live(picture(face=False), t / FPS) for t in range(10)]
    assert all(np.array_equal(image, shown[0]) for image in shown)
    assert not [t for t in threading.enumerate() if t.name == "live"]


def test_only_the_newest_frame_waits_and_times_rise():
    source = LiveSource()
    for t in (0.0, 0.1, 0.1, 0.05, 0.3):
        source.put(np.full((2, 2, 3), round(100 * t), np.uint8), t)
    source.end()
    assert [(frame.time, frame.image[0, 0, 0]) for frame in source.frames()] == [(0.3, 30)]
    assert source.dropped == 4
