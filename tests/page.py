"""The page of `vaegan app` in a real browser: a server of its own, Debian's Chromium, and what both must never do."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

WATCH = """
import os, sys

LOCAL = ("127.", "::1", "localhost", "0.0.0.0")

def watch(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host and not str(host).startswith(LOCAL):
        with open(os.environ["WATCHED"], "a") as file:
            file.write(f"{event} {host}\\n")

sys.addaudithook(watch)
sys.argv[0] = "vaegan"
from vaegan.cli.main import main
main()
"""
"""The command itself, with a note of every address outside this machine that it asks for or connects to."""


class Server:
    """`vaegan app` as a process of its own. folder: for its temporary files and notes."""

    def __init__(self, folder, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.watched, self.temporary = folder / "watched.txt", folder / "temporary"
        self.temporary.mkdir()
        self.watched.touch()
        told = {"WATCHED": str(self.watched), "TMPDIR": str(self.temporary), "PYTHONUNBUFFERED": "1"}
        self.log = folder / "server.log"
        self.process = subprocess.Popen(
            [sys.executable, "-c", WATCH, "app", "--port", str(self.port), "--no-browser", *options],
            env={**os.environ, **told},
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        until = time.monotonic() + 240
        while "the page is at" not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()
            time.sleep(0.1)

    def files(self) -> list[str]:
        """What visitors have left or were given so far."""
        roots = [*self.temporary.glob("vaegan-*")]
        return sorted(str(path.relative_to(root)) for root in roots for path in root.rglob("*") if path.is_file())

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)


def chromium() -> str:
    """Debian's browser; the test is skipped where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium: apt install chromium")
    return path


@contextmanager
def browser(*flags: str):
    """A browser of its own, without a window."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", *flags])
        try:
            yield started
        finally:
            started.close()


class Visit:
    """A page that somebody has open; `wrong` is what should not have happened in it."""

    def __init__(self, started, server: Server, width: int = 1320, height: int = 900, **options) -> None:
        self.context = started.new_context(viewport={"width": width, "height": height}, **options)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url, server.url))
        self.page.on("response", lambda r: self.wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        self.page.on("websocket", lambda one: self._asked(one.url, server.url.replace("http", "ws")))
        self.page.set_default_timeout(60_000)
        self.page.goto(server.url)
        self.page.wait_for_selector("#found img")

    def _asked(self, url: str, own: str) -> None:
        if not url.startswith((own, "data:", "blob:")):
            self.wrong.append(f"asked {url}")

    def close(self) -> None:
        self.context.close()
