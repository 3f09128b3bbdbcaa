"""What `data.balance` draws: shares of expressions, poses, people and sources in 10,000 draws of a data set.

    VAEGAN_DATA=... python benchmarks/balance.py --figure balance.png

Prints a table, and draws a figure where it is asked for. The shares that are aimed at stand in
conf/data/shared/drawing.yaml.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir

from vaegan.data.balance import KINDS, expressions, still_weights
from vaegan.data.batches import drawn
from vaegan.data.format import read_index, read_labels
from vaegan.data.storage import data_folder
from vaegan.media import atomic_path

DRAWS = 10_000
YAW = [0, 10, 20, 30, 90]
CONF = str(Path(__file__).resolve().parents[1] / "conf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", default="faces", help="data set of stills with labels")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("config", ["data=faces"]).data
    targets = dict(cfg.expression)
    folder = data_folder(args.faces)
    entries = read_index(folder, "train", cfg.min_cover)
    shapes = np.rint(read_labels(folder, [e.key for e in entries]).blendshapes * 255).astype(np.uint8)
    found = expressions(shapes)
    yaw = np.abs([float(e.columns["yaw"]) for e in entries])
    people = np.array([e.columns["person"] for e in entries])
    sources = np.array([e.columns["source"] for e in entries])

    names = [*found, *(f"yaw {a}-{b}" for a, b in pairwise(YAW)), *np.unique(sources)]
    print(f"{DRAWS:,} draws of {len(entries):,} pictures")
    print(" ".join([f"{'balance':>10}", *(f"{name:>11}" for name in names), f"{'people':>7}", f"{'most of one':>11}"]))
    shares = {}
    for kind in KINDS:
        weights = still_weights(folder, entries, kind, targets)
        chosen = drawn(len(entries), DRAWS, np.random.default_rng(0), weights)
        row = [has[chosen].mean() for has in found.values()]
        row += list(np.histogram(yaw[chosen], YAW)[0] / DRAWS)
        row += [np.mean(sources[chosen] == name) for name in np.unique(sources)]
        counts = np.unique(people[chosen], return_counts=True)[1]
        print(" ".join([f"{kind:>10}", *(f"{v:11.1%}" for v in row), f"{len(counts):7,}", f"{counts.max():11}"]))
        shares[kind] = row
    print(" ".join([f"{'aim':>10}", *(f"{targets[name]:11.1%}" for name in found)]))
    if args.figure:
        draw(args.figure, shares, targets)


def draw(path: Path, shares: dict[str, list[float]], targets: dict[str, float]) -> None:
    """Expressions as they are and balanced, beside poses as they are and balanced."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained", sharey=True)
    for axes, kind, part, labels in (
        (left, "expression", slice(0, 3), [name.replace("_", " ") for name in targets]),
        (right, "pose", slice(3, 7), ["0-10°", "10-20°", "20-30°", "beyond"]),
    ):
        x = np.arange(len(labels))
        for shift, which, colour in ((-0.2, "none", "#9aa5b1"), (0.2, kind, "#2f6db5")):
            bars = axes.bar(x + shift, shares[which][part], 0.38, color=colour, label=f"balance={which}")
            axes.bar_label(bars, [f"{value:.0%}" for value in shares[which][part]], fontsize=8)
        aims = list(targets.values()) if kind == "expression" else [1 / len(labels)] * len(labels)
        axes.hlines(aims, x - 0.42, x + 0.42, colors="#c0392b", linestyles="dashed", linewidth=1, label="aim")
        axes.set_xticks(x, labels)
        axes.set_title("expressions" if kind == "expression" else "yaw to either side", fontsize=10)
        axes.legend(fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_ylabel(f"share of {DRAWS:,} draws")
    with atomic_path(path) as part:
        figure.savefig(part, dpi=110)


if __name__ == "__main__":
    main()
