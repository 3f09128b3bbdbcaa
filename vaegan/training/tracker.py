"""`python train.py model=tracker`: data, the two trainings, and the model folder that comes out."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, Dataset

from vaegan.data.tracker_augment import mirrored_points
from vaegan.data.tracker_data import HELD_OUT, TRAIN, load_groups
from vaegan.data.tracker_mosaic import Composer, DetectorBatches
from vaegan.data.tracker_negatives import mined_negatives
from vaegan.data.tracker_samples import LandmarkerBatches, fit_mesh_model
from vaegan.errors import UserError
from vaegan.faces.networks import FaceDetector, FaceLandmarker
from vaegan.faces.own import OwnBackend, load_networks
from vaegan.faces.tracker import FaceTracker
from vaegan.folder import PRETRAINED
from vaegan.training.tracker_card import CurveFile, keep_earlier, write_card
from vaegan.training.tracker_modules import DetectorTraining, LandmarkerTraining
from vaegan.training.tracker_presence import fit_presence_head
from vaegan.training.tracker_validation import DetectorCheck, LandmarkerCheck

log = logging.getLogger(__name__)


def run(cfg: DictConfig, folder: Path) -> None:
    """Train the parts that `cfg.model.part` names; the model folder is `folder`/model.

    Args:
        cfg: as composed from conf/ with model=tracker; of it `model`, `seed`, `resume`, `start_from` and `trainer`
            are read. `model.part` presence fits that head of a finished run again. `start_from`: a tracker's model
            folder, or `tracker`, the shipped one, whose weights the parts start from.
        folder: of this run. Where it (or `cfg.resume`) holds a broken-off run, that goes on; where it holds one part,
            the other one is added.

    Raises:
        UserError: data, or the teacher's weights to label it with, are missing; `start_from` is no tracker, or one of
            another architecture.
    """
    model = OmegaConf.to_container(cfg.model, resolve=True)
    if model["part"] not in ("landmarker", "detector", "both", "presence"):
        raise UserError(f"model.part is landmarker, detector, both or presence, not {model['part']!r}")
    if not model["data"] or not Path(model["data"]).is_dir():
        raise UserError(f"model.data names no folder ({model['data']!r}): set VAEGAN_DATA")
    if cfg.trainer.threads:
        torch.set_num_threads(cfg.trainer.threads)
    cv2.setNumThreads(1)  # its threads and torch's would wait for each other
    trainer = {name: cfg.trainer[name] for name in ("accelerator", "devices", "precision")}
    model |= {"seed": cfg.seed, "trainer": trainer, "command": _command()}
    model["start_from"] = _start(cfg.start_from) if cfg.start_from else None
    folder = Path(cfg.resume) if cfg.resume else folder
    for part, train in (("landmarker", _landmarker), ("detector", _detector)):
        if model["part"] in (part, "both"):
            pl.seed_everything(model["seed"], verbose=False)
            train(model, folder)
    if model["part"] == "presence":
        _presence(model, folder)


def _start(name: str) -> Path:
    """The model folder that `start_from` names, said to be missing before anything is labelled."""
    for folder in (Path(name), PRETRAINED / name):
        if folder.is_dir():
            return folder
    raise UserError(f"start_from={name} is no tracker: give a tracker's model folder, or tracker, the shipped one")


def _begin(net: torch.nn.Module, part: str, model: dict[str, Any], output: Path) -> bool:
    """Give a network the weights that it starts from, and keep what their card says of them for the new card; False:
    there are none."""
    start = model["start_from"]
    if start is None:
        return False
    weights = dict(zip(("detector", "landmarker"), load_networks(start)[:2], strict=True))[part].state_dict()
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"start_from={start} has other layers than this configuration") from error
    keep_earlier(start, part, output / part)
    return True


def _command() -> str:
    """What was typed, without where to."""
    typed = HydraConfig.get().overrides.task if HydraConfig.initialized() else ["model=tracker"]
    places = ("resume=", "model.data=", "model.cache=")
    return " ".join(["python train.py", *(o for o in typed if not o.startswith(places))])


def _landmarker(model: dict[str, Any], output: Path) -> None:
    settings = model["landmarker_training"]
    groups = load_groups(
        Path(model["data"]), Path(model["cache"]).expanduser(), (*settings["shares"], "clips-dev"), model["every"]
    )
    train = {name: groups[name] for name in settings["shares"]}
    net = FaceLandmarker(**model["landmarker"])
    if not _begin(net, "landmarker", model, output):
        meshes = fit_mesh_model(train, model["landmarker"]["components"])
        net.set_mesh_model(torch.from_numpy(meshes.mean), torch.from_numpy(meshes.basis))
    mirror = mirrored_points(net.mesh_mean.view(-1, 3).numpy())
    spread = np.concatenate([g.blendshapes[g.faces(TRAIN)] for g in train.values()]).std(0) / 255
    module = LandmarkerTraining(
        net, torch.from_numpy(spread.astype(np.float32)), settings["weights"], **_schedule(settings)
    )
    size, roi_scale = model["landmarker"]["size"], model["landmarker"]["roi_scale"]
    kinds = {name: groups[name] for name in ("faces", "faces-tight", "clips-dev") if name in groups}
    check = LandmarkerCheck(kinds, size=size, roi_scale=roi_scale, stills=settings["check_stills"])

    def batches(start: int, count: int) -> Dataset:
        return LandmarkerBatches(
            train,
            mirror,
            size=size,
            roi_scale=roi_scale,
            batch=settings["batch"],
            shares=settings["shares"],
            negatives=settings["negatives"],
            spoiled=settings["spoiled"],
            seed=model["seed"],
            start=start,
            count=count,
        )

    _fit(module, batches, check, model, settings, output / "landmarker")
    _export(output, "landmarker", module, check(module.trained()), model, settings)


def _detector(model: dict[str, Any], output: Path) -> None:
    settings = model["detector_training"]
    held_out = {"clips-dev" if name == "clips-train" else name: share for name, share in settings["shares"].items()}
    names = tuple(dict.fromkeys([*settings["shares"], *held_out]))
    groups = load_groups(Path(model["data"]), Path(model["cache"]).expanduser(), names, model["every"])
    composer = Composer(groups, TRAIN, settings["shares"], model["detection"]["size"], settings["face_px"])
    unseen = Composer(groups, HELD_OUT, held_out, model["detection"]["size"], settings["face_px"])
    net = FaceDetector(**model["detector"])
    _begin(net, "detector", model, output)
    module = DetectorTraining(net, settings["weights"], **_schedule(settings))
    check = DetectorCheck(unseen, settings["check_pictures"], model["detection"]["min_score"])

    def batches(start: int, count: int) -> Dataset:
        return DetectorBatches(
            composer,
            faces=settings["faces"],
            batch=settings["batch"],
            seed=model["seed"],
            start=start,
            count=count,
        )

    _fit(module, batches, check, model, settings, output / "detector")
    _export(output, "detector", module, check(module.trained()), model, settings)


def _presence(model: dict[str, Any], output: Path) -> None:
    """Fit the presence head of the tracker in `output`/model again, on samples that no training saw and on its own
    mistakes."""
    folder, settings = output / "model", model["landmarker_training"]
    net = load_networks(folder)[1]
    groups = load_groups(
        Path(model["data"]), Path(model["cache"]).expanduser(), tuple(settings["shares"]), model["every"]
    )
    batches = LandmarkerBatches(
        groups,
        mirrored_points(net.mesh_mean.view(-1, 3).numpy()),
        size=net.size,
        roi_scale=net.roi_scale,
        batch=settings["batch"],
        shares=settings["shares"],
        negatives=model["presence"]["negatives"],
        spoiled=settings["spoiled"],
        seed=model["seed"] + 1,
        start=0,
        count=model["presence"]["samples"] // settings["batch"],
    )
    own, teacher = OwnBackend(folder, model["presence"]["min_score"]), FaceTracker("mediapipe").backend
    mined = mined_negatives(own, teacher, groups["photos"], net.size, model["seed"] + 1)
    figures = fit_presence_head(net, batches, mined, model["presence"]["mined_weight"])
    weights, config = load_file(folder / "weights.safetensors"), yaml.safe_load((folder / "config.yaml").read_text())
    for key, value in net.presence.state_dict().items():
        weights[f"landmarker.presence.{key}"] = value.detach().to(torch.float16).contiguous()
    config["training"]["presence"] = {
        "command": model["command"],
        "samples": len(batches) * settings["batch"],
        "mined": len(mined),
        "figures": {name: round(value, 4) for name, value in figures.items()},
    }
    _write(folder, weights, config)
    write_card(folder, output)


def _schedule(settings: dict[str, Any]) -> dict[str, Any]:
    names = ("rate", "weight_decay", "warm_up", "average_decay")
    return {"steps": settings["samples"] // settings["batch"], **{name: settings[name] for name in names}}


def _fit(
    module: pl.LightningModule,
    batches: Callable[[int, int], Dataset],
    check: Callable,
    model: dict[str, Any],
    settings: dict[str, Any],
    folder: Path,
) -> None:
    """Train to the last step in epochs of `check_every` steps, a checkpoint after each; go on from the last one."""
    module.to(memory_format=torch.channels_last)
    data = _Epochs(batches, module.steps, settings["check_every"], model["workers"])
    trainer = pl.Trainer(
        default_root_dir=folder,
        **model["trainer"],
        max_steps=module.steps,
        reload_dataloaders_every_n_epochs=1,
        callbacks=[
            ModelCheckpoint(folder, filename="last", save_top_k=1, enable_version_counter=False),
            _Report(check, CurveFile(folder / "curve.csv")),
        ],
        gradient_clip_val=settings["clip"],
        logger=pl.loggers.CSVLogger(folder, name="log"),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=50,
    )
    last = folder / "last.ckpt"
    trainer.fit(module, data, ckpt_path=last if last.is_file() else None, weights_only=True)


class _Epochs(pl.LightningDataModule):
    """The run's batches in order, `every` at a time; where to begin follows from the steps done."""

    def __init__(self, batches: Callable[[int, int], Dataset], steps: int, every: int, workers: int) -> None:
        super().__init__()
        self.batches, self.steps, self.every, self.workers = batches, steps, every, workers

    def train_dataloader(self) -> DataLoader:
        """The epoch's batches, already stacked."""
        start = self.trainer.global_step
        count = max(1, min(self.every, self.steps - start))
        return DataLoader(self.batches(start, count), batch_size=None, shuffle=False, num_workers=self.workers)


class _Report(pl.Callback):
    """Loss terms, speed and the held-out figures, one line after each epoch, which the curve keeps."""

    def __init__(self, check: Callable, curve: CurveFile) -> None:
        self.check, self.curve = check, curve
        self.started, self.sums, self.samples, self.batches = 0.0, {}, 0, 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The clock runs from here where a run goes on in the middle of an epoch."""
        self.started = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The clock runs for training only."""
        self.started, self.sums, self.samples, self.batches = time.perf_counter(), {}, 0, 0

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs, batch, index: int) -> None:
        """Add up the loss terms."""
        self.samples += len(next(iter(batch.values())))
        self.batches += 1
        for name in ("loss", *module.weights):
            self.sums[name] = self.sums.get(name, 0.0) + float(trainer.callback_metrics[name])

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Print them, and what the averaged weights reach on held-out pictures."""
        if not self.samples:  # gone on from a checkpoint at the very end of an epoch
            return
        steps = trainer.global_step
        seconds = time.perf_counter() - self.started
        losses = {k: v / self.batches for k, v in self.sums.items()}
        figures = self.check(module.trained())
        self.curve.add({"step": steps, "seconds": seconds, **losses, **figures})
        shown = [" ".join(f"{k} {v:.{n}f}" for k, v in part.items()) for n, part in ((4, losses), (3, figures))]
        print(f"step {steps}/{module.steps} {self.samples / seconds:.0f}/s | {' | '.join(shown)}", flush=True)


def _export(
    run: Path,
    part: str,
    module: pl.LightningModule,
    figures: dict[str, float],
    model: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    """Put the averaged weights of one part into the model folder `run`/model; the other part stays as it is."""
    folder = run / "model"
    folder.mkdir(parents=True, exist_ok=True)
    weights_file, config_file = folder / "weights.safetensors", folder / "config.yaml"
    weights = load_file(weights_file) if weights_file.is_file() else {}
    config = yaml.safe_load(config_file.read_text(encoding="utf-8")) if config_file.is_file() else {"training": {}}
    weights = {key: value for key, value in weights.items() if not key.startswith(f"{part}.")}
    for key, value in module.trained().state_dict().items():
        if not key.endswith("num_batches_tracked"):
            weights[f"{part}.{key}"] = value.cpu().to(torch.float16).contiguous()
    config |= {"format": 1, "detection": model["detection"], part: model[part]}
    config["training"][part] = {
        "command": model["command"],
        "samples": settings["samples"],
        "shares": settings["shares"],
        "figures": {name: round(value, 4) for name, value in figures.items()},
    }
    if model["start_from"]:
        config["training"][part]["start_from"] = model["start_from"].resolve().name
    _write(folder, weights, config)
    write_card(folder, run)


def _write(folder: Path, weights: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    _replace(folder / "weights.safetensors", lambda path: save_file(weights, path))
    text = yaml.safe_dump(config, sort_keys=False)
    _replace(folder / "config.yaml", lambda path: path.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    write(temporary)
    temporary.chmod(0o644)
    temporary.replace(path)
