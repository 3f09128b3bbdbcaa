"""What is made of one job (some photos, or one video) waits in one file until the data set is put together.

A part is a zip, written under another name and renamed: it is there when its job is done, and a run that was killed
goes on with the jobs whose parts are missing.
"""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from vaegan.data.quality import HASH_BYTES
from vaegan.data.storage import fetched, writing
from vaegan.faces.geometry import MESH_POINTS


@dataclass(slots=True)
class CropRow:
    """One crop, as index.csv will tell of it; split "" is decided when all rows are known.

    file: of the source, relative to it; video: FILE#SHOT for frames of videos, "" for photos; frame: number of the
    sampled frame; timestamp: s from the video's first frame; native_px: side of the crop in the picture; cover: share
    of the crop inside the picture; yaw, pitch, roll: degrees; crop_x, crop_y, crop_side: px of the picture;
    crop_roll: radians.
    """

    source: str
    person: str
    split: str
    native_px: int
    cover: float
    presence: float
    sharpness: int
    grey: int
    yaw: float
    pitch: float
    roll: float
    file: str
    video: str = ""
    frame: int = 0
    timestamp: float = 0.0
    crop_x: float = 0.0
    crop_y: float = 0.0
    crop_side: float = 0.0
    crop_roll: float = 0.0


@dataclass(slots=True)
class Rejected:
    """Why a file, or `count` frames of it, did not come into the data set."""

    file: str
    reason: str
    detail: str = ""
    count: int = 1
    source: str = ""


@dataclass(slots=True)
class PreparedCrop:
    """A crop on its way: its row, the bytes of its WebP, mesh codes int16 (478, 3), shapes uint8 (52,), its hash."""

    row: CropRow
    image: bytes
    mesh: np.ndarray
    shapes: np.ndarray
    hash: np.ndarray


@dataclass
class Part:
    """A finished job. sizes: bytes of each picture; the pictures and meshes stay on disk."""

    path: str | Path
    rows: list[CropRow]
    sizes: list[int]
    hashes: np.ndarray
    rejected: list[Rejected] = field(default_factory=list)

    def samples(self) -> Iterator[PreparedCrop]:
        """The crops in the order in which they were found."""
        with fetched(self.path) as local, zipfile.ZipFile(local) as file, file.open("images") as images:
            meshes, shapes = np.load(file.open("mesh.npy")), np.load(file.open("shapes.npy"))
            for i, (row, size) in enumerate(zip(self.rows, self.sizes, strict=True)):
                yield PreparedCrop(row, images.read(size), meshes[i], shapes[i], self.hashes[i])


def write_part(path: str | Path, items: Iterator[PreparedCrop | Rejected], source: str) -> int:
    """Run a job of this source into its part; returns how many crops it gave."""
    rows, sizes, meshes, shapes, hashes, rejected = [], [], [], [], [], []
    with writing(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        with file.open("images", "w", force_zip64=True) as images:
            for item in items:
                if isinstance(item, Rejected):
                    rejected.append(asdict(item) | {"source": source})
                    continue
                rows.append(asdict(item.row))
                sizes.append(images.write(item.image))
                meshes.append(item.mesh)
                shapes.append(item.shapes)
                hashes.append(item.hash)
        arrays = {
            "mesh.npy": np.array(meshes, np.int16).reshape(-1, MESH_POINTS, 3),
            "shapes.npy": np.array(shapes, np.uint8).reshape(-1, 52),
            "hashes.npy": np.array(hashes, np.uint8).reshape(-1, HASH_BYTES),
        }
        for name, array in arrays.items():
            with file.open(name, "w", force_zip64=True) as target:
                np.lib.format.write_array(target, array, allow_pickle=False)
        file.writestr("rows.json", json.dumps({"rows": rows, "sizes": sizes, "rejected": rejected}))
    return len(rows)


def read_part(path: str | Path) -> Part:
    """A part as it was written."""
    with fetched(path) as local, zipfile.ZipFile(local) as file:
        table = json.loads(file.read("rows.json"))
        hashes = np.load(file.open("hashes.npy"))
    rejected = [Rejected(**entry) for entry in table["rejected"]]
    return Part(path, [CropRow(**row) for row in table["rows"]], table["sizes"], hashes, rejected)
