"""The commands' bar on stderr, where that is a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def progress(items: Iterable, what: str, total: int) -> Iterator:
    """`items`, with a bar of how many of `total` have been taken."""
    from rich.progress import track

    console = _console()
    return iter(track(items, what, total=total, console=console, transient=True, disable=not console.is_terminal))


def bar(*text: str):
    """A bar (rich.progress.Progress, a context) with counts, columns of `text`, and the time that remains."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = _console()
    columns = (BarColumn(), MofNCompleteColumn(), *map(TextColumn, text), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _console():
    """Writes a bar to a terminal only: notebooks and CI set FORCE_COLOR, which rich takes for one."""
    import sys

    from rich.console import Console

    return Console(stderr=True, force_terminal=sys.stderr.isatty())
