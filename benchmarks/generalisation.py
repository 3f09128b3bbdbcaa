"""What a model with heads makes of pictures it was trained on, beside people it has not seen.

    python benchmarks/generalisation.py PACK [--model motion64]

PACK: a folder of packed parts (`vaegan pack`). A gap asks for more people, augmentation or a smaller network; where
there is none, these cannot help.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from vaegan.data.pack import read_pack
from vaegan.data.pack_data import PackBatches
from vaegan.model import load_model
from vaegan.training.motion_figures import MotionFigures


@torch.inference_mode()
def figures_of(pack: Path, split: str, model: str, stills: int, every: int, batch: int = 250) -> dict[str, float]:
    """Figures of a validation as training logs them, over stills chosen at random and every `every`-th frame."""
    read = read_pack(pack, split, every=every)
    face_model = load_model(model)
    figures = MotionFigures(
        torch.nn.ModuleDict({"vae": face_model.vae, "heads": face_model.head_maps}), None, None, None
    )
    whole = np.flatnonzero((read.clip < 0) & (read.inside.reshape(len(read), -1).mean(1) > 0.99))
    chosen = np.random.default_rng(0).permutation(whole)[:stills]
    rows = torch.from_numpy(np.concatenate([chosen, np.flatnonzero(read.clip >= 0)]))
    batches = PackBatches(read, batch, 0.0, 1, 0, 0.0, 0.0).on(torch.device("cpu"))
    counts, found = [], []
    for part in rows.split(batch):
        count, of_stills = figures.add(batches.rows(part))
        if count:
            counts.append(count)
            found.append(of_stills)
    means = {name: float(np.average([float(f[name]) for f in found], weights=counts)) for name in found[0]}
    return means | {name: float(value) for name, value in figures.of_clips().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--model", default="motion64")
    parser.add_argument("--stills", type=int, default=1800, help="of each split")
    chosen = parser.parse_args()
    seen = figures_of(chosen.pack, "train", chosen.model, chosen.stills, every=10)
    unseen = figures_of(chosen.pack, "val", chosen.model, chosen.stills, every=2)
    print("| | trained on | not seen |\n|---|---|---|")
    for name, value in seen.items():
        print(f"| {name} | {value:.3f} | {unseen[name]:.3f} |")


if __name__ == "__main__":
    main()
