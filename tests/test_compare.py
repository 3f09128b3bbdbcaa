"""`vaegan compare`: single runs, a whole sweep, what differs, pictures; what cannot be read is one line."""

import base64
import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_runs import blobs, train_tiny

from vaegan.evaluation.compare.differences import circumstances, differences, set_labels
from vaegan.evaluation.compare.picture import draw, running_mean
from vaegan.evaluation.compare.runs import Run, keep_samples, read_run, read_runs
from vaegan.evaluation.compare.table import cell, table
from vaegan.media import decode_image
from vaegan.reports import png


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    """Two real runs that differ in their seed, as `-m` lays them, and a third that ended before it began."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(folder / "cache"))
        pictures = blobs(folder / "pictures")
        for seed in (0, 1):
            train_tiny(folder / "sweep" / str(seed), pictures, f"seed={seed}")
    (folder / "sweep/10").mkdir()
    (folder / "sweep/10/metrics.csv").write_text("")
    return folder / "sweep"


def written(folder: Path, rows: list[dict], **config) -> Path:
    """A run folder with these rows in metrics.csv."""
    folder.mkdir(parents=True)
    with open(folder / "metrics.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, sorted({name for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def command(*arguments: str, monkeypatch) -> int:
    from vaegan.cli.main import main

    monkeypatch.setattr(sys, "argv", ["vaegan", "compare", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def with_settings(*settings: dict, folder: str = "runs") -> list[Run]:
    return [Run(Path(folder) / str(i), {1: {"val/psnr": 1.0}}, config) for i, config in enumerate(settings)]


def test_a_sweep_becomes_a_table_a_page_and_a_picture(sweep, tmp_path, monkeypatch, capsys):
    assert command(sweep, "--output", tmp_path / "c.html", monkeypatch=monkeypatch) == 0
    said = capsys.readouterr()
    assert "10 has no figures and is left out" in said.err
    assert re.search(r"\| seed=0 +\| 48 ", said.out) and re.search(r"\| seed=1 +\| 48 ", said.out)
    psnr = f"{read_run(sweep / '1').rows[6]['val/psnr']:.2f}"
    (line,) = (line for line in said.out.splitlines() if line.startswith("| seed=1"))
    assert f"| {psnr} " in line

    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    pictures = [decode_image(base64.b64decode(data)) for data in re.findall(r"base64,([^\"]+)", page)]
    assert [p.shape[1] for p in pictures] == [1800, *(read_run(sweep / n).grid.shape[1] for n in "01")]
    assert page.count("seed=0") >= 3 and "python train.py model=vaegan" in page
    assert "<td>seed</td><td>0</td><td>1</td>" in page and "data.seed" not in page
    whole = decode_image((tmp_path / "c.png").read_bytes())
    assert whole.shape[0] > pictures[0].shape[0]  # with the grids below


def test_numbered_jobs_stand_in_their_order(tmp_path):
    for number in (10, 9, 2):
        written(tmp_path / "name/sweep_x" / str(number), [{"step": 1, "val/psnr": number}], seed=number)
    runs, notes = read_runs([tmp_path / "name"])
    assert [run.path.name for run in runs] == ["2", "9", "10"] and not notes


def test_settings_that_differ_become_labels_and_are_told_once():
    def settings(kl: float, every: int) -> dict:
        weights = {"kl": kl, "lpips": 0}
        return {"seed": 1, "model": {"weights": weights}, "w": weights, "logger": {"every": every}, "name": str(kl)}

    runs = with_settings(settings(0.01, 5), settings(0.1, 20))
    found = differences(runs)
    assert found["model.weights.kl" if "model.weights.kl" in found else "w.kl"] == ["0.01", "0.1"]
    assert sum(name.endswith("kl") for name in found) == 1
    set_labels(runs, found)
    assert [run.label for run in runs] == ["kl=0.01", "kl=0.1"]


def test_too_many_differences_or_none_make_the_folder_the_label():
    many = with_settings(*({name: i for name in "abcd"} for i in range(2)))
    set_labels(many, differences(many))
    assert [run.label for run in many] == ["0", "1"]
    same = [*with_settings({"a": 1}, folder="x"), *with_settings({"a": 1}, folder="y")]
    set_labels(same, differences(same))
    assert [run.label for run in same] == ["x/0", "y/0"]


def test_a_setting_that_only_one_run_has_differs():
    (first, second) = with_settings({"model": {"discriminator": {"size": 64}}}, {"model": {"discriminator": None}})
    found = differences([first, second])
    assert found["model.discriminator.size"] == ["64", "–"]


def test_other_data_and_code_are_told_among_runs_with_a_record():
    runs = with_settings({}, {}, {})
    runs[0].record = {"data": {"fingerprint": "a"}, "git": {"commit": "1", "dirty": False}, "command": "x"}
    runs[1].record = {"data": {"fingerprint": "b"}, "git": {"commit": "1", "dirty": False}, "command": "y"}
    assert circumstances(runs) == {"data.fingerprint": ["a", "b", "–"]}


def test_cells_hold_the_last_value_and_the_best():
    rows = {
        i: {"val/psnr": v, "val/lpips": v, "val/sharpness": v, "train/d_accuracy": v} for i, v in enumerate([2, 3, 1])
    }
    run = Run(Path("x"), rows)
    assert cell(run, "val/psnr") == "1.00 (3.00)"
    assert cell(run, "val/lpips") == "1.0000"
    assert cell(run, "val/sharpness") == "1.000"
    assert cell(run, "train/d_accuracy") == "2.000"  # mean of the last ones
    assert cell(run, "val/fid") == "–"


def test_pictures_seen_are_logged_or_follow_from_the_batch(tmp_path):
    new = written(tmp_path / "new", [{"step": 3, "images": 96, "val/psnr": 20}], data={"batch": 8})
    old = written(tmp_path / "old", [{"step": 3, "val/psnr": 20}], data={"batch": 8}, trainer={"devices": 2})
    foreign = written(tmp_path / "foreign", [{"step": 3, "val/psnr": 20}])
    runs, _ = read_runs([new, old, foreign])
    assert [run.images_seen for run in runs] == [96, 48, 3]
    assert [run.counts_images for run in runs] == [True, True, False]
    assert "steps" in table([runs[2]], {})[0]


def test_rows_logged_again_after_a_resume_count_once(tmp_path):
    rows = [
        {"step": 1, "val/psnr": 1},
        {"step": 2, "val/psnr": 9},
        {"step": 2, "val/psnr": 2},
        {"step": 3, "val/psnr": 3},
    ]
    log = read_run(written(tmp_path / "run", rows))
    assert [log.rows[step]["val/psnr"] for step in (1, 2, 3)] == [1, 2, 3]


def test_a_line_cut_short_is_left_out_with_a_note(tmp_path):
    run = written(tmp_path / "run", [{"step": i, "val/psnr": i, "x": 1} for i in (1, 2)])
    with open(run / "metrics.csv", "a") as file:
        file.write("3,3")
    (found,), notes = read_runs([run])
    assert list(found.rows) == [1, 2] and "line 4 is cut short" in notes[0]


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        (None, b"", "no run folder"),
        ("notes.txt", b"hello", "no run in"),
        ("metrics.csv", b"", "has no figures"),
        ("metrics.csv", b"step,val/psnr\n", "has no figures"),
        ("metrics.csv", b"step,val/psnr\n1,high\n", "metrics.csv is damaged"),
        ("metrics.csv", b"step,val/psnr\n\xff\xfe,1\n", "metrics.csv is damaged"),
        ("metrics.csv", b"name,age\nx,1\n", "no column 'step'"),
        ("run-x.wandb", b"hello", "no run in"),
        ("events.out.tfevents.1", b"hello", "no metrics.csv, which train.py writes with every logger"),
    ],
)
def test_what_is_no_run_is_told_in_one_line(tmp_path, monkeypatch, capsys, file, content, says):
    run = tmp_path / "run"
    if file:
        run.mkdir()
        (run / file).write_bytes(content)
    assert command(run, monkeypatch=monkeypatch) == 1
    said = capsys.readouterr()
    assert says in said.err and said.err.count("error: ") == 1 and not said.out


def test_a_shareable_picture_shows_samples_only(sweep):
    runs, _ = read_runs([sweep / "0"])
    whole = runs[0].grid
    keep_samples(runs)
    assert runs[0].grid.shape == (2 + 2 * 34, 2 + 8 * 34, 3)
    assert np.array_equal(runs[0].grid, whole[-70:])


def test_only_png_and_html_are_written(sweep, tmp_path, monkeypatch, capsys):
    assert command(sweep, "--output", tmp_path / "c.pdf", monkeypatch=monkeypatch) == 1
    assert "ends in .png or .html" in capsys.readouterr().err
    assert command(sweep, "--output", tmp_path / "c.png", monkeypatch=monkeypatch) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]


def test_curves_without_grids_or_known_names_are_drawn_too(tmp_path):
    rows = [{"step": i, "error": i} for i in range(50)]
    runs, _ = read_runs([written(tmp_path / "run", rows)])
    set_labels(runs, {})
    picture = decode_image(png(draw(runs)))
    assert picture.shape[1] == 1800 and (picture != 255).any()


def test_the_running_mean_keeps_level_and_ends():
    assert np.allclose(running_mean(np.full(50, 3.0), 5), 3)
    ramp = running_mean(np.arange(50.0), 5)
    assert np.allclose(ramp[2:-2], np.arange(2, 48)) and ramp[0] == 1
