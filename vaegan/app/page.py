"""The page as a whole: inputs on the left, a tab for each thing to do on the right, and what belongs to whom."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from vaegan.app import animate, compare, explore, inputs, live, markup, models, options, strips
from vaegan.app.events import QUIET
from vaegan.app.visitors import Visitors
from vaegan.errors import UserError
from vaegan.samples import find_photo, shipped_motions

MODEL, MOTION = "motion64", "talking"
"""What is chosen when the page opens."""

TABS = (animate, live, explore, compare)

HEADER = """<header><h1>vaegan</h1><p>A photo moves like a video. Nothing leaves this machine. Ask whom you animate, and
say that a result is synthetic.</p></header>"""


def build(visitors: Visitors, own_model: str | None = None, device: str = "auto") -> gr.Blocks:
    """All of it. own_model: a model folder that can be chosen besides those that ship."""
    known = models.choices(own_model)
    with gr.Blocks(title="vaegan", analytics_enabled=False) as page:
        gr.HTML(HEADER)
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=3, min_width=280, elem_id="inputs"):
                given = _inputs(known)
                with gr.Accordion("Options", open=False):
                    form = options.form()
            with gr.Column(scale=7, min_width=320, elem_id="tabs"), gr.Tabs():
                tabs = {tab: tab.build(known) for tab in TABS}
        for tab, parts in tabs.items():
            tab.connect(parts, given, form, visitors, device)
        _connect(page, visitors, given, form, device)

        def left(request: gr.Request) -> None:
            visitors.leave(request.session_hash)

        page.unload(left)
    return page


def _inputs(known: list[str]) -> dict[str, gr.components.Component]:
    motions = sorted(shipped_motions(MODEL), key=lambda name: (name != MOTION, name))
    parts = {}
    parts["photo"] = inputs.photo_field(
        value=str(find_photo("sample")),
        sources=["upload", "clipboard", "webcam"],
        webcam_options=gr.WebcamOptions(mirror=False),
        label="Photo",
        height=260,
        elem_id="photo",
    )
    parts["choice"] = gr.Radio(
        [*motions, inputs.VIDEO, inputs.FILE], value=motions[0], label="Moved by", elem_id="choice"
    )
    parts["video"] = gr.Video(
        sources=["upload", "webcam"],
        webcam_options=gr.WebcamOptions(mirror=False),
        label="Video",
        height=240,
        visible=False,
        elem_id="video",
    )
    parts["file"] = gr.File(
        file_types=[".motion"], type="filepath", label="Motion file", height=120, visible=False, elem_id="motion-file"
    )
    parts["found"] = gr.HTML(elem_id="found")
    parts["strip"] = gr.HTML(js_on_load=markup.STRIP_EVENTS, elem_id="strip")
    parts["model"] = gr.Dropdown(known, value=MODEL, label="Model", elem_id="model")
    return parts


def _connect(page: gr.Blocks, visitors: Visitors, given: dict, form: list[options.Option], device: str) -> None:
    fields = {option.name: option.field for option in form}
    asked = [option for name in ("start", "end", "fps") for option in form if option.name == name]

    def photo_found(request: gr.Request, path: str | None) -> str:
        visitors.of(request.session_hash, path)
        try:
            drawn, words = inputs.found_in_photo(inputs.check_photo(path))
        except UserError as error:
            return markup.error(str(error)) if path else ""
        return markup.picture(markup.picture_url(drawn), "what is found in the photo", words)

    def chosen(choice: str) -> tuple:
        return gr.Video(visible=choice == inputs.VIDEO), gr.File(visible=choice == inputs.FILE)

    def strip(request: gr.Request, photo, choice, video, file, model, start, end, fps):
        visitors.of(request.session_hash, photo, video, file)
        try:
            if not photo or (
                choice in (inputs.VIDEO, inputs.FILE) and not {inputs.VIDEO: video, inputs.FILE: file}[choice]
            ):
                return "", ""
            driver, part = inputs.choose_driver(choice, video, file, model), options.read(asked, (start, end, fps))
            if choice == inputs.VIDEO:
                return markup.strip(strips.strip_of_video(driver, **part)), ""
            loaded = models.model_of(model, device)
            if not loaded.has_heads:
                return "", ""
            return markup.strip(strips.strip_of_motion(driver, Path(photo), loaded, **part)), ""
        except UserError as error:
            return markup.error(inputs.without_folders(str(error), filter(None, (photo, video, file)))), ""

    def picked(event: gr.EventData) -> str:
        return str(event.number)

    gr.on(
        [given["photo"].change, page.load],
        photo_found,
        given["photo"],
        given["found"],
        trigger_mode="always_last",
        **QUIET,
    )
    given["choice"].change(chosen, given["choice"], [given["video"], given["file"]], **QUIET)
    part = [option.field for option in asked]
    gr.on(
        [page.load, *(given[name].change for name in inputs.GIVEN), *(field.submit for field in part)],
        strip,
        [*(given[name] for name in inputs.GIVEN), *part],
        [given["strip"], fields["reference"]],
        trigger_mode="always_last",
        **QUIET,
    )
    given["strip"].pick(picked, None, fields["reference"], **QUIET)
