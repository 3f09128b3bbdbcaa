"""`check_data`: look at every file of a set, then say what was found."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaegan.data.check.findings import Finding, find
from vaegan.data.check.looked import Looked
from vaegan.data.check.pictures import Watcher, look_at_photos, look_at_set
from vaegan.data.check.probe import Probe, run_probe
from vaegan.data.check.videos import Video, look_at_videos
from vaegan.data.format import INDEX
from vaegan.data.prepare.sources import plain
from vaegan.errors import UserError


@dataclass
class Checked:
    """Everything that a report is made of."""

    folder: Path
    looked: Looked
    videos: list[Video]
    probe: Probe | None
    findings: list[Finding]

    @property
    def good(self) -> bool:
        """Whether nothing was found that would spoil training."""
        return all(finding.level != "spoils" for finding in self.findings)


def check_data(
    folder: str | os.PathLike, *, probe: bool = True, progress: Callable[[int], Callable[[], None]] | None = None
) -> Checked:
    """Check a prepared set (index.csv), or a folder of photos and videos as they came.

    Args:
        probe: also train a small model for a few hundred steps.
        progress: given the number of pictures or files, returns what is called after each.

    Raises:
        UserError: the folder is missing, or holds neither pictures nor videos.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name a prepared data set, or a folder of photos or videos")
    looked, watcher, videos = Looked(), Watcher(), []
    begin = progress or (lambda total: lambda: None)
    if (folder / INDEX).is_file():
        look_at_set(folder, looked, begin)
    else:
        listing = plain(folder.resolve(), folder.resolve().name, "auto")
        if not len(listing):
            other = f" ({listing.rejected[0].file}: {listing.rejected[0].detail})" if listing.rejected else ""
            raise UserError(f"{folder} holds neither index.csv nor photos nor videos{other}: name another folder")
        looked.broken += [(rejected.file, rejected.detail) for rejected in listing.rejected]
        advance = begin(len(listing))
        look_at_photos(listing.photos, looked, watcher, advance)
        videos = look_at_videos(listing.videos, looked, watcher, advance)
    probed = None
    if probe and looked.probed:
        held_out = looked.column("split")[looked.probed] != "train"
        probed = run_probe(np.array(looked.thumbnails), held_out)
    findings = find(looked, videos, (watcher.faceless, watcher.shown), probed)
    return Checked(folder, looked, videos, probed, findings)
