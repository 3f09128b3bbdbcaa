"""Models that are loaded once and serve everybody."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from vaegan.job import load
from vaegan.model import shipped_models

if TYPE_CHECKING:
    from vaegan.model import FaceModel

HELD = 3
"""Models in memory."""


def choices(own: str | None = None) -> list[str]:
    """Models that can be chosen: those that ship, motion64 first, and one's own."""
    shipped = sorted(shipped_models(), key=lambda name: (name != "motion64", name))
    return [*shipped, *([own] if own and own not in shipped else [])]


@lru_cache(HELD)
def model_of(name: str, device: str) -> FaceModel:
    return load(name, device)
