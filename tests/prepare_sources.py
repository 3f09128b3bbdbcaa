"""Small sources for the tests of `vaegan prepare`, cut from the shared raw photos and clips."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

from vaegan.data.prepare.parts import Rejected
from vaegan.media import VideoReader, VideoWriter

PEOPLE = ("AJ_Cook", "Abdulaziz_Kamilov", "Abid_Hamid_Mahmud_Al-Tikriti")


def photos_of_people(data_dir: Path) -> list[Path]:
    """Three photos of three people."""
    return [next((data_dir / "raw/photos/lfw" / name).glob("*.jpg")) for name in PEOPLE]


def people(data_dir: Path, root: Path) -> None:
    """The three photos, each in the folder of its person."""
    for photo in photos_of_people(data_dir):
        copy(photo, root / photo.parent.name / photo.name)


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def cut(source: Path, target: Path, frames: int) -> None:
    """The first frames of a video."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with VideoReader(source) as reader, VideoWriter(target, reader.width, reader.height, reader.rate) as writer:
        for _, frame in zip(range(frames), reader, strict=False):
            writer.write(frame.image)


def index_of(folder: Path) -> list[dict[str, str]]:
    """The lines of a data set's index."""
    with open(folder / "index.csv", newline="") as file:
        return list(csv.DictReader(file))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """What a data set consists of."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_rejected(path: Path) -> Iterator[Rejected]:
    """The entries of a rejected.csv."""
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield Rejected(row["file"], row["reason"], row["detail"], int(row["count"]), row["source"])
