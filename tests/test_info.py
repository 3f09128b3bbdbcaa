"""`vaegan info --photo` and `--download`, as typed; the download from a local file."""

import hashlib
import io
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

import vaegan.faces.download as download_module
import vaegan.faces.tracker as tracker_module
from vaegan.cli.main import main
from vaegan.faces.backend import Detection, Face
from vaegan.faces.download import DOWNLOADS
from vaegan.faces.geometry import CropTransform
from vaegan.faces.weights import find_weights
from vaegan.media import read_image, write_image


class OneFace:
    """A backend that sees one face at (300, 200), 100 px wide, and takes a second place for one at first."""

    name, roi_scale, easily_fooled = "scripted", 1.5, False
    there = True

    def detect(self, image):
        boxes = [Detection(CropTransform(300, 200, 100, 0.2), 0.9)] if self.there else []
        return [*boxes, Detection(CropTransform(80, 80, 60), 0.6)]

    def landmarks(self, image, roi):
        real = self.there and abs(roi.cx - 300) < 50
        angle = np.arange(478) * 2.4
        disc = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1) * np.sqrt(np.arange(478) / 467)[:, None] * 50
        disc[[33, 133, 362, 263], :2] = [[-30, -10], [-10, -10], [10, -10], [30, -10]]
        centre = [300, 200, 0] if real else [roi.cx, roi.cy, 0]
        shapes = np.zeros(52, np.float32)
        shapes[25] = 0.8
        return Face((disc + centre).astype(np.float32), shapes, 0.98 if real else 0.03)


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Type `vaegan info ...` in an empty folder with an empty cache; gives (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VAEGAN_MODELS", raising=False)
    monkeypatch.setattr(tracker_module, "_make_backend", lambda name: OneFace())

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vaegan", "info", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run


@pytest.fixture
def served(monkeypatch, tmp_path):
    """A file of our own in place of what is offered for download."""
    source = tmp_path / "served.bin"
    source.write_bytes(bytes(range(256)) * 400)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    one = replace(DOWNLOADS[0], url=source.as_uri(), size=source.stat().st_size, sha256=digest)
    monkeypatch.setattr(download_module, "DOWNLOADS", (one,))
    return one


def test_a_photo_is_drawn_with_what_was_found_in_it(call, tmp_path):
    write_image(tmp_path / "me.png", np.full((400, 600, 3), 120, np.uint8))
    status, out, _ = call("--photo", "me.png")
    assert status == 0
    for words in ("600x400 px", "face 1: at (300, 200), 99 px", "presence 0.98", "jawOpen 0.80", "me-faces.png"):
        assert words in out
    drawn = read_image(tmp_path / "me-faces.png")
    scale = 900 / 400
    assert drawn.shape[0] == 900 and drawn.shape[1] > 600 * scale
    around = drawn[round(150 * scale) : round(250 * scale), round(250 * scale) : round(350 * scale)]
    assert (around != 120).any(2).mean() > 0.05  # the mesh
    assert (drawn[round(330 * scale) : 890, 20 : round(500 * scale)] == 120).all()  # where nothing was found


def test_a_photo_without_a_face_says_what_came_nearest(call, tmp_path, monkeypatch):
    monkeypatch.setattr(OneFace, "there", False)
    write_image(tmp_path / "wall.png", np.full((400, 600, 3), 120, np.uint8))
    status, out, _ = call("--photo", "wall.png", "--output", "why.png")
    assert status == 0 and "no face: the best candidate, at (80, 80), 60 px wide, score 0.60" in out
    drawn = read_image(tmp_path / "why.png")
    assert (drawn[round(50 * 2.25) : round(111 * 2.25), round(49 * 2.25) : round(51 * 2.25)] != 120).any()


@pytest.mark.parametrize("kind", ["one pixel", "very wide", "grey 16 bits", "transparent", "cmyk"])
def test_any_kind_of_picture_is_drawn(call, tmp_path, kind):
    from PIL import Image

    if kind == "grey 16 bits":
        cv2.imwrite(str(tmp_path / "p.png"), np.full((300, 400), 30000, np.uint16))
    else:
        modes = {"transparent": "RGBA", "cmyk": "CMYK"}
        size = {"one pixel": (1, 1), "very wide": (20000, 30)}.get(kind, (400, 300))
        Image.new(modes.get(kind, "RGB"), size).save(tmp_path / ("p.jpg" if kind == "cmyk" else "p.png"))
    status, _, err = call("--photo", str(next(tmp_path.glob("p.*"))), "--output", "o.png")
    assert status == 0, err
    assert read_image(tmp_path / "o.png").shape[0] == 900


def test_mistakes_are_one_line(call, tmp_path):
    for arguments, words in (
        (["--photo", "nowhere.jpg"], "no such photo"),
        (["--photo", "sample", "--output", "x.txt"], "x.txt"),
        (["--photo", "sample", "--output", "no/x.png"], "no folder no"),
    ):
        status, _, err = call(*arguments)
        assert status == 1 and words in err and err.count("\n") == 1
    assert call("--output", "x.png")[0] == 2 and call("--yes")[0] == 2
    assert not list(tmp_path.glob("*.png"))


def test_a_download_is_shown_asked_for_and_kept_whole(call, served, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    status, out, _ = call("--download")
    assert status == 0 and "was not downloaded" in out and find_weights(served.name) is None
    for words in ("0.1 MB", "Apache-2.0", served.sha256, served.url):
        assert words in out
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    status, out, _ = call("--download")
    assert status == 0 and find_weights(served.name).stat().st_size == served.size
    status, out, _ = call("--download", "--yes")
    assert status == 0 and "is at hand" in out


def test_a_wrong_or_missing_download_leaves_nothing(call, served, monkeypatch, tmp_path):
    for wrong, words in (
        (replace(served, sha256="0" * 64), "nothing was kept"),
        (replace(served, size=1000), "nothing was kept"),
        (replace(served, url=(tmp_path / "gone").as_uri()), "could not be read"),
        (replace(served, url="http://127.0.0.1:9/x"), "check the network"),
    ):
        monkeypatch.setattr(download_module, "DOWNLOADS", (wrong,))
        status, _, err = call("--download", "--yes")
        assert status == 1 and words in err and err.count("\n") == 1
        assert list((tmp_path / "cache" / "vaegan").iterdir()) == []
