"""An evaluation on disk: metrics.json, report.md with the protocol in full, storyboards and picture grids (PNG)."""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vaegan.evaluation import distributions, metrics
from vaegan.evaluation.evaluate import Evaluation
from vaegan.evaluation.observer import ANALYSIS_PX
from vaegan.evaluation.protocol import Board
from vaegan.evaluation.tables import Figure, Table
from vaegan.media import atomic_path, write_image

TILE_PX = 128
MARGIN_PX = 150


@dataclass(frozen=True)
class Column:
    """A figure in a table: its heading (with an arrow: which way is better), digits, and what defines it."""

    heading: str
    digits: int
    defined_by: Callable | str


COLUMNS = {
    "l1": Column("L1 ↓", 4, metrics.l1),
    "psnr": Column("PSNR ↑", 2, metrics.psnr),
    "ssim": Column("SSIM ↑", 3, metrics.ssim),
    "lpips": Column("LPIPS ↓", 3, metrics.load_lpips),
    "vif": Column("VIF ↑", 3, metrics.vif),
    "identity": Column("identity ↑", 3, metrics.identity),
    "pose_r": Column("pose r ↑", 3, metrics.pose_r),
    "pose_gain": Column("pose gain (1)", 2, metrics.pose_gain),
    "expression_r": Column("expression r ↑", 3, metrics.expression_r),
    "expression_gain": Column("expression gain (1)", 2, metrics.expression_gain),
    "smile_bias": Column("smile bias (0)", 3, metrics.smile_bias),
    "jitter": Column("jitter (1)", 2, metrics.jitter),
    "keypoints": Column("keypoints % ↓", 2, metrics.keypoint_distance),
    "expression_distance": Column("blendshapes ↓", 4, metrics.expression_distance),
    "pose_error": Column("pose ° ↓", 2, metrics.pose_error),
    "found": Column(
        "face found ↑", 3, "Face found: share of the pictures or frames in which the landmarker sees a face."
    ),
    "sharpness": Column("sharpness (1)", 3, metrics.sharpness),
    "fid": Column("FID ↓", 2, distributions.inception_figures),
    "kid": Column("KID ↓", 4, distributions.inception_figures),
    "inception": Column("Inception Score ↑", 2, distributions.inception_figures),
    "fvd": Column("FVD ↓", 1, distributions.VideoDistance),
}

SECTIONS = {
    "reconstruction": (
        "Reconstruction",
        "Each still of the val split goes through the encoder (posterior mean) and the decoder. The PCA row is the "
        "best a linear code of as many numbers can do; its basis is fitted to the train split of the same data and its "
        "mirror images.",
    ),
    "samples": (
        "Samples from the prior",
        "z is drawn from N(0, 1) and decoded; nothing is re-encoded. Sharpness is against the val stills.",
    ),
    "self": (
        "Self-reenactment",
        "The first frame of a clip is the photo, the clip is the driver, so the frames that should come out are known. "
        "The paper's renderer decodes z_photo + (z_t - z_0), which here is z_t: for it this is the reconstruction of "
        "every frame. Pictures are compared from the second frame on, before any video encoding. The driver's own "
        "pictures are the target; its row shows what the landmarker loses at the model's size.",
    ),
    "cross": (
        "Cross-reenactment",
        "A photo of one person is moved by a clip of another. The photos are dealt to the clips by a seeded shuffle, "
        "so that all are used equally often.",
    ),
}

PROTOCOL = f"""
* The model sees faces in its own framing: a square crop, {{scale:g}} times the side of the face's mesh box, {{follow}}.
* Every row is brought to {{size}} x {{size}} px, the model's own size, before it is measured, the baselines too: no
  row is ahead by its number of pixels. For the landmarker and the face embedder every frame is then enlarged to
  {ANALYSIS_PX} px (Lanczos), as `transfer` does. What results are compared with (driver's motion, photo's identity and
  smile) is seen at {ANALYSIS_PX} px from the original picture, so even the driver itself falls a little short of 1.
* Motion is seen by the teacher landmarker (MediaPipe's face_landmarker.task), frame by frame without smoothing.
* **static photo**: the photo in every frame; no motion, the most identity there can be.
* **driver itself**: the driver's frames; all motion, another person's identity.
* **mesh warp**: the photo, its landmarks moved by what the driver's have moved since the first frame (in the crop's own
  coordinates), piecewise affine over their Delaunay triangles: the strongest thing one can do without a generative
  model.
* Clips: up to {{frames}} frames from the start at the clip's own rate; identity every {{embed_every}}th frame.
  A clip counts once: the mean of its pairs. Intervals are 95 % bootstrap intervals over clips (over pictures, where
  pictures are measured). Seed {{seed}}.
""".strip()


def write_report(found: Evaluation, folder: Path, command: str) -> list[Path]:
    """Write everything to `folder`, which is made; returns the files. Raises UserError when it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"pictures.png": grid(found.pictures)} if found.pictures else {}
    pictures |= {f"{board.name}.png": storyboard(board) for board in found.boards}
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
    model, plan = found.model, found.plan
    lines = [f"# Evaluation of {model['id']}", "", f"`{command}`", "", "Measured on:"]
    lines += [f"* {what}: {text}" for what, text in found.material.items()]
    for section, (title, about) in SECTIONS.items():
        if section in found.tables:
            lines += ["", f"## {title}", "", about, "", *table_lines(found.tables[section])]
    if found.left_out:
        lines += ["", "## Left out", "", *(f"* {line}" for line in found.left_out)]
    follow = "which follows the face" if model["framing"]["follow"] else "upright and fixed from its first frame on"
    lines += ["", "## Protocol", ""]
    lines += [
        PROTOCOL.format(
            scale=model["framing"]["scale"],
            follow=follow,
            size=model["size"],
            frames=plan.frames,
            embed_every=plan.embed_every,
            seed=plan.seed,
        )
    ]
    lines += ["", "## Figures", "", *definitions(found.tables)]
    if pictures:
        lines += ["", "## Pictures", "", *(f"![{Path(name).stem}]({name})\n" for name in pictures)]
    return "\n".join(lines).rstrip() + "\n"


def table_lines(table: Table) -> list[str]:
    """A Markdown table: a row for each system, mean and half the width of its interval."""
    names = [name for name in COLUMNS if any(name in figures for figures in table.values())]
    lines = ["| | " + " | ".join(COLUMNS[name].heading for name in names) + " |", "|---|" + "---|" * len(names)]
    for system, figures in table.items():
        cells = [cell(figures.get(name), COLUMNS[name].digits) for name in names]
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
    sources = dict.fromkeys(COLUMNS[name].defined_by for name in COLUMNS if name in used)
    if {"pose_r", "expression_r"} & used:
        sources |= dict.fromkeys((metrics.correlation, metrics.gain))
    lines = []
    for source in sources:
        text = source if isinstance(source, str) else inspect.getdoc(source).split("\n\nRaises")[0]
        name = "" if isinstance(source, str) or ":" in text.split("\n")[0][:40] else f"{source.__name__}: "
        lines.append(f"* {name}{' '.join(text.split())}")
    return lines


def storyboard(board: Board) -> np.ndarray:
    """One row for each system, one column for each moment: uint8 (H, W, 3)."""
    picture = grid(board.rows)
    footer = np.full((24, picture.shape[1], 3), 255, np.uint8)
    for number, time in enumerate(board.times):
        _write(footer, f"{time:.2f} s", MARGIN_PX + number * TILE_PX + TILE_PX // 2 - 25, 16)
    return np.vstack([picture, footer])


def grid(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Named rows of uint8 (N, S, S, 3), enlarged alike: uint8 (H, W, 3)."""
    widest = max(map(len, rows.values()))
    lines = []
    for name, pictures in rows.items():
        label = np.full((TILE_PX, MARGIN_PX, 3), 255, np.uint8)
        _write(label, name, 6, TILE_PX // 2)
        tiles = [cv2.resize(p, (TILE_PX, TILE_PX), interpolation=cv2.INTER_CUBIC) for p in pictures]
        blank = [np.full((TILE_PX, TILE_PX, 3), 255, np.uint8)] * (widest - len(tiles))
        lines.append(np.hstack([label, *tiles, *blank]))
    return np.vstack(lines)


def _write(image: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
