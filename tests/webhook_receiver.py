"""A real receiver of webhooks over HTTP: keeps what came, verifies it as receivers do, and answers as it is told."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from standardwebhooks import Webhook


class Received(msgspec.Struct, frozen=True):
    """A request; `path` tells the endpoint."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        """The event."""
        return json.loads(self.body)

    @property
    def seq(self) -> int:
        """The number of its entry."""
        return int(self.event["sequence"])

    def verify(self, secret: str) -> None:
        """Raise an error unless it is signed with `secret`, and of now."""
        Webhook(secret).verify(self.body.decode(), dict(self.headers))


class Site:
    """What one path of a receiver does.

    `answers` are statuses for the requests to come, `default` that of the others; requests wait until it is `open`.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[int] = []
        self.default = 200
        self.headers: dict[str, str] = {}
        self.body = b""
        self.open = threading.Event()
        self.open.set()
        self.under_way = 0
        self.most_under_way = 0

    @property
    def seqs(self) -> list[int]:
        """The numbers of the entries that came, in order."""
        return [one.seq for one in self.received]


class Receiver:
    """Serves any number of sites below one port of loopback."""

    def __init__(self) -> None:
        self._sites: dict[str, Site] = defaultdict(Site)
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.port: int = self._http.server_address[1]

    def url(self, name: str) -> str:
        """The URL of a site."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def site(self, name: str) -> Site:
        """The site of this name."""
        return self._sites[f"/{name}"]

    @contextmanager
    def running(self) -> Iterator["Receiver"]:
        """Serve in a thread of its own."""
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            for site in self._sites.values():
                site.open.set()
            self._http.shutdown()
            self._http.server_close()
            thread.join()

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                # Of senders that were killed.
                with suppress(ConnectionError):
                    super().handle()

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    # Whoever sent it was killed.
                    self.close_connection = True
                    return
                site = receiver._sites[self.path]
                with receiver._lock:
                    site.received.append(
                        Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                    )
                    status = site.answers.pop(0) if site.answers else site.default
                    site.under_way += 1
                    site.most_under_way = max(site.most_under_way, site.under_way)
                site.open.wait(60)
                # No more under way once its answer may have arrived.
                with receiver._lock:
                    site.under_way -= 1
                self.send_response(status)
                for name, value in site.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(site.body)))
                self.end_headers()
                self.wfile.write(site.body)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        return Handler
