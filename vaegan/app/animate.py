"""The tab Animate: one transfer, its result beside photo and driver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from vaegan.app import inputs, markup, options, strips
from vaegan.app.events import HEAVY, QUIET
from vaegan.app.models import model_of
from vaegan.app.work import Work
from vaegan.errors import UserError
from vaegan.job import Result, transfer
from vaegan.media import read_image

if TYPE_CHECKING:
    from vaegan.app.options import Option
    from vaegan.app.visitors import Visitor, Visitors

NOTHING = markup.stage(['<p class="empty">Press Animate: the result plays here.</p>'])


class Made:
    """A result and what is shown beside it. label: of it, where there are several"""

    def __init__(self, folder: Path, photo: Path, driver: Path, label: str = "result") -> None:
        self.folder, self.photo, self.driver, self.label = folder, photo, driver, label
        self.video, self.preview = folder / f"{label}.mp4", folder / "driver.mp4"
        self.motion, self.report = folder / f"{label}.motion", folder / f"{label}.html"
        self.notes: list[str] = []
        self.result: Result | None = None
        self.speed = 1.0

    def make(self, model: str, device: str, asked: dict[str, Any], report: bool, on_progress) -> Made:
        """Transfer, with every file that can be downloaded. Raises UserError."""
        self.speed = asked.get("speed", 1.0)
        part = {name: asked.get(name) for name in ("start", "end", "fps")}
        inputs.check_length(self.driver, **part)
        moves = self.driver.suffix == ".motion"
        if not moves and not self.preview.exists():
            strips.write_video(self.driver, self.preview, *part.values(), on_frame=lambda: on_progress(0, None))
        loaded = model_of(model, device)
        self.result = transfer(
            self.photo,
            self.driver,
            self.video,
            model=loaded,
            save_motion=self.motion,
            report=self.report if report else None,
            on_note=lambda note: self.notes.append(inputs.without_folders(note.text, (self.photo, self.driver))),
            on_progress=on_progress,
            **asked,
        )
        if moves and loaded.has_heads:
            done = self.result.frames
            strips.write_outlines(self.motion, self.preview, self.photo, loaded, lambda: on_progress(done, done))
        return self

    def beside(self) -> list[str]:
        """The photo, and the driver where it has pictures."""
        shown = inputs.fitted(read_image(self.photo), inputs.SHOWN_PX)
        parts = [markup.picture(markup.picture_url(shown), "the photo", "photo")]
        if self.preview.exists():
            parts.append(markup.video(self.preview, "the driver", "driver", speed=self.speed))
        return parts

    def downloads(self) -> list[tuple[str, Path]]:
        files = [("Video", self.video), ("Motion", self.motion), ("Report", self.report)]
        return [(words, path) for words, path in files if path.exists()]

    def told(self) -> str:
        result = self.result
        lost = f"; the driver's face was lost in {result.lost} of them" if result.lost else ""
        return (
            f"{result.frames} frames of {result.width}x{result.height} px in {result.seconds:.1f} s, "
            f"{result.frames / result.seconds:.0f} frames/s{lost}"
        )


def animate(
    visitor: Visitor, photo: str | None, driver: Path, model: str, device: str, asked: dict[str, Any], report: bool
) -> Iterator[tuple[str, str | None]]:
    """Status and stage while a result is made; the stage is None as long as it stays as it is."""
    made = Made(visitor.new_folder("animate"), inputs.check_photo(photo), driver)
    work = visitor.works["animate"] = Work(lambda advance: made.make(model, device, asked, report, advance))
    for state in work.states():
        if not state.over:
            yield markup.progress(state), None
        elif state.cancelled:
            visitor.new_folder("animate")
            yield markup.CANCELLED, NOTHING
        elif state.error:
            yield markup.error(inputs.without_folders(state.error, (made.photo, driver))), NOTHING
        else:
            video = markup.video(made.video, "the result", "result", main=True)
            status = f'<p class="status" role="status">{made.told()}</p>'
            yield status, markup.stage([*made.beside(), video], made.downloads()) + markup.notes(made.notes)


def build(known: list[str]) -> dict[str, gr.components.Component]:
    """The tab; what it shows, by name. known: models."""
    parts = {}
    with gr.Tab("Animate", id="animate"):
        with gr.Row(elem_classes="actions"):
            parts["go"] = gr.Button("Animate", variant="primary", elem_id="animate")
            parts["cancel"] = gr.Button("Cancel", elem_id="cancel")
            parts["report"] = gr.Checkbox(True, label="measure the result", container=False)
        parts["status"] = gr.HTML(elem_id="animate-status")
        parts["stage"] = gr.HTML(NOTHING, elem_id="animate-stage")
    return parts


def connect(parts: dict, given: dict, form: list[Option], visitors: Visitors, device: str) -> None:
    """What the buttons of the tab do. given: the fields of photo and driver, by name."""

    def run(request: gr.Request, photo, choice, video, file, model, report, *values):
        visitor = visitors.of(request.session_hash, photo, video, file)
        try:
            driver = inputs.choose_driver(choice, video, file, model)
            asked = options.read(form, values)
            for status, stage in animate(visitor, photo, driver, model, device, asked, report):
                yield status, gr.skip() if stage is None else stage
        except UserError as error:
            yield markup.error(str(error)), NOTHING

    def cancel(request: gr.Request) -> None:
        visitors.of(request.session_hash).cancel("animate")

    parts["go"].click(
        run,
        [*(given[name] for name in inputs.GIVEN), parts["report"], *(option.field for option in form)],
        [parts["status"], parts["stage"]],
        show_progress_on=parts["status"],
        **HEAVY,
    )
    parts["cancel"].click(cancel, None, None, queue=False, **QUIET)
