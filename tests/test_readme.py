"""What README.md and the pages of docs/ show works: commands and Python blocks are run, links and options exist.

Only two things are made lighter: training is cut to a few steps, and the set-up commands run without the
installation, which `.ci/run` does.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vaegan.media import VideoWriter, read_image, write_image
from vaegan.samples import PRETRAINED, find_photo

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs/training.md").read_text(encoding="utf-8")
PAGES = {name: (ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("animate", "python", "results")}
FEW_STEPS = "debug=fast model.pca_start=false trainer.threads=1 callbacks.lpips=null"

has_model = pytest.mark.skipif(
    not (PRETRAINED / "paper-vaegan/weights.safetensors").is_file(), reason="the model paper-vaegan does not ship yet"
)
has_tracker = pytest.mark.skipif(
    not (PRETRAINED / "tracker/weights.safetensors").is_file() and not os.environ.get("VAEGAN_MODELS"),
    reason="the face tracker does not ship yet, and VAEGAN_MODELS is not set",
)


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def sections(text: str) -> dict[str, list[tuple[str, str]]]:
    """The blocks below each heading, of the sections that have any."""
    _, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return {part.split("\n", 1)[0]: blocks(part) for part in parts if blocks(part)}


# ---- a place to run things in


@pytest.fixture
def workplace(tmp_path) -> Path:
    """An empty folder with what the README names: me.jpg, clip.mp4, train.py, pictures, photos, videos, and data."""
    work = tmp_path / "work"
    for folder in ("pictures", "photos", "videos", "data/faces", "data/clips/dev", "data/photos"):
        (work / folder).mkdir(parents=True)
    shutil.copy(find_photo("sample"), work / "me.jpg")
    shutil.copy(find_photo("sample"), work / "data/photos/sample.jpg")
    swaying(work / "clip.mp4")
    shutil.copy(work / "clip.mp4", work / "data/clips/dev/clip.mp4")
    shutil.copy(work / "clip.mp4", work / "videos/clip.mp4")
    (work / "train.py").symlink_to(ROOT / "train.py")
    generator = np.random.default_rng(0)
    for i in range(300):
        coarse = generator.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        write_image(work / f"pictures/{i:03}.png", cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC))
        os.link(work / f"pictures/{i:03}.png", work / f"data/faces/{i:03}.png")
    commands(tmp_path / "bin")
    return work


def swaying(path: Path) -> None:
    """One second of a driver: the sample photo's face, moving to and fro, coming nearer and going away."""
    photo = read_image(find_photo("sample"))
    with VideoWriter(path, 256, 256, 25) as writer:
        for t in range(26):
            turn = 2 * np.pi * t / 26
            x, y, side = 90 + 12 * np.sin(turn), 10 + 6 * np.sin(2 * turn), 270 + 12 * np.cos(turn)
            matrix = np.float32([[256 / side, 0, -x * 256 / side], [0, 256 / side, -y * 256 / side]])
            writer.write(cv2.warpAffine(photo, matrix, (256, 256), flags=cv2.INTER_AREA))


def commands(folder: Path) -> None:
    """`transfer`, `vaegan` and `python` as an installed package offers them, on this checkout's code."""
    folder.mkdir()
    code = {"transfer": "transfer", "vaegan": "main"}
    for name, module in code.items():
        call = f"import sys; sys.argv[0] = '{name}'; from vaegan.cli.{module} import main; main()"
        write_command(folder / name, f'-c "{call}"')
    write_command(folder / "python", "-W ignore")


def write_command(path: Path, arguments: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
    path.chmod(0o755)


def run(command: str, work: Path, **environment: str) -> str:
    """Run a shell command in the workplace; returns what it printed. It must succeed."""
    known = {
        "PATH": f"{work.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "VAEGAN_DATA": str(work / "data"),
        "VAEGAN_CACHE": str(work / "cache"),
    }
    ended = subprocess.run(
        ["bash", "-euc", command],
        cwd=work,
        env={**os.environ, **known, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}"
    assert "Traceback" not in ended.stdout, f"{command}\n{ended.stdout}"
    return ended.stdout


def light(command: str) -> str:
    """The command as it is run here: without installing, and with few steps of training."""
    command = command.removeprefix("pip install . && ")
    if command.startswith("python train.py") and "print_config" not in command:
        command = f"{command} {FEW_STEPS}"
        if "resume=" in command:
            command += " trainer.epochs=3"  # the light run that it goes on with has two
    return command


def run_blocks(shown: list[tuple[str, str]], work: Path) -> None:
    for language, content in shown:
        if language == "python":
            (work / "example.py").write_text(content)
            run("python example.py", work)
            continue
        assert language == "bash", f"a block of {language!r} that nobody runs"
        for command in content.splitlines():
            if "pytest" in command or command == "vaegan app":
                continue  # this is it; tests/test_app.py opens the page in a browser
            run(light(command), work)
            for output in re.findall(r"--(?:output|report|storyboard|save-motion) (\S+)", command):
                assert (work / output).exists(), f"{command} wrote no {output}"


# ---- the README


def test_set_up_is_two_commands_which_ci_runs_as_they_stand():
    first, second = (content.strip() for _, content in blocks(README)[:2])
    assert re.fullmatch(r"pip install \. && transfer --photo sample --driver \w+ --output out\.mp4", first)
    assert re.fullmatch(r"pip install '\.\[dev\]' && pytest -n 2", second)
    printed = subprocess.run(["bash", ROOT / ".ci/run", "commands"], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == [first, second]


def test_readme_is_a_screen_and_a_half():
    assert len(README.splitlines()) <= 120


def test_every_section_with_commands_is_run_here():
    assert set(sections(README)) == {"Set-up: two commands", "Three more uses"}


@has_model
@has_tracker
def test_commands_of_the_readme(workplace, data_dir):
    some_photos(workplace, data_dir)
    for shown in sections(README).values():
        run_blocks(shown, workplace)


@has_model
@has_tracker
@pytest.mark.parametrize("page", PAGES)
def test_commands_of_the_documents(page, workplace):
    run_blocks(blocks(PAGES[page]), workplace)


@has_tracker
def test_commands_of_a_first_run(workplace):
    shown = sections(TRAINING)["A first run"]
    run_blocks([(language, content) for language, content in shown if "tracker" not in content], workplace)


def some_photos(workplace: Path, data_dir: Path) -> None:
    people = sorted(path for path in (data_dir / "raw/photos/lfw").iterdir() if path.is_dir())[:30]
    for person in people:
        shutil.copytree(person, workplace / "photos" / person.name)


@has_model
def test_training_without_data_says_so_and_samples_faces(workplace):
    shutil.rmtree(workplace / "data")
    printed = run(f"python train.py model=vaegan data.synthetic=200 {FEW_STEPS}", workplace)
    assert "no data set 'faces'" in printed and "data=synthetic" in printed


def test_options_named_are_options():
    from vaegan.cli.main import COMMANDS, app
    from vaegan.cli.transfer import app as transfer

    group = typer.main.get_command(app)
    found = [typer.main.get_command(transfer)] + [group.get_command(None, name) for name in COMMANDS]
    found += [below for command in found for below in getattr(command, "commands", {}).values()]
    parameters = [parameter for command in found for parameter in command.params]
    offered = {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
    offered |= {"--install-completion", "--help"}
    for text in (README, PAGES["animate"], (ROOT / "docs/app.md").read_text(encoding="utf-8")):
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
        assert named and named <= offered, named - offered


def test_links_lead_to_files():
    for name in ("README.md", "CHANGELOG.md", *(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if not target.startswith("https://") and target != "docs/images/demo.webp":
                assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"


def test_moving_picture_is_there_and_small():
    from PIL import Image

    path = ROOT / "docs/images/demo.webp"
    if not path.is_file():
        pytest.skip("docs/images/demo.webp is not made yet")
    assert path.stat().st_size <= 1_500_000
    with Image.open(path) as picture:
        assert picture.n_frames > 10


# ---- docs/training.md


@pytest.mark.parametrize("line", re.findall(r"^python train\.py (?:.*\\\n)*.*$", TRAINING, re.MULTILINE))
def test_training_commands_compose_and_their_networks_fit(line):
    from vaegan.networks import VAE, Discriminator

    words = [word for word in shlex.split(line.replace("\\\n", ""), comments=True)[2:] if word != "-m"]
    overrides = [re.sub(r"^([\w.]+=[^\[\],]*),.*$", r"\1", word) for word in words]  # of a sweep its first run
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("config", overrides=overrides)
    model = OmegaConf.to_container(cfg.model, resolve=True)
    if "networks" not in model:
        return
    VAE(**model["networks"])
    if model["discriminator"]:
        Discriminator(**model["discriminator"])


def test_choices_and_loss_terms_of_the_tables_are_those_of_the_code():
    for group, choices in re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|", TRAINING, re.MULTILINE):
        known = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
        assert set(re.findall(r"`(\w+)`", choices)) == known, group
    code = "".join((ROOT / "vaegan/training" / name).read_text() for name in ("autoencoder.py", "callbacks.py"))
    named = re.findall(r"^\| ((?:`[\w/]+`(?:, )?)+) \|", TRAINING.split("## What the loss terms mean")[1], re.MULTILINE)
    assert len(named) >= 8
    for term in re.findall(r"`(?:val/)?(\w+?)(?:200)?`", " ".join(named)):
        assert f'"{term}"' in code or f"/{term}" in code, f"{term} is logged nowhere"
