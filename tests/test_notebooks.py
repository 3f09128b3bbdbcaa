"""The notebooks run from top to bottom with what ships in the package, and are kept without outputs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vaegan.samples import PRETRAINED

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_of(notebook: Path) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


SHORT = {"CLOCK": "00:00:00:02", "BATCH": "8"}
"""Where a notebook trains: for so long, with so few pictures a step."""


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == [
        "01_latent_interpolation",
        "02_motion_transfer",
        "03_compare_models",
        "04_your_own_faces",
    ]


def test_each_opens_in_colab_from_one_repository_and_installs_it_there():
    sources = {path.name: path.read_text(encoding="utf-8") for path in NOTEBOOKS}
    badges = {
        name: re.findall(r"colab\.research\.google\.com/github/(\S+?)/blob/main/notebooks/(\S+?)\)", text)
        for name, text in sources.items()
    }
    assert all([name for _, name in found] == [notebook] for notebook, found in badges.items()), badges
    (repository,) = {where for found in badges.values() for where, _ in found}
    assert all(f"https://github.com/{repository}" in text for text in sources.values())
    assert f"`{repository}`" in (ROOT / "docs/contributing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(notebook):
    for cell in code_of(notebook):
        assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_only_the_public_interface_is_used(notebook):
    import vaegan

    code = "\n".join("".join(cell["source"]) for cell in code_of(notebook))
    assert not re.search(r"from vaegan|import vaegan\.", code)
    used = set(re.findall(r"\bvaegan\.(\w+)", code)) - {"__file__"}
    assert used and used <= set(vaegan.__all__)


@pytest.mark.skipif(
    not (PRETRAINED / "paper-vaegan/weights.safetensors").is_file(), reason="the model paper-vaegan does not ship yet"
)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(notebook, tmp_path):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    paths = {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    paths |= {"VAEGAN_CACHE": str(tmp_path / "cache")}
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "train.py").symlink_to(ROOT / "train.py")
    copy = shutil.copy(notebook, tmp_path / "notebooks")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "--nbmake", copy],
        cwd=tmp_path,
        env={**clean, **paths, **SHORT},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert "1 passed" in ended.stdout
