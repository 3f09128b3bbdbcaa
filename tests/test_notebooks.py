"""The notebooks run from top to bottom with what ships in the package, and are kept without outputs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vaegan.samples import PRETRAINED

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_of(notebook: Path) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_there_are_notebooks():
    assert "01_latent_interpolation" in [path.stem for path in NOTEBOOKS]


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
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "--nbmake", str(notebook)],
        cwd=ROOT,
        env={**clean, **paths},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert "1 passed" in ended.stdout
