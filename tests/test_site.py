"""The documents build as a site, strictly: no warning, no link or anchor that leads nowhere, nothing left out."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("zensical", reason="zensical is not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    (folder / ".ci").symlink_to(ROOT / ".ci")
    (folder / "vaegan").symlink_to(ROOT / "vaegan")  # mkdocstrings reads the docstrings
    call = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    built = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0 and "No issues found" in built.stdout + built.stderr, built.stdout + built.stderr
    return folder / "site"


def test_every_page_is_in_the_menu():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert pages == set(re.findall(r"(\S+\.md)$", CONFIG, re.MULTILINE))


def test_the_site_builds_strictly_and_has_every_page(site):
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file()


def test_anchors_of_links_between_pages_exist(site):
    for page in (ROOT / "docs").glob("*.md"):
        for target, anchor in re.findall(r"\]\(([\w.-]*\.md)?#([\w-]+)\)", page.read_text(encoding="utf-8")):
            there = (site / (target or page.name)).with_suffix(".html").read_text(encoding="utf-8")
            assert f'id="{anchor}"' in there, f"{page.name} links to {target}#{anchor}"


def test_the_reference_documents_every_public_name(site):
    import vaegan

    html = (site / "api.html").read_text(encoding="utf-8")
    public = set(vaegan.__all__) - {"__version__", "BLENDSHAPES"}
    documented = {name.rsplit(".", 1)[1] for name in re.findall(r'id="(vaegan\.[\w.]+)"', html)}
    assert public <= documented, public - documented
