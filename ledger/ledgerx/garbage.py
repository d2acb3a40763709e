"""When Python looks for garbage: cycles of objects that nobody else holds."""

import gc


def collect_seldom() -> None:
    """Look for cycles seldom, and not among what there is by now: for processes that serve, once they are set up.

    Requests and messages make thousands of objects that live for a moment, and few cycles. By default each 700th sets
    out a search, which takes a twentieth of the time of a request and a fifth of that of a batch.
    """
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
