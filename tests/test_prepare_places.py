"""`vaegan prepare` from and to URLs, and on Ray: the same data set to the byte."""

import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest
from prepare_sources import bytes_of, cut, people
from typer.testing import CliRunner

from vaegan.cli.prepare import app
from vaegan.data.prepare.prepare import prepare
from vaegan.data.prepare.settings import PrepareSettings
from vaegan.errors import UserError
from vaegan.media import write_image

SETTINGS = PrepareSettings(min_shot=0.2)


@pytest.fixture(scope="module")
def source(data_dir, models_dir, tmp_path_factory) -> Path:
    """Three photos, a file that is none, a wall, and a clip of four frames."""
    root = tmp_path_factory.mktemp("places") / "in"
    people(data_dir, root)
    cut(data_dir / "raw/videos/lipnet_GRID-bbaf2n.mpg", root / "clips" / "talk.mp4", frames=6)
    (root / "AJ_Cook" / "notes.jpg").write_bytes(b"not a picture")
    write_image(root / "AJ_Cook" / "wall.png", np.full((200, 200, 3), 90, np.uint8))
    return root


@pytest.fixture(scope="module")
def made(source) -> dict[str, bytes]:
    """The data set that the local engine makes of it."""
    prepare([source], source.parent / "set", SETTINGS, workers=1)
    return bytes_of(source.parent / "set")


@pytest.fixture
def memory(source):
    """The sources in fsspec's store in memory, which stands for an object store."""
    fs = fsspec.filesystem("memory")
    fs.put(str(source), "/bucket/in", recursive=True)
    yield fs
    fs.rm("/bucket", recursive=True)


def test_sources_and_output_by_url_give_the_same_bytes(memory, made, tmp_path):
    prepare(["memory://bucket/in"], "memory://bucket/set", SETTINGS, workers=1)
    memory.get("/bucket/set/", str(tmp_path / "set") + "/", recursive=True)
    assert bytes_of(tmp_path / "set") == made
    with pytest.raises(UserError, match="memory://bucket/set is not empty"):
        prepare(["memory://bucket/in"], "memory://bucket/set", SETTINGS, workers=1)


def test_a_run_to_a_url_goes_on_where_it_stopped(memory, made, monkeypatch, tmp_path):
    from vaegan.data.prepare import jobs

    run_job, done = jobs.run_job, []

    def once(job, **rest):
        if done:
            raise KeyboardInterrupt
        done.append(job.id)
        return run_job(job, **rest)

    monkeypatch.setattr(jobs, "run_job", once)
    with pytest.raises(KeyboardInterrupt):
        prepare(["memory://bucket/in"], "memory://bucket/set", SETTINGS, workers=1)
    monkeypatch.setattr(jobs, "run_job", run_job)
    with pytest.raises(UserError, match="unfinished run with other"):
        prepare(["memory://bucket/in"], "memory://bucket/set", PrepareSettings(size=64), workers=1)
    assert prepare(["memory://bucket/in"], "memory://bucket/set", SETTINGS, workers=1).resumed == 1
    memory.get("/bucket/set/", str(tmp_path / "set") + "/", recursive=True)
    assert bytes_of(tmp_path / "set") == made


def test_a_data_set_at_a_url_is_cropped_anew_with_its_labels(memory, made, tmp_path, source):
    memory.put(str(source.parent / "set"), "/bucket/whole", recursive=True)
    settings = PrepareSettings(scale=1.1, size=66)
    prepare(["memory://bucket/whole"], tmp_path / "set", settings, workers=1)
    shutil.copytree(source.parent / "set", tmp_path / "whole")
    prepare([tmp_path / "whole"], tmp_path / "local" / "set", settings, workers=1)
    assert bytes_of(tmp_path / "set") == bytes_of(tmp_path / "local" / "set")


def test_urls_that_cannot_be_read_are_one_clear_line(memory, models_dir, tmp_path):
    with pytest.raises(UserError, match=r"memory://bucket/gone: no such file"):
        prepare(["memory://bucket/gone"], tmp_path / "set", workers=1)
    with pytest.raises(UserError, match=r"nosuch://bucket: .*[Pp]rotocol"):
        prepare(["nosuch://bucket"], tmp_path / "set", workers=1)
    with pytest.raises(UserError, match=r"no usable face"):
        memory.pipe("/bucket/walls/a.jpg", b"no picture")
        prepare(["memory://bucket/walls"], "memory://bucket/set", workers=1)
    assert not (tmp_path / "set").exists() and not memory.exists("/bucket/set")


def test_an_unknown_engine_is_wrong_usage(tmp_path):
    result = CliRunner().invoke(app, [str(tmp_path), "--output", str(tmp_path / "set"), "--engine", "spark"])
    assert result.exit_code == 2


def test_ray_makes_the_same_data_set_from_and_to_urls(source, made, tmp_path):
    """A local Ray with two workers; file:// is the URL that all its processes see."""
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'vaegan[ray]'")
    given = [f"file://{source}", "--output", f"file://{tmp_path}/set", "--engine", "ray", "--workers", "2"]
    result = CliRunner().invoke(app, [*given, "--min-shot", "0.2"])
    if "did not start" in str(result.exception):
        pytest.skip(f"this machine is too busy for Ray: {result.exception}")
    assert result.exit_code == 0, result.output
    assert bytes_of(tmp_path / "set") == made
