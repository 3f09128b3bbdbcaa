"""From a finished run to a model folder: averaged weights, configuration, model card."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from vaegan.model import FaceModel, Framing
from vaegan.training.module import FaceTraining


def export_model(module: FaceTraining, cfg: DictConfig, folder: Path, source: str, figures: dict[str, float]) -> Path:
    """Write `folder`/model from the averaged VAE of `module`; returns the model folder."""
    training = {
        "kind": cfg.model.kind,
        "data": source,
        "images_seen": module.images_before + module.images_seen,
        "images_seen_in_this_run": module.images_seen,
        "start_from": cfg.start_from,
        "epochs": cfg.trainer.epochs,
        "weights": OmegaConf.to_container(cfg.model.weights, resolve=True),
        "seed": cfg.seed,
        "validation": {name.removeprefix("val/"): round(value, 4) for name, value in sorted(figures.items())},
    }
    framing = Framing(float(cfg.model.framing.scale), bool(cfg.model.framing.follow))
    model = FaceModel(module.ema.module, framing, cfg.name, training)
    return model.save(folder / "model", card=_card(cfg, training))


def _card(cfg: DictConfig, training: dict) -> str:
    figures = "\n".join(f"| {name} | {value} |" for name, value in training["validation"].items())
    return (
        f"# {cfg.name}\n\nTrained by vaegan's `train.py` on `{training['data']}`, {training['images_seen']:,} pictures "
        f"seen. The curve is in the run's metrics.csv; config.yaml holds the configuration.\n\n"
        f"| validation figure | value |\n|---|---|\n{figures}\n"
    )
