"""Ports of the loopback interface."""

import socket
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server can listen on `port`."""
    with socket.socket() as probe:
        return _bind(probe, port)


def free_port() -> int:
    """Any free port."""
    return free_ports(0)[0]


def free_ports(*preferred: int) -> tuple[int, ...]:
    """For each of `preferred` that port if it is free, else another one; 0 is any. All differ."""
    with ExitStack() as stack:
        # Held together: one given back would soon be handed out again.
        probes = [stack.enter_context(socket.socket()) for _ in preferred]
        for probe, port in zip(probes, preferred, strict=True):
            if not _bind(probe, port):
                probe.bind((LOOPBACK, 0))
        return tuple(probe.getsockname()[1] for probe in probes)


def _bind(probe: socket.socket, port: int) -> bool:
    if port:
        # As servers do: a port that the last run has just left counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((LOOPBACK, port))
    except OSError:
        return False
    return True
