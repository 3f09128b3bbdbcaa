"""The page's server: one address, one temporary folder, nothing from anywhere else."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vaegan.errors import UserError
from vaegan.folder import find_folder, read_config

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; connect-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:"
)
"""Sent with every answer: the browser asks nobody but this server for anything."""

WAITING = 16
"""Jobs that wait; who comes later is told to try again."""

SESSIONS = 64
"""Open pages whose fields are remembered."""

STYLE = Path(__file__).parent / "style.css"
SCRIPT = Path(__file__).parent / "page.js"


@contextmanager
def serve(
    host: str = "127.0.0.1",
    port: int | None = None,
    open_browser: bool = False,
    model: str | None = None,
    device: str = "auto",
) -> Iterator[str]:
    """Start the server; yields its address. When the block ends it is stopped, and its files are gone.

    port: None: the first free one from 7860 on
    Raises UserError.
    """
    _check_address(host, port)
    if model is not None:
        from vaegan.model import shipped_models

        read_config(find_folder(model, shipped_models()))
    with tempfile.TemporaryDirectory(prefix="vaegan-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        os.environ.update(GRADIO_TEMP_DIR=str(root), GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
        try:
            import gradio as gr
        except ImportError:
            raise UserError("the page needs Gradio, which is not installed: pip install 'vaegan[app]'") from None
        from fastapi.middleware import Middleware

        from vaegan.app import inputs
        from vaegan.app.live import add_route
        from vaegan.app.page import build
        from vaegan.app.visitors import Visitors
        from vaegan.app.work import share_memory

        share_memory()
        visitors = Visitors(root)
        page = build(visitors, model, device).queue(max_size=WAITING)
        visitors.keep_files()
        plain = ["system-ui", "sans-serif"]
        theme = gr.themes.Base(
            primary_hue="indigo", neutral_hue="slate", font=plain, font_mono=["ui-monospace", "monospace"]
        ).set(
            color_accent="*primary_600",
            button_primary_background_fill="*primary_600",
            button_primary_background_fill_hover="*primary_700",
            checkbox_background_color_selected="*primary_600",
            checkbox_border_color_selected="*primary_600",
            slider_color="*primary_600",
        )
        try:
            server, address, _ = page.launch(
                server_name=host,
                server_port=port,
                inbrowser=open_browser,
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                pwa=False,
                enable_monitoring=False,
                footer_links=[],
                max_file_size=f"{inputs.UPLOAD_MB}mb",
                state_session_capacity=SESSIONS,
                theme=theme,
                css=STYLE.read_text(encoding="utf-8"),
                head=f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>",
                app_kwargs={"middleware": [Middleware(Policy)]},
            )
        except OSError as error:
            raise UserError(_refused(host, port, error)) from None
        add_route(server, visitors)
        try:
            yield address
        finally:
            page.close(verbose=False)


def _check_address(host: str, port: int | None) -> None:
    """Raise UserError for an address that cannot be used, before anything is loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
    except OSError as error:
        raise UserError(_refused(host, port, error)) from None


def _refused(host: str, port: int | None, error: OSError) -> str:
    where = host if port is None else f"{host}:{port}"
    return f"{where} cannot be used ({error.strerror or error}): choose another --port or --host"


class Policy:
    """Adds the policy to every answer."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        async def with_policy(message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, with_policy)
