"""How every command ends: exit status 0, 1 with one line on stderr, 2 for wrong usage, 130 after Ctrl-C."""

from __future__ import annotations

import logging
import sys
import warnings

import typer

from vaegan.errors import told


def run(app: typer.Typer) -> None:
    """Run a command and exit. What the user can mend becomes one line; our own bugs keep their traceback."""
    warnings.showwarning = _show_warning
    logging.lastResort.setFormatter(logging.Formatter("note: %(message)s"))  # the handler of who configures none
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        line = told(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(1)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"warning: {message}", file=sys.stderr)
