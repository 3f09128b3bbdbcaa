"""How fast training data is read: stills and clips from the cache, and torchvision's ImageFolder on the same stills.

    VAEGAN_DATA=... python benchmarks/reading.py                 # data sets `faces` and `clips`
    VAEGAN_DATA=... python benchmarks/reading.py --threads 1 --clips path/to/videos

Batches are read as training reads them: shuffled, every second picture mirrored, float in [0, 1]. ImageFolder reads
the cached pictures from PNG files, which lose nothing, with a DataLoader of as many workers as there are threads.
Prints rates of the wall clock and, of what runs in this process alone, of the CPU's: on a machine that others use
too, the second is what the code needs. Everything is read three times and the fastest counts.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import torch
from hydra import compose, initialize_config_dir
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from vaegan.config import instantiate
from vaegan.data.module import FaceData
from vaegan.media import write_image

SIDE_BY_SIDE = 4096
"""Pictures that ImageFolder reads; writing them takes longer than reading them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", default="faces", help="data set of stills")
    parser.add_argument("--clips", default="clips", help="clips: a name below $VAEGAN_DATA, or a folder")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores to use")
    args = parser.parse_args()
    threads = args.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    print(f"{threads} thread{'s' * (threads > 1)}, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")

    stills = opened("faces", f"data.name={args.faces}")
    rate(f"{len(stills.train.crops):,} stills of 64 px, batches of 128", lambda: stills.train, "img/s")
    image_folder(stills.train.crops[:SIDE_BY_SIDE], threads)
    augmented = opened("faces", f"data.name={args.faces}", *CHANGES, "data.limit=1024")
    rate("the same, every augmentation", lambda: augmented.train, "img/s")

    for what, kind, *options in (
        ("clips of 16 frames", "clips"),
        ("clips of 16 frames, every augmentation", "clips", *CHANGES, "data.limit=256"),
        ("clips of 16 frames with DIS flow", "clips", "data.flow=dis", "data.limit=256"),
        ("pairs of frames", "pairs"),
    ):
        size = 16 if kind == "clips" else 128
        data = opened(kind, f"data.name={args.clips}", f"data.batch={size}", "+model.clips=true", *options)
        rate(f"{data.train.size:,} {what}, batches of {size}", lambda data=data: data.train, f"{kind}/s")


CHANGES = [f"data.augment.{name}={value}" for name, value in {
    "rotate": 8, "scale": 0.1, "shift": 0.05, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02,
    "noise": 0.02,
}.items()]  # fmt: skip
"""What conf/data/shared/drawing.yaml proposes to try."""


def opened(data: str, *overrides: str) -> FaceData:
    """The configuration `data` as trainings get it."""
    with initialize_config_dir(str(Path(__file__).resolve().parents[1] / "conf"), version_base="1.3"):
        faces = instantiate(compose("config", [f"data={data}", *overrides]).data)
    faces.setup()
    return faces


def rate(what: str, batches: Callable[[], Iterable], unit: str, own: bool = True) -> None:
    """Read everything three times; prints how fast the fastest time was."""
    walls, cpus = [], []
    for _ in range(3):
        wall, cpu, count = time.perf_counter(), time.process_time(), 0
        for batch in batches():
            count += len(batch)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    needed = f", {count / min(cpus):,.0f} {unit} by CPU time" if own else ""
    print(f"{what}: {count / min(walls):,.0f} {unit}{needed}", flush=True)


def image_folder(crops, workers: int) -> None:
    """The same crops from files, through torchvision."""
    steps = v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "faces").mkdir()
        for number, crop in enumerate(crops):
            write_image(Path(folder) / "faces" / f"{number:05}.png", crop)
        for count in sorted({0, workers}):
            loader = DataLoader(
                ImageFolder(folder, steps), 128, shuffle=True, num_workers=count, persistent_workers=count > 0
            )
            what = f"ImageFolder + DataLoader, {len(crops):,} of them as PNG, {count} workers"
            rate(what, lambda loader=loader: (pictures for pictures, _ in loader), "img/s", own=not count)


if __name__ == "__main__":
    main()
