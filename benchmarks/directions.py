"""Named directions of a model, looked at: a grid of pictures, and what the teacher landmarker reads off them.

    python benchmarks/directions.py --model motion64 --grid directions.png

Moves the photos of VAEGAN_DATA (or --photos) along every direction of the model, decodes them, and prints the mean
change of every named reading, yaw and pitch in shares of their amounts: a row moves, a column is read, and a perfect
model has the amount on the diagonal and 0 elsewhere. Needs the teacher's weights in VAEGAN_MODELS.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from vaegan import FaceTracker, UserError, load_directions, load_model
from vaegan.directions import NAMES, named_shapes
from vaegan.faces.geometry import head_pose
from vaegan.media import IMAGE_SUFFIXES
from vaegan.portrait import read_portrait
from vaegan.render.view import resize

DEGREES = {"yaw", "pitch"}
SHOWN = {name: (-20, -10, 0, 10, 20) if name in DEGREES else (-0.4, 0, 0.3, 0.6, 1.0) for name in NAMES}
SHOWN |= {name: (-1.0, -0.5, 0, 0.5, 1.0) for name in ("gaze_x", "gaze_y")}
GRID_PHOTOS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="motion64")
    parser.add_argument("--photos", type=Path, default=Path(os.environ.get("VAEGAN_DATA", ".")) / "photos")
    parser.add_argument("--amount", type=float, default=0.6, help="of a blendshape; 15 degrees of yaw and pitch")
    parser.add_argument("--grid", type=Path)
    args = parser.parse_args()
    model, directions, tracker = load_model(args.model), load_directions(args.model), FaceTracker("mediapipe")

    def decoded(z: np.ndarray) -> list[np.ndarray]:
        return [resize(p, 256) for p in model.decode(torch.from_numpy(z)).permute(0, 2, 3, 1).cpu().numpy()]

    def read(z: np.ndarray) -> np.ndarray:
        rows = []
        for picture in decoded(z):
            face = next(iter(tracker.detect(picture)), None)
            seen = None if face is None else (*head_pose(face.mesh)[:2], *named_shapes(face.blendshapes))
            rows.append(np.full(len(NAMES), np.nan) if seen is None else seen)
        return np.array(rows)

    z = []
    for path in sorted(path for path in args.photos.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES):
        try:
            z.append(read_portrait(path, model, tracker).z)
        except UserError as error:
            print(f"left out: {error}")
    z = np.array(z)
    amounts = np.array([15.0 if name in DEGREES else args.amount for name in NAMES])
    unit = np.array([15.0 / args.amount if name in DEGREES else 1.0 for name in NAMES])
    before = read(z)
    print(f"{len(z)} photos; moved by {args.amount:g}, yaw and pitch by 15 degrees (shown as {args.amount:g})")
    print(" " * 12 + "".join(f"{name:>12}" for name in NAMES))
    for name, amount in zip(NAMES, amounts, strict=True):
        change = np.nanmean(read(z + directions.delta(**{name: amount})) - before, axis=0) / unit
        print(f"{name:12}" + "".join(f"{value:12.2f}" for value in change))
    if args.grid:
        rows = []
        for name in NAMES:
            moved = [z[k] + directions.delta(**{name: v}) for k in range(min(GRID_PHOTOS, len(z))) for v in SHOWN[name]]
            row = Image.fromarray(np.concatenate(decoded(np.array(moved, np.float32)), axis=1)).reduce(2)
            ImageDraw.Draw(row).text((4, 4), f"{name} {', '.join(map(str, SHOWN[name]))}", fill=(255, 255, 0))
            rows.append(np.asarray(row))
        Image.fromarray(np.concatenate(rows)).save(args.grid)


if __name__ == "__main__":
    main()
