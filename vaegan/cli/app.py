"""`vaegan app`: the page in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from vaegan.cli.panels import Command
from vaegan.cli.transfer import Device

app = typer.Typer(add_completion=False)


@app.command(
    "app",
    cls=Command,
    rich_help_panel="Animate",
    epilog="Examples:\n  vaegan app\n  vaegan app --port 8000 --no-browser",
)
def page(
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0: for everybody in the network.", rich_help_panel="Run")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Port.", show_default="the first free one from 7860 on", rich_help_panel="Run"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="A model folder to choose besides those that ship.", rich_help_panel="Input"),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where models run.", rich_help_panel="Run")] = Device.auto,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open a browser.", rich_help_panel="Run")
    ] = False,
) -> None:
    """Open a page to animate photos in a browser. Nothing leaves this machine."""
    import signal
    import threading

    from vaegan.app.server import serve

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with serve(host, port, not no_browser, model, device.value) as address:
        typer.echo(f"the page is at {address} (Ctrl-C ends it)")
        stop.wait()
