"""The model card of a tracker."""

from typing import Any

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
    "landmarker": ("faces/error", "faces-tight/error", "clips-dev/error", "clips-dev/box", "clips-dev/r"),
    "detector": ("recall", "false_on_empty", "false_beside_faces", "roll_degrees"),
    "presence": ("faces_taken", "others_taken"),
}
"""Figures of each part's table; every validation of a part has the last one."""
ROWS = 8
"""Of the table of each curve."""


def part_rows(part: str, curve: list[dict[str, float]]) -> list[dict[str, float]]:
    """The rows of a run's curve that are of one part."""
    return [row for row in curve if COLUMNS[part][-1] in row]


def tracker_card(training: dict[str, Any], curve: list[dict[str, float]], trained: list[str], earlier: str) -> str:
    """The README.md of a tracker's model folder.

    Args:
        training: what config.yaml says of the training of each part. curve: of the run. trained: the parts of the run.
        earlier: the card of the tracker that it started from: what it says of other parts stays, what it says of the
            same ones is the run before.
    """
    groups = {name: None for part in training.values() for name in part.get("shares", {})}
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
    before = [f"## {section.rstrip()}\n" for section in earlier.split("\n## ")[1:]]
    for part in ("landmarker", "presence", "detector"):
        title = f"## {part.capitalize()}\n"
        sections = [section for section in before if section.startswith(title[:-1])]
        if part in trained:
            lines += _part(part, training[part], curve)
            old = f"{title[:-1]}, the run before: settings and labels of its time\n"
            sections = [section.replace(title, old) for section in sections]
        if part in training:
            lines += sections
    return "\n".join(lines)


def _part(part: str, training: dict[str, Any], curve: list[dict[str, float]]) -> list[str]:
    """The section of one network: command, effort, figures, curve."""
    rows = part_rows(part, curve)
    facts = [f"{training['samples']:,} samples"]
    facts += [f"{training['mined']:,} mined ones"] if "mined" in training else []
    facts += [f"from the weights of `{training['start_from']}`"] if training.get("start_from") else []
    earlier = [row["seconds"] for row in curve if rows and row["step"] < rows[0]["step"]]
    facts += [f"{(rows[-1]['seconds'] - max(earlier, default=0)) / 60:.0f} minutes of training"] if rows else []
    figures = ", ".join(f"{name} {value:.3g}" for name, value in training["figures"].items())
    seen = "Samples" if part == "presence" else "Held out"
    lines = [f"## {part.capitalize()}", "", f"* Command: `{training['command']}`"]
    lines += [f"* {', '.join(facts)}.", f"* {seen}: {figures}.", f"* {MEANING[part]}", ""]
    if len(rows) > 1:
        names = [name for name in COLUMNS[part] if name in rows[0]]
        chosen = sorted({round(i * (len(rows) - 1) / (ROWS - 1)) for i in range(ROWS)})
        lines += [f"| step | {' | '.join(names)} |", f"|{'---:|' * (len(names) + 1)}"]
        for row in (rows[i] for i in chosen):
            lines.append(f"| {row['step']:.0f} | {' | '.join(f'{row[name]:.4g}' for name in names)} |")
        lines.append("")
    return lines
