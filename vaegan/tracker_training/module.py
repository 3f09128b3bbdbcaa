"""How the tracker's networks learn from what the teacher sees: one part after the other, in one run."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vaegan.ema import averaged
from vaegan.errors import UserError
from vaegan.faces.networks import FaceDetector, FaceLandmarker
from vaegan.folder import PRETRAINED, UNUSED, read_config, write_folder
from vaegan.tensors import to_float
from vaegan.tracker_training.card import part_rows, tracker_card
from vaegan.tracker_training.data import TrackerData
from vaegan.tracker_training.groups import TRAIN
from vaegan.tracker_training.losses import blendshape_weights, coordinate_weights, detector_losses, landmarker_losses
from vaegan.tracker_training.presence import fit_presence_head
from vaegan.tracker_training.samples import fit_mesh_model
from vaegan.training.module import POSITION, Finished, TrainingModule
from vaegan.training.schedule import learning_rate_factor

PARTS = {
    "landmarker": ["landmarker"],
    "detector": ["detector"],
    "both": ["landmarker", "detector"],
    "presence": ["presence"],
}


class TrackerTraining(TrainingModule):
    """The landmarker, then the detector, each with AdamW, a warm-up and a cosine to zero; or the presence head alone.

    Parts that are not trained stay as they are in the tracker that the run starts from.

    Args:
        part: "landmarker" | "detector" | "both" | "presence" (of a finished tracker that `start_from` names).
        landmarker, detector: architecture, see vaegan.faces.networks. detection: what detections the tracker takes.
        landmarker_training, detector_training: `samples` and `batch` give the number of steps; `rate`, `weight_decay`,
            `warm_up` (steps), `average_decay` (of the moving average), `clip` (norm of the gradient), `weights` (of the
            loss terms).
        presence: `mined_weight`, see `fit_presence_head`.
    """

    objective = "clips-dev/error"
    takes = TrackerData
    parallel = False

    def __init__(
        self,
        name: str,
        part: str,
        landmarker: dict[str, Any],
        detector: dict[str, Any],
        detection: dict[str, Any],
        landmarker_training: dict[str, Any],
        detector_training: dict[str, Any],
        presence: dict[str, Any],
    ):
        super().__init__(name)
        if part not in PARTS:
            raise UserError(f"model.part is landmarker, detector, both or presence, not {part!r}")
        self.automatic_optimization = False
        self.parts = PARTS[part]
        self.architecture = {"detection": detection, "landmarker": landmarker, "detector": detector}
        self.settings = {"landmarker": landmarker_training, "detector": detector_training, "presence": presence}
        nets = {"landmarker": FaceLandmarker(**landmarker), "detector": FaceDetector(**detector)}
        self.nets = nn.ModuleDict(nets).to(memory_format=torch.channels_last)
        trained = {part: self.settings[part] for part in self.parts if part != "presence"}
        averages = {part: averaged(self.nets[part], s["average_decay"]) for part, s in trained.items()}
        self.averages = nn.ModuleDict(averages).requires_grad_(False)
        self.lengths = {part: s["samples"] // s["batch"] for part, s in trained.items()} or {"presence": 1}
        self.steps = sum(self.lengths.values())
        self.register_buffer("point_weights", coordinate_weights())
        self.register_buffer("blendshape_weights", torch.ones(52))
        self.start: Path | None = None
        self.fitted: dict[str, float] = {}
        self.mined = 0

    def stage(self, step: int) -> tuple[str, int, int]:
        """The part that a step of the run belongs to, its number within that part, and the part's steps."""
        for part, steps in self.lengths.items():
            if step < steps:
                return part, step, steps
            step -= steps
        return part, steps, steps

    def begin(self, data: TrackerData, start_from: str | None) -> None:
        if self.progress.max_seconds:
            raise UserError("trainer.max_time does not fit model=tracker, whose parts have a number of steps each")
        self.start = _start(start_from) if start_from else None
        loaded = self._load(self.start) if self.start else set()
        if self.parts == ["presence"]:
            if loaded != {"landmarker", "detector"}:
                raise UserError("model.part=presence needs a whole tracker: name its model folder with start_from")
            return
        if "landmarker" in self.parts:
            groups, net = data.drawn("landmarker"), self.nets["landmarker"]
            if "landmarker" not in loaded:
                meshes = fit_mesh_model(groups, self.architecture["landmarker"]["components"])
                net.set_mesh_model(torch.from_numpy(meshes.mean), torch.from_numpy(meshes.basis))
            seen = np.concatenate([group.blendshapes[group.faces(TRAIN)] for group in groups.values()])
            self.blendshape_weights.copy_(blendshape_weights(torch.from_numpy((seen.std(0) / 255).astype(np.float32))))
        if "detector" in self.parts:
            data.drawn("detector")  # labelled now, not hours later
        for part, average in self.averages.items():
            average.module.load_state_dict(self.nets[part].state_dict())

    def _load(self, folder: Path) -> set[str]:
        """Fill the networks that the tracker in `folder` has; returns which."""
        weights, loaded = load_file(folder / "weights.safetensors"), set()
        for part, net in self.nets.items():
            prefix = f"{part}."
            own = {k.removeprefix(prefix): v.float() for k, v in weights.items() if k.startswith(prefix)}
            if not own:
                continue
            try:
                missing, unexpected = net.load_state_dict(own, strict=False)
            except RuntimeError as error:
                raise UserError(f"start_from={folder} has other layers than this configuration") from error
            if unexpected or not all(key.endswith(UNUSED) for key in missing):
                raise UserError(f"start_from={folder} has other layers than this configuration")
            loaded.add(part)
        return loaded

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [
            torch.optim.AdamW(
                self.nets[part].parameters(),
                lr=self.settings[part]["rate"],
                weight_decay=self.settings[part]["weight_decay"],
            )
            for part in self.averages
        ]

    def training_step(self, batch: Any, index: int) -> None:
        part, step, steps = self.stage(self.progress.step)
        if part == "presence":
            self._fit_presence()
            return
        s, net = self.settings[part], self.nets[part]
        optimizers = self.optimizers()
        optimizer = optimizers[list(self.averages).index(part)] if isinstance(optimizers, list) else optimizers
        rate = s["rate"] * learning_rate_factor(step, step / steps, s["warm_up"])
        optimizer.param_groups[0]["lr"] = rate
        terms = self._terms(part, batch)
        loss = sum(s["weights"][name] * term for name, term in terms.items())
        optimizer.zero_grad()
        self.manual_backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), s["clip"])
        if not torch.isfinite(norm):
            raise UserError(
                f"training diverged: the gradient of the {part} is not finite at its step {step}; lower "
                f"model.{part}_training.rate, and go on from the last checkpoint"
            )
        optimizer.step()
        self.averages[part].update_parameters(net)
        for name, value in {"loss": loss, **terms}.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "loss")
        self.log("train/lr", rate)
        self.log("train/grad_norm", norm)
        self.count(s["batch"])

    def _terms(self, part: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The part's loss terms for what `LandmarkerBatches` or `DetectorBatches` made."""
        if part == "landmarker":
            found = self.nets[part].look(to_float(batch["crops"]))
            return landmarker_losses(*found, batch, self.point_weights, self.blendshape_weights)
        return detector_losses(self.nets[part](to_float(batch["images"])), batch["heat"], batch["box"])

    def _fit_presence(self) -> None:
        """The whole fit of the presence head, which is one step."""
        net = self.nets["landmarker"].eval().requires_grad_(False)
        batches, mined = self.trainer.datamodule.presence(self.start)
        with torch.enable_grad():
            self.fitted = fit_presence_head(net, batches, mined, self.settings["presence"]["mined_weight"])
        self.mined = len(mined)
        self.count(len(batches) * batches.batch + len(mined))

    def trained(self, part: str) -> nn.Module:
        """A part's network as it is measured and exported: averaged where it was trained."""
        return (self.averages[part].module if part in self.averages else self.nets[part]).eval()

    def validation_step(self, batch: Any, index: int) -> None:
        part, _, _ = self.stage(self.progress.step - 1)
        figures = self.fitted if part == "presence" else self.trainer.datamodule.check(part)(self.trained(part))
        for name, value in figures.items():
            self.log(f"val/{name}", value, batch_size=1)
        self.log_position(batch_size=1)

    def export(self, folder: Path, run: Finished) -> Path:
        start = _start(run.start_from) if run.start_from else None
        before = read_config(start)["training"] if start else {}
        kept = {part: told for part, told in before.items() if part != "presence" or "landmarker" not in self.parts}
        told = {part: self._told(part, run) for part in self.parts}
        networks = {part: self.trained(part) for part in self.nets if part in {**kept, **told}}
        config = {"training": {**kept, **told}, "format": 1, "detection": self.architecture["detection"]}
        config |= {part: self.architecture[part] for part in networks}
        earlier = (start / "README.md").read_text(encoding="utf-8") if start and (start / "README.md").is_file() else ""
        card = tracker_card(config["training"], run.curve, list(told), earlier)
        return write_folder(folder / "model", config, {f"{part}.": net for part, net in networks.items()}, card)

    def _told(self, part: str, run: Finished) -> dict[str, Any]:
        """What config.yaml says of the training of a part."""
        told = {"command": run.command}
        if part == "presence":
            samples = self.images_seen - self.mined
            figures = self.fitted
            told |= {"samples": samples, "mined": self.mined}
        else:
            figures = part_rows(part, run.curve)[-1]
            shares = self.trainer.datamodule.parts[part]["shares"]
            told |= {"samples": self.settings[part]["samples"], "shares": shares}
        told["figures"] = {k: round(v, 4) for k, v in figures.items() if k not in POSITION}
        return told | ({"start_from": _start(run.start_from).resolve().name} if run.start_from else {})


def _start(name: str) -> Path:
    """The model folder that `start_from` names. Raises UserError where there is none."""
    for folder in (Path(name), PRETRAINED / name):
        if folder.is_dir():
            return folder
    raise UserError(f"start_from={name} is no tracker: give a tracker's model folder, or tracker, the shipped one")
