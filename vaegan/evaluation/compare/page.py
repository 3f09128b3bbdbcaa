"""A comparison as files: one PNG to look at, or an HTML page that needs nothing beside it, with that PNG."""

import base64
import html
from pathlib import Path

from vaegan.evaluation.compare.differences import circumstances, differences, labelled, set_labels, telling
from vaegan.evaluation.compare.picture import draw
from vaegan.evaluation.compare.runs import Run
from vaegan.evaluation.compare.table import lines, table
from vaegan.media import atomic_path, encode_image

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1800px; margin: 2em auto; padding: 0 1em; color: #222 }
img { max-width: 100% } .grids { display: flex; flex-wrap: wrap; gap: 1em }
table { border-collapse: collapse; font-size: 14px }
td, th { padding: .15em 1em .15em 0; text-align: left; border-bottom: 1px solid #ddd } figure { margin: 0 }
"""

GRIDS = (
    "Crops of the validation set, below each row its reconstructions, and two rows of samples; or the samples alone."
)


def summary(runs: list[Run]) -> list[str]:
    """Label the runs; the table and what differs, as lines of Markdown."""
    found = telling(differences(runs))
    set_labels(runs, found)
    text = lines(*table(runs, found))
    unsaid = {} if labelled(runs, found) else found
    for what, rows in (("configuration", unsaid), ("code, data and packages", circumstances(runs))):
        if rows:
            body = [[name, *values] for name, values in rows.items()]
            text += ["", *lines([f"differs in {what}", *(run.label for run in runs)], body)]
    return text


def write(runs: list[Run], output: Path) -> list[Path]:
    """Write `output` (.png, or .html and a .png beside it) for runs that `summary` has labelled; returns the files.

    Raises:
        UserError: nothing can be written there.
    """
    files = [output.with_suffix(".png")]
    with atomic_path(files[0]) as path:
        path.write_bytes(draw(runs))
    if output.suffix.lower() == ".html":
        files.insert(0, output)
        with atomic_path(output) as path:
            path.write_text(page(runs), encoding="utf-8")
    return files


def page(runs: list[Run]) -> str:
    """The HTML page."""
    found, around = differences(runs), circumstances(runs)
    grids = "\n".join(
        f"<figure><figcaption>{html.escape(run.label)}</figcaption>"
        f"{_picture(encode_image(run.log.grid, '.webp'), 'webp', run.label)}</figure>"
        for run in runs
        if run.log.grid is not None
    )
    labels = [run.label for run in runs]
    commands = [[run.label, str(run.log.record.get("command", "")), str(run.path)] for run in runs]
    parts = [
        "<h1>Runs compared</h1>",
        "<p>The last value, in brackets the best where that is another one.</p>",
        _table(*table(runs, telling(found))),
        _picture(draw(runs, grids=False), "png", "curves"),
        f'<h2>Last picture grids</h2><p>{GRIDS}</p><div class="grids">{grids}</div>' if grids else "",
        _differing("What differs in the configuration", found, labels),
        _differing("What differs in code, data and packages", around, labels),
        "<h2>Runs</h2>",
        _table(["run", "command", "folder"], commands),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Runs compared</title>'
        f"<style>{STYLE}</style></head><body>\n{chr(10).join(filter(None, parts))}\n</body></html>\n"
    )


def _differing(title: str, rows: dict[str, list[str]], labels: list[str]) -> str:
    if not rows:
        return ""
    return f"<h2>{title}</h2>" + _table(["", *labels], [[name, *values] for name, values in rows.items()])


def _table(headings: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in headings)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _picture(data: bytes, kind: str, title: str) -> str:
    return f'<img alt="{html.escape(title)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
