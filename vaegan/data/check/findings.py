"""What the figures of a data set mean, in sentences: what spoils training, what to know, what is over-represented."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from vaegan.data.check.looked import Looked
from vaegan.data.check.probe import Probe
from vaegan.data.check.videos import Video
from vaegan.data.expression import CLOSED_EYES, OPEN_MOUTH, SMILE, TURNED
from vaegan.data.quality import near_across, near_duplicates

TALKING = {"smile": 0.16, "open mouth": 0.28, "closed eyes": 0.10, "turned head": 0.22}
"""Shares of 547 frames of 143 shared clips of people who talk: what a motion model will be driven with."""

FEW = 1000
"""Pictures below which a model of the paper's size learns them by heart."""

ENOUGH = 100
"""Labelled faces from which on shares are judged."""

BLURRED = 40.0
"""Sharpness below which nothing of the shared stills lies."""


@dataclass(frozen=True)
class Finding:
    """level: "spoils" (training would go wrong), "mind" (worth a decision) or "note". about: one word; text: a
    sentence with its figures. examples: pictures or files."""

    level: str
    about: str
    text: str
    examples: tuple[str, ...] = ()


def find(looked: Looked, videos: list[Video], faceless: tuple[int, int], probe: Probe | None) -> list[Finding]:
    """All findings, the worst first.

    Args:
        faceless: how many pictures showed no face, of how many that the landmarker saw.
    """
    findings = [
        *_broken(looked),
        *_amount(looked, videos),
        *_lengths(videos),
        *_leaks(looked),
        *_duplicates(looked),
        *_quality(looked),
        *_poses(looked, faceless),
        *_probed(probe),
    ]
    return sorted(findings, key=lambda finding: ("spoils", "mind", "note").index(finding.level))


def _broken(looked: Looked) -> list[Finding]:
    found = []
    if looked.broken:
        examples = tuple(f"{where}: {why}" for where, why in looked.broken[:12])
        text = f"{len(looked.broken)} files or pictures are broken or missing, first {examples[0]}"
        found.append(Finding("spoils", "broken", text, examples))
    if looked.unlabelled:
        text = f"labels.npz lacks {looked.unlabelled} pictures of index.csv: they do not belong together"
        found.append(Finding("spoils", "labels", text))
    return found


def _amount(looked: Looked, videos: list[Video]) -> list[Finding]:
    splits, found = Counter(looked.split), []
    if not len(looked):
        return [Finding("spoils", "empty", "not a single picture could be read")]
    told = ", ".join(f"{count:,} {split}" for split, count in splits.most_common())
    people, sources = len(set(looked.person)), Counter(looked.source)
    what = f"{len(looked):,} pictures" if not videos else f"{len(looked):,} frames looked at of {len(videos):,} videos"
    text = f"{what} ({told}) of {people:,} people or files, from {len(sources)} source{'s' * (len(sources) > 1)}"
    found.append(Finding("note", "amount", text))
    if "index" in told or "unsplit" not in splits:
        for split in ("train", "val"):
            if not splits[split]:
                level = "spoils" if split == "train" else "mind"
                found.append(Finding(level, "splits", f"there is no '{split}' split: {told}"))
    train = splits.get("train", len(looked))
    if not videos and train < FEW:
        text = (
            f"only {train:,} pictures to train on: a model learns so few by heart; {FEW:,} are little, 20,000 are good"
        )
        found.append(Finding("mind", "amount", text))
    name, count = Counter(looked.person).most_common(1)[0]
    if people >= 10 and count > 0.2 * len(looked):
        found.append(Finding("mind", "people", f"{count / len(looked):.0%} of the pictures show one person, {name}"))
    return found


def _lengths(videos: list[Video]) -> list[Finding]:
    if not videos:
        return []
    ranges = []
    for name, unit in (("seconds", "s long"), ("fps", "frames/s"), ("height", "px high")):
        values = sorted(getattr(video, name) for video in videos)
        ranges.append(f"{values[0]:.3g} to {values[-1]:.4g} {unit} (median {values[len(values) // 2]:.4g})")
    silent = sum(video.sound == "none" for video in videos)
    return [Finding("note", "videos", f"{', '.join(ranges)}; {silent} of {len(videos)} without sound")]


def _leaks(looked: Looked) -> list[Finding]:
    split, found = looked.column("split"), []
    homes: dict[str, set[str]] = {}
    for person, home in zip(looked.person, looked.split, strict=True):
        homes.setdefault(person, set()).add(home)
    torn = sorted(person for person, where in homes.items() if len(where) > 1)
    if torn:
        text = f"{len(torn)} people are in more than one split, first {torn[0]}: validation figures will flatter"
        found.append(Finding("spoils", "leakage", text, tuple(torn[:12])))
    names = sorted(set(looked.split))
    hashes = np.array(looked.hashes)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            first, second = np.flatnonzero(split == one), np.flatnonzero(split == other)
            pairs = near_across(hashes[first], hashes[second])
            if pairs:
                examples = tuple(f"{looked.where[first[a]]} = {looked.where[second[b]]}" for a, b in pairs[:12])
                text = f"{len(pairs)} pictures of '{other}' nearly repeat pictures of '{one}', first {examples[0]}"
                found.append(Finding("spoils", "leakage", text, examples))
    return found


def _duplicates(looked: Looked) -> list[Finding]:
    """Within a split; frames of one video resemble each other by nature."""
    group = looked.group
    if not len(looked):
        return []
    firsts = [i for i in range(len(looked)) if not group[i] or i == 0 or group[i] != group[i - 1]]
    pairs = near_duplicates(np.array(looked.hashes)[firsts])
    if not pairs:
        return []
    share = len(pairs) / len(firsts)
    a, b = (looked.where[firsts[i]] for i in pairs[0])
    text = f"{len(pairs):,} pictures ({share:.1%}) nearly repeat an earlier one, first {b} = {a}"
    return [Finding("spoils" if share > 0.5 else "mind" if share > 0.02 else "note", "duplicates", text)]


def _quality(looked: Looked) -> list[Finding]:
    found = []
    if not len(looked):
        return found
    native, sharp, cover = (looked.column(name) for name in ("native_px", "sharpness", "cover"))
    low, middle, high = np.percentile(native, (5, 50, 95))
    what = "faces' crops are" if looked.prepared else "the shorter sides of the pictures are"
    text = f"{what} {low:.0f} to {high:.0f} px{' in their source' * looked.prepared}, median {middle:.0f}"
    found.append(Finding("note", "resolution", text))
    for about, wanted, limit, text in (
        ("resolution", native < 64, 0.1, "of them have less than 64 px"),
        ("sharpness", sharp < BLURRED, 0.05, f"of the pictures are blurred (sharpness below {BLURRED:.0f})"),
        ("colour", looked.column("grey"), 0.03, "of the pictures are grey: a model learns to drain colour"),
        ("cover", cover < 0.95, 0.1, "of the crops reach outside their picture; train with a limit on `cover`"),
        ("light", looked.column("light") < 40, 0.05, "of the pictures are nearly black"),
    ):
        share = float(np.mean(wanted))
        if share:
            examples = tuple(list(looked.chosen(wanted))[:12])
            found.append(Finding("mind" if share > limit else "note", about, f"{share:.1%} {text}", examples))
    return found


def _poses(looked: Looked, faceless: tuple[int, int]) -> list[Finding]:
    found = []
    none, shown = faceless
    if none:
        level = "spoils" if none > 0.5 * shown else "mind" if none > 0.02 * shown else "note"
        found.append(Finding(level, "faces", f"no face was found in {none:,} of {shown:,} pictures looked at"))
    shares = expression_shares(looked)
    if not shares:
        text = "poses and expressions are not known: there are no labels and no landmarker; run vaegan prepare"
        return [*found, Finding("note", "expression", text)]
    known = int(np.isfinite(looked.column("smile")).sum())
    for name, share in shares.items():
        level, judgement = _judged(name, share, known)
        text = f"{name}: {share:.0%} of {known:,} faces; of people who talk, {TALKING[name]:.0%}{judgement}"
        found.append(Finding(level, "expression", text))
    smile = looked.column("smile")
    found.append(
        Finding("note", "expression", f"mean smile {np.nanmean(smile):.2f} of 1; of people who talk, 0.14: the bias is "
                f"{np.nanmean(smile) - 0.14:+.2f}")
    )  # fmt: skip
    yaw = looked.column("yaw")
    yaw = yaw[np.isfinite(yaw)]
    left, right = float((yaw > TURNED).mean()), float((yaw < -TURNED).mean())
    if known >= ENOUGH and max(left, right) > 2 * min(left, right) + 0.02:
        text = f"heads turn to one side: {left:.0%} to the picture's left, {right:.0%} to its right; mirror at random"
        found.append(Finding("mind", "pose", text))
    return found


def _judged(name: str, share: float, known: int) -> tuple[str, str]:
    """Level and second half of a sentence: whether this share of faces is more or less than people show who talk."""
    usual = TALKING[name]
    more, less = _CONSEQUENCES[name]
    if known < ENOUGH:
        return "note", ""
    if share > 1.5 * usual and share > usual + 0.05:
        return ("mind", f": {share / usual:.1f} times as many, over-represented, {more}") if more else ("note", "")
    if share < 0.6 * usual and share < usual - 0.03:
        return "mind", f": {share / usual:.1f} times as many, under-represented, {less}"
    return "note", ""


_CONSEQUENCES = {
    "smile": ("a model trained on this draws faces towards a smile", "smiles will be learned badly"),
    "open mouth": ("mouths will tend to open", "a mouth will open too little in speech"),
    "closed eyes": ("eyes will tend to close", "blinks will be learned badly"),
    "turned head": ("", "turned heads will be learned badly"),
}
"""What a model learns of too many and of too few."""


def expression_shares(looked: Looked) -> dict[str, float]:
    """Share of the labelled faces that smile, open the mouth, close the eyes, turn the head; {} without labels."""
    smile = looked.column("smile")
    known = np.isfinite(smile)
    if not known.any():
        return {}
    yaw = looked.column("yaw")
    return {
        "smile": float((smile[known] > SMILE).mean()),
        "open mouth": float((looked.column("mouth")[known] > OPEN_MOUTH).mean()),
        "closed eyes": float((looked.column("eyes")[known] > CLOSED_EYES).mean()),
        "turned head": float((np.abs(yaw[np.isfinite(yaw)]) > TURNED).mean()),
    }


def _probed(probe: Probe | None) -> list[Finding]:
    if probe is None:
        return []
    text = (
        f"a small model explains {probe.explained:.0%} of the variance of {probe.held_out} pictures it has not seen "
        f"after {probe.steps} steps"
    )
    if not probe.learns:
        return [Finding("spoils", "probe", f"{text}: nothing that holds for other pictures is learned from this set")]
    return [Finding("note", "probe", text)]
