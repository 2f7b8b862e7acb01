"""The one exception that callers are meant to catch."""


class InputError(ValueError):
    """Something the user gave is wrong.

    The message is one sentence: which file or parameter, what is wrong with it, what to do.
    """
