"""The model card of a refiner."""

from typing import Any

from vaegan.training.module import Finished


def refiner_card(run: Finished, about: dict[str, Any]) -> str:
    """README.md of the model folder."""
    figures = "\n".join(f"| {name} | {value:g} |" for name, value in about["validation"].items())
    return f"""# {run.name}: refiner of the renderer `warp`

Mends a photo that was warped by the movement of a driver: teeth, lids, what a turning head uncovers.

* Moves with: `{about["motion_model"]}`
* Data: {run.source}. Licences: see docs/data.md; parts of it are for research only, and so are these weights.
* Command: `{run.command}`
* Started from: {run.start_from or "random weights"}
* Pictures seen: {about["images_seen"]:,}, of these {about["images_seen_in_this_run"]:,} in this run of \
{about["hours"]:g} hours
* Critics in training: AlexNet (LPIPS), MobileFaceNet, the shipped tracker's landmarker. None of them is a judge.

| on held-out clips | |
|---|---|
{figures}
"""
