"""What run.py asks of whatever it trains: the one contract of all training modules, and what they share.

A new model is one subclass of `TrainingModule` and one file in conf/model whose `_target_` names it. Its constructor
takes what that file lists and builds the networks; run.py then calls, in this order:

0. Before any data is read, that it is of the class `takes`, and that there are `pictures_needed` to start with.
1. `progress`, set by run.py before anything else: schedules read `progress.value`.
2. `begin(data, start_from)`, in a fresh run only: the weights that it starts from. A resumed run brings its own along.
3. Lightning's hooks. A training step ends with `self.count(images)`; validation logs figures as `val/NAME`.
4. `picture_grid`, `reconstruct` and `preview` at each validation, for the callbacks that draw; None: nothing to draw.
5. `export(folder, run)` at the end: the model folder with its card.

The data is a LightningDataModule with `train` (its length is the batches of an epoch, `set_epoch(n)` begins one),
`val`, `source` (what it is called) and `facts()` (what the run's record says of it).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from vaegan.data.module import FaceData
from vaegan.errors import UserError
from vaegan.model import Framing
from vaegan.training.replay import Replayed
from vaegan.training.schedule import Progress

POSITION = ("images", "step", "seconds")
"""Where in its run a row of a curve stands; the rest are figures."""


@dataclass(frozen=True)
class Finished:
    """A run that has ended, as its model card tells it.

    name: of the run. command: what was typed. source: name of the data set. start_from: model it started from, or None.
    curve: a dict a validation: what POSITION names, of this run, and the figures by name without "val/".
    seconds: of training, validations included.
    """

    name: str
    command: str
    source: str
    start_from: str | None
    seed: int
    curve: list[dict[str, float]]
    seconds: float


class TrainingModule(pl.LightningModule):
    """The base of every training: its progress, its count of pictures, and an exact resume.

    Args:
        name: of the kind of model; runs are named after it.

    Attributes:
        images_seen: pictures seen in this run; images_before: in the runs that its starting weights come from.
        steps: length of the run where the module fixes it; None: as the trainer's settings say.
        size: side of the model's crops in px; 0: it makes no pictures.
        latent: numbers of its code; 0: no PCA line in the log.
        framing: how faces are cut out for the preview; None: there is no preview.
        cuda_graph: record `step_of` and replay it, where the module's step goes through `run_step`.
        objective: the validation figure that a sweep optimises.
        takes: the class of data that it learns from.
        pictures_needed: for a fresh start, at least. parallel: whether several processes may share its steps.
    """

    takes: type[pl.LightningDataModule] = FaceData
    pictures_needed: int = 0
    parallel: bool = True
    steps: int | None = None
    size: int = 0
    latent: int = 0
    framing: Framing | None = None
    cuda_graph: bool = False
    objective: str = "psnr"

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        self.progress = Progress(1)
        self.images_seen = 0
        self.images_before = 0
        self._rng: Tensor | None = None
        self._replayed: Replayed | None = None
        self._optimizer_steps: dict[Hashable, int] = {}

    # ---- what a subclass may give

    def begin(self, data: pl.LightningDataModule, start_from: str | None) -> None:
        """Set the starting weights of a fresh run. Raises UserError where `start_from` does not fit."""
        if start_from:
            raise UserError(f"model={self.name} cannot start from the weights of another model: leave start_from out")

    def compiled(self) -> list[nn.Module]:
        """The networks that `trainer.compile` compiles."""
        return []

    def picture_grid(self, data: pl.LightningDataModule, columns: int) -> np.ndarray | None:
        """uint8 (H, W, 3): validation pictures and what the model makes of them, in rows of `columns`."""
        return None

    def reconstruct(self, batch: Any) -> tuple[Tensor, Tensor] | None:
        """Of a validation batch the averaged model's pictures and the true ones, both (N, 3, S, S) in [0, 1]."""
        return None

    def preview(self, driver: Tensor, data: pl.LightningDataModule, photos: int) -> Tensor | None:
        """Validation crops moved by a driver (T, 3, S, S): frames (T, 3, S, W) in [0, 1]."""
        return None

    def export(self, folder: Path, run: Finished) -> Path:
        """Write `folder`/model, the averaged model with its card; returns the model folder."""
        raise NotImplementedError

    def step_of(self, kind: Hashable, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> dict[str, Tensor]:
        """The part of a training step that may be recorded: see `vaegan.training.replay.Replayed`.

        numbers: floats, or tensors of no dimensions.
        """
        raise NotImplementedError

    # ---- what all of them share

    def run_step(self, kind: Hashable, tensors: dict[str, Tensor], numbers: dict[str, float]) -> dict[str, Tensor]:
        """What `step_of` returns, by a replay of it where `cuda_graph` is set."""
        if not self.cuda_graph:
            return self.step_of(kind, tensors, numbers)
        if self._replayed is None:
            self._replayed = Replayed(self.step_of)
        before = self.trainer.global_step
        made, replayed = self._replayed(kind, tensors, numbers)
        if replayed:  # Lightning counts the steps of optimizers, which it has not seen
            for _ in range(self._optimizer_steps[kind]):
                self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.increment_ready()
                self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.increment_completed()
        else:
            self._optimizer_steps[kind] = self.trainer.global_step - before
        return made

    def told(self, run: Finished) -> dict[str, Any]:
        """What the model folder's config.yaml says of the training; `weights`, of the loss terms, is the subclass's."""
        last = run.curve[-1] if run.curve else {}
        return {
            "kind": self.name,
            "data": run.source,
            "command": run.command,
            "images_seen": self.images_before + self.images_seen,
            "images_seen_in_this_run": self.images_seen,
            "start_from": run.start_from,
            "hours": round(run.seconds / 3600, 3),
            "weights": self.weights,
            "seed": run.seed,
            "validation": {name: round(value, 4) for name, value in last.items() if name not in POSITION},
        }

    def refuse_divergence(self, norm: Tensor, lower: str) -> None:
        """Raises UserError where `norm` of the gradient is not finite; `lower` names the settings to lower."""
        if not torch.isfinite(norm):
            raise UserError(
                f"training diverged: the gradient is not finite at step {self.progress.step}; lower {lower}, "
                "and go on from the last checkpoint"
            )

    def noise(self, like: Tensor) -> Tensor:
        """Normal noise (N, ...) for a batch: of what one process would draw for all, this process's rows.

        So the pictures of several processes are drawn as those of one, and none shares another's noise.
        """
        world, rank = self.trainer.world_size, self.trainer.global_rank
        return torch.randn((len(like) * world, *like.shape[1:]), dtype=like.dtype, device=like.device)[rank::world]

    def keep_random_state(self) -> None:
        """Train from the random numbers that are due now, whatever Lightning does to them until then."""
        self._rng = torch.get_rng_state()

    def over_processes(self, values: Tensor) -> Tensor:
        """The means over all processes of what each of them holds; not differentiated."""
        if self.trainer.world_size == 1:
            return values
        return self.trainer.strategy.reduce(values.detach().clone(), reduce_op="mean")

    def count(self, images: int) -> None:
        """End a training step of `images` pictures on this process; logs `step` and `images`, the curves' x axes."""
        self.images_seen += images * self.trainer.world_size
        self.progress.advance()
        self.log_position()

    def log_position(self, **options: Any) -> None:
        """Log `step` and `images` beside other figures."""
        self.log("step", float(self.progress.step), **options)
        self.log("images", float(self.images_seen), **options)

    def on_train_start(self) -> None:
        self.progress.start()
        if self._rng is not None:
            torch.set_rng_state(self._rng.cpu())
            self._rng = None

    def on_train_epoch_start(self) -> None:
        self.trainer.datamodule.train.set_epoch(self.current_epoch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["run"] = {
            "progress": self.progress.state_dict(),
            "images_seen": self.images_seen,
            "images_before": self.images_before,
            "rng": torch.get_rng_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["run"]
        self.progress.load_state_dict(state["progress"])
        self.images_seen, self.images_before = state["images_seen"], state["images_before"]
        self._rng = state["rng"]


def take_weights(network: nn.Module, start: nn.Module, start_from: str) -> None:
    """Copy the weights of `start` into `network`. Raises UserError where their layers differ."""
    try:
        network.load_state_dict(start.state_dict())
    except RuntimeError as error:
        raise UserError(f"start_from={start_from} has other layers than this configuration") from error


def freeze(network: nn.Module, parts: dict[str, nn.Module], frozen: Sequence[str]) -> list[nn.Parameter]:
    """Freeze some of a network's parts; returns the parameters that are left to train.

    Raises UserError for a part that there is not, or where nothing is left.
    """
    if not set(frozen) < set(parts):
        raise UserError(f"model.frozen={list(frozen)}: name some, not all, of {', '.join(parts)}")
    for name in frozen:
        parts[name].requires_grad_(False)
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
