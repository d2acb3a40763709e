"""The closed loop: each connection sends its next request when the answer to the last one is complete.

Nothing but callbacks runs per request, so that one core makes several times the load that the platform can take.
"""

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import cast

import msgspec
import uvloop

from ledgerx_cli.bench.target import BenchFailed
from ledgerx_cli.bench.wire import ProtocolError, Response, ResponseReader


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of the closed loop saw. Latencies are nanoseconds, in no order, of all answers."""

    latencies_ns: "array[int]"  # Python 3.11 has no subscript for it at run time
    errors: dict[str, int]
    duration_s: float
    generator_cpu_s: float

    @property
    def answered(self) -> int:
        """All answers."""
        return len(self.latencies_ns)

    @property
    def succeeded(self) -> int:
        """The answers with a status of 2xx."""
        return self.answered - sum(self.errors.values())


def run(
    requests: Iterator[bytes],
    *,
    host: str,
    port: int,
    connections: int,
    duration_s: float | None = None,
    count: int | None = None,
) -> Load:
    """Send `requests` over that many connections, for a time, for a number of them, or until they run out.

    What is under way when the time is up is waited for and counted. Raises `BenchFailed` when a connection cannot be
    made, or breaks before its answer: no result is better than one with a hole in it.
    """
    try:
        return uvloop.run(_run(islice(requests, count), host, port, connections, duration_s))
    except (OSError, ProtocolError) as error:
        raise BenchFailed(f"the load on {host}:{port} broke off: {error}") from error


async def _run(requests: Iterator[bytes], host: str, port: int, connections: int, duration_s: float | None) -> Load:
    loop = asyncio.get_running_loop()
    state = _State(requests)
    opened = await asyncio.gather(
        *(loop.create_connection(lambda: _Client(state), host, port) for _ in range(connections))
    )
    clients = [client for _, client in opened]
    cpu_started = time.process_time()
    started = time.perf_counter()
    if duration_s is not None:
        loop.call_later(duration_s, state.stop)
    for client in clients:
        client.send_next()
    try:
        await asyncio.gather(*(client.finished for client in clients))
    finally:
        for client in clients:
            client.close()
    return Load(
        latencies_ns=state.latencies_ns,
        errors=dict(state.errors),
        duration_s=time.perf_counter() - started,
        generator_cpu_s=time.process_time() - cpu_started,
    )


class _State:
    """What all connections of a run share."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.requests = requests
        self.latencies_ns = array("Q")
        self.errors: Counter[str] = Counter()

    def stop(self) -> None:
        self.requests = iter(())


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self._reader = ResponseReader()
        self._sent_ns = 0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send_next(self) -> None:
        # Where the server has hung up already, `connection_lost` tells of it.
        if self._transport.is_closing():
            return
        request = next(self._state.requests, None)
        if request is None:
            self.finished.set_result(None)
        else:
            self._sent_ns = time.perf_counter_ns()
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            response = self._reader.feed(data)
        except ProtocolError as error:
            self.finished.set_exception(error)
            self.close()
            return
        if response is None:
            return
        self._state.latencies_ns.append(time.perf_counter_ns() - self._sent_ns)
        if response.status // 100 != 2:
            self._state.errors[error_name(response)] += 1
        self.send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_exception(ConnectionError("the server closed a connection before its answer"))

    def close(self) -> None:
        self._transport.abort()


def error_name(response: Response) -> str:
    """What a refusal is counted as: its status and, where it is problem+json, its code."""
    try:
        return f"{response.status} {msgspec.json.decode(response.body, type=_Problem).code}"
    except msgspec.DecodeError:
        return str(response.status)


class _Problem(msgspec.Struct, frozen=True):
    code: str
