"""Pages in HTML that need nothing beside them, and in Markdown."""

import base64
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure

from vaegan.media import atomic_path, encode_image
from vaegan.reports.charts import png


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Write `render_page(template, **values)` to `path` and return it.

    Raises:
        UserError: nothing can be written there.
    """
    text = render_page(template, **values)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def render_page(template: str, **values: Any) -> str:
    """A template of `reports/templates/` as text; a value that is missing is an error, and in HTML values are escaped.

    HTML templates extend `page.html`; `parts.html` has the macros `table(headings, rows)` and `picture(image, title)`.
    An image is uint8 (H, W, 3), a matplotlib figure or the bytes of a PNG.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vaegan.reports"),
        autoescape=select_autoescape(default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["embedded"] = embedded
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return environment


def embedded(image: np.ndarray | Figure | bytes) -> str:
    """A picture as a data URI: arrays as WebP, figures and bytes as PNG."""
    kind, data = ("webp", encode_image(image, ".webp")) if isinstance(image, np.ndarray) else ("png", image)
    if isinstance(data, Figure):
        data = png(data)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
