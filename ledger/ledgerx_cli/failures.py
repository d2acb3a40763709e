"""Failures that a person can act on, and how a command tells them."""

import sys
from collections.abc import Callable

from cyclopts import App


class CommandFailed(Exception):
    """Told in one line, without a traceback."""


def run(app: App, name: str, expected_errors: Callable[[], tuple[type[Exception], ...]]) -> None:
    """Run the subcommand that the arguments name; a failure that a person can act on is one line."""
    try:
        # Cyclopts would wrap what it prints at the width of the terminal.
        result = app(result_action="return_value")
    except Exception as error:
        if not isinstance(error, expected_errors()):
            raise
        sys.stderr.write(f"{name}: {' '.join(str(error).split())}\n")
        sys.exit(1)
    if isinstance(result, str):
        sys.stdout.write(f"{result}\n")
    elif result:
        sys.exit(result)
