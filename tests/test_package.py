"""What a user gets from `pip install`: a wheel with code, configuration and models, commands that start quickly."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel that `pip install .` would install."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def files_below(folder: Path) -> set[str]:
    """Relative names, without what tools and systems leave behind."""
    paths = (path.relative_to(ROOT) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not any(part.startswith((".", "__pycache__")) for part in path.parts)}


def test_wheel_holds_code_models_configuration_and_licence(wheel):
    names = set(wheel.namelist())
    assert files_below(ROOT / "vaegan") <= names
    assert {f"vaegan/{name}" for name in files_below(ROOT / "conf")} <= names
    assert "vaegan/pretrained/samples/sample.jpg" in names
    assert any(re.fullmatch(r"vaegan-[\d.]+\.dist-info/licenses/LICENSE", name) for name in names)


def test_wheel_holds_nothing_else(wheel):
    foreign = [name for name in wheel.namelist() if not name.startswith(("vaegan/", "vaegan-"))]
    assert foreign == []
    assert not [name for name in wheel.namelist() if "__pycache__" in name or name.endswith((".ckpt", ".mp4"))]


SIZES = {"tracker": 4, "warp": 8, "motion64": 20}
"""MB of a shipped folder's largest file, at most; 12 for any other."""


def test_shipped_weights_are_small(wheel):
    for info in wheel.infolist():
        limit = next((size for name, size in SIZES.items() if f"/{name}/" in info.filename), 12)
        assert info.file_size <= limit * 1_000_000, info.filename


def test_an_installed_package_finds_its_configuration(wheel, tmp_path):
    wheel.extractall(tmp_path / "site")
    code = "from vaegan.training import command; print(command.CONF); command.main()"
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, "experiment=paper_vaegan", "print_config=true"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(str(tmp_path / "site/vaegan/conf")) and "latent: 200" in ended.stdout


def test_commands_are_declared_and_start_without_torch(wheel):
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    declared = dict(re.findall(r"^(\w+) = (.+)$", wheel.read(entry_points).decode(), re.MULTILINE))
    assert declared == {"transfer": "vaegan.cli.transfer:main", "vaegan": "vaegan.cli.main:main"}
    from vaegan.cli.main import COMMANDS

    # one process for all: what any of them imports stays
    code = """
import importlib, sys
for words in sys.argv[1].split(";"):
    target, *arguments = words.split()
    module, function = target.split(":")
    sys.argv = ["x", *arguments]
    try:
        getattr(importlib.import_module(module), function)()
    except SystemExit as end:
        assert not end.code, (words, end.code)
print("heavy:", sorted({"torch", "pytorch_lightning", "hydra", "scipy"} & set(sys.modules)))
"""
    calls = [f"{declared['transfer']} --help", f"{declared['vaegan']} --help"]
    calls += [f"{declared['vaegan']} {name} --help" for name in COMMANDS]
    ended = subprocess.run(
        [sys.executable, "-c", code, ";".join(calls)], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("Usage") >= len(calls)
    assert ended.stdout.splitlines()[-1] == "heavy: []"


def test_import_of_the_package_is_light():
    code = "import sys, vaegan; print(vaegan.__version__, sorted({'torch', 'numpy', 'cv2'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert ended.stdout.split(maxsplit=1) == [PROJECT["version"], "[]\n"]


def test_public_names_exist():
    import vaegan

    for name in vaegan.__all__:
        assert getattr(vaegan, name)
    with pytest.raises(AttributeError):
        vaegan.no_such_name  # noqa: B018 - the access is the test


def test_pythons_3_11_to_3_13():
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [v for v in ("3.10.9", "3.11.0", "3.12.1", "3.13.9", "3.14.0") if v in allowed] == [
        "3.11.0",
        "3.12.1",
        "3.13.9",
    ]


def requirements(extra: str | None = None) -> list[Requirement]:
    """What the package, or one of its extras, asks for; extras named in extras are followed."""
    texts = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    found = []
    for requirement in map(Requirement, texts):
        if requirement.name == PROJECT["name"]:
            found += [r for name in requirement.extras for r in requirements(name)]
        else:
            found.append(requirement)
    return found


def test_lightning_releases_that_were_tampered_with_are_excluded():
    (lightning,) = (r for r in requirements() if r.name == "pytorch-lightning")
    assert not any(version in lightning.specifier for version in ("2.6.2", "2.6.3"))
    assert "2.6.6" in lightning.specifier


def test_dev_is_the_same_as_extra_and_as_group():
    group = {str(Requirement(text)) for text in PYPROJECT["dependency-groups"]["dev"]}
    assert group == {str(requirement) for requirement in requirements("dev")}
    assert {"pytest", "pytest-xdist", "nbmake", "ruff"} <= {Requirement(text).name for text in group}


def test_everything_imported_is_declared():
    names = importlib.metadata.packages_distributions()
    declared = {
        re.sub("[-_.]+", "-", r.name).lower()
        for extra in (None, *PROJECT["optional-dependencies"])
        for r in requirements(extra)
    }
    for path in [*(ROOT / "vaegan").rglob("*.py"), ROOT / "train.py"]:
        for module in imported(path):
            if module in sys.stdlib_module_names or module in ("vaegan", "__future__"):
                continue
            holders = names.get(module, [module, f"{module}-bin"])  # dlib-bin's wheel does not list its modules
            sources = {re.sub("[-_.]+", "-", name).lower() for name in holders}
            assert sources & declared, f"{path.relative_to(ROOT)} imports {module}, which pyproject.toml does not name"


def imported(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def test_version_stands_the_same_everywhere():
    import vaegan

    assert vaegan.__version__ == PROJECT["version"]
