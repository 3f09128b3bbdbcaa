"""The data that a tracker is trained on: batches of each of its parts in the order of the run's steps, and checks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
from torch import nn
from torch.utils.data import DataLoader, Dataset

from vaegan.data.batches import content_hash
from vaegan.data.cache import cache_root
from vaegan.errors import UserError
from vaegan.faces.own import OwnBackend
from vaegan.faces.tracker import FaceTracker
from vaegan.tracker_training.checks import DetectorCheck, LandmarkerCheck
from vaegan.tracker_training.groups import HELD_OUT, TRAIN, Group, load_groups
from vaegan.tracker_training.mosaic import Composer, DetectorBatches
from vaegan.tracker_training.negatives import mined_negatives
from vaegan.tracker_training.samples import LandmarkerBatches


class TrackerData(pl.LightningDataModule):
    """Pictures that the teacher has labelled, as the landmarker, the detector and the presence head learn from them.

    Args:
        name: what cards and records call it. folder: of the data sets.
        every: of the training clips' frames one in `every` is taken.
        workers: processes that prepare batches, beside the one that trains. seed: of what is drawn.
        landmarker: `size`, `roi_scale` and `batch` of the crops; `shares`, `negatives` and `spoiled` of
            `LandmarkerBatches`; `check_every`, steps between held-out figures and checkpoints; `check_stills`, the
            most of each kind of stills.
        detector: `size` and `batch` of the pictures; `shares` and `face_px` of `Composer`; `faces` of
            `DetectorBatches`; `min_score`, `check_every`, `check_pictures` of its check.
        presence: `samples`; `negatives`, their share; `min_score` of the detections that are asked whether they fool
            the landmarker.
    """

    def __init__(
        self,
        name: str,
        folder: str,
        every: int,
        workers: int,
        seed: int,
        landmarker: dict[str, Any],
        detector: dict[str, Any],
        presence: dict[str, Any],
    ):
        super().__init__()
        self.source, self.folder, self.every, self.workers, self.seed = name, folder, every, workers, seed
        self.parts = {"landmarker": landmarker, "detector": detector, "presence": presence}
        self.train, self.val = Stages(self), DataLoader([0])
        self._groups: dict[str, Group] = {}
        self._checks: dict[str, Callable[[nn.Module], dict[str, float]]] = {}

    def setup(self, stage: str | None = None) -> None:
        if not self.folder or not Path(self.folder).is_dir():
            raise UserError(f"data.folder names no folder ({self.folder!r}): set VAEGAN_DATA")
        cv2.setNumThreads(1)  # its threads and torch's would wait for each other

    def groups(self, *names: str) -> dict[str, Group]:
        """Pictures and labels by the name of their group, labelled where they are not yet."""
        missing = tuple(name for name in names if name not in self._groups)
        if missing:
            self._groups |= load_groups(Path(self.folder), cache_root(), missing, self.every)
        return {name: self._groups[name] for name in names}

    def drawn(self, part: str) -> dict[str, Group]:
        """The groups that a part's batches are drawn from."""
        return self.groups(*self.parts["landmarker" if part == "presence" else part]["shares"])

    def facts(self) -> dict[str, Any]:
        """What a run's record says of the data: the groups loaded, their faces, a hash of the meshes."""
        groups = self._groups
        train, val = (sum(len(group.faces(split)) for group in groups.values()) for split in (TRAIN, HELD_OUT))
        fingerprint = content_hash(*(group.mesh for group in groups.values()))
        return {"name": self.source, "groups": list(groups), "train": train, "val": val, "fingerprint": fingerprint}

    def train_dataloader(self) -> "Stages":
        return self.train

    def val_dataloader(self) -> DataLoader:
        return self.val

    def batches(self, part: str, start: int, count: int) -> Dataset:
        """The batches `start`..`start + count - 1` of a part."""
        s = self.parts[part]
        if part == "detector":
            composer = Composer(self.drawn(part), TRAIN, s["shares"], s["size"], s["face_px"])
            return DetectorBatches(
                composer, faces=s["faces"], batch=s["batch"], seed=self.seed, start=start, count=count
            )
        return self._crops(s["negatives"], self.seed, start, count)

    def _crops(self, negatives: float, seed: int, start: int, count: int) -> LandmarkerBatches:
        s = {name: self.parts["landmarker"][name] for name in ("size", "roi_scale", "batch", "shares", "spoiled")}
        drawn = self.drawn("landmarker")
        return LandmarkerBatches(drawn, negatives=negatives, seed=seed, start=start, count=count, **s)

    def check(self, part: str) -> Callable[[nn.Module], dict[str, float]]:
        """What measures a part's network on held-out pictures."""
        if part not in self._checks:
            self._checks[part] = self._landmarker_check() if part == "landmarker" else self._detector_check()
        return self._checks[part]

    def _landmarker_check(self) -> LandmarkerCheck:
        s = self.parts["landmarker"]
        names = [name for name in ("faces", "faces-tight") if name in s["shares"]]
        kinds = self.groups(*names, "clips-dev")
        return LandmarkerCheck(kinds, size=s["size"], roi_scale=s["roi_scale"], stills=s["check_stills"])

    def _detector_check(self) -> DetectorCheck:
        s = self.parts["detector"]
        shares = {"clips-dev" if name == "clips-train" else name: share for name, share in s["shares"].items()}
        unseen = Composer(self.groups(*shares), HELD_OUT, shares, s["size"], s["face_px"])
        return DetectorCheck(unseen, s["check_pictures"], s["min_score"])

    def presence(self, folder: Path) -> tuple[LandmarkerBatches, np.ndarray]:
        """Samples that no training saw, and crops uint8 (N, size, size, 3) in which the tracker in the model folder
        `folder` sees a face where its teacher sees none."""
        s, seed = self.parts["presence"], self.seed + 1
        batches = self._crops(s["negatives"], seed, 0, s["samples"] // self.parts["landmarker"]["batch"])
        own, teacher = OwnBackend(folder, s["min_score"]), FaceTracker("mediapipe").backend
        return batches, mined_negatives(
            own, teacher, self.groups("photos")["photos"], self.parts["landmarker"]["size"], seed
        )


class Stages:
    """The run's batches in order, an epoch at a time; where to begin follows from the steps done.

    An epoch ends after `check_every` steps of a part, or with the part.
    """

    def __init__(self, data: TrackerData):
        self.data = data

    def set_epoch(self, epoch: int) -> None:
        """Nothing: the steps done say it."""

    def __iter__(self) -> Iterator[Any]:
        module = self.data.trainer.lightning_module
        part, step, steps = module.stage(module.progress.step)
        if part == "presence":
            return iter([0])  # its one step asks for what it needs
        count = min(self.data.parts[part]["check_every"], steps - step)
        batches = self.data.batches(part, step, count)
        return iter(DataLoader(batches, batch_size=None, shuffle=False, num_workers=self.data.workers))
