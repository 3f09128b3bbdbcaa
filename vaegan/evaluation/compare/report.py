"""A comparison as files: one PNG to look at, or an HTML page that needs nothing beside it, with that PNG."""

from pathlib import Path

from vaegan.evaluation.compare.differences import circumstances, differences, labelled, set_labels, telling
from vaegan.evaluation.compare.picture import draw
from vaegan.evaluation.compare.runs import Run
from vaegan.evaluation.compare.table import lines, table
from vaegan.media import atomic_path
from vaegan.reports import png, write_page


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
        path.write_bytes(png(draw(runs)))
    if output.suffix.lower() == ".html":
        files.insert(0, write_page(output, "compare.html", **_values(runs)))
    return files


def _values(runs: list[Run]) -> dict:
    found = differences(runs)
    headings, rows = table(runs, telling(found))
    differing = {"the configuration": found, "code, data and packages": circumstances(runs)}
    return {
        "runs": runs,
        "headings": headings,
        "rows": rows,
        "curves": draw(runs, grids=False),
        "differing": {what: [[name, *values] for name, values in told.items()] for what, told in differing.items()},
    }
