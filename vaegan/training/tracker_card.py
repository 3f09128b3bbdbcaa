"""The README.md of a tracker's model folder, from its config.yaml and the curves that its training left."""

import csv
from pathlib import Path
from typing import Any

import yaml

from vaegan.media import atomic_path

SOURCES = {
    "faces": "LFW, CelebA and YouTube Faces stills: for research only",
    "faces-tight": "FairFace stills: CC BY 4.0",
    "clips-train": "clips of TalkVid, DH-FaceVid-1K, CelebV-Text, MEAD, GRID and of demos of public repositories: "
    "for research only",
    "photos": "whole pictures of YouTube Faces: for research only",
}
"""Group -> what it is and its terms; the dev clips are never trained on."""

MEANING = {
    "landmarker": "error and error95: median and 95th percentile of the pictures' mean point errors against the "
    "teacher, in % of the outer-eye distance; box: root mean square error of the mesh box's place and log size, in % "
    "of its side; present: share of faces called faces; r: correlation of the blendshapes over time with the "
    "teacher's; jitter: second differences over the teacher's.",
    "detector": "On composed held-out pictures. recall: faces found at an intersection over union of .5; "
    "false_on_empty: share of pictures without a face in which one is found; false_beside_faces: likewise per picture "
    "that has faces; roll_degrees: mean error.",
    "presence": "The landmarker's presence head alone, by logistic regression. Of its own samples: share of faces, "
    "of other crops and of mined ones (what was found where the teacher sees no face, in training pictures on a side "
    "or on their head) that are taken for faces, before and after.",
}
COLUMNS = {
    "landmarker": ("loss", "faces/error", "faces-tight/error", "clips-dev/error", "clips-dev/box", "clips-dev/r"),
    "detector": ("loss", "recall", "false_on_empty", "false_beside_faces", "roll_degrees"),
}
ROWS = 8
"""Of the table of each curve."""


class CurveFile:
    """One row a check: step, seconds of training since the last row, losses and figures by name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, row: dict[str, float]) -> None:
        """Append a row; the first one decides the columns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.is_file()
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if new:
                writer.writeheader()
            writer.writerow({name: f"{value:.6g}" for name, value in row.items()})

    def rows(self) -> list[dict[str, float]]:
        """All rows in order of steps; of a step that was done twice, around a kill, the later one."""
        if not self.path.is_file():
            return []
        with open(self.path, newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        return [row for _, row in sorted({row["step"]: row for row in rows}.items())]


def keep_earlier(start: Path, part: str, run: Path) -> None:
    """Keep in `run`/earlier.md what the card of the model folder `start` says of the training of a part."""
    card = (start / "README.md").read_text(encoding="utf-8") if (start / "README.md").is_file() else ""
    sections = [f"## {section}" for section in card.split("\n## ")[1:] if section.startswith(part.capitalize())]
    text = "\n".join(sections).replace(
        f"## {part.capitalize()}\n", f"## {part.capitalize()}, the run before: settings and labels of its time\n"
    )
    if text:
        run.mkdir(parents=True, exist_ok=True)
        (run / "earlier.md").write_text(text, encoding="utf-8")


def write_card(folder: Path, run: Path) -> None:
    """Write `folder`/README.md.

    Args:
        folder: the model folder; its config.yaml is read.
        run: the folder of the run, with landmarker/curve.csv and detector/curve.csv where they were kept.
    """
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    groups = {name: None for part in config["training"].values() for name in part.get("shares", {})}
    lines = [
        "# Face tracker",
        "",
        "A face detector and a landmarker (478 points, presence, 52 blendshapes), made for this program: "
        '`vaegan.FaceTracker("own")` loads this folder. Weights in float16.',
        "",
        "* Distilled from Google's Face Landmarker (`face_landmarker.task`, Apache-2.0): its meshes and blendshapes "
        "were the labels; none of its weights are in here.",
        "* Data, and with them these weights, are for research only:",
        *[f"  * `{name}`: {SOURCES[name]}" for name in groups or SOURCES],
        "* Limits: profiles beyond 60 degrees, faces upside down and faces under 8 % of the picture's height are not "
        "found or found badly. Measured against its teacher, whose mistakes it shares; "
        "no check of bias between groups of people was made.",
        "",
    ]
    for part in ("landmarker", "presence", "detector"):
        if part in config["training"]:
            lines += _part(part, config["training"][part], CurveFile(run / part / "curve.csv").rows())
            earlier = run / part / "earlier.md"
            lines += [earlier.read_text(encoding="utf-8")] if earlier.is_file() else []
    with atomic_path(folder / "README.md") as path:
        path.write_text("\n".join(lines), encoding="utf-8")


def _part(part: str, training: dict[str, Any], curve: list[dict[str, float]]) -> list[str]:
    """The section of one network: command, effort, figures, curve."""
    seconds = sum(row["seconds"] for row in curve)
    facts = [f"{training['samples']:,} samples"]
    facts += [f"{training['mined']:,} mined ones"] if "mined" in training else []
    facts += [f"from the weights of `{training['start_from']}`"] if training.get("start_from") else []
    facts += [f"{seconds / 60:.0f} minutes of training"] if curve else []
    lines = [f"## {part.capitalize()}", ""]
    lines += [f"* Command: `{training['command']}`"] if "command" in training else []
    figures = ", ".join(f"{name} {value:.3g}" for name, value in training["figures"].items())
    seen = "Samples" if part == "presence" else "Held out"
    lines += [f"* {training['weights']}"] if "weights" in training else []
    lines += [f"* {', '.join(facts)}.", f"* {seen}: {figures}.", f"* {MEANING[part]}", ""]
    if curve:
        names = [name for name in COLUMNS[part] if name in curve[0]]
        chosen = sorted({round(i * (len(curve) - 1) / (ROWS - 1)) for i in range(ROWS)})
        lines += [f"| step | {' | '.join(names)} |", f"|{'---:|' * (len(names) + 1)}"]
        for row in (curve[i] for i in chosen):
            lines.append(f"| {row['step']:.0f} | {' | '.join(f'{row[name]:.4g}' for name in names)} |")
        lines.append("")
    return lines
