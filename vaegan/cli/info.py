"""`vaegan info`: what is installed, what ships, what was found."""

from __future__ import annotations

import platform

import typer

app = typer.Typer()


@app.command()
def info() -> None:
    """Show version, models, shipped photos and motions, face trackers and devices at hand."""
    import torch

    import vaegan
    from vaegan.model import shipped_models
    from vaegan.samples import shipped_photos
    from vaegan.transfer import choose_device

    _say("vaegan", f"{vaegan.__version__}, Python {platform.python_version()}, torch {torch.__version__}")
    _say("device", f"{choose_device('auto')} (--device auto), {torch.get_num_threads()} threads")
    for name in ("own", "mediapipe"):
        _say("tracker", f"{name}: {_tracker_state(name)}")
    for name in shipped_models():
        _say("model", _model_line(name))
    if not shipped_models():
        _say("model", "none shipped; name a model folder with --model")
    _say("photos", ", ".join(shipped_photos()) or "none shipped")


def _say(name: str, text: str) -> None:
    typer.echo(f"{name:8} {text}")


def _tracker_state(name: str) -> str:
    from vaegan.errors import UserError
    from vaegan.faces.tracker import FaceTracker

    try:
        FaceTracker(name)
    except (UserError, ImportError) as error:
        return f"not at hand: {error}"
    return "at hand"


def _model_line(name: str) -> str:
    from vaegan.model import load_model
    from vaegan.samples import shipped_motions

    model = load_model(name)
    crop = "follows the face" if model.framing.follow else "one fixed crop per clip"
    figures = ", ".join(f"{k} {v}" for k, v in model.training.items() if isinstance(v, int | float | str))
    motions = ", ".join(shipped_motions(name)) or "none shipped"
    return (
        f"{model.id}: {model.size} px, {model.latent_dim} latents, framing {model.framing.scale:g} x mesh box, {crop}"
        f"{'; ' + figures if figures else ''}; motions: {motions}"
    )
