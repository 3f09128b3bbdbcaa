"""Damaged and lying files: every command ends with a result or with one line, soon, and in little memory.

Thirteen kinds of input, each damaged in `COUNT` ways drawn from a seed: bytes flipped, the head scrambled, the end cut
off, a piece taken out, sizes that are not true.
"""

import json
import random
import shutil
import struct
import subprocess
import sys
import time
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_clips import make_clip
from PIL import Image
from standin import save_tiny_model

from vaegan.data import format as sets
from vaegan.media import VideoWriter, encode_image, files, read_image, write_image
from vaegan.samples import find_photo

COUNT = 16
MOST_MB = 2048
LINES = ("note: ", "warning: ")


@pytest.fixture(scope="session")
def sound(tmp_path_factory) -> Path:
    """The files before they are damaged."""
    root = tmp_path_factory.mktemp("sound")
    photo = np.asarray(Image.fromarray(read_image(find_photo("sample"))).resize((128, 128)))
    for name in ("photo.jpg", "photo.png", "photo.webp"):
        write_image(root / name, photo)
    for name in ("clip.mp4", "clip.webm", "clip.gif", "moving.webp"):
        with VideoWriter(root / name, 128, 128, 10) as video:
            for step in range(5):
                video.write(np.roll(photo, step, 1))
    save_tiny_model(root / "model")
    command = ["transfer", "--photo", "photo.png", "--driver", "clip.mp4", "--model", "model"]
    done = _Commands().run(root, [*command, "--save-motion", "driver.motion", "--output", "out.mp4"])
    assert done["status"] == 0, done["said"]
    (root / "set").mkdir()
    keys = [f"key{i}" for i in range(4)]
    noise = np.random.default_rng(1).integers(0, 255, (4, 8, 8, 3), np.uint8)
    with sets.ShardWriter(root / "set") as shards:
        for key, picture in zip(keys, noise, strict=True):
            shards.add("train", "train.tar", key, encode_image(picture.repeat(8, 0).repeat(8, 1), ".webp"))
    lines = [{"key": key, "split": "train", "shard": "train.tar", "person": key} for key in keys]
    sets.write_index(root / "set/index.csv", lines)
    codes = sets.mesh_codes(np.random.default_rng(0).uniform(0, 1, (4, 478, 3)))
    sets.write_labels(root / "set/labels.npz", keys, codes, np.zeros((4, 52), np.uint8))
    return root


TRANSFER = ["transfer", "--size", "64", "--output", "out.mp4", "--end", "0.4", "--photo"]
STILL = ["--driver", "smiling"]
KINDS = {
    "photo.jpg": [*TRANSFER, "photo.jpg", *STILL],
    "photo.png": [*TRANSFER, "photo.png", *STILL],
    "photo.webp": [*TRANSFER, "photo.webp", *STILL],
    "clip.mp4": [*TRANSFER, "sample", "--driver", "clip.mp4"],
    "clip.webm": [*TRANSFER, "sample", "--driver", "clip.webm"],
    "clip.gif": [*TRANSFER, "sample", "--driver", "clip.gif"],
    "moving.webp": [*TRANSFER, "sample", "--driver", "moving.webp"],
    "driver.motion": [*TRANSFER, "sample", "--model", "model", "--driver", "driver.motion"],
    "model/weights.safetensors": [*TRANSFER, "photo.png", "--driver", "clip.mp4", "--model", "model"],
    "model/config.yaml": [*TRANSFER, "photo.png", "--driver", "clip.mp4", "--model", "model"],
    "set/train.tar": ["vaegan", "check-data", "set"],
    "set/index.csv": ["vaegan", "check-data", "set"],
    "set/labels.npz": ["vaegan", "check-data", "set"],
}


class _Commands:
    """One warm process that runs commands in forks of itself."""

    def __init__(self) -> None:
        program = [sys.executable, str(Path(__file__).parent / "forked_commands.py")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(program, **pipes)
        assert self.process.stdout.readline() == "ready\n"

    def run(self, folder: Path, words: list[str], accident: list | None = None) -> dict:
        """accident: of `forked_commands.befall`."""
        said = folder.parent / f"{folder.name}.said"
        asked = {"folder": str(folder), "words": words, "said": str(said), "accident": accident}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline()) | {"said": said.read_text(errors="replace")}


@pytest.fixture(scope="session")
def commands():
    commands = _Commands()
    yield commands
    commands.process.stdin.close()
    commands.process.wait(10)


def damaged(data: bytes, suffix: str, seed: int) -> bytes:
    """`data`, damaged in one of five ways, which is `seed` modulo 5."""
    draw = random.Random(f"{suffix} {seed}")
    changed = bytearray(data)
    match seed % 5:
        case 0:
            for _ in range(1 + len(data) // 400):
                changed[draw.randrange(len(data))] = draw.randrange(256)
        case 1:
            for _ in range(8):
                changed[draw.randrange(min(160, len(data)))] = draw.randrange(256)
        case 2:
            del changed[draw.randrange(len(data)) :]
        case 3:
            start = draw.randrange(len(data))
            del changed[start : start + draw.randrange(1, max(2, len(data) // 3))]
        case 4:
            _lie(changed, suffix, draw)
    return bytes(changed)


HUGE = (0xFFFF, 0x7FFF, 30_000, 0, 1)


def _lie(data: bytearray, suffix: str, draw: random.Random) -> None:
    """Write a size that is not true where the format has one."""

    def write(mark: bytes, offset: int, form: str, *values: int) -> None:
        place = data.find(mark)
        if place >= 0 and place + offset + struct.calcsize(form) <= len(data):
            struct.pack_into(form, data, place + offset, *values)

    wide, high = draw.choice(HUGE), draw.choice(HUGE)
    count = draw.choice((0xFFFFFFFF, 0x7FFFFFFF, 0x10000000, 0))
    match suffix:
        case ".png":
            write(b"IHDR", 4, ">II", draw.choice((wide, count)), high)
            start = data.find(b"IHDR")
            struct.pack_into(">I", data, start + 17, zlib.crc32(data[start : start + 17]))
        case ".jpg":
            write(b"\xff\xc0", 5, ">HH", wide, high)
        case ".gif":
            write(b"GIF8", 6, "<HH", wide, high)
        case ".webp":
            write(b"\x9d\x01\x2a", 3, "<HH", wide & 0x3FFF, high & 0x3FFF)
            write(b"VP8X", 12, "<HHH", wide, high, wide)
        case ".mp4":
            mark, offset = draw.choice(
                ((b"avc1", -4), (b"avc1", 28), (b"stsz", 8), (b"stts", 8), (b"mdhd", 12), (b"moov", -4), (b"stco", 8))
            )
            write(mark, offset, ">I", draw.choice((count, wide << 16 | high)))
        case ".motion" | ".safetensors":
            struct.pack_into("<Q", data, 0, draw.choice((count, 2**62, 8)))
        case ".tar":
            data[124:136] = draw.choice((b"77777777777\0", b"00000000001\0", b"\x80" + b"\xff" * 11))
        case _:
            at = draw.randrange(max(1, len(data) - 4))
            struct.pack_into("<I", data, at, count)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_wrong_with_a_file_ends_in_a_result_or_one_line(kind, sound, commands, tmp_path):
    words, faults = KINDS[kind], []
    for seed in range(COUNT):
        folder = tmp_path / str(seed)
        shutil.copytree(sound, folder, ignore=shutil.ignore_patterns("out.mp4"))
        broken = folder / kind
        broken.write_bytes(damaged(broken.read_bytes(), broken.suffix, seed))
        before = {path for path in folder.rglob("*")}
        done = commands.run(folder, words)
        lines = done["said"].splitlines()
        more = [line for line in lines if not line.startswith(LINES)]
        new = {path.name for path in folder.rglob("*")} - {path.name for path in before}
        fine = done["status"] == 0 and (words[0] == "vaegan" or new == {"out.mp4"})
        refused = done["status"] == 1 and len([x for x in more if x.startswith("error: ")]) == 1 and not new
        refused &= len(more) == 1 or words[0] == "vaegan"  # check-data lists what it found before that
        if done["hung"] or done["peak_mb"] > MOST_MB or "Traceback" in done["said"] or not (fine or refused):
            faults.append(f"{kind}, seed {seed}: {done | {'said': done['said'][-700:]}}, new files {new}")
        shutil.rmtree(folder)
    assert not faults, "\n".join(faults)


def test_the_files_work_before_they_are_damaged(sound, commands, tmp_path):
    for number, words in enumerate({tuple(words) for words in KINDS.values()}):
        folder = tmp_path / str(number)
        shutil.copytree(sound, folder, ignore=shutil.ignore_patterns("out.mp4"))
        done = commands.run(folder, list(words))
        assert done["status"] == 0, (words, done)


STAGES = {
    "read": ("vaegan.media.reader:_File.rgb", 3),
    "track": ("vaegan.faces.tracker:FaceTracker._near", 3),
    "render": ("vaegan.render.decode:Decode.render", 1),
    "write": ("vaegan.media.writer:VideoWriter.write", 3),
    "sound": ("vaegan.media.sound:Sound.finish", 1),
    "mux": ("vaegan.media.writer:_Muxed.finish", 1),
}


@pytest.fixture
def talk(sound, tmp_path):
    """A folder with a photo, a tiny model, and a driver of twelve frames that has sound."""
    folder = tmp_path / "talk"
    shutil.copytree(sound / "model", folder / "model")
    shutil.copy(sound / "photo.png", folder)
    noise = make_clip(tmp_path / "noise.mp4", [Fraction(i, 10) for i in range(12)], 10, sound="aac")
    with VideoWriter(folder / "driver.mp4", 128, 128, 10, audio_from=noise) as video:
        for step in range(12):
            video.write(np.roll(read_image(folder / "photo.png"), step, 1))
    return folder


@pytest.mark.parametrize("stage", STAGES)
def test_an_accident_at_any_stage_leaves_no_half_file_and_nothing_after_the_next_run(stage, commands, talk):
    place, call = STAGES[stage]
    words = ["transfer", "--photo", "photo.png", "--driver", "driver.mp4", "--output", "out.mp4"]
    words += ["--model", "model", "--size", "96"]
    there = {"photo.png", "driver.mp4", "model"}
    for accident, status in {"kill": {-9}, "interrupt": {130}, "full": {1}, "vanish": {0, 1}}.items():
        if accident == "full" and stage in ("read", "track", "render"):
            continue  # nothing is written there
        copy = talk.with_name(f"{stage}-{accident}")
        shutil.copytree(talk, copy)
        done = commands.run(copy, words, [accident, place, call, "driver.mp4"])
        left = {path.name for path in copy.iterdir()}
        assert done["status"] in status and not done["hung"], (accident, done)
        assert "Traceback" not in done["said"], (accident, done)
        assert done["said"].count("error: ") == (done["status"] == 1), (accident, done)
        if done["status"]:
            assert "out.mp4" not in left, accident
        if accident != "kill":
            assert left <= {*there, "out.mp4"}, (accident, left)
        if accident == "vanish":
            shutil.copy(talk / "driver.mp4", copy)
        time.sleep(files.YOUNG if accident == "kill" else 0)
        again = commands.run(copy, words)
        assert again["status"] == 0, (accident, again)
        assert {path.name for path in copy.iterdir()} == {*there, "out.mp4"}
