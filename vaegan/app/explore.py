"""The tab Explore: a face under sliders, faces that nobody has, and photos that turn into one another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np
import torch

from vaegan.adjust import Bounds
from vaegan.app import inputs, markup
from vaegan.app.events import AT_ONCE, HEAVY, PRIVATE, QUIET
from vaegan.app.models import model_of
from vaegan.app.work import Work
from vaegan.directions import NAMES, Directions, directions_of
from vaegan.errors import UserError
from vaegan.faces.tracker import FaceTracker
from vaegan.interpolation import LONGEST, MOST, interpolate
from vaegan.media import read_image
from vaegan.motion import Motion
from vaegan.portrait import Portrait, read_portrait
from vaegan.reference import read_heads
from vaegan.render import build_renderer
from vaegan.render.renderer import Renderer
from vaegan.render.view import build_view, resize
from vaegan.samples import shipped_motions

if TYPE_CHECKING:
    from vaegan.app.options import Option
    from vaegan.app.visitors import Visitor, Visitors
    from vaegan.model import FaceModel

PX = 512
"""Height of the picture that is drawn anew for every move of a slider."""

CLOSE = 3.2
"""Sides of the face that are shown around it."""

COMPONENTS = 6
"""Leading components of what the shipped motions do."""

RANGES = {
    "yaw": (-30, 30, 1, "turn, degrees"),
    "pitch": (-20, 20, 1, "nod, degrees"),
    "smile": (-0.5, 1, 0.05, "smile"),
    "jaw": (0, 1, 0.05, "open the mouth"),
    "pucker": (0, 1, 0.05, "pucker"),
    "blink_left": (0, 1, 0.05, "close the left eye"),
    "blink_right": (0, 1, 0.05, "close the right eye"),
    "gaze_x": (-1, 1, 0.05, "look aside"),
    "gaze_y": (-1, 1, 0.05, "look down"),
    "brows_up": (0, 1, 0.05, "raise the brows"),
    "brows_down": (0, 1, 0.05, "frown"),
}
"""Of the named directions: least, most, step, words."""

FACES, SAMPLER, TAMED = 8, "paper-vaegan", 0.8
"""Random faces at once, the model that draws them, and the standard deviation of their latents: 1 is the prior's own,
less gives up variety for faces that look like faces."""

LAST_SEED = 10**6


@dataclass
class Still:
    """A face that is drawn anew for every move of a slider. steps (K, D): what a slider's 1 adds to the latent"""

    portrait: Portrait
    renderer: Renderer
    steps: np.ndarray
    bounds: Bounds | None
    rest: np.ndarray = field(default_factory=lambda: np.zeros((1, 4), np.float32))

    def draw(self, values: np.ndarray) -> np.ndarray:
        """The face with the sliders at values (K,): uint8 (H, W, 3)."""
        deltas = np.asarray(values, np.float32)[None] @ self.steps
        if self.bounds is not None:
            deltas = self.bounds(deltas)
        return self.renderer.render(deltas, self.rest)[0].image


def still(image: np.ndarray, model: FaceModel, renderer: str | None) -> Still:
    """A face, made ready; of a photo in which it is small, what lies around it. Raises UserError."""
    name = renderer or ("warp" if model.has_heads else "decode")
    tracker = FaceTracker()
    near = inputs.close_up(image, tracker.detect(image)[:1], CLOSE, PX)[0]
    portrait = read_portrait(inputs.fitted(near, PX), model, tracker)
    view = build_view("full" if name == "warp" else "crop", PX, portrait, model.framing.scale)
    drawn = build_renderer(name, model, portrait, PX, view, "warp")
    named = _directions(model)
    bounds = None if named is None or not model.has_heads else Bounds(named, read_heads(model, portrait.z[None])[0])
    directions = np.zeros((len(NAMES), model.latent_dim), np.float32) if named is None else named.steps(NAMES)
    return Still(portrait, drawn, np.concatenate([directions, components(model.name, model.latent_dim)]), bounds)


def _directions(model: FaceModel) -> Directions | None:
    try:
        return directions_of(model)
    except UserError:
        return None


@lru_cache(8)
def components(model_name: str, latent_dim: int) -> np.ndarray:
    """The leading components (COMPONENTS, D) of the motions that ship for a model, a standard deviation long."""
    motions = [Motion.load(path).centred().deltas for path in shipped_motions(model_name).values()]
    if not motions:
        return np.zeros((COMPONENTS, latent_dim), np.float32)
    deltas = np.concatenate(motions)
    _, spread, axes = np.linalg.svd(deltas, full_matrices=False)
    return (axes * spread[:, None] / np.sqrt(len(deltas)))[:COMPONENTS].astype(np.float32)


def random_face(seed: int) -> np.ndarray:
    """A face that nobody has, uint8 (256, 256, 3), with some room around it."""
    model = model_of(SAMPLER, "cpu")
    z = TAMED * torch.randn(1, model.latent_dim, generator=torch.Generator().manual_seed(seed))
    crop = model.decode(z)[0].permute(1, 2, 0).float().cpu().numpy()
    return resize(np.ascontiguousarray(crop), 256)


def random_seeds(first: int) -> list[int]:
    """FACES seeds from `first` on whose faces the tracker finds."""
    tracker, found = FaceTracker(), []
    for seed in range(first, first + 4 * FACES):
        if len(found) < FACES and tracker.detect(random_face(seed)):
            found.append(seed)
    return found


def held(visitor: Visitor, photo: str | None, model: str, device: str, renderer: str | None, seed: int | None) -> Still:
    """What the visitor's sliders move: the photo, or a random face. Raises UserError."""

    def make() -> Still:
        image = read_image(inputs.check_photo(photo)) if seed is None else random_face(seed)
        loaded = model_of(model, device)
        return still(image, loaded, renderer if loaded.has_heads else "decode")

    return visitor.hold("still", (photo if seed is None else None, model, renderer, seed), make)


def build(known: list[str]) -> dict[str, gr.components.Component]:
    """The tab; what it shows, by name. known: models."""
    parts = {}
    with gr.Tab("Explore", id="explore") as parts["tab"]:
        with gr.Row():
            with gr.Column(scale=3, min_width=260):
                parts["picture"] = gr.HTML(elem_id="explored")
                parts["told"] = gr.HTML(elem_id="explore-status")
                with gr.Row(elem_classes="actions"):
                    parts["reset"] = gr.Button("Reset", elem_id="reset")
                    parts["random"] = gr.Button("Random faces", elem_id="random")
                    parts["back"] = gr.Button("The photo", elem_id="back")
                parts["faces"] = gr.HTML(js_on_load=markup.STRIP_EVENTS, elem_id="faces")
                parts["seed"] = gr.State(None)
            with gr.Column(scale=2, min_width=260, elem_id="sliders"):
                parts["renderer"] = gr.Radio(
                    [("the photo itself", "warp"), ("decoded", "decode")], value="warp", label="Shown"
                )
                parts["sliders"] = [
                    gr.Slider(low, high, 0, step=step, label=words, elem_id=name)
                    for name, (low, high, step, words) in ((name, RANGES[name]) for name in NAMES)
                ]
                with gr.Accordion("Components of the motion space", open=False):
                    parts["sliders"] += [
                        gr.Slider(-3, 3, 0, step=0.1, label=f"component {k + 1}") for k in range(COMPONENTS)
                    ]
        with gr.Accordion("From photo to photo", open=False, elem_id="row"):
            parts["photos"] = gr.File(
                file_count="multiple", file_types=["image"], label=f"Two to {MOST} photos", height=150, elem_id="photos"
            )
            with gr.Row():
                parts["seconds"] = gr.Slider(
                    0.2, 5, 2, step=0.1, label="seconds from one to the next", elem_id="seconds"
                )
                parts["loop"] = gr.Checkbox(True, label="loop")
            with gr.Row(elem_classes="actions"):
                parts["go"] = gr.Button("Make the animation", variant="primary", elem_id="interpolate")
                parts["cancel"] = gr.Button("Cancel", elem_id="row-cancel")
            parts["status"] = gr.HTML(elem_id="row-status")
            parts["stage"] = gr.HTML(elem_id="row-stage")
    return parts


def row(
    visitor: Visitor, photos: list[str], model: str, device: str, renderer: str | None, seconds: float, loop: bool
) -> Iterator[tuple[str, str | None]]:
    """Status and stage while photos are turned into an animation. Raises UserError."""
    paths = [inputs.check_photo(path) for path in photos or []]
    output = visitor.new_folder("row") / "faces.mp4"

    def make(advance):
        advance(0, None)
        return interpolate(
            paths, output, seconds=min(seconds, LONGEST), loop=loop, model=model_of(model, device),
            renderer=renderer, on_progress=advance,
        )  # fmt: skip

    work = visitor.works["row"] = Work(make)
    for state in work.states():
        if not state.over:
            yield markup.progress(state, "drawn"), None
        elif state.cancelled:
            yield markup.CANCELLED, ""
        elif state.error:
            yield markup.error(inputs.without_folders(state.error, paths)), ""
        else:
            shown = [markup.video(output, "the animation", "animation", main=True)]
            yield "", markup.stage(shown, [("Video", Path(output))])


def connect(parts: dict, given: dict, form: list[Option], visitors: Visitors, device: str) -> None:
    """What sliders and buttons of the tab do. given: the fields of photo and driver, by name."""
    asked = [given["photo"], given["model"], parts["renderer"], parts["seed"]]
    shown = [parts["picture"], parts["told"]]

    def draw(request: gr.Request, photo, model, renderer, seed, *values) -> tuple[str, str]:
        visitor = visitors.of(request.session_hash, photo)
        try:
            face = held(visitor, photo, model, device, renderer, seed)
            picture = markup.picture(markup.picture_url(face.draw(np.array(values))), "the face under the sliders")
        except UserError as error:
            return gr.skip(), markup.error(inputs.without_folders(str(error), [photo] if photo else []))
        missing = _directions(model_of(model, device)) is None
        told = f"{model} has no named directions: only the components move it." if missing else ""
        return picture, markup.notes([told] if told else [])

    def reset(request: gr.Request, photo, model, renderer, seed):
        values = [0.0] * len(parts["sliders"])
        return [*draw(request, photo, model, renderer, seed, *values), *values]

    def picked(event: gr.EventData) -> int | None:
        return int(event.number) if event.number else None

    def faces() -> str:
        seeds = random_seeds(int(np.random.default_rng().integers(LAST_SEED)))
        return markup.faces([random_face(seed) for seed in seeds], seeds)

    def animation(request: gr.Request, photos, model, renderer, seconds, loop):
        visitor = visitors.of(request.session_hash, *(photos or []))
        try:
            for status, stage in row(visitor, photos, model, device, renderer, seconds, loop):
                yield status, gr.skip() if stage is None else stage
        except UserError as error:
            yield markup.error(str(error)), ""

    def cancel(request: gr.Request) -> None:
        visitors.of(request.session_hash).cancel("row")

    sliders = parts["sliders"]
    gr.on([slider.input for slider in sliders], draw, [*asked, *sliders], shown, **AT_ONCE)
    fresh = [parts["tab"].select, given["photo"].change, given["model"].change, parts["renderer"].change]
    gr.on([*fresh, parts["seed"].change], draw, [*asked, *sliders], shown, **{**QUIET, "trigger_mode": "always_last"})
    parts["reset"].click(reset, asked, [*shown, *sliders], **QUIET)
    parts["random"].click(faces, None, parts["faces"], **PRIVATE, show_progress="minimal")
    parts["faces"].pick(picked, None, parts["seed"], **QUIET)
    parts["back"].click(lambda: None, None, parts["seed"], **QUIET)
    parts["go"].click(
        animation,
        [parts["photos"], given["model"], parts["renderer"], parts["seconds"], parts["loop"]],
        [parts["status"], parts["stage"]],
        show_progress_on=parts["status"],
        **HEAVY,
    )
    parts["cancel"].click(cancel, None, None, queue=False, **QUIET)
