"""The one exception that means: the user can mend this; and what else becomes one line."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT, errno.EMFILE),
    errno.ENAMETOOLONG,
)


class UserError(Exception):
    """Something the user can mend. The message is one line: what is wrong, where, and what to do.

    The commands print it on stderr and end with exit status 1; every other exception is a bug of ours.
    """


def told(error: BaseException) -> str | None:
    """The line for an error that the user can mend; None: a bug of ours, whose traceback is wanted."""
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in FULL:
            return f"{where}could not write ({error.strerror}): free some space, or write elsewhere; nothing was kept"
        if error.errno in REFUSED:
            return f"{where}{error.strerror}: check the path and its permissions"
    return None
