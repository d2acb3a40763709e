"""The platform under test, and the few requests around a run that are not load."""

import http.client
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

import msgspec

from ledgerx_cli.failures import CommandFailed
from ledgerx_cli.platform import Demo, Platform

_TIMEOUT_S = 10


class BenchFailed(CommandFailed):
    """The benchmark cannot go on; the message says why."""


class Target(msgspec.Struct, frozen=True):
    """A running platform, and a tenant of it with an API client."""

    platform: Platform
    demo: Demo

    @property
    def host(self) -> str:
        """Name or address of the API."""
        return urlsplit(self.platform.base_url).hostname or ""

    @property
    def port(self) -> int:
        """Port of the API."""
        return urlsplit(self.platform.base_url).port or http.client.HTTP_PORT


class _Token(msgspec.Struct, frozen=True):
    access_token: str


def fetch_token(target: Target) -> str:
    """A fresh access token of the target's client. Raises `BenchFailed`."""
    form = {
        "grant_type": "client_credentials",
        "client_id": target.demo.client_id,
        "client_secret": target.demo.client_secret,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = _exchange("POST", f"{target.platform.base_url}/v1/auth/token", body=urlencode(form), headers=headers)
    return msgspec.json.decode(answer, type=_Token).access_token


def fetch_streams_metrics(target: Target) -> str:
    """The Prometheus page of the streams. Raises `BenchFailed`."""
    return _exchange("GET", f"{target.platform.management['streams']}/metrics").decode()


def _exchange(method: str, url: str, *, body: str | None = None, headers: Mapping[str, str] | None = None) -> bytes:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request(method, parts.path, body, headers or {})
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchFailed(f"{method} {url}: {error}") from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise BenchFailed(f"{method} {url}: answered {response.status}")
    return answer
