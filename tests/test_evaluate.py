"""Evaluations of untrained models on real clips, photos and stills: what must hold whatever the model can do."""

import csv
import io
import json
import subprocess
import sys
import tarfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from standin import PoolModel, save_tiny_model

from vaegan import stage
from vaegan.errors import UserError
from vaegan.evaluation import clips, stills
from vaegan.evaluation.clips import DRIVER, MODEL, OWN, PHOTO, SYSTEMS, WARP
from vaegan.evaluation.evaluate import Evaluation, Sources, evaluate
from vaegan.evaluation.evaluate_report import report_text, write_report
from vaegan.evaluation.protocol import Plan
from vaegan.media import read_image
from vaegan.model import FaceModel, Framing
from vaegan.networks import VAE
from vaegan.render import Rendered, Renderer
from vaegan.render.view import build_view

CLIP, PHOTO_FILE = "liveportrait_driving-d11.mp4", "e4e_input_img.jpg"
PLAN = Plan(stills=12, samples=4, clips=1, photos=1, frames=24)


def silent(items, what, total):
    return iter(items)


def only(folder, *files):
    """A folder with links to these files."""
    folder.mkdir()
    for file in files:
        (folder / file.name).symlink_to(file)
    return folder


@pytest.fixture(scope="module")
def sources(data_dir, tmp_path_factory):
    """One real clip and one real photo."""
    root = tmp_path_factory.mktemp("sources")
    drivers = only(root / "clips", data_dir / "clips" / "dev" / CLIP)
    return Sources(None, drivers, only(root / "photos", data_dir / "photos" / PHOTO_FILE))


@pytest.fixture(scope="module")
def found(sources, models_dir):
    return evaluate(PoolModel(), sources, PLAN, silent)


@pytest.fixture(scope="module")
def faces(data_dir, tmp_path_factory):
    """A small data set of real crops with their labels: 40 train, 12 val."""
    source, folder = data_dir / "faces", tmp_path_factory.mktemp("data") / "faces"
    folder.mkdir()
    with open(source / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if float(row["cover"]) >= 0.95]
    val = [row for row in rows if row["split"] == "val" and row["shard"] == "faces-val-0000.tar"][:52]
    with tarfile.open(source / val[0]["shard"]) as tar, tarfile.open(folder / "small-0000.tar", "w") as small:
        for row in val:
            member = tar.getmember(f"{row['key']}.webp")
            small.addfile(member, io.BytesIO(tar.extractfile(member).read()))
    with open(folder / "index.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, val[0].keys())
        writer.writeheader()
        for number, row in enumerate(val):
            writer.writerow(row | {"shard": "small-0000.tar", "split": "train" if number < 40 else "val"})
    with np.load(source / "labels.npz") as labels:
        chosen = np.isin(labels["key"], [row["key"] for row in val])
        arrays = {name: labels[name] for name in labels.files}
        np.savez(folder / "labels.npz", **{n: a[chosen] if len(a) == len(chosen) else a for n, a in arrays.items()})
    return folder


def small_model(latent=16, scale=1.6, follow=False):
    torch.manual_seed(0)
    widths, strides = [12, 16, 16, 16, 16, 16, 16], [2, 2, 2, 2, 2, 1, 1]
    return FaceModel(VAE(64, latent, 32, widths, strides, widths[::-1], strides[::-1]), Framing(scale, follow), "small")


def mean(found, section, system, name):
    return found.tables[section][system][name]["mean"]


def test_the_baselines_stand_where_they_must(found):
    assert set(found.tables["self"]) == set(SYSTEMS)
    assert set(found.tables["cross"]) == {*SYSTEMS, OWN}
    assert mean(found, "cross", PHOTO, "identity") > 0.8 > 0.3 > mean(found, "cross", DRIVER, "identity")
    assert 0.95 > mean(found, "cross", OWN, "identity") > 0.6, "the same person, who moves"
    assert mean(found, "cross", WARP, "identity") > 0.6
    for name in ("pose_r", "expression_r", "jitter"):
        assert mean(found, "cross", PHOTO, name) == 0
        assert mean(found, "cross", DRIVER, name) > 0.8
    assert mean(found, "cross", WARP, "pose_r") > 0.6
    assert mean(found, "cross", WARP, "expression_r") > 0.3
    assert mean(found, "cross", PHOTO, "found") == mean(found, "cross", WARP, "found") == 1


def test_bending_the_first_frame_comes_nearer_to_the_clip_than_leaving_it(found):
    for name in ("keypoints", "expression_distance", "l1", "lpips"):
        assert mean(found, "self", WARP, name) < mean(found, "self", PHOTO, name)
    assert mean(found, "self", WARP, "psnr") > mean(found, "self", PHOTO, "psnr")
    assert mean(found, "self", DRIVER, "keypoints") < 2
    assert "psnr" not in found.tables["self"][DRIVER]


def test_the_models_row_is_its_own_decoding(found):
    """PoolModel shows 8 x 8 px: near in L1, and nothing of the detail."""
    assert mean(found, "self", MODEL, "l1") < 0.2
    assert mean(found, "self", MODEL, "sharpness") < 0.05


def test_the_same_run_gives_the_same_file(found, sources, models_dir):
    again = evaluate(PoolModel(), sources, PLAN, silent)
    assert json.dumps(again.as_json()) == json.dumps(found.as_json())


def test_the_report_has_every_figure_its_definition_and_the_storyboards(found, tmp_path):
    written = write_report(found, tmp_path / "report", "vaegan evaluate")
    assert {path.suffix for path in written} == {".json", ".md", ".png"}
    stored = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert stored["figures"]["cross"][WARP]["pose_r"]["mean"] == mean(found, "cross", WARP, "pose_r")
    assert {row["system"] for row in stored["rows"]["cross"]} == {*SYSTEMS, OWN}
    text = (tmp_path / "report" / "report.md").read_text()
    for expected in ("pose r", "Smile bias: mean over time", "dense field", "## Left out", "FVD", *SYSTEMS, OWN):
        assert expected in text
    for line in text.splitlines():
        if line.startswith("!["):
            assert read_image(tmp_path / "report" / line.split("(")[1].rstrip(")")).shape[1] > 1000


def test_what_weights_are_missing_for_is_left_out_with_its_reason(sources, faces, monkeypatch, tmp_path):
    for variable in ("VAEGAN_MODELS", "XDG_CACHE_HOME", "VAEGAN_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path))
    some = Sources(faces, sources.clips, sources.photos)
    found = evaluate(small_model(), some, PLAN, silent)
    assert set(found.tables) == {"reconstruction", "samples"}
    assert "lpips" not in found.tables["reconstruction"][MODEL]
    left_out = "\n".join(found.left_out)
    for what, file in (
        ("LPIPS", "alexnet"),
        ("identity", "mobilefacenet"),
        ("motion", "face_landmarker"),
        ("FID", "pt_"),
    ):
        assert any(what in line and file in line for line in found.left_out), left_out
    assert "left out" in report_text(found, "vaegan evaluate", []).lower()


def test_pca_stands_beside_the_model_on_the_same_stills(faces, monkeypatch, tmp_path):
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path))
    model = small_model(latent=16)
    crops = stills.read_stills(faces, model, "val", None, 0)
    assert crops.shape == (12, 64, 64, 3)
    error = [
        np.abs(made.astype(float) - crops).mean() for made in (stills.pca_reconstruct(faces, model, crops), crops[::-1])
    ]
    assert error[0] < 0.8 * error[1]
    assert list(tmp_path.glob("*pca16.npz"))
    with pytest.raises(UserError, match="components only"):
        stills.pca_reconstruct(faces, small_model(latent=200), crops)


def test_stills_are_cut_to_the_models_framing(faces, monkeypatch, tmp_path):
    """A tight crop is the middle of a wide one, enlarged."""
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path))
    wide = stills.read_stills(faces, small_model(), "val", 4, 0).astype(float)
    tight = stills.read_stills(faces, small_model(scale=0.8), "val", 4, 0).astype(float)
    coarse = tight.reshape(4, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(coarse - wide[:, 16:48, 16:48]).mean() < 0.3 * np.abs(coarse - wide[:, 16:48, 16:48][::-1]).mean()


def command(*arguments, **environment):
    code = "import sys; from vaegan.cli.main import main; sys.argv[0] = 'vaegan'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": environment.get("HOME", "/nonexistent"), **environment},
        cwd=Path(__file__).parent.parent,
        check=False,
    )


def test_nothing_to_measure_on_is_one_line(tmp_path):
    model = save_tiny_model(tmp_path / "tiny")
    done = command("evaluate", "--model", model, "--output", tmp_path / "out", HOME=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: nothing to evaluate on")
    assert not (tmp_path / "out").exists()


def test_only_the_parts_asked_for_are_measured(sources, models_dir):
    plan = Plan(clips=1, photos=1, frames=6, parts=("cross",), baselines=False)
    found = evaluate(PoolModel(), sources, plan, silent)
    assert set(found.tables) == {"cross", "turned"} and set(found.tables["cross"]) == {MODEL}
    assert not any("LPIPS" in line or "reconstruction" in line for line in found.left_out)
    assert [list(board.rows) for board in found.boards] == [[DRIVER, MODEL]]
    with pytest.raises(UserError, match="nothing to evaluate on"):
        evaluate(PoolModel(), sources, Plan(parts=("reconstruction",)), silent)


def test_a_model_that_follows_the_head_gets_its_placement_back(sources, models_dir):
    plan = Plan(clips=1, photos=1, frames=24, parts=("heads", "cross"))
    found = evaluate(PoolModel(1.25, follow=True), sources, plan, silent)
    assert mean(found, "cross", DRIVER, "pose_r_placed") > 0.95
    assert mean(found, "cross", WARP, "pose_r_placed") > mean(found, "cross", WARP, "pose_r")
    assert mean(found, "cross", PHOTO, "pose_r_placed") == 0
    assert "heads: model pool was trained without" in found.left_out
    assert "placement given back" in report_text(found, "vaegan evaluate", [])


class Still(Renderer):
    """A renderer that shows the photo in place, and nothing of the motion."""

    def __init__(self, portrait, view, size):
        self.shown, self.image = clips.photo_view(portrait.mesh, portrait.image)[0], view.image
        self.crop = self.shown.crop(self.image, size)

    def move(self, deltas, placement):
        return [None] * len(deltas)

    def show(self, faces):
        return Rendered(self.crop, self.image)


def still_group(name, model, portraits, size, view, refiner):
    view = build_view("full", size, portraits[0], model.framing.scale)
    return view, Still(portraits[0], view, size)


def test_a_renderer_of_the_photo_is_measured_in_place_at_256_px(sources, models_dir, monkeypatch):
    monkeypatch.setattr(stage, "build_group", still_group)
    plan = Plan(clips=1, photos=1, frames=12, parts=("self", "cross"), renderer="still", view="full")
    found = evaluate(PoolModel(1.25, follow=True), sources, plan, silent)
    assert found.boards[0].rows[MODEL].shape[1:] == (256, 256, 3)
    assert mean(found, "self", MODEL, "lpips_share") == pytest.approx(1, abs=0.1)
    assert mean(found, "self", WARP, "lpips_share") < 1 == mean(found, "self", PHOTO, "lpips_share")
    assert mean(found, "self", WARP, "lpips_face_share") < mean(found, "self", WARP, "lpips_share")
    assert mean(found, "cross", MODEL, "identity") > 0.9 and abs(mean(found, "cross", MODEL, "pose_r")) < 0.3
    assert mean(found, "cross", WARP, "pose_r") > 0.5 and "pose_r_placed" not in found.tables["cross"][WARP]
    assert mean(found, "cross", MODEL, "sharpness_full") == pytest.approx(1, abs=0.15)
    assert mean(found, "turned", MODEL, "turn") < 2 < mean(found, "turned", WARP, "turn")
    assert mean(found, "turned", MODEL, "identity_near") > 0.9
    assert "Renderer `still`" in report_text(found, "vaegan evaluate", [])


def test_reproduce_draws_the_papers_figures_and_tests_the_authors_guess(sources, faces, models_dir, tmp_path):
    from vaegan.evaluation.reproduce import Models, compare_claims, draw_figures
    from vaegan.evaluation.reproduce_report import write_document, write_figures

    models = Models(small_model(), small_model(), small_model(), PoolModel())
    models.vaegan.name = "small-gan"
    models.on_clips.training = {"images_seen": 1280, "command": "python train.py data=mixed"}
    clip, photo = next(sources.clips.iterdir()), next(sources.photos.iterdir())
    (tmp_path / "images").mkdir()
    pictures = draw_figures(models, photo, clip, None, tmp_path / "images", silent)
    assert [path.name for path in pictures] == ["figure6.webp", "figure7.webp", "figure8.webp"]
    assert read_image(pictures[0]).shape == (256, 256, 3)
    assert read_image(pictures[1]).shape[1] == 8 * 192
    plan = Plan(stills=4, samples=2, clips=1, photos=1, frames=12)
    claims, found = compare_claims(models, Sources(faces, sources.clips, sources.photos), plan, silent)
    table = "| ours | 20.10 |"
    page = write_document(claims, found, models, pictures, "vaegan reproduce", tmp_path / "r.md", rival=table)
    text = page.read_text()
    assert "pythae" in text and table in text
    for expected in ("small-gan", "mesh warp", "What differs from the paper", "(images/figure7.webp)", "1,280 images"):
        assert expected in text
    assert "difference" in claims[-1].obtained and "python train.py data=mixed" in claims[-1].command
    assert set(found) == {"small", "small-gan", "stills only", "with clip frames"}
    stored = json.loads(write_figures(found, tmp_path / "r.json").read_text())
    assert stored["with clip frames"]["plan"]["parts"] == ["cross"]


def test_shareable_figures_show_nothing_of_a_data_set_or_driver(tmp_path, monkeypatch):
    """Only the photo's own colours come in the reconstruction's original row; of the driver there is an outline."""
    from test_report import swaying

    from vaegan.evaluation.reproduce import Models, draw_figures
    from vaegan.samples import find_photo

    monkeypatch.setenv("VAEGAN_MODELS", str(tmp_path))
    clip = swaying(tmp_path / "clip.mp4", frames=10)
    models = Models(small_model(), small_model())
    pictures = draw_figures(models, find_photo("sample"), clip, None, tmp_path, silent, shareable=True)
    assert [path.name for path in pictures] == [f"figure{n}.webp" for n in (3, 5, 6, 7, 8)]
    originals = read_image(pictures[0])[:128, 150:]
    assert originals.shape == (128, 1280, 3)
    tiles = np.split(originals.astype(float), 10, axis=1)
    assert all(np.abs(a - b).mean() > 5 for a, b in pairwise(tiles))
    driver = read_image(pictures[3])[:192].astype(int)
    ground = (np.abs(driver - [28, 30, 34]).max(2) < 25).mean()
    assert 0.5 < ground < 0.995


def test_without_clips_the_guess_is_not_measured(faces):
    from vaegan.evaluation.reproduce import Models, compare_claims

    models = Models(small_model(), small_model(), None, small_model())
    claims, _ = compare_claims(models, Sources(faces, None, None), Plan(stills=4, samples=2), silent)
    assert len(claims) == 5 and claims[-1].obtained.startswith("not measured")


def test_help_of_the_commands_does_not_load_torch():
    code = "import sys, vaegan.cli.evaluate, vaegan.cli.reproduce; assert not {'torch', 'cv2'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_evaluation_without_tables_is_still_json():
    model = {"name": "m", "id": "m-0", "size": 64, "framing": {"scale": 1.6, "follow": False}}
    json.dumps(Evaluation(model, PLAN).as_json(), allow_nan=False)
