"""How every command ends: exit status 0, 1 with one line on stderr, 2 for wrong usage, 130 after Ctrl-C."""

from __future__ import annotations

import errno
import logging
import sys
import warnings

import typer

from vaegan.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOENT,
    errno.EMFILE,
    errno.ENAMETOOLONG,
)


def run(app: typer.Typer) -> None:
    """Run a command and exit. What the user can mend becomes one line; our own bugs keep their traceback."""
    warnings.showwarning = _show_warning
    logging.lastResort.setFormatter(logging.Formatter("note: %(message)s"))  # the handler of who configures none
    try:
        app()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in FULL:
            _fail(f"{where}could not write ({error.strerror}): free some space, or write elsewhere; nothing was kept")
        if error.errno in REFUSED:
            _fail(f"{where}{error.strerror}: check the path and its permissions")
        raise
    except KeyboardInterrupt:
        sys.exit(130)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _fail(message: str) -> None:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(1)
