"""The HTTP API of a running platform, as an API client of a tenant."""

from collections.abc import Generator
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
import msgspec

from ledgerx.errors import ConfigurationError
from ledgerx.settings import Secret, load
from ledgerx_cli.failures import CommandFailed
from ledgerx_cli.platform import demo

_TIMEOUT_S = 30.0

T = TypeVar("T")


class ApiClient(msgspec.Struct, frozen=True, kw_only=True):
    """Where the API is, and who asks: all three, or none of them."""

    api_url: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None


class _Token(msgspec.Struct, frozen=True):
    access_token: str


class _Problem(msgspec.Struct, frozen=True):
    code: str
    title: str
    detail: str = ""


class Api:
    """A session. Every method raises `CommandFailed` where the API refuses something, or does not answer."""

    def __init__(self, base_url: str, client_id: str, secret: Secret) -> None:
        self._http = httpx2.Client(base_url=base_url, auth=_Bearer(base_url, client_id, secret), timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, method: str, path: str, kind: type[T], body: Any = None) -> T:
        """Send a request with a JSON body, if any, and read the answer as a `kind`."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            answer = self._http.request(method, path, content=content, headers=headers)
        except httpx2.HTTPError as error:
            raise CommandFailed(f"{self._http.base_url}: {error}") from None
        check(answer)
        return msgspec.json.decode(answer.content or b"null", type=kind)

    def stream(self, url: str, headers: dict[str, str]) -> Any:
        """The answer to a GET of a link that needs no token, as a context. Raises `httpx2.HTTPError`."""
        return self._http.stream("GET", url, headers=headers, auth=None)


def connect(data: Path) -> Api:
    """The API of `LEDGERX_API_URL` and its companions, else that of `data` as the client of its demo tenant.

    Raises `ConfigurationError` where there is neither.
    """
    given = load(ApiClient)
    if given == ApiClient():
        known = demo(data)
        return Api(known.base_url, known.client_id, Secret(known.client_secret))
    if given.api_url is None or given.client_id is None or given.client_secret is None:
        raise ConfigurationError("LEDGERX_API_URL, LEDGERX_CLIENT_ID and LEDGERX_CLIENT_SECRET go together")
    return Api(given.api_url, given.client_id, given.client_secret)


def check(answer: httpx2.Response) -> None:
    """Raise `CommandFailed` for an answer that is not what was asked for."""
    if answer.is_success:
        return
    try:
        problem = msgspec.json.decode(answer.read(), type=_Problem)
    except msgspec.MsgspecError:
        raise CommandFailed(f"{answer.url.host} answered {answer.status_code}") from None
    raise CommandFailed(f"{problem.detail or problem.title} ({problem.code})")


class _Bearer(httpx2.Auth):
    """Has a token for each request, and a new one when that is not good any more."""

    requires_response_body = True

    def __init__(self, base_url: str, client_id: str, secret: Secret) -> None:
        self._url = httpx2.URL(base_url).join("/v1/auth/token")
        self._form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        self._token: str | None = None

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send the request, after one for a token where there is none or the last one was refused."""
        for _ in range(2):
            if self._token is None:
                form = {name: one.reveal() if isinstance(one, Secret) else one for name, one in self._form.items()}
                granted = yield httpx2.Request("POST", self._url, data=form)
                check(granted)
                self._token = msgspec.json.decode(granted.content, type=_Token).access_token
            request.headers["Authorization"] = f"Bearer {self._token}"
            answer = yield request
            if answer.status_code != httpx2.codes.UNAUTHORIZED:
                return
            self._token = None
