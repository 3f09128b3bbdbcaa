"""What the user chooses when preparing a data set; part of every part's name, so that no two choices mix."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from vaegan.errors import UserError

LIMITS = {
    "scale": (0.5, 4),
    "size": (16, 1024),
    "fps": (0.01, 240),
    "min_px": (1, 10_000),
    "min_cover": (0, 1),
    "min_presence": (0, 1),
    "min_sharpness": (0, 1e6),
    "min_shot": (0, 1e6),
}


@dataclass(frozen=True)
class PrepareSettings:
    """How faces are cut out, and which of them are kept.

    scale, follow: the framing (design, section 3). size: of the stored crops, px. fps: frames/s taken from a video,
    at most its own rate. tracker: backend of FaceTracker, "" for the best at hand.

    A face is rejected when its crop's side in the picture is below min_px; when less than min_cover of the crop lies
    inside the picture; when the landmarker's presence is below min_presence; when the variance of the Laplacian at
    80 px is below min_sharpness (the shared stills begin at 41). Shots shorter than min_shot s are rejected.
    """

    scale: float = 1.6
    follow: bool = False
    size: int = 96
    fps: float = 25.0
    tracker: str = ""
    min_px: int = 48
    min_cover: float = 0.6
    min_presence: float = 0.8
    min_sharpness: float = 25.0
    min_shot: float = 0.4

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(f"{name.replace('_', '-')} is {getattr(self, name):g}; use {low:g} to {high:g}")


def parse_framing(text: str) -> tuple[float, bool]:
    """'scale=1.6,follow=false' -> (1.6, False); what is left out keeps its default."""
    scale, follow = PrepareSettings.scale, PrepareSettings.follow
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, value = part.partition("=")
        if name == "scale":
            try:
                scale = float(value)
            except ValueError:
                raise UserError(f"framing {text}: scale is a number, such as 1.6, not {value!r}") from None
        elif name == "follow" and value.lower() in ("true", "false"):
            follow = value.lower() == "true"
        else:
            raise UserError(f"framing {text}: write scale=1.6,follow=false")
    return scale, follow


SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Splits:
    """How pictures are divided. Each person belongs to one split, by a hash of the name, so that adding people later
    moves nobody; `given` names the split of some persons or files instead. Where neither was asked for, the authors'
    own partition is used if there is one (`authors`)."""

    shares: tuple[tuple[str, float], ...] = (("val", 0.05),)
    given: tuple[tuple[str, str], ...] = ()
    authors: bool = True


def parse_split(text: str | None) -> Splits:
    """None, 'val=0.1,test=0.1', or the path of a table 'name,split' of persons or files (CelebA's 'name 0|1|2' too)."""
    if not text:
        return Splits()
    if Path(text).is_file():
        return Splits(given=tuple(sorted(_partition(Path(text)).items())), authors=False)
    shares = []
    for part in text.replace(" ", "").split(","):
        name, _, value = part.partition("=")
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if name not in SPLITS[1:] or not 0 <= share < 1:
            raise UserError(f"split {text}: write val=0.05 or val=0.1,test=0.1, or name a table file,split that exists")
        shares.append((name, share))
    if sum(share for _, share in shares) >= 1:
        raise UserError(f"split {text} leaves nothing to train on")
    return Splits(tuple(shares), authors=False)


def _partition(path: Path) -> dict[str, str]:
    """Name (person or file) -> split."""
    codes = {"0": "train", "1": "val", "2": "test", "valid": "val", "validation": "val", "training": "train"}
    table = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a table of splits: {error}") from error
    for number, line in enumerate(lines, 1):
        cells = next(csv.reader([line]), []) if "," in line else line.rsplit(maxsplit=1)
        if not cells or (number == 1 and cells[-1].strip() in ("split", "partition")):
            continue
        split = codes.get(cells[-1].strip(), cells[-1].strip())
        if len(cells) < 2 or split not in SPLITS:
            raise UserError(f"{path}, line {number}: expected a person or file and one of {', '.join(SPLITS)}")
        table[cells[0].strip()] = split
    return table
