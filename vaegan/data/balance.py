"""How often each picture is drawn, so that sources, people, expressions or poses come as often as they should."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vaegan.data.clip_frames import Clips
from vaegan.data.expression import CLOSED_EYES, OPEN_MOUTH, SMILE, eyes, mouth, smile
from vaegan.data.format import Entry, read_labels, shape_codes
from vaegan.errors import UserError

KINDS = ("none", "source", "person", "expression", "pose")

YAW_BINS = (10.0, 20.0, 30.0)
"""Degrees of yaw, to either side, between which poses come equally often; beyond the last, 3 % of the shared stills,
each face is drawn eight times as often as it was."""

ROUNDS = 50
"""Of fitting the weights to several shares at once; they stand still after ten."""


def expressions(shapes: np.ndarray) -> dict[str, np.ndarray]:
    """Which faces smile, have their mouth open, close their eyes: bool (N,) each, see `expression`.

    Args:
        shapes: uint8 (N, 52), blendshapes in 1/255.
    """
    shares = shapes / 255
    return {
        "smile": smile(shares) > SMILE,
        "open_mouth": mouth(shares) > OPEN_MOUTH,
        "closed_eyes": eyes(shares) > CLOSED_EYES,
    }


def draw_weights(
    kind: str,
    *,
    source: Sequence[str],
    person: Sequence[str],
    yaw: np.ndarray,
    shapes: np.ndarray | None,
    expression: dict[str, float],
) -> np.ndarray | None:
    """The weights (N,) of torch's WeightedRandomSampler, mean 1; None for "none".

    Args:
        kind: "source" and "person": each as often as any other; "pose": each of four ranges of yaw (`YAW_BINS`) as
            often as any other; "expression": smiles, open mouths and closed eyes with the shares of `expression`.
        source, person: (N,) names. yaw: (N,) degrees. shapes: uint8 (N, 52), None where there are no labels.
        expression: wanted shares 0..1 by name, `smile`, `open_mouth`, `closed_eyes`; what is not named stays.
    Raises:
        UserError: an unknown kind or share, or nothing to tell it by.
    """
    if kind == "none":
        return None
    if kind in ("source", "person"):
        names = source if kind == "source" else person
        if not any(names):
            raise UserError(f"data.balance={kind}: index.csv has no column '{kind}'; prepare the data set again")
        return _even(np.unique(np.asarray(names), return_inverse=True)[1])
    if kind == "pose":
        if not np.any(yaw):
            raise UserError("data.balance=pose: index.csv has no column 'yaw'; prepare the data set again")
        return _even(np.digitize(np.abs(yaw), YAW_BINS))
    if kind != "expression":
        raise UserError(f"data.balance={kind}: choose one of {', '.join(KINDS)}")
    if shapes is None:
        raise UserError("data.balance=expression: the data set has no labels.npz; prepare it again")
    found = expressions(shapes)
    for name, share in expression.items():
        if name not in found or not 0 < share < 1:
            raise UserError(f"data.expression.{name}={share}: give {', '.join(found)} a share between 0 and 1")
    return _raked({name: found[name] for name in expression}, expression)


def still_weights(folder: Path, entries: list[Entry], kind: str, expression: dict[str, float]) -> np.ndarray | None:
    """`draw_weights` of the pictures of a data set."""
    if kind == "none":
        return None
    labels = read_labels(folder, [e.key for e in entries]) if kind == "expression" else None
    return draw_weights(
        kind,
        source=[e.columns.get("source", "") for e in entries],
        person=[e.columns.get("person", "") for e in entries],
        yaw=np.array([float(e.columns.get("yaw") or 0) for e in entries]),
        shapes=None if labels is None else shape_codes(labels.blendshapes),
        expression=expression,
    )


def clip_weights(clips: Clips, kind: str, expression: dict[str, float]) -> np.ndarray | None:
    """`draw_weights` of the frames of clips, which have one source."""
    source = ["clips"] * len(clips.frames)
    return draw_weights(
        kind, source=source, person=clips.people(), yaw=clips.yaw, shapes=clips.shapes, expression=expression
    )


def _even(group: np.ndarray) -> np.ndarray:
    """Weights with which every group (N,) of numbers from 0 on is drawn equally often."""
    weights = 1 / np.bincount(group)[group]
    return weights / weights.mean()


def _raked(found: dict[str, np.ndarray], shares: dict[str, float]) -> np.ndarray:
    """Weights with which all the shares hold at once: iterative proportional fitting (Deming & Stephan 1940)."""
    weights = np.ones(len(next(iter(found.values()))))
    for _ in range(ROUNDS):
        for name, has in found.items():
            if has.any() and not has.all():
                now = weights[has].sum() / weights.sum()
                weights *= np.where(has, shares[name] / now, (1 - shares[name]) / (1 - now))
    return weights / weights.mean()
