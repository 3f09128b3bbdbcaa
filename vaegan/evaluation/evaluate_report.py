"""An evaluation on disk: metrics.json, report.md with the protocol in full, storyboards and picture grids (PNG)."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vaegan.critics.lpips import load_lpips
from vaegan.evaluation import distributions, heads, likeness, metrics, protocol
from vaegan.evaluation.clips import stage_of
from vaegan.evaluation.evaluate import Evaluation
from vaegan.evaluation.observer import ANALYSIS_PX
from vaegan.evaluation.tables import Figure, Table
from vaegan.media import atomic_path, write_image
from vaegan.reports import grid, render_page


@dataclass(frozen=True)
class Heading:
    """Of a figure in a table: text (with an arrow: which way is better), digits, and what defines it."""

    text: str
    digits: int
    defined_by: Callable | str


HEADINGS = {
    "head_r": Heading("r ↑", 3, heads.measure_heads),
    "head_gain": Heading("gain (1)", 2, heads.measure_heads),
    "l1": Heading("L1 ↓", 4, metrics.l1),
    "psnr": Heading("PSNR ↑", 2, metrics.psnr),
    "ssim": Heading("SSIM ↑", 3, metrics.ssim),
    "lpips": Heading("LPIPS ↓", 3, load_lpips),
    "lpips_share": Heading("LPIPS, share of the photo's ↓", 3, protocol.share_of_photo),
    "lpips_face": Heading("LPIPS, face ↓", 3, protocol.lpips_face),
    "lpips_face_share": Heading("face, share of the photo's ↓", 3, protocol.share_of_photo),
    "vif": Heading("VIF ↑", 3, metrics.vif),
    "identity": Heading("identity ↑", 3, likeness.identity),
    "identity_dlib": Heading("dlib distance ↓", 3, likeness.identity_dlib),
    "turn": Heading("turn, °", 1, likeness.turns),
    "identity_near": Heading("identity, < 10° ↑", 3, likeness.turns),
    "identity_turned": Heading("10–20° ↑", 3, likeness.turns),
    "identity_far": Heading("> 20° ↑", 3, likeness.turns),
    "pose_r": Heading("pose r ↑", 3, metrics.pose_r),
    "pose_gain": Heading("pose gain (1)", 2, metrics.pose_gain),
    "pose_r_placed": Heading("pose r, placed ↑", 3, protocol.placed_figures),
    "pose_gain_placed": Heading("pose gain, placed (1)", 2, protocol.placed_figures),
    "expression_r": Heading("expression r ↑", 3, metrics.expression_r),
    "expression_gain": Heading("expression gain (1)", 2, metrics.expression_gain),
    "smile_bias": Heading("smile bias (0)", 3, metrics.smile_bias),
    "jitter": Heading("jitter (1)", 2, metrics.jitter),
    "keypoints": Heading("keypoints % ↓", 2, metrics.keypoint_distance),
    "expression_distance": Heading("blendshapes ↓", 4, metrics.expression_distance),
    "pose_error": Heading("pose ° ↓", 2, metrics.pose_error),
    "found": Heading(
        "face found ↑", 3, "Face found: share of the pictures or frames in which the landmarker sees a face."
    ),
    "sharpness": Heading("sharpness (1)", 3, metrics.sharpness),
    "sharpness_full": Heading("sharpness, full view (1)", 3, metrics.sharpness_full),
    "fid": Heading("FID ↓", 2, distributions.inception_figures),
    "kid": Heading("KID ↓", 4, distributions.inception_figures),
    "inception": Heading("Inception Score ↑", 2, distributions.inception_figures),
    "fvd": Heading("FVD ↓", 1, distributions.VideoDistance),
}


def write_report(found: Evaluation, folder: Path, command: str) -> list[Path]:
    """Write everything to `folder`, which is made; returns the files. Raises UserError when it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"pictures.png": grid(found.pictures)} if found.pictures else {}
    for board in found.boards:
        pictures[f"{board.name}.png"] = grid(board.rows, [f"{time:.2f} s" for time in board.times])
    for name, image in pictures.items():
        write_image(folder / name, image)
    texts = {
        "metrics.json": json.dumps(found.as_json(), indent=1, allow_nan=False) + "\n",
        "report.md": report_text(found, command, list(pictures)),
    }
    for name, text in texts.items():
        with atomic_path(folder / name) as path:
            path.write_text(text, encoding="utf-8")
    return [folder / name for name in (*texts, *pictures)]


def report_text(found: Evaluation, command: str, pictures: list[str]) -> str:
    """The report in Markdown."""
    return render_page(
        "evaluate.md",
        found=found,
        command=command,
        pictures=pictures,
        tables={section: table_lines(table) for section, table in found.tables.items()},
        definitions=definitions(found.tables),
        stage=stage_of(found.plan.renderer, found.model["size"]),
        analysis_px=ANALYSIS_PX,
    )


def table_lines(table: Table) -> list[str]:
    """A Markdown table: a row for each system, mean and half the width of its interval."""
    names = [name for name in HEADINGS if any(name in figures for figures in table.values())]
    lines = ["| | " + " | ".join(HEADINGS[name].text for name in names) + " |", "|---|" + "---|" * len(names)]
    for system, figures in table.items():
        cells = [cell(figures.get(name), HEADINGS[name].digits) for name in names]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return lines


def cell(figure: Figure | None, digits: int) -> str:
    if figure is None or figure["mean"] is None:
        return "–"
    text = f"{figure['mean']:.{digits}f}"
    if figure["low"] is None:
        return text
    return f"{text} ({figure['low']:.{digits}f} – {figure['high']:.{digits}f})"


def definitions(tables: dict[str, Table]) -> list[str]:
    """What each figure is, in the words of the function that computes it."""
    used = {name for table in tables.values() for figures in table.values() for name in figures}
    sources = dict.fromkeys(HEADINGS[name].defined_by for name in HEADINGS if name in used)
    if "head_r" in used:
        sources |= dict.fromkeys(heads.OPENINGS)
    if {"pose_r", "expression_r", "head_r"} & used:
        sources |= dict.fromkeys((metrics.correlation, metrics.gain))
    return [source if isinstance(source, str) else metrics.definition(source) for source in sources]
