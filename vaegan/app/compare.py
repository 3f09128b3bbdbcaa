"""The tab Compare: two models or renderers on the same photo and driver, in step, with the figures of the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from vaegan.app import inputs, markup, options
from vaegan.app.animate import Made
from vaegan.app.events import HEAVY, QUIET
from vaegan.app.work import Work
from vaegan.errors import UserError
from vaegan.render import RENDERERS

if TYPE_CHECKING:
    from vaegan.app.options import Option
    from vaegan.app.visitors import Visitor, Visitors

SIDES = {"left": ("motion64", "warp"), "right": ("motion64", "decode")}
"""What is chosen when the page opens: model and renderer."""

DEFAULT = "default"


def build(known: list[str]) -> dict[str, gr.components.Component]:
    """The tab; what it shows, by name. known: models."""
    parts: dict[str, Any] = {}
    with gr.Tab("Compare", id="compare"):
        with gr.Row():
            for side, (model, renderer) in SIDES.items():
                with gr.Column(min_width=200):
                    parts[f"{side} model"] = gr.Dropdown(known, value=model, label=f"{side.capitalize()}: model")
                    parts[f"{side} renderer"] = gr.Radio(
                        [DEFAULT, *RENDERERS], value=renderer, label=f"{side.capitalize()}: renderer"
                    )
        with gr.Row(elem_classes="actions"):
            parts["go"] = gr.Button("Compare", variant="primary", elem_id="compare")
            parts["cancel"] = gr.Button("Cancel", elem_id="compare-cancel")
        parts["status"] = gr.HTML(elem_id="compare-status")
        parts["stage"] = gr.HTML(elem_id="compare-stage")
    return parts


def compare(
    visitor: Visitor,
    photo: str | None,
    drivers: list[Path],
    sides: list[tuple[str, str | None]],
    device: str,
    asked: dict,
) -> Iterator[tuple[str, str | None]]:
    """Status and stage while both results are made. drivers: for each side, since a motion is of a model."""
    folder = visitor.new_folder("compare")
    labels = [
        f"{side}: {model}{f', {renderer}' if renderer else ''}"
        for side, (model, renderer) in zip(SIDES, sides, strict=True)
    ]
    both = [Made(folder, inputs.check_photo(photo), driver, side) for side, driver in zip(SIDES, drivers, strict=True)]

    def make(advance) -> None:
        done_before = 0
        for made, (model, renderer) in zip(both, sides, strict=True):
            last = [0]

            def on_progress(done: int, total: int | None, last=last, before=done_before) -> None:
                last[0] = done
                advance(before + done, None if total is None else 2 * total if not before else before + total)

            made.make(model, device, {**asked, "renderer": renderer}, True, on_progress)
            done_before += last[0]

    work = visitor.works["compare"] = Work(make)
    for state in work.states():
        if not state.over:
            yield markup.progress(state), None
        elif state.cancelled:
            visitor.new_folder("compare")
            yield markup.CANCELLED, ""
        elif state.error:
            yield markup.error(inputs.without_folders(state.error, [photo, *drivers])), ""
        else:
            yield "", _shown(both, labels)


def _shown(both: list[Made], labels: list[str]) -> str:
    videos = [
        markup.video(made.video, label, label, main=number == 0)
        for number, (made, label) in enumerate(zip(both, labels, strict=True))
    ]
    figures = [{what: value for what, value, _ in made.result.figures} for made in both]
    rows = [[what, *(one.get(what, "") for one in figures)] for what in dict.fromkeys([*figures[0], *figures[1]])]
    rows.append(["Frames a second", *(f"{made.result.frames / made.result.seconds:.0f}" for made in both)])
    pair = markup.stage([*videos, *both[0].beside()]).replace('class="stage"', 'class="stage pair"')
    notes = dict.fromkeys(note for made in both for note in made.notes)
    return pair + markup.table(["", *labels], rows) + markup.notes([*notes])


def connect(parts: dict, given: dict, form: list[Option], visitors: Visitors, device: str) -> None:
    """What the buttons of the tab do. given: the fields of photo and driver, by name."""

    def run(request: gr.Request, photo, choice, video, file, model, *values):
        visitor = visitors.of(request.session_hash, photo, video, file)
        chosen, values = values[: 2 * len(SIDES)], values[2 * len(SIDES) :]
        sides = [(chosen[k], None if chosen[k + 1] == DEFAULT else chosen[k + 1]) for k in (0, 2)]
        try:
            drivers = [inputs.choose_driver(choice, video, file, model) for model, _ in sides]
            asked = options.read(form, values)
            for status, stage in compare(visitor, photo, drivers, sides, device, asked):
                yield status, gr.skip() if stage is None else stage
        except UserError as error:
            yield markup.error(str(error)), ""

    def cancel(request: gr.Request) -> None:
        visitors.of(request.session_hash).cancel("compare")

    chosen = [parts[f"{side} {what}"] for side in SIDES for what in ("model", "renderer")]
    parts["go"].click(
        run,
        [*(given[name] for name in inputs.GIVEN), *chosen, *(option.field for option in form)],
        [parts["status"], parts["stage"]],
        show_progress_on=parts["status"],
        **HEAVY,
    )
    parts["cancel"].click(cancel, None, None, queue=False, **QUIET)
