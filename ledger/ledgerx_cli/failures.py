"""The base of failures that a person can act on."""


class CommandFailed(Exception):
    """Told in one line, without a traceback."""
