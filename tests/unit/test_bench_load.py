"""The load generator and its traffic, against a real HTTP server on another thread."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from typing import Any

import msgspec
import pytest

from ledgerx.logins import Database
from ledgerx_cli.bench import load
from ledgerx_cli.bench.target import BenchFailed, Target, fetch_token
from ledgerx_cli.bench.traffic import ACCOUNTS, Scenario, open_accounts, requests_of
from ledgerx_cli.bench.wire import encode_request
from ledgerx_cli.platform import Demo, Platform


class Received(msgspec.Struct, frozen=True):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Server(ThreadingHTTPServer):
    """Remembers what it received and answers as `answers` says; status 0 means bare bytes and the end."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[Received] = []
        self.connections = 0
        self.answers: dict[str, tuple[int, bytes]] = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def log_request(self, code: object = "-", size: object = "-") -> None:
        pass

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        self.server.received.append(
            Received(self.command, self.path, dict(self.headers.items()), self.rfile.read(length))
        )
        status, body = self.server.answers.get(self.path, (200, b"{}"))
        if status == 0:
            self.wfile.write(body)
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def target(server: Server) -> Target:
    base_url = f"http://127.0.0.1:{server.server_port}"
    no_database = Database(admin_url="", owner_url="", api_url="", streams_url="", relay_url="")
    platform = Platform(base_url=base_url, database=no_database, kafka="", management={}, pids={})
    return Target(platform, Demo(base_url=base_url, tenant="demo", client_id="id", client_secret="a secret"))


def get(path: str) -> bytes:
    return encode_request("GET", path, host="127.0.0.1", headers={})


def run(server: Server, requests: Iterator[bytes], *, connections: int = 4, **limit: Any) -> load.Load:
    return load.run(requests, host="127.0.0.1", port=server.server_port, connections=connections, **limit)


def test_every_request_is_sent_once_over_connections_that_stay_open(server: Server) -> None:
    seen = run(server, iter([get(f"/{number}") for number in range(200)]), connections=8)
    assert Counter(request.path for request in server.received) == Counter(f"/{number}" for number in range(200))
    assert server.connections == 8
    assert (seen.answered, seen.succeeded, seen.errors) == (200, 200, {})
    assert min(seen.latencies_ns) > 0


def test_a_count_ends_a_run_without_end(server: Server) -> None:
    assert run(server, repeat(get("/")), count=37).answered == 37
    assert len(server.received) == 37


def test_a_duration_ends_a_run_and_waits_for_what_is_under_way(server: Server) -> None:
    seen = run(server, repeat(get("/")), duration_s=0.05)
    assert seen.answered == len(server.received) >= 4


def test_refusals_are_counted_by_status_and_problem_code(server: Server) -> None:
    server.answers = {
        "/busy": (503, b'{"type": "about:blank", "code": "overloaded"}'),
        "/odd": (500, b"<html>"),
        "/listed": (404, b"[]"),
    }
    seen = run(server, iter([get("/ok"), get("/busy"), get("/odd"), get("/busy"), get("/listed")]))
    assert seen.errors == {"503 overloaded": 2, "500": 1, "404": 1}
    assert (seen.answered, seen.succeeded) == (5, 1)


def test_a_connection_that_breaks_before_its_answer_fails_the_run(server: Server) -> None:
    server.answers = {"/": (0, b"")}
    with pytest.raises(BenchFailed, match="broke off"):
        run(server, repeat(get("/")), count=20)


def test_an_answer_that_is_no_http_fails_the_run(server: Server) -> None:
    server.answers = {"/": (0, b"SSH-2.0\r\n\r\n")}
    with pytest.raises(BenchFailed, match="SSH"):
        run(server, repeat(get("/")), count=20)


def test_a_server_that_is_not_there_fails_the_run(server: Server) -> None:
    server.server_close()
    with pytest.raises(BenchFailed, match="broke off"):
        run(server, repeat(get("/")), count=1)


def test_the_token_is_asked_for_with_the_credentials_in_the_body(server: Server, target: Target) -> None:
    server.answers = {"/v1/auth/token": (200, b'{"access_token": "t", "token_type": "Bearer"}')}
    assert fetch_token(target) == "t"
    [request] = server.received
    assert request.body == b"grant_type=client_credentials&client_id=id&client_secret=a+secret"


def test_a_refused_token_fails_the_run_and_does_not_show_the_secret(server: Server, target: Target) -> None:
    server.answers = {"/v1/auth/token": (401, b"{}")}
    with pytest.raises(BenchFailed, match="answered 401") as failure:
        fetch_token(target)
    assert "a secret" not in f"{failure.value!r} {target!r}"


def test_accounts_are_opened_and_those_of_an_earlier_run_are_taken(server: Server, target: Target) -> None:
    server.answers = {"/v1/accounts": (409, b'{"code": "account_exists"}')}
    open_accounts(target, "t")
    bodies = [json.loads(request.body) for request in server.received]
    assert len({body["code"] for body in bodies}) == len(bodies) == ACCOUNTS + 2
    assert [body["code"] for body in bodies if "min_balance" in body] == ["bench:hot-guarded"]


def test_an_account_that_cannot_be_opened_fails_the_run(server: Server, target: Target) -> None:
    server.answers = {"/v1/accounts": (403, b'{"code": "forbidden"}')}
    with pytest.raises(BenchFailed, match="403 forbidden"):
        open_accounts(target, "t")


@pytest.mark.parametrize(
    ("scenario", "credited"),
    [(Scenario.POSTS, ACCOUNTS), (Scenario.POSTS_HOT, 1), (Scenario.POSTS_HOT_GUARDED, 1)],
)
def test_posts_are_authenticated_and_differ_in_their_keys(
    server: Server, target: Target, scenario: Scenario, credited: int
) -> None:
    for _ in range(2):
        run(server, requests_of(scenario, target, "t"), count=ACCOUNTS)
    assert {(request.method, request.path) for request in server.received} == {("POST", "/v1/transactions")}
    assert {request.headers["Authorization"] for request in server.received} == {"Bearer t"}
    assert len({request.headers["Idempotency-Key"] for request in server.received}) == 2 * ACCOUNTS
    bodies = [json.loads(request.body) for request in server.received]
    assert len({body["debit"] for body in bodies}) == ACCOUNTS
    assert len({body["credit"] for body in bodies}) == credited
    assert all(body["debit"] != body["credit"] and body["amount"] == "1.00" for body in bodies)


def test_reads_ask_for_every_account_and_the_yardstick_for_the_liveness_route(server: Server, target: Target) -> None:
    run(server, requests_of(Scenario.READS, target, "t"), count=ACCOUNTS)
    paths = {request.path for request in server.received}
    assert len(paths) == ACCOUNTS
    assert "/v1/accounts/bench:users:0000/balance" in paths

    server.received.clear()
    run(server, requests_of(Scenario.NOOP, target, "t"), count=1)
    [request] = server.received
    assert (request.method, request.path) == ("GET", "/livez")
    assert "Authorization" not in request.headers
