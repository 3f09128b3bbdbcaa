"""`vaegan.transfer`: the command without a command line."""

import inspect
import os
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from standin import SquareTracker, film, picture, save_tiny_model, talking

import vaegan
from vaegan.cli.transfer import transfer as command
from vaegan.media import VideoReader, read_image, write_image
from vaegan.motion import Motion
from vaegan.render.view import build_view
from vaegan.samples import find_photo

FOR_PROGRAMS = {"tracker", "on_note", "on_progress"}
"""Keywords that only a program can fill."""


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder with a model, a photo and a driver, and nothing else."""
    save_tiny_model(tmp_path / "tiny")
    write_image(tmp_path / "me.png", picture(x=70, y=40))
    film(tmp_path / "clip.mp4", talking(30))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_photo_larger_than_few_players_show_is_made_smaller_and_that_is_told(tmp_path):
    Image.open(find_photo("sample")).resize((4200, 4200)).save(tmp_path / "big.jpg")
    asked = {"full": ({}, 2160, ["size"]), "small": ({"size": 640}, 640, []), "crop": ({"view": "crop"}, 256, [])}
    for options, side, kinds in asked.values():
        notes = []
        result = vaegan.transfer(
            tmp_path / "big.jpg", "talking", tmp_path / "o.mp4", dry_run=True, on_note=notes.append, **options
        )
        assert (result.width, result.height) == (side, side) and [note.kind for note in notes] == kinds


def made(**options):
    return vaegan.transfer("me.png", "clip.mp4", model="tiny", tracker=SquareTracker(), **options)


def test_options_of_the_command_are_the_keywords_of_the_function():
    options, keywords = (inspect.signature(function).parameters for function in (command, vaegan.transfer))
    assert set(keywords) - set(options) == FOR_PROGRAMS
    assert set(options) <= set(keywords)
    for name, option in options.items():
        default = getattr(option.default, "value", option.default)
        assert default == keywords[name].default, name


def test_no_module_takes_the_place_of_a_public_name():
    for name in vaegan.__all__:
        assert not os.path.exists(os.path.join(vaegan.__path__[0], f"{name}.py")), name
        assert not os.path.isdir(os.path.join(vaegan.__path__[0], name)), name


def test_without_a_word_the_whole_photo_moves(tmp_path):
    plan = vaegan.transfer("sample", "talking", tmp_path / "o.mp4", dry_run=True).plan
    photo = read_image(find_photo("sample"))
    assert plan["model"].startswith("motion64-") and "motion64" in plan["driver"]
    assert f"{photo.shape[1]}x{photo.shape[0]} px" in plan["output"]
    frames = vaegan.animate("sample", "talking", end=0.1)
    assert next(frames).shape == photo.shape
    frames.close()


def test_a_model_without_heads_shows_what_it_decodes(tmp_path):
    plan = vaegan.transfer("sample", "talking", tmp_path / "o.mp4", model="paper-vaegan", dry_run=True).plan
    assert "paper-vaegan" in plan["driver"] and "256x256 px" in plan["output"]


def test_everything_that_the_command_writes(shelf):
    done = []
    result = made(
        output="o.mp4", compare=True, storyboard="s.png", save_motion="m.motion", reference="whole", end=0.8, fps=12.5,
        on_progress=lambda frames, total: done.append((frames, total)),
    )  # fmt: skip
    assert [path.name for path in result.files] == ["o.mp4", "s.png", "m.motion"]
    assert all(path.exists() for path in result.files)
    assert (result.frames, result.width, result.height, result.rate, result.lost) == (10, 768, 256, Fraction(25, 2), 0)
    assert len(list(VideoReader("o.mp4"))) == len(Motion.load("m.motion")) == 10
    assert done[-1] == (20, 20)  # read, then drawn


class Wide:
    """A view that is larger than the crop."""

    width, height = 320, 288

    def show(self, crop, placement, under=None):
        return np.pad(crop, ((16, 16), (32, 32), (0, 0)))


def test_view_decides_what_is_written_and_not_what_is_measured_or_compared(shelf, monkeypatch):
    monkeypatch.setattr("vaegan.render.build_view", lambda *args: Wide())
    made(output="o.mp4", storyboard="s.png")
    made(output="c.mp4", compare=True)
    wide, beside = (VideoReader(name) for name in ("o.mp4", "c.mp4"))
    assert (wide.width, wide.height, beside.width, beside.height) == (320, 288, 768, 256)
    monkeypatch.setattr("vaegan.render.build_view", build_view)
    made(output="p.mp4", storyboard="t.png")
    assert np.array_equal(read_image("s.png"), read_image("t.png"))


def test_a_dry_run_has_a_plan_and_writes_nothing(shelf):
    before = sorted(os.listdir())
    result = made(dry_run=True, strength=2)
    assert result.files == () and result.plan["motion"] == "relative, reference best, strength 2"
    assert "me_clip.mp4" in result.plan["output"]
    assert sorted(os.listdir()) == before


def test_notes_come_as_data(shelf, monkeypatch):
    class TwoFaces(SquareTracker):
        def detect(self, image, besides=(), tiled=True):
            return super().detect(image, besides) * 2

    notes = []
    vaegan.transfer("me.png", "clip.mp4", model="tiny", tracker=TwoFaces(), on_note=notes.append, end=0.2)
    assert [note.kind for note in notes] == ["faces", "faces"]  # of the photo, and of the driver


def test_a_loaded_model_serves_many(shelf):
    model = vaegan.load_model("tiny")
    for name in ("a.mp4", "b.mp4"):
        vaegan.transfer("me.png", "clip.mp4", name, model=model, tracker=SquareTracker(), end=0.2)
    assert (shelf / "a.mp4").read_bytes() == (shelf / "b.mp4").read_bytes()
