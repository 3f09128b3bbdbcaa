"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """Something the user can mend. The message is one line: what is wrong, where, and what to do.

    The commands print it on stderr and end with exit status 1; every other exception is a bug of ours.
    """
