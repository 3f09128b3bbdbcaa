"""`transfer --report`: the figures of one result are those of `vaegan evaluate`, told on a page that stands alone."""

import base64
import json
import os
import re
import sys
from fractions import Fraction
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vaegan.cli.transfer import main
from vaegan.evaluation import likeness, metrics
from vaegan.evaluation.result import ResultMeasure
from vaegan.evaluation.result_report import curves, in_words
from vaegan.faces.tracker import FaceTracker
from vaegan.media import VideoReader, VideoWriter, decode_image, read_image
from vaegan.model import load_model
from vaegan.pipeline import Frame
from vaegan.portrait import crop_picture, read_portrait
from vaegan.samples import find_photo
from vaegan.settings import TransferSettings
from vaegan.storyboard import Thinned

FRAMES = 24


def swaying(path, frames=FRAMES):
    """The sample photo's face, moving to and fro and tilting."""
    photo = read_image(find_photo("sample"))
    with VideoWriter(path, 256, 256, Fraction(25)) as writer:
        for t in range(frames):
            turn = 2 * np.pi * t / 12
            matrix = cv2.getRotationMatrix2D((225, 140), 12 * np.sin(turn), 0.9)
            matrix[:, 2] -= (97 + 8 * np.sin(turn), 20)
            writer.write(cv2.warpAffine(photo, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE))
    return path


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with a driver."""
    folder = tmp_path_factory.mktemp("shelf")
    swaying(folder / "sway <b>.mp4")
    return folder


@pytest.fixture
def transfer(shelf, tmp_path, monkeypatch, capsys):
    """Run the command on a machine without third-party weights; returns (exit status, stdout, stderr)."""
    monkeypatch.chdir(shelf)
    for variable in ("VAEGAN_MODELS", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(shelf / "nothing"))

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["transfer", "--photo", "sample", "--output", str(tmp_path / "o.mp4"), *words])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as leave:
            status = leave.code or 0
        return status, *capsys.readouterr()

    return call


def stored(text):
    """The figures that stand in the page for programs."""
    return json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)[1])


def test_page_of_a_real_result_stands_alone_and_says_who_measured(transfer, tmp_path):
    status, out, err = transfer("--driver", "sway <b>.mp4", "--report", str(tmp_path / "r.html"))
    assert status == 0, err
    assert "o.mp4" in out and "r.html" in out and "head follows" in out
    text = (tmp_path / "r.html").read_text()
    assert not re.search(r'(?:src|href)="(?!data:)|url\(|@import|<link', text)
    assert "sway <b>" not in text and "sway &lt;b&gt;" in text
    photo, board, chart = (decode_image(base64.b64decode(data)) for data in re.findall(r'base64,([^"]+)"', text))
    assert photo.shape == (192, 192, 3) and board.shape == (2 * 192 + 28, 8 * 192, 3)
    figures = stored(text)
    assert figures["tracker"] == "own" and figures["frames"] == FRAMES
    assert figures["identity"] is None and any("mobilefacenet" in line for line in figures["left_out"])
    assert -1 <= figures["pose_r"] <= 1 and figures["expression_r"] is not None and figures["jitter"] > 0
    assert chart.shape == (2 * 190 + 30, 1100, 3) and (chart != 255).any()
    assert sorted(os.listdir(tmp_path)) == ["o.mp4", "r.html"]


def test_a_motion_files_head_angles_are_followed_and_the_rest_left_out(transfer, tmp_path):
    assert transfer("--driver", "sway <b>.mp4", "--save-motion", str(tmp_path / "m.motion"))[0] == 0
    status, _, err = transfer("--driver", str(tmp_path / "m.motion"), "--report", str(tmp_path / "r.html"))
    assert status == 0, err
    figures = stored((tmp_path / "r.html").read_text())
    assert figures["pose_r"] is not None and figures["pose_spread"] > 0.3
    assert figures["expression_r"] is figures["smile_bias"] is figures["jitter"] is None
    assert any("motion file" in line for line in figures["left_out"])


def test_what_cannot_be_written_is_told_before_the_work(transfer, tmp_path):
    driver = ("--driver", "sway <b>.mp4")
    for report, words in (("r.txt", "do not know how to write .txt"), ("no/r.html", "no folder")):
        status, _, err = transfer(*driver, "--report", str(tmp_path / report))
        assert status == 1 and words in err and len(err.splitlines()) == 1
    assert os.listdir(tmp_path) == []
    status, out, _ = transfer(*driver, "--report", str(tmp_path / "r.html"), "--dry-run")
    assert status == 0 and re.search(r"also .*r\.html", out)
    assert os.listdir(tmp_path) == []


# ---- the figures


class Result:
    """A transfer whose frames a test makes up: what `ResultMeasure` reads of one."""

    def __init__(self, photo, model, **settings):
        settings = {"reference": "first"} | settings
        self.photo, self.model, self.settings = photo, model, TransferSettings(**settings)
        self.show_driver, self.rate, self.reference_pose, self.renderer = True, Fraction(25), photo.pose, "decode"
        self.reference = 0

    def measured(self, results, drivers):
        measure = ResultMeasure(self)
        for t, (result, driver) in enumerate(zip(results, drivers, strict=True)):
            measure.add(Frame(t / 25, result, result, True, driver=driver))
        driver = SimpleNamespace(reference=self.reference)
        return measure.figures(SimpleNamespace(motion=driver, reference_pose=self.reference_pose, shaking=None))


@pytest.fixture(scope="module")
def clip(data_dir, models_dir):
    """40 frames of a lively clip in the model's framing, uint8 (256, 256, 3), and its first one as the photo."""
    model, tracker = load_model("paper-vaegan"), FaceTracker("mediapipe")
    with VideoReader(data_dir / "clips/dev/liveportrait_driving-d11.mp4") as reader:
        images = [frame.image for frame, _ in zip(reader, range(40), strict=False)]
    photo = read_portrait(images[0], model, tracker)
    return SimpleNamespace(photo=photo, model=model, frames=[crop_picture(image, photo.crop, 256) for image in images])


def test_a_perfect_result_and_a_still_one(clip):
    perfect = Result(clip.photo, clip.model).measured(clip.frames, clip.frames)
    assert perfect.pose_r == pytest.approx(1) and perfect.expression_gain == pytest.approx(1)
    assert perfect.jitter == pytest.approx(1) and abs(perfect.smile_bias) < 0.05
    assert perfect.identity > 0.6 and perfect.identity == pytest.approx(perfect.identity_driver)
    still = Result(clip.photo, clip.model).measured([clip.frames[0]] * 40, clip.frames)
    assert abs(still.pose_gain) < 0.01 and abs(still.expression_gain) < 0.01 and still.jitter < 0.1
    assert still.identity > 0.95
    assert still.faceless == 0 and still.left_out == []


def test_figures_are_those_of_evaluate(clip):
    """A result that lags, moves less and loses the face for a while: the same numbers as whole sequences give."""
    from vaegan.evaluation.embedders import MobileFaceNet
    from vaegan.evaluation.observer import Observer

    results = [clip.frames[0]] * 4 + clip.frames[:-4]
    results[20:24] = [np.full((256, 256, 3), 90, np.uint8)] * 4
    figures = Result(clip.photo, clip.model).measured(results, clip.frames)
    observer = Observer({"identity": MobileFaceNet()}, 5)
    seen, driver, photo = observer.watch(results), observer.watch(clip.frames), observer.look(clip.frames[:1])
    for name in ("pose_r", "pose_gain", "expression_r", "expression_gain", "jitter"):
        assert getattr(figures, name) == pytest.approx(getattr(metrics, name)(seen, driver), abs=1e-6), name
    assert figures.smile_bias == pytest.approx(metrics.smile_bias(seen, photo, driver), abs=1e-6)
    assert figures.identity == pytest.approx(likeness.identities(seen, photo)["identity"], abs=1e-6)
    assert figures.faceless == np.count_nonzero(~seen.found) == 4
    assert 0 < figures.pose_r < 1


def test_words_say_what_the_figures_mean(clip):
    run = Result(clip.photo, clip.model, strength=1.5)
    run.reference_pose = clip.photo.pose - [30, 0, 0]
    blank = [np.full((256, 256, 3), 90, np.uint8)] * 40
    figures = run.measured(blank, clip.frames)
    told = " ".join(words for _, _, words in in_words(figures, run))
    assert "In 100% of the frames" in told and "hardly moves with" in told and "asked for: 1.5" in told
    assert "no longer taken for" in told and "turned from the driver's reference frame by yaw +30" in told
    run = Result(clip.photo, clip.model)
    figures = run.measured(clip.frames, clip.frames)
    told = " ".join(words for _, _, words in in_words(figures, run))
    assert "follows the driver's closely" in told and "still taken for" in told and "look about the same way" in told
    assert "smiles as asked" in told
    assert [len(panel.lines) for panel in curves(figures).axes] == [2, 2, 2, 2]


def test_smile_is_left_out_where_it_is_not_known_what_should_come_out(clip):
    run = Result(clip.photo, clip.model, motion="absolute")
    figures = run.measured(clip.frames[:6], clip.frames[:6])
    assert figures.smile_bias is None and any(line.startswith("smile") for line in figures.left_out)


def test_smile_is_measured_from_the_frame_of_reference(clip):
    run = Result(clip.photo, clip.model, reference=30)
    run.reference = 30
    bias = run.measured([clip.frames[0]] * 40, clip.frames).smile_bias
    run.reference = 0
    other = run.measured([clip.frames[0]] * 40, clip.frames).smile_bias
    tracker = FaceTracker(smoothing=False)
    smiles = [tracker.track(frame).blendshapes[1:][metrics.SMILE].mean() for frame in clip.frames]
    assert bias - other == pytest.approx(smiles[30] - smiles[0], abs=1e-4) and abs(bias - other) > 0.001


def test_smoothing_says_how_much_less_the_motion_shakes(transfer, tmp_path):
    assert transfer("--driver", "sway <b>.mp4", "--smooth", "0.5", "--report", str(tmp_path / "r.html"))[0] == 0
    before, after = stored((tmp_path / "r.html").read_text())["smoothed"]
    assert 0 < after < 0.5 * before and "before and after --smooth 0.5" in (tmp_path / "r.html").read_text()


def test_what_is_kept_of_a_long_clip_does_not_grow():
    thinned = Thinned(100)
    made = []
    for t in range(10_000):
        thinned.add(lambda t=t: made.append(t) or t)
    assert 50 <= len(thinned.kept) <= 100
    assert set(np.diff(thinned.kept)) == {128} and thinned.kept[0] == 0
    assert len(made) < 1000
