"""What each part of the recipe of `motion64` does: one change at a time, at equal pictures seen, from the same start.

    vaegan pack OUT
    python benchmarks/ablation.py OUT --runs runs/ablation             # trains what is missing, prints the table
    python benchmarks/ablation.py OUT --runs runs/ablation --commands  # prints the commands and trains nothing

Small runs on one CPU core, docs/ablation.md has their results. A run whose folder has a model is not trained again, so
that a stopped ablation goes on. Figures are of the runs' own validation, but for those of `--judge`: strangers as
there, seen by the teacher landmarker and by dlib's embedder, which no training has seen.
"""

import argparse
import csv
from functools import cache
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir

from vaegan.config import CONF
from vaegan.data import pack_data
from vaegan.evaluation.embedders import Dlib
from vaegan.evaluation.observer import Observer
from vaegan.model import load_model
from vaegan.motion import delta
from vaegan.tensors import to_float, to_uint8
from vaegan.training.run import train

SMALL = [
    "model=motion64",
    "model.networks.hidden=448",
    "model.networks.encoder_widths=[32,32,64,64,64,64,64]",
    "model.networks.encoder_strides=[4,1,2,1,1,1,1]",
    "model.networks.decoder_widths=[64,64,64,64,32,32,24]",
    "model.networks.decoder_strides=[1,1,1,2,1,2,2]",
    "model.discriminator.widths=[32,48,64,96]",
    "model.discriminator.hidden=[128,64]",
    "model.ema_decay=0.97",
    "model.optimizer.warmup_steps=20",
    "model.critics.share=0.125",
    "data.limit=1000",
    "data.val_limit=120",
    "data.every=4",
    "trainer.precision=bf16-mixed",
    "callbacks.preview=null",
    "callbacks.pca_line=null",
    "callbacks.lpips=null",
    "callbacks.grids=null",
]
"""What all runs share: the networks of `paper-vae`; 4,000 stills and frames of 87 clips, 120 whole stills and 6 clips
to validate on."""

START = ["start_from=paper-vae", "data.batch=32", "data.steps=600", "trainer.steps=600"]
"""The common start, 19,200 pictures: a plain VAE with heads, which knows framing and data; no strangers, no D."""

ROW = ["data.batch=16", "model.optimizer.lr=0.0005"]
"""Of every run that goes on from there."""

EXPRESSION = ("critic_mesh", "critic_blendshapes", "critic_openings")
HEADS = ("mesh", "depth", "blendshapes", "openings")
MEASURED = "1e-9"
"""Instead of 0: a critic that is switched off does not measure, either."""


def off(*names: str, to: str = "0") -> list[str]:
    """Settings that switch loss terms off."""
    return [f"model.weights.{name}={to}" for name in names]


ROWS: dict[str, tuple[str, list[str]]] = {
    "full": ("full recipe", []),
    "transfer": ("without transfer losses", ["model.strangers=false"]),
    "expression": ("without critic on expression", off(*EXPRESSION, to=MEASURED)),
    "identity": ("without critic on identity", off("identity", to=MEASURED)),
    "heads": ("without heads", off(*HEADS)),
    "cycle": ("without cycle", off("cycle")),
    "openings": ("without openings", off("openings", "critic_openings")),
    "pca": ("PCA start", ["model.pca_start=true"]),
    "random": ("random start", []),
}
"""Folder -> what the table calls it, and the one change."""

SEEDS = {"full": (0, 1, 2), "transfer": (0, 1, 2)}
"""Rows that are trained more than once."""

UNSTARTED = ("pca", "random")
"""Rows without the common start."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", help="folder that `vaegan pack` wrote")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="where the runs go")
    parser.add_argument("--steps", type=int, default=100, help="of each run, 16 pictures each")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="train only these", metavar="ROW")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--judge", action="store_true", help="also have strangers looked at by others than the critics")
    parser.add_argument("--commands", action="store_true", help="print the commands and train nothing")
    args = parser.parse_args()
    machine = [f"data.folder={args.pack}", f"trainer.threads={args.threads}"]
    pack_data.read_pack = cache(pack_data.read_pack)  # all runs read the same pictures
    for folder, changes in commands(args.runs, args.steps, args.rows).items():
        print("python train.py", *SMALL, "data.folder=OUT", *changes, f"hydra.run.dir={folder}", flush=True)
        if not args.commands and not (folder / "model").is_dir():
            with initialize_config_dir(str(CONF), version_base="1.3"):
                cfg = compose("config", [*SMALL, *machine, *changes])
            train(cfg, folder, " ".join(["python train.py", *SMALL, *changes]))
    if not args.commands:
        print(table(args.runs, Judge(Path(args.pack)) if args.judge else None))


def commands(runs: Path, steps: int, rows: list[str]) -> dict[Path, list[str]]:
    """Run folder -> the settings beyond SMALL; one seed of every row before the others."""
    plain = ["model.strangers=false", *off(*EXPRESSION, "identity", to=MEASURED), *off("adversarial", "feature")]
    found = {runs / "start": [*START, *plain]}
    length = [f"data.steps={steps}", f"trainer.steps={steps}"]
    for seed in (0, 1, 2):
        for name in rows:
            if seed in SEEDS.get(name, (0,)):
                start = [] if name in UNSTARTED else [f"start_from={runs / 'start/model'}"]
                found[runs / f"{name}-{seed}"] = [*start, *ROW, *length, f"seed={seed}", *ROWS[name][1]]
    return found


class Judge:
    """Validation stills moved by validation clips, and who looks at them: nobody that training has seen.

    pack: folder of packed parts.
    """

    def __init__(self, pack: Path) -> None:
        val = pack_data.read_pack(pack, "val", limit=120, workers=8)
        stills = np.flatnonzero((val.clip < 0) & (val.inside.mean((1, 2)) > 0.99))[:256]
        frames = np.flatnonzero(val.clip >= 0)
        moved = np.random.default_rng(0).choice(frames, len(stills))
        first = np.searchsorted(val.clip, val.clip[moved])
        self.crops = [to_float(val.crops[rows]) for rows in (stills, moved, first)]
        photo, after, before = (val.blendshapes[rows, 1:] / 255 for rows in (stills, moved, first))
        self.photo, self.asked = photo, (photo + after - before).clip(0, 1)
        self.observer = Observer({"identity_dlib": Dlib()}, 1)
        self.seen = self.observer.look(val.crops[stills])

    def __call__(self, folder: Path) -> list[str]:
        """Of a model: error of the blendshapes over the unmoving photos', dlib's distance, faces found."""
        model = load_model(folder)
        photos, after, before = (model.encode(crops) for crops in self.crops)
        pictures = to_uint8(model.decode(photos + delta(after, before)))
        seen = self.observer.look(pictures)
        error = np.square(seen.expression - self.asked)[seen.found].sum(1).mean()
        still = np.square(self.photo - self.asked)[seen.found].sum(1).mean()
        apart = seen.embeddings["identity_dlib"] - self.seen.embeddings["identity_dlib"]
        return [f"{error / still:.3f}", f"{np.nanmean(np.linalg.norm(apart, axis=1)):.3f}", f"{seen.found.mean():.0%}"]


def table(runs: Path, judge: Judge | None) -> str:
    """The last validation of all runs that are there, in Markdown."""
    lines = ["| row | PSNR | LPIPS | lip gap r / gain | eye gap | iris x | blendshapes | stranger identity | error |"]
    lines[0] += " teacher's error | dlib distance | found |" if judge else ""
    lines.append("|---" * (lines[0].count("|") - 1) + "|")
    for name, title in [("start", "the common start"), *((name, title) for name, (title, _) in ROWS.items())]:
        for folder in [runs / "start"] if name == "start" else [runs / f"{name}-{s}" for s in SEEDS.get(name, (0,))]:
            if not (folder / "model").is_dir():
                continue
            row = figures(folder)
            cells = [title + f", seed {folder.name[-1]}" * (name in SEEDS), f"{row['psnr']:.2f}", f"{row['lpips']:.4f}"]
            for figure in ("lip_gap", "eye_gap", "iris_x", "blendshape"):
                read = f"{row[figure + '_r']:.2f} / {row[figure + '_gain']:.2f}"
                cells.append("" if name == "heads" else read)  # nobody trains them there
            cells += [f"{row['stranger_identity']:.3f}", f"{row['stranger_expression_error']:.3f}"]
            cells += judge(folder / "model") if judge else []
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def figures(folder: Path) -> dict[str, float]:
    """The last validation figures of a run."""
    with open(folder / "metrics.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/psnr")]
    return {key.removeprefix("val/"): float(value) for key, value in rows[-1].items() if key and value}


if __name__ == "__main__":
    main()
