"""Ports of this machine, of the loopback interface unless said."""

import ipaddress
import socket
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server can listen on `port` of the IPv4 address `host`."""
    with socket.socket() as probe:
        return _bind(probe, port, host)


def local_address(host: str) -> str:
    """Where this machine reaches a server of its own that listens on `host`."""
    return LOOPBACK if ipaddress.ip_address(host).is_unspecified else host


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


def _bind(probe: socket.socket, port: int, host: str = LOOPBACK) -> bool:
    if port:
        # As servers do: a port that the last run has just left counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((host, port))
    except OSError:
        return False
    return True
