"""What a change of the code must not change: record it before, compare it after.

    python benchmarks/unchanged.py record before.json                     # in a checkout of the old code
    python benchmarks/unchanged.py compare before.json                    # in the new one, on the same machine
    python benchmarks/unchanged.py compare before.json --only transfer    # or prepare, train, evaluate

Runs the commands `transfer`, `vaegan` and `python train.py` of the checkout it is started in (put it first on
PYTHONPATH) on data below VAEGAN_DATA, single-threaded, in about three minutes of CPU. Exit status 1 if something
differs.

| group | what | must agree |
|---|---|---|
| frames, pixels, sound, files | decoded frames and samples, and the bytes, of what `transfer` writes | exactly |
| arrays | motion files, labels of data sets | exactly |
| shards, index | `vaegan prepare` of a fixed folder | exactly |
| losses | 20 training steps and the validation after them, `model=vae` and `model=vaegan` | to 1e-6 |
| figures | `vaegan evaluate --quick` | to 1e-3 |
| says | what the commands print, times left out | shown, never a failure |
"""

import argparse
import csv
import difflib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import av
import numpy as np
from PIL import Image
from safetensors.numpy import load_file

TOLERANCE = {"losses": 1e-6, "figures": 1e-3}  # relative, or absolute below 1
MODEL = "paper-vaegan"
PYTHON_EXAMPLE = """
import inspect, sys, hashlib
import vaegan
model = vaegan.load_model("paper-vaegan")
motion = vaegan.Motion.from_driver(sys.argv[1], model)
livelier = (1.5 * motion).smooth(0.2) + 0.5 * motion.slice(start=0.2)
livelier.save(sys.argv[2])
known = inspect.signature(vaegan.animate).parameters
more = {name: value for name, value in {"view": "crop", "renderer": "decode"}.items() if name in known}
frames = list(vaegan.animate("sample", sys.argv[2], model=model, size=128, reference="first", **more))
print(len(frames), hashlib.sha256(b"".join(frame.tobytes() for frame in frames)).hexdigest())
"""


class Tree:
    """The commands of the checkout in this folder, and the folder in which they work."""

    def __init__(self, work: Path, data: Path):
        self.work, self.data = work, data
        quiet = {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1", "VAEGAN_CACHE": str(work / "cache")}
        self.env = os.environ | quiet
        offered = self.run("transfer", "--help")
        self.decode = [word for option in ("--view crop", "--renderer decode") for word in option.split()]
        self.decode = self.decode if "--renderer" in offered else []

    def run(self, *command: str | Path, **env: str) -> str:
        """Standard output of `transfer`, `vaegan` or `python`."""
        program, *rest = map(str, command)
        program = sys.executable if program == "python" else str(Path(sys.executable).parent / program)
        done = subprocess.run([program, *rest], env=self.env | env, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))}\nfailed with status {done.returncode}:\n{done.stderr[-3000:]}")
        return done.stdout

    def transfer(self, *options: str | Path) -> str:
        return self.said(self.run("transfer", "--model", MODEL, "--reference", "first", *self.decode, *options))

    def said(self, text: str) -> str:
        """`text` without what differs from call to call."""
        text = text.replace(str(self.work), "WORK").replace(str(self.data), "DATA")
        return re.sub(r"in [\d.]+ s \(\d+ frames/s\)", "in TIME", text)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]


def of_array(values: np.ndarray) -> dict:
    """An array as a record: its content by hash, and enough to see how far off another one is."""
    values = np.ascontiguousarray(values)
    record = {"hash": digest(values.tobytes()), "shape": list(values.shape), "dtype": str(values.dtype)}
    if values.size and values.dtype.kind in "fiub":
        record |= {"mean": float(values.mean(dtype=np.float64)), "std": float(values.std(dtype=np.float64))}
    return record


def of_video(path: Path) -> dict[str, dict]:
    """Decoded frames and sound of a video."""
    found = {}
    with av.open(str(path)) as file:
        found["frames"] = of_array(np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]))
    with av.open(str(path)) as file:
        if file.streams.audio:
            found["sound"] = of_array(np.concatenate([f.to_ndarray() for f in file.decode(audio=0)], axis=-1))
    return found


def of_images(folder: Path) -> dict:
    return of_array(np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]))


def transfers(tree: Tree) -> dict:
    """README's commands: videos, pictures, motions."""
    work, data, found = tree.work, tree.data, {}
    photo, clip = data / "photos/mica_connelly.jpg", sorted((data / "clips/dev").glob("*.mp4"))[0]
    spoken = sorted((data / "raw/videos").glob("talkvid*.mp4"))[0]
    out, both, again = work / "out.mp4", work / "both.mp4", work / "again.mp4"
    board, motion, cut, frames = work / "moments.png", work / "clip.motion", work / "cut.webp", work / "frames"
    says = {"shipped": tree.transfer("--photo", "sample", "--driver", "talking", "--output", out)}
    more = ["--compare", "--storyboard", board, "--save-motion", motion]
    says["both"] = tree.transfer("--photo", photo, "--driver", spoken, "--end", "2.5", *more, "--output", both)
    changed = ["--strength", "1.3", "--smooth", "0.3"]
    says["again"] = tree.transfer("--photo", "sample", "--driver", motion, *changed, "--output", again)
    part = ["--reference", "best", "--start", "0.2", "--end", "0.8"]
    says["plan"] = tree.transfer("--photo", photo, "--driver", clip, *part, "--dry-run")
    says["part"] = tree.transfer("--photo", photo, "--driver", clip, *part, "--size", "96", "--output", frames)
    settings = ["--motion", "absolute", "--fps", "10", "--report", work / "report.html"]
    says["cut"] = tree.transfer("--photo", photo, "--driver", clip, *settings, "--output", cut)
    says["folder"] = tree.transfer("--photo", "sample", "--driver", frames, "--output", work / "folder.gif")
    for path in (out, both, again):
        found |= {f"{kind}/{path.name}": value for kind, value in of_video(path).items()}
        found[f"files/{path.name}"] = digest(path.read_bytes())
    found["pixels/moments.png"] = of_array(np.asarray(Image.open(board)))
    found["frames/frames"] = of_images(frames)
    for path in (cut, work / "folder.gif"):
        found[f"files/{path.name}"] = digest(path.read_bytes())
    says["inspect"] = tree.said(tree.run("vaegan", "motion", "inspect", motion))
    livelier = work / "livelier.motion"
    found["frames/animate"] = tree.run("python", "-c", PYTHON_EXAMPLE, clip, livelier)
    for path in (motion, livelier):
        found |= {f"arrays/{path.name}/{name}": of_array(value) for name, value in load_file(path).items()}
    return found | {f"says/{name}": text for name, text in says.items()}


def prepared(tree: Tree) -> dict:
    """`vaegan prepare` of 40 photos and a video, with either tracker."""
    raw, source, found = tree.data / "raw", tree.work / "source", {}
    people = sorted(path for path in (raw / "photos/lfw").iterdir() if path.is_dir())[:30]
    for path in [path for person in people for path in sorted(person.iterdir())][:40]:
        copy = source / "photos" / path.relative_to(raw / "photos")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    (source / "videos").mkdir(parents=True)
    video = sorted((raw / "videos").glob("*.mpg"))[0]
    shutil.copyfile(video, source / "videos" / video.name)
    for name, kinds, more in (("best", ("photos", "videos"), ()), ("own", ("photos",), ("--tracker", "own"))):
        output = tree.work / f"prepared-{name}"
        sources = [source / kind for kind in kinds]
        said = tree.run(
            "vaegan", "prepare", *sources, "--output", output, "--split", "val=0.2", "--workers", "1", *more
        )
        found[f"says/prepare-{name}"] = re.sub(r"[\d.]+ ?(s|min|pictures/s|/s)\b", "TIME", tree.said(said))
        found |= of_data_set(output, name)
    return found


def of_data_set(folder: Path, name: str) -> dict:
    """Content of shards, index and labels of a data set."""
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            members = {member.name: digest(tar.extractfile(member).read()) for member in tar if member.isfile()}
        found[f"shards/{name}/{path.name}"] = members
        found[f"shards/{name}/{path.name}/bytes"] = digest(path.read_bytes())
    for path in sorted(folder.glob("*.csv")):
        found[f"index/{name}/{path.name}"] = path.read_text(encoding="utf-8").replace(str(folder.parent), "WORK")
    with np.load(folder / "labels.npz") as labels:
        found |= {f"arrays/{name}/labels/{key}": of_array(labels[key]) for key in labels.files}
    return found


def small_data(tree: Tree) -> Path:
    """A folder for VAEGAN_DATA: the first 640 training and 64 validation crops of `faces`, and all clips."""
    data, faces = tree.work / "data", tree.data / "faces"
    (data / "small").mkdir(parents=True)
    (data / "clips").symlink_to(tree.data / "clips")
    with open(faces / "index.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if float(row["cover"]) >= 0.95]
    chosen = [
        row
        for split, count in (("train", 640), ("val", 64))
        for row in [row for row in rows if row["split"] == split][:count]
    ]
    with open(data / "small/index.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(chosen[0]))
        table.writeheader()
        table.writerows({**row, "shard": f"small-{row['split']}-0000.tar"} for row in chosen)
    for split in ("train", "val"):
        with tarfile.open(data / f"small/small-{split}-0000.tar", "w") as small:
            for row in (row for row in chosen if row["split"] == split):
                with tarfile.open(faces / row["shard"]) as tar:
                    picture = tar.extractfile(f"{row['key']}.webp").read()
                member = tarfile.TarInfo(f"{row['key']}.webp")
                member.size = len(picture)
                small.addfile(member, io.BytesIO(picture))
    with np.load(faces / "labels.npz") as labels:
        place = {key: k for k, key in enumerate(labels["key"])}
        kept = np.array([place[row["key"]] for row in chosen])
        count = len(place)
        small = {name: values[kept] if len(values) == count else values for name, values in labels.items()}
    np.savez(data / "small/labels.npz", **small)
    return data


def trained(tree: Tree) -> dict:
    """20 steps of both models from the same seed: losses, validation, weights."""
    data, found = small_data(tree), {}
    for model, more in (("vae", ()), ("vaegan", ("model.gan.start_step=5", "model.gan.ramp_steps=10"))):
        folder = tree.work / model
        settings = [f"model={model}", "data.name=small", "data.batch=32", "trainer.epochs=1", "trainer.threads=1"]
        tree.run("python", "train.py", *settings, *more, f"hydra.run.dir={folder}", VAEGAN_DATA=str(data))
        with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
            for k, row in enumerate(csv.DictReader(file)):
                values = {name: float(value) for name, value in row.items() if name and value}
                values.pop("train/images_per_second", None)
                found |= {f"losses/{model}/{k}/{name}": value for name, value in values.items()}
        weights = load_file(folder / "model/weights.safetensors")
        found |= {f"arrays/{model}/weights": digest(b"".join(weights[name].tobytes() for name in sorted(weights)))}
    return found


def evaluated(tree: Tree) -> dict:
    """All mean figures of `vaegan evaluate --quick`."""
    output = tree.work / "evaluated"
    tree.run("vaegan", "evaluate", "--model", MODEL, "--quick", "--output", output)
    figures = json.loads((output / "metrics.json").read_text(encoding="utf-8"))["figures"]
    return {
        f"figures/{section}/{system}/{name}": figure["mean"]
        for section, table in figures.items()
        for system, row in table.items()
        for name, figure in row.items()
    }


PARTS = {"transfer": transfers, "prepare": prepared, "train": trained, "evaluate": evaluated}


def record(parts: list[str]) -> dict:
    data = os.environ.get("VAEGAN_DATA")
    if not data:
        sys.exit("set VAEGAN_DATA to the folder that holds photos, clips, raw and faces")
    found = {}
    with tempfile.TemporaryDirectory() as work:
        tree = Tree(Path(work), Path(data).resolve())
        for part in parts:
            found[part] = PARTS[part](tree)
            print(f"{part}: {len(found[part])} values", file=sys.stderr)
    return found


def alike(group: str, before: object, after: object) -> bool:
    if group in TOLERANCE and isinstance(before, float) and isinstance(after, float):
        return abs(before - after) <= TOLERANCE[group] * max(1.0, abs(before))
    return before == after


def differences(before: dict, after: dict) -> int:
    """Print what differs; the number of differences that count."""
    failures = 0
    for part in sorted(before.keys() & after.keys()):
        old, new = before[part], after[part]
        for name in sorted(old.keys() | new.keys()):
            group = name.split("/")[0]
            if name in old and name in new and alike(group, old[name], new[name]):
                continue
            failures += group != "says" and name in old
            print(f"{'words' if group == 'says' else 'DIFFERS' if name in old else 'new'}: {part} {name}")
            if name in old:
                _show(old[name], new.get(name, "gone"))
        print(f"{part}: {len(old)} values compared")
    return failures


def _show(old: object, new: object) -> None:
    if isinstance(old, str) and isinstance(new, str) and "\n" in old:
        lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "before", "after", lineterm="", n=0)
        print("\n".join(f"    {line}" for line in list(lines)[2:30]))
    elif isinstance(old, dict) and isinstance(new, dict) and "hash" not in old:
        changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
        print(f"    {len(changed)} of {len(old)} members: {', '.join(changed[:5])}")
    else:
        print(f"    before {old}\n    after  {new}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "compare"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", choices=list(PARTS), action="append", help="this part; again for a second one")
    args = parser.parse_args()
    found = record(args.only or list(PARTS))
    if args.what == "record":
        args.file.write_text(json.dumps(found, indent=1), encoding="utf-8")
        return
    failures = differences(json.loads(args.file.read_text(encoding="utf-8")), found)
    print(f"{failures} differences" if failures else "unchanged")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
