"""Asks a real server and keeps what it answered, by operation: the examples and errors of the OpenAPI document."""

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import aiohttp
import msgspec

from ledgerx_api.problems import MEDIA_TYPE
from ledgerx_api.reference.examples import Example, Examples, Recorded
from ledgerx_api.tokens import Principal
from tests.documented import Documented
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import Answer

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
# What examples show in place of the time at which they are recorded.
_BEGINNING = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_DAY = timedelta(days=1)
# A link's end has no fraction of a second.
_LINKED_UNTIL = "2026-01-05T09:15:00Z"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it is sent; `principal` speaks it. A body of text goes as it is, any other as `media_type` wants."""

    method: str
    path: str
    query: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}
    body: Any = None
    media_type: str = JSON
    principal: Principal | None = None

    @property
    def raw_body(self) -> bytes | None:
        """The bytes of the body."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return (urlencode(self.body) if self.media_type == FORM else json.dumps(self.body)).encode()


def request(
    method: str,
    target: str,
    body: Any = None,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    media_type: str = JSON,
    principal: Principal | None = None,
) -> Request:
    """A request for a path with its query; `key` is the idempotency key."""
    url = urlsplit(target)
    idempotency = {} if key is None else {"Idempotency-Key": f'"{key}"'}
    return Request(
        method=method,
        path=url.path,
        query=dict(parse_qsl(url.query)),
        headers=idempotency | dict(headers or {}),
        body=body,
        media_type=media_type,
        principal=principal,
    )


async def send(api: ApiProcess, session: aiohttp.ClientSession, asked: Request, *, token: str | None = None) -> Answer:
    """Send a request, by its principal unless `token` says otherwise; of a stream only what comes first is read."""
    headers = dict(asked.headers)
    if token is None and asked.principal is not None:
        token = api.sign(asked.principal)
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    raw_body = asked.raw_body
    if raw_body is not None:
        headers["Content-Type"] = asked.media_type
    data = None if raw_body is None else io.BytesIO(raw_body)
    url = f"{api.base_url}{quote(asked.path, safe=':/%')}"
    async with session.request(
        asked.method, url, params=asked.query, headers=headers, data=data, allow_redirects=False
    ) as answer:
        if answer.content_type == "text/event-stream":
            return Answer(answer.status, answer.headers, (await _first_events(answer)).decode())
        raw = await answer.read()
        is_json = answer.content_type.endswith(("/json", "+json"))
        return Answer(answer.status, answer.headers, json.loads(raw) if is_json and raw else raw.decode() or None)


async def _first_events(answer: aiohttp.ClientResponse) -> bytes:
    """How to reconnect, and the first event."""
    return b"".join([await answer.content.readuntil(b"\n\n") for _ in range(2)])


class Recorder:
    """Records what `api` answers."""

    def __init__(self, api: ApiProcess, session: aiohttp.ClientSession, documented: Documented) -> None:
        self.documented = documented
        self._shown: dict[str, Request] = {}
        self._api = api
        self._session = session
        self._examples: dict[str, list[Example]] = {}
        self._codes: dict[str, set[str]] = {}
        self._problems: dict[str, dict[str, Any]] = {}

    async def show(self, title: str, asked: Request) -> Any:
        """Make an example of a request that succeeds, and return what was answered."""
        answer = await send(self._api, self._session, asked)
        assert answer.status < 400, (asked, answer)
        operation, in_path = self.documented.operation(asked.method, asked.path)
        answer_type = answer.headers.get("Content-Type", "").partition(";")[0] if answer.body is not None else None
        example = Example(
            title=title,
            parameters=self.documented.typed(operation, {**in_path, **asked.query, **asked.headers}),
            request_type=None if asked.body is None else asked.media_type,
            request=asked.body,
            status=answer.status,
            answer_type=answer_type,
            answer=answer.body,
        )
        self._examples.setdefault(operation, []).append(example)
        # What is spoilt later on is the first request that is no dry run.
        if "dry_run" not in asked.query:
            self._shown.setdefault(operation, asked)
        return answer.body

    async def done(self, asked: Request) -> Any:
        """Send a request that succeeds and is no example, and return what was answered."""
        answer = await send(self._api, self._session, asked)
        assert answer.status < 400, (asked, answer)
        return answer.body

    async def refused(self, code: str, asked: Request) -> Answer:
        """Record an error that a request has to meet."""
        answer = await send(self._api, self._session, asked)
        assert answer.told[1] == code, (asked, answer)
        self.note(asked, answer)
        return answer

    async def refused_at_last(self, code: str, asked: Request) -> None:
        """Record an error that a request meets sooner or later, sent again and again."""
        while (answer := await send(self._api, self._session, asked)).told[1] != code:
            pass
        self.note(asked, answer)

    def note(self, asked: Request, answer: Answer) -> None:
        """Record the answer to a request if it is an error."""
        if answer.headers.get("Content-Type") == MEDIA_TYPE and answer.body["type"] != "about:blank":
            code = answer.body["code"]
            operation, _ = self.documented.operation(asked.method, asked.path)
            self._codes.setdefault(operation, set()).add(code)
            self._problems.setdefault(code, answer.body)

    def first_examples(self) -> Iterator[tuple[str, Request]]:
        """The operations, each with the request of its first example."""
        yield from self._shown.items()

    def recorded(self) -> Examples:
        """All that was recorded, the same at every run: what is random or of the moment is made up."""
        found = Examples(
            operations={
                operation: Recorded(examples=shown, problems=sorted(self._codes.get(operation, ())))
                for operation, shown in self._examples.items()
            },
            problems=self._problems,
        )
        return msgspec.json.decode(repeatable(msgspec.json.encode(found).decode()), type=Examples)


def repeatable(text: str) -> str:
    """JSON with ids, secrets, hashes and times of the moment replaced by made-up ones, in the order of their coming."""
    kinds: Sequence[tuple[str, Callable[[int], str]]] = (
        (r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", lambda n: f"eyJhbGciOiJFZERTQSJ9.{_text('token', n)}.{_text('signature', n)}"),
        (r"(?<=\blx[rp]_)[\w-]{64,}", lambda n: _text("handle", n) + _text("opaque", n)),
        (
            r'(?<="whsec_)[\w+/]{43}=(?=")',
            lambda n: base64.b64encode(bytes.fromhex(_hex("whsec", n))).decode(),
        ),
        (r'(?<="client_secret":")[\w-]{43}(?=")', lambda n: _text("secret", n)),
        (r'(?<="next_cursor":")[\w=-]+(?=")', lambda n: _text("cursor", n)),
        (r'(?<="x":")[\w-]{43}(?=")', lambda n: _text("key", n)),
        (r'(?<="kid":")[0-9a-f]{16}(?=")', lambda n: _hex("kid", n)[:16]),
        (r"(?<=[0-9a-f]{12}\.)[0-9a-f]{12}\b", lambda n: _hex("client", n)[:12]),
        (r"(?<= )[\w+/]{91}=(?=\\n)", lambda n: base64.b64encode(_bytes("signature", n, 68)).decode()),
        (
            r"(?<=\+)[0-9a-f]{8}\+[\w+/]{44}(?=\")",
            lambda n: f"{_hex('id', n)[:8]}+{base64.b64encode(_bytes('verifier', n, 33)).decode()}",
        ),
        (r"\b1[789]\d{14}\b", lambda n: f"{1_767_600_000_000_000 + n * 1_000_000}"),
        (r'(?<=\\")[\w+/]{22}==(?=\\")', lambda n: base64.b64encode(_bytes("fingerprint", n, 16)).decode()),
        (r'(?<=["n ])[\w+/]{43}=(?=\\?["n])', lambda n: base64.b64encode(bytes.fromhex(_hex("hash", n))).decode()),
        (r'(?<="sha256":")[0-9a-f]{64}(?=")', lambda n: _hex("file", n)),
        (r'(?<="link":")[\w-]{96}(?=")', _link),
        (r'/v1/downloads/[\w-]{96}","expires_at":"[^"]+', lambda n: f'{_downloads(n)}","expires_at":"{_LINKED_UNTIL}'),
        (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", lambda n: f"0198c0de-0000-7000-8000-{n:012x}"),
    )
    for pattern, made_up in kinds:
        found = dict.fromkeys(re.findall(pattern, text))
        text = _replaced(pattern, {one: made_up(number) for number, one in enumerate(found, 1)}, text)
    return _with_times(text)


def _replaced(pattern: str, shown: Mapping[str, str], text: str) -> str:
    return re.sub(pattern, lambda match: shown[match[0]], text)


def _with_times(text: str) -> str:
    """Times with fractions of a second are of the moment: each is a second after the one before, and a day a day."""
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"
    moments = {found: datetime.fromisoformat(found) for found in re.findall(pattern, text)}
    order = sorted(set(moments.values()))
    shown = {
        found: _BEGINNING
        + round((moment - order[0]) / _DAY) * _DAY
        + timedelta(seconds=order.index(moment), milliseconds=250)
        for found, moment in moments.items()
    }
    return _replaced(pattern, {found: f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}" for found, moment in shown.items()}, text)


def _link(number: int) -> str:
    return (_text("link", number) + _text("to", number) + _text("file", number))[:96]


def _downloads(number: int) -> str:
    return f"/v1/downloads/{_link(number)}"


def _hex(kind: str, number: int) -> str:
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()


def _text(kind: str, number: int) -> str:
    return base64.urlsafe_b64encode(_bytes(kind, number, 32)).decode().rstrip("=")


def _bytes(kind: str, number: int, length: int) -> bytes:
    """As many bytes that are always the same."""
    return (bytes.fromhex(_hex(kind, number)) * 3)[:length]
