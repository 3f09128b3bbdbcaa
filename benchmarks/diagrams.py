"""Draw the pictures of docs/how-it-works.md and docs/animate.md again: `python benchmarks/diagrams.py`.

Everything is made from what ships: the sample photo, motions and models. About half a minute of one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import FancyBboxPatch, Polygon

import vaegan
from vaegan.media import write_image

INK, BLUE, ORANGE, GREEN, GREY = "#222222", "#3b6fb6", "#d9822b", "#3d8b57", "#8a8f98"
DRIVER = "turning"


class Sheet:
    """A drawing in units of one box: x to the right, y upwards."""

    def __init__(self, width: float, height: float) -> None:
        self.figure, self.axes = plt.subplots(figsize=(width, height))
        self.axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
        self.axes.set_axis_off()
        self.figure.subplots_adjust(0, 0, 1, 1)

    def picture(self, x: float, y: float, image: np.ndarray, side: float = 0.9, label: str = "") -> None:
        """A picture with its centre at x, y, and a label below it."""
        half = side / 2
        self.axes.imshow(image, extent=(x - half, x + half, y - half, y + half), zorder=2, interpolation="bilinear")
        self.text(x, y - half - 0.14, label)

    def text(self, x: float, y: float, words: str, size: float = 8, color: str = INK, **more) -> None:
        self.axes.text(x, y, words, ha="center", va="center", size=size, color=color, zorder=4, **more)

    def box(self, x: float, y: float, words: str, color: str = GREY, width: float = 1.0, height: float = 0.5) -> None:
        corner = (x - width / 2, y - height / 2)
        shape = FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=.08", fc="white", ec=color)
        self.axes.add_patch(shape)
        self.text(x, y, words)

    def network(self, x: float, y: float, words: str, color: str, narrows: bool, width: float = 1.1) -> None:
        """An encoder (narrows) or a decoder."""
        left, right = (0.55, 0.28) if narrows else (0.28, 0.55)
        half = width / 2
        corners = [(x - half, y - left), (x - half, y + left), (x + half, y + right), (x + half, y - right)]
        self.axes.add_patch(Polygon(corners, fc=color, ec="none", alpha=0.9, zorder=2))
        self.text(x, y, words, color="white")

    def arrow(self, start: tuple[float, float], end: tuple[float, float], words: str = "", bend: float = 0) -> None:
        style = {"arrowstyle": "-|>", "color": INK, "lw": 1, "connectionstyle": f"arc3,rad={bend}"}
        self.axes.annotate("", end, start, arrowprops=style, zorder=3)
        self.text((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.14, words, size=7)

    def save(self, path: Path) -> None:
        self.figure.savefig(path, facecolor="white", dpi=200, pil_kwargs={"quality": 90})
        plt.close(self.figure)
        print(path)


def faces(model: vaegan.FaceModel, z: np.ndarray, side: int = 128) -> list[np.ndarray]:
    """Decoded, uint8 (side, side, 3)."""
    drawn = model.decode(torch.as_tensor(z, dtype=torch.float32)).permute(0, 2, 3, 1).numpy()
    return [cv2.resize((face * 255).astype(np.uint8), (side, side)) for face in drawn]


def draw_vae(path: Path, crop: np.ndarray, rebuilt: np.ndarray) -> None:
    sheet = Sheet(8.6, 2.3)
    sheet.picture(0.7, 1.25, crop, label="crop, 64 px")
    sheet.arrow((1.2, 1.25), (1.6, 1.25))
    sheet.network(2.2, 1.25, "encoder\n7 conv + 3 linear", BLUE, narrows=True)
    sheet.arrow((2.75, 1.25), (3.15, 1.6))
    sheet.arrow((2.75, 1.25), (3.15, 0.9))
    sheet.box(3.6, 1.65, "mean $\\mu$", BLUE, width=0.9, height=0.4)
    sheet.box(3.6, 0.85, "spread $\\sigma$", BLUE, width=0.9, height=0.4)
    sheet.arrow((4.05, 1.65), (4.5, 1.3))
    sheet.arrow((4.05, 0.85), (4.5, 1.2))
    sheet.box(5.0, 1.25, "$z=\\mu+\\sigma\\varepsilon$\n200 numbers", INK, width=1.0)
    sheet.arrow((5.5, 1.25), (5.8, 1.25))
    sheet.network(6.4, 1.25, "decoder\n7 conv + 3 linear", ORANGE, narrows=False)
    sheet.arrow((6.95, 1.25), (7.35, 1.25))
    sheet.picture(7.85, 1.25, rebuilt, label="reconstruction")
    sheet.text(3.6, 0.4, "KL divergence: keep the codes near a normal distribution", 7, GREY)
    sheet.text(6.2, 2.1, "binary cross-entropy: reconstruction = crop", 7, GREY)
    sheet.save(path)


def draw_transfer(path: Path, driver: list[np.ndarray], photo: np.ndarray, result: list[np.ndarray]) -> None:
    sheet = Sheet(8.6, 3.6)
    for k, (moving, made) in enumerate(zip(driver, result, strict=True)):
        x = 2.3 + 1.15 * k
        sheet.picture(x, 3.05, moving)
        sheet.arrow((x, 2.57), (x, 2.15))
        difference = f"$\\delta_{k}=z_{k}-z_0$" if k else "$\\delta_0=0$"
        sheet.box(x, 1.93, difference, BLUE, width=1.05, height=0.4)
        sheet.arrow((x, 1.72), (x, 1.3))
        sheet.picture(x, 0.8, made)
    sheet.picture(0.6, 0.8, photo, label="photo")
    sheet.arrow((1.1, 0.8), (1.8, 0.8), "$+\\ z_{photo}$")
    sheet.text(1.3, 3.05, "driver", 9, GREY)
    sheet.text(7.95, 2.35, "encode, subtract", 8, BLUE)
    sheet.text(7.95, 1.5, "add, decode", 8, ORANGE)
    sheet.save(path)


def draw_vaegan(path: Path, crop: np.ndarray, soft: np.ndarray, sharp: np.ndarray) -> None:
    sheet = Sheet(8.6, 2.7)
    sheet.picture(0.7, 1.0, crop, label="crop")
    sheet.arrow((1.2, 1.0), (1.5, 1.0))
    sheet.network(2.05, 1.0, "encoder", BLUE, narrows=True, width=1.0)
    sheet.arrow((2.55, 1.0), (2.85, 1.0), "$z$")
    sheet.network(3.4, 1.0, "decoder", ORANGE, narrows=False, width=1.0)
    sheet.arrow((3.9, 1.0), (4.2, 1.0))
    sheet.picture(4.7, 1.0, sharp, label="reconstruction")
    sheet.arrow((5.2, 1.0), (5.75, 1.35))
    sheet.arrow((0.7, 1.5), (5.75, 1.75), bend=-0.18)
    sheet.network(6.35, 1.55, "discriminator\n4 conv + 3 linear", GREEN, narrows=True, width=1.15)
    sheet.arrow((6.95, 1.55), (7.3, 1.55))
    sheet.box(7.9, 1.55, "real crop, or\nreconstruction?", GREEN, width=1.2, height=0.55)
    sheet.text(6.35, 0.75, "its features: what makes\ntwo pictures look alike", 7, GREY)
    sheet.text(3.2, 2.5, "trained in turns: the discriminator to tell them apart, the VAE to pass for real", 7, GREY)
    sheet.picture(7.9, 0.6, soft, side=0.55, label="the VAE alone")
    sheet.save(path)


def draw_warp(path: Path, photo: np.ndarray, mesh: np.ndarray, moved_mesh: np.ndarray, result: np.ndarray) -> None:
    sheet = Sheet(8.6, 2.4)
    sheet.picture(0.85, 1.3, photo, side=1.4, label="photo")
    sheet.arrow((1.6, 1.3), (2.0, 1.3))
    low, high = mesh.min(axis=0), mesh.max(axis=0)
    scale = 1.4 / (high - low).max()

    def place(points):
        return 2.8 + (points[:, 0] - (low + high)[0] / 2) * scale, 1.3 - (points[:, 1] - (low + high)[1] / 2) * scale

    (x, y), (to_x, to_y) = place(mesh), place(moved_mesh)
    sheet.axes.quiver(x, y, to_x - x, to_y - y, angles="xy", scale_units="xy", scale=1, width=0.0012, color=BLUE)
    sheet.text(2.8, 0.36, "478 points go where $W\\delta$ says")
    sheet.arrow((3.65, 1.3), (4.05, 1.3))
    sheet.box(4.65, 1.3, "field:\nhow every pixel\nof the photo moves", BLUE, width=1.2, height=0.75)
    sheet.arrow((5.25, 1.3), (5.55, 1.3))
    sheet.box(6.15, 1.3, "refiner:\npaints teeth, lids,\nthe dark of a mouth", ORANGE, width=1.2, height=0.75)
    sheet.arrow((6.75, 1.3), (7.05, 1.3))
    sheet.picture(7.8, 1.3, result, side=1.4, label="the photo's own pixels")
    sheet.save(path)


def strip(rows: list[list[np.ndarray]], labels: list[str], side: int = 160) -> np.ndarray:
    """Rows of pictures with a label at their left, uint8."""
    lines = []
    for row, label in zip(rows, labels, strict=True):
        margin = np.full((side, 150, 3), 255, np.uint8)
        for k, part in enumerate(label.split("\n")):
            cv2.putText(
                margin, part, (6, side // 2 + 18 * k), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA
            )
        lines.append(
            np.hstack([margin, *(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) for picture in row)])
        )
    return np.vstack(lines)


def moments(count: int, frames: list[np.ndarray]) -> list[np.ndarray]:
    return [frames[k] for k in np.linspace(0, len(frames) - 1, count).astype(int)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    output = parser.parse_args().output
    tracker = vaegan.FaceTracker("own")
    vae, gan, mover = (vaegan.load_model(name) for name in ("paper-vae", "paper-vaegan", "motion64"))
    portraits = {model.name: vaegan.read_portrait("sample", model, tracker) for model in (vae, gan, mover)}
    crop = portraits["paper-vae"].picture(128)
    soft, sharp = (faces(model, portraits[model.name].z[None])[0] for model in (vae, gan))
    draw_vae(output / "vae.webp", crop, soft)
    draw_vaegan(output / "vaegan.webp", crop, soft, sharp)

    # A driver who does not exist, moved by a motion that ships.
    torch.manual_seed(0)
    nobody = faces(gan, 0.65 * torch.randn(10, 200), 256)[3]
    motion = vaegan.Motion.load(vaegan.shipped_motions("motion64")[DRIVER])
    driver = list(vaegan.animate(nobody, motion, mover, tracker))
    far = np.argsort(-np.abs(motion.pose[:, 0] - motion.pose[0, 0]))[0]
    some = [0, 20, 40, int(far), len(motion) - 10]
    relative = motion.deltas - motion.deltas[0]
    results = faces(mover, portraits["motion64"].z + relative[some])
    draw_transfer(output / "transfer.webp", [driver[k] for k in some], portraits["motion64"].picture(128), results)

    moved = list(vaegan.animate("sample", motion, mover, tracker, view="crop"))
    with torch.inference_mode():
        z = torch.from_numpy(portraits["motion64"].z)
        deltas = torch.from_numpy(np.stack([0 * motion.deltas[far], motion.deltas[far]]))
        start, end = mover.heads(z + deltas)[0][:, :, :2].numpy()
    draw_warp(output / "warp.webp", moved[motion.reference], start, end, moved[far])

    shown = {
        "talking": {"driver": "talking"},
        "smiling": {"driver": "smiling"},
        "turning": {"driver": "turning"},
        "turning\n--strength 1.5": {"driver": "turning", "strength": 1.5},
        "turning\n--pose 0": {"driver": "turning", "pose": 0.0},
        "turning\n--renderer decode": {"driver": "turning", "renderer": "decode"},
    }
    rows = [
        moments(6, list(vaegan.animate("sample", model=mover, tracker=tracker, **{"view": "crop"} | options)))
        for options in shown.values()
    ]
    write_image(output / "animate.webp", strip(rows, list(shown)))
    print(output / "animate.webp")


if __name__ == "__main__":
    main()
