"""Pieces of the page in HTML: what is told, pictures, videos that play in step."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np

from vaegan.app.strips import Strip
from vaegan.app.work import State
from vaegan.media import encode_image

QUALITY = 88
"""Of JPEGs that the page shows."""

STRIP_EVENTS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-number]");
  if (!button) return;
  const taken = button.getAttribute("aria-pressed") === "true";
  element.querySelectorAll("button").forEach((one) => one.setAttribute("aria-pressed", "false"));
  button.setAttribute("aria-pressed", String(!taken));
  trigger("pick", { number: taken ? "" : button.dataset.number });
});
"""
"""Picking a frame of the strip; picking it again leaves the choice to the program."""


def link(path: Path) -> str:
    """Where the browser gets a file of the page's temporary folder."""
    return f"gradio_api/file={quote(str(path))}"


def picture_url(image: np.ndarray) -> str:
    """A picture uint8 (H, W, 3) within the page itself."""
    return f"data:image/jpeg;base64,{base64.b64encode(encode_image(image, '.jpg', quality=QUALITY)).decode()}"


def picture(url: str, words: str, caption: str = "") -> str:
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{url}" alt="{escape(words)}" decoding="sync">{below}</figure>'


def video(path: Path, words: str, caption: str, main: bool = False, speed: float = 1.0) -> str:
    """A video; the one that is `main` has the controls, and all others beside it follow, at so many times its speed."""
    role = "controls data-main" if main else f'tabindex="-1" data-follows="{speed:g}"'
    return (
        f"<figure{' class=main' if main else ''}>"
        f'<video src="{link(path)}" aria-label="{escape(words)}" {role} autoplay muted loop playsinline></video>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def stage(parts: Sequence[str], downloads: Sequence[tuple[str, Path]] = ()) -> str:
    """Pictures and videos side by side, playing in step, and links to the files."""
    links = "".join(
        f'<a class="download" href="{link(path)}" download="{escape(path.name)}">{escape(words)}</a>'
        for words, path in downloads
    )
    return f'<div class="stage">{"".join(parts)}</div>' + (f'<p class="downloads">{links}</p>' if links else "")


def strip(found: Strip) -> str:
    """Frames of a driver, of which one can be picked as the reference."""
    named = [(f"take the frame at {time:.2f} s as the reference", f"{time:.2f} s") for time in found.times]
    buttons = _buttons(found.pictures, found.numbers, named)
    seen = f"Face found in {found.found} of {len(found.pictures)} frames. " if found.found < len(found.pictures) else ""
    words = f"{seen}Pick the frame that looks most like the photo, or leave that to the program."
    return f'<p class="note">{words}</p><div class="strip">{buttons}</div>'


def faces(pictures: Sequence[np.ndarray], numbers: Sequence[int]) -> str:
    """Random faces, of which one can be picked."""
    named = [(f"take random face {number}", f"{number}") for number in numbers]
    return f'<div class="strip">{_buttons(pictures, numbers, named)}</div>'


def _buttons(pictures: Sequence[np.ndarray], numbers: Sequence[int], named: Sequence[tuple[str, str]]) -> str:
    return "".join(
        f'<button type="button" data-number="{number}" aria-pressed="false" aria-label="{label}">'
        f'<img src="{picture_url(image)}" alt=""><span>{words}</span></button>'
        for image, number, (label, words) in zip(pictures, numbers, named, strict=True)
    )


def error(text: str) -> str:
    return f'<p class="error" role="alert">{escape(text)}</p>'


def notes(texts: Sequence[str]) -> str:
    return "".join(f'<p class="note">{escape(text)}</p>' for text in texts)


CANCELLED = '<p class="status" role="status">Cancelled: nothing is kept.</p>'


def progress(state: State, what: str = "read and drawn") -> str:
    """How far a job is."""
    if not state.done:
        return '<p class="status" role="status">Getting ready …</p>'
    if state.total:
        bar = f'<progress max="{state.total}" value="{state.done}" aria-label="progress"></progress>'
        count = f"{state.done} of {state.total} frames {what}"
    else:
        bar, count = '<progress aria-label="progress"></progress>', f"{state.done} frames {what}"
    return f'<p class="status" role="status">{bar}<span>{count}, {state.rate:.0f} frames/s</span></p>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return f'<table class="figures"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>'
