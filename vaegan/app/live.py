"""The tab Live: the browser's camera drives a photo; a frame comes in, a frame goes out, and none waits in a queue."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np
from fastapi import FastAPI, Request, Response

from vaegan.app import inputs, markup
from vaegan.app.events import PRIVATE, QUIET
from vaegan.app.models import model_of
from vaegan.errors import UserError
from vaegan.live import LiveSession
from vaegan.media import decode_image, encode_image, read_image

if TYPE_CHECKING:
    from vaegan.app.options import Option
    from vaegan.app.visitors import Visitors

PX = 512
"""Height of the result."""

LARGEST_FRAME = 2**20
"""Bytes of a frame of the camera."""

WAIT_SECONDS = 1.0
"""For a result, until the browser is told to send the next frame."""

SESSIONS = 4
"""That run at once."""


class Live:
    """A visitor's session. token: what the browser shows to send frames to it"""

    def __init__(self, photo: np.ndarray, model: str, device: str) -> None:
        self.session = LiveSession(photo, model_of(model, device))
        self.token = secrets.token_urlsafe(16)

    def close(self) -> None:
        self.session.close()

    def answer(self, frame: bytes, seconds: float) -> tuple[bytes, dict[str, str]] | None:
        """The newest result as a JPEG, and figures about it, for a frame of the camera as one. Raises UserError."""
        self.session.put(decode_image(frame, "the camera's frame"), seconds)
        newest = self.session.get(WAIT_SECONDS)
        if newest is None:
            return None
        figures = self.session.figures
        told = {"x-time": f"{newest.time:.4f}", "x-dropped": str(figures.dropped), "x-done": str(figures.done)}
        told |= {"x-found": str(int(newest.frame.found)), "x-calibrated": str(int(newest.calibrated))}
        return encode_image(newest.image, ".jpg", quality=markup.QUALITY), told


def build(known: list[str]) -> dict[str, gr.components.Component]:
    """The tab; what it shows, by name. known: models."""
    parts = {}
    with gr.Tab("Live", id="live") as parts["tab"]:
        with gr.Row(elem_classes="actions"):
            parts["start"] = gr.Button("Start the camera", variant="primary", elem_id="live-start")
            parts["stop"] = gr.Button("Stop", elem_id="live-stop")
            parts["again"] = gr.Button("Take this pose as rest", elem_id="live-again")
        parts["status"] = gr.HTML(elem_id="live-status")
        gr.HTML(
            '<div id="live" class="stage"><figure class="main"><canvas id="live-result" role="img" '
            'aria-label="the photo, moved by the camera"></canvas></figure><figure><video id="live-camera" muted '
            'playsinline aria-label="the camera"></video><figcaption>camera</figcaption></figure></div>'
            '<p id="live-figures" class="status" role="status"></p>'
        )
        parts["token"] = gr.Textbox(visible=False)
    return parts


def connect(parts: dict, given: dict, form: list[Option], visitors: Visitors, device: str) -> None:
    """What the buttons of the tab do; the frames go another way, see `add_route`."""

    def start(request: gr.Request, photo, model) -> tuple[str, str]:
        visitor = visitors.of(request.session_hash, photo)
        visitor.drop("live")
        if visitors.holding("live") >= SESSIONS:
            return "", markup.error(f"{SESSIONS} people are live already: try again later")
        try:
            image = inputs.fitted(read_image(inputs.check_photo(photo)), PX)
            live = visitor.hold("live", photo, lambda: Live(image, model, device))
        except UserError as error:
            return "", markup.error(inputs.without_folders(str(error), [photo] if photo else []))
        return live.token, markup.notes([note.text for note in live.session.notes])

    def stop(request: gr.Request) -> str:
        visitors.of(request.session_hash).drop("live")
        return ""

    def again(request: gr.Request) -> None:
        live = visitors.of(request.session_hash).held.get("live")
        if live:
            live[1].session.calibrate()

    started = parts["start"].click(
        start,
        [given["photo"], given["model"]],
        [parts["token"], parts["status"]],
        show_progress="minimal",
        show_progress_on=parts["status"],
        **PRIVATE,
    )
    started.then(None, parts["token"], None, js="(token) => { window.vaeganLive.start(token); }", **QUIET)
    parts["stop"].click(stop, None, parts["status"], js="() => { window.vaeganLive.stop(); }", **QUIET)
    parts["again"].click(again, None, None, **QUIET)


def add_route(server: FastAPI, visitors: Visitors) -> None:
    """Where frames of cameras come in and results go out."""
    from fastapi.concurrency import run_in_threadpool

    async def frame(token: str, request: Request) -> Response:
        live = visitors.find("live", lambda live: secrets.compare_digest(live.token, token))
        body = await request.body()
        if live is None or len(body) > LARGEST_FRAME:
            return Response(status_code=410 if live is None else 413)
        try:
            seconds = float(request.headers["x-time"])
            answer = await run_in_threadpool(live.answer, body, seconds)
        except (UserError, ValueError, KeyError) as error:
            return Response(str(error), status_code=422)
        if answer is None:
            return Response(status_code=204)
        return Response(answer[0], media_type="image/jpeg", headers={**answer[1], "cache-control": "no-store"})

    server.add_api_route("/live/{token}", frame, methods=["POST"], response_model=None)
