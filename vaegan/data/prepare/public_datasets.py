"""Public data sets in the layout in which their authors distribute them."""

from __future__ import annotations

import csv
import datetime
import json
import math
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from vaegan.data.prepare.parts import Rejected
from vaegan.data.prepare.sources import MIDDLE, PHOTOS, VIDEOS, Item, Listing, files_below, named_person
from vaegan.errors import UserError

MIN_FACE_SCORE = 1.0
"""IMDB-WIKI's detector score below which few pictures show a usable face (Rothe et al. 2018 use 1.0)."""

AGES = range(0, 101)
"""Ages outside come from wrong dates in the files."""


def imdb_wiki(root: Path, source: str) -> Listing:
    """imdb.mat or wiki.mat beside the folders 00 to 99, or both (IMDB-WIKI, Rothe et al. 2018).

    Kept: one face (second_face_score is not a number), face_score at least 1, an age of 0 to 100.

    Raises:
        UserError: there is no .mat, it cannot be read, or scipy is missing.
    """
    mats = sorted(path for path, _ in files_below(root) if path.name in ("imdb.mat", "wiki.mat"))
    if not mats:
        raise UserError(f"{root} has no imdb.mat or wiki.mat: both come in the tar of the metadata, put it beside 00/")
    listing = Listing("imdb_wiki")
    for mat in mats:
        table = _mat_struct(mat)
        base = mat.parent.relative_to(root)
        # In the *_crop archives face_location still counts px of the uncropped picture, and the face is in the middle.
        cropped = "crop" in mat.parent.name or "crop" in root.name
        count = len(table["full_path"])
        for i in range(count):
            relative = _text(table["full_path"][i])
            name = str(PurePosixPath(base.as_posix()) / relative) if str(base) != "." else relative
            reason = _unfit(table, i)
            path = mat.parent / relative
            if reason is None and not path.is_file():
                reason = ("missing", f"{mat.name} names it, but it is not on the disk")
            if reason:
                listing.rejected.append(Rejected(name, *reason))
                continue
            person = _text(table["name"][i]) if "name" in table else ""
            box = np.asarray(table["face_location"][i], float).ravel()
            # MATLAB counts pixels from 1; a continuous coordinate of theirs is 0.5 larger than ours.
            face = MIDDLE if cropped or len(box) != 4 else tuple((box[:2] + box[2:]) / 2 - 0.5)
            person = named_person(person) if person else f"{source}:{name}"
            listing.photos.append(Item(str(path), name, source, person, face=face, relative=face is MIDDLE))
    return listing


def _mat_struct(mat: Path) -> dict[str, np.ndarray]:
    """The struct of a MATLAB file: field -> (N,) array."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UserError(f"reading {mat} needs scipy: pip install scipy") from error
    try:
        content = loadmat(str(mat))
        struct = content[mat.stem][0, 0]
        table = {name: np.asarray(struct[name]).ravel() for name in struct.dtype.names}
        needed = {"full_path", "face_location", "face_score", "second_face_score", "dob", "photo_taken"}
        if missing := needed - set(table):
            raise KeyError(", ".join(sorted(missing)))
    except Exception as error:  # scipy raises what it likes on damaged files, zlib.error and MemoryError among it
        raise UserError(
            f"{mat} is not the {mat.stem} table that its authors distribute ({error}): fetch it again"
        ) from error
    return table


def _unfit(table: dict[str, np.ndarray], i: int) -> tuple[str, str] | None:
    """Why IMDB-WIKI's own figures speak against a picture."""
    score, second = float(table["face_score"][i]), float(table["second_face_score"][i])
    if not math.isfinite(score):
        return "no face", "face_score of the data set"
    if score < MIN_FACE_SCORE:
        return "low face score", f"{score:.2f} < {MIN_FACE_SCORE:g}"
    if not math.isnan(second):
        return "second face", f"score {second:.2f}"
    try:
        # A MATLAB datenum counts days from year 0, Python's ordinal from year 1.
        born = datetime.date.fromordinal(int(table["dob"][i]) - 366)
    except (ValueError, OverflowError):
        return "age not sane", "no date of birth"
    age = int(table["photo_taken"][i]) - born.year - (born.month > 6)  # taken in the middle of the year
    return None if age in AGES else ("age not sane", f"{age} years")


def _text(cell) -> str:
    """A string cell of a struct, which scipy nests in arrays."""
    while isinstance(cell, np.ndarray):
        if not cell.size:
            return ""
        cell = cell.ravel()[0]
    return str(cell).strip()


def celeba(root: Path, source: str) -> Listing:
    """identity_CelebA.txt and list_eval_partition.txt, in Anno/ and Eval/ or beside the folder of pictures."""
    tables = {}
    for name in ("identity_CelebA.txt", "list_eval_partition.txt"):
        path = next((p for p, _ in files_below(root) if p.name == name), None)
        tables[name] = _two_columns(path) if path else {}
    identity, partition = tables.values()
    listing = Listing("celeba")
    seen = set()
    for path, name in files_below(root):
        if path.suffix.lower() in PHOTOS and path.name not in seen:
            stem = path.stem + ".jpg"  # img_align_celeba_png holds the same names as .png
            person = f"celeba:id{identity[stem]}" if stem in identity else f"{source}:{name}"
            split = {"0": "train", "1": "val", "2": "test"}.get(partition.get(stem, ""), "")
            listing.photos.append(Item(str(path), str(name), source, person, split, MIDDLE, True))
            seen.add(path.name)
    for stem in sorted((set(identity) | set(partition)) - {Path(name).stem + ".jpg" for name in seen}):
        listing.rejected.append(Rejected(stem, "missing", "the tables name it, but it is not on the disk"))
    return listing


def _two_columns(path: Path) -> dict[str, str]:
    pairs = (line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def lfw(root: Path, source: str) -> Listing:
    """NAME/NAME_0001.jpg (LFW, also funneled and deep-funneled); the person is the one in the middle."""
    listing = Listing("lfw")
    for path, name in files_below(root):
        if _LFW.search(str(name)):
            listing.photos.append(
                Item(str(path), str(name), source, named_person(path.parent.name), face=MIDDLE, relative=True)
            )
    return listing


_LFW = re.compile(r"(?:^|/)([^/]+)/\1_\d{4}\.\w+$")


def ffhq(root: Path, source: str) -> Listing:
    """thumbnails128x128/ or images1024x1024/ (FFHQ); the first 60,000 are the authors' training set."""
    folders = [root / name for name in ("images1024x1024", "thumbnails128x128") if (root / name).is_dir()] or [root]
    listing = Listing("ffhq")
    category = {}
    meta = root / "ffhq-dataset-v2.json"
    if meta.is_file():
        try:
            entries = json.loads(meta.read_text(encoding="utf-8"))
            category = {f"{int(number):05d}": entry["category"] for number, entry in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{meta} cannot be read ({error}): fetch it again or take it away") from error
    for path, _ in files_below(folders[0]):
        if path.suffix.lower() in PHOTOS and path.stem.isdigit():
            name = path.relative_to(root).as_posix()
            training = category.get(path.stem, "training" if int(path.stem) < 60_000 else "validation") == "training"
            split = "train" if training else "val"
            listing.photos.append(Item(str(path), name, source, f"{source}:{path.stem}", split, MIDDLE, True))
    return listing


def fairface(root: Path, source: str) -> Listing:
    """fairface_label_train.csv and fairface_label_val.csv beside train/ and val/ (FairFace)."""
    listing = Listing("fairface")
    tables = sorted(root.glob("fairface_label_*.csv"))
    if not tables:
        raise UserError(f"{root} has no fairface_label_train.csv or _val.csv: put them beside train/ and val/")
    for table in tables:
        split = table.stem.rsplit("_", 1)[1]
        with open(table, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                name = row.get("file") or ""
                if not (root / name).is_file():
                    listing.rejected.append(
                        Rejected(name, "missing", f"{table.name} names it, but it is not on the disk")
                    )
                    continue
                listing.photos.append(Item(str(root / name), name, source, f"{source}:{name}", split, MIDDLE, True))
    return listing


def voxceleb(root: Path, source: str) -> Listing:
    """[dev|test]/mp4/id10001/VIDEO/00001.mp4 (VoxCeleb), or PERSON/VIDEO/CLIP.mp4 and PERSON/CLIP.mp4 (CelebV-HQ)."""
    listing = Listing("voxceleb")
    clips = [(path, name) for path, name in files_below(root) if path.suffix.lower() in VIDEOS]
    folders = [[part for part in name.parts[:-1] if part not in _VOX_LEVELS] for _, name in clips]
    several = len({parts[0] for parts in folders if parts}) > 1
    for (path, name), parts in zip(clips, folders, strict=True):
        first = parts[0] if parts and several else str(name)
        person = next((part for part in parts if _VOX_ID.fullmatch(part)), first)
        split = {"dev": "train", "test": "test"}.get(name.parts[0], "")
        listing.videos.append(Item(str(path), str(name), source, f"{source}:{person}", split))
    return listing


_VOX_LEVELS = {"dev", "test", "mp4", "video", "videos"}
_VOX_ID = re.compile(r"id\d{5}")

READERS: dict[str, Callable[[Path, str], Listing]] = {
    "imdb_wiki": imdb_wiki,
    "celeba": celeba,
    "lfw": lfw,
    "ffhq": ffhq,
    "fairface": fairface,
    "voxceleb": voxceleb,
}


def recognise(root: Path) -> str | None:
    """Which data set a folder is, by the files that only it has; None for a plain folder."""
    names = {name.name for _, name in files_below(root)}
    if names & {"imdb.mat", "wiki.mat"}:
        return "imdb_wiki"
    if names & {"identity_CelebA.txt", "list_eval_partition.txt"}:
        return "celeba"
    if any(name.startswith("fairface_label_") for name in names):
        return "fairface"
    if "ffhq-dataset-v2.json" in names or (root / "thumbnails128x128").is_dir():
        return "ffhq"
    pictures = [str(name) for _, name in files_below(root) if name.suffix.lower() in PHOTOS | VIDEOS]
    if pictures and all(_LFW.search(name) for name in pictures):
        return "lfw"
    if pictures and all(re.search(r"(?:^|/)id\d{5}/[^/]+/\d+\.\w+$", name) for name in pictures):
        return "voxceleb"
    return None
