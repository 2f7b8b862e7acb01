"""The one exception that callers are meant to catch."""

import errno


class InputError(ValueError):
    """Something the user gave is wrong.

    The message is one sentence: which file or parameter, what is wrong with it, what to do.
    """


def system_error(error: OSError) -> str:
    """What went wrong outside of us, such as a full disk, and what to do: a part of a sentence."""
    if isinstance(error, FileNotFoundError):
        return f"{error.filename or error} is not there; `dvc repro` makes what is missing"
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full{where}; free some space and run the same command again"
    return f"{error.strerror or error}{where}; mend that and run it again"
