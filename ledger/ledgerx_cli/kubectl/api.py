"""The HTTP API of a platform, as the client of a connection Secret; through `kubectl port-forward` where it has to be.

No secret is ever an argument of a process.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2

from ledgerx_cli.failures import CommandFailed

_TIMEOUT_S = 30.0
_SERVICE = re.compile(r"(?P<name>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.svc(\..+)?")
_FORWARDING = re.compile(r"Forwarding from (127\.0\.0\.1:\d+) ")


@contextmanager
def reaching(uri: str, api_url: str | None, context: str | None) -> Iterator[httpx2.Client]:
    """The API at `api_url`, or at the `uri` of a Secret: a Service of the cluster is forwarded meanwhile.

    Raises `CommandFailed`.
    """
    parts = urlsplit(uri)
    service = _SERVICE.fullmatch(parts.hostname or "")
    if api_url is not None or service is None:
        with httpx2.Client(base_url=api_url or uri, timeout=_TIMEOUT_S) as client:
            yield client
        return
    with _forwarded(service["name"], service["namespace"], parts.port or 80, context) as address:
        # The name in the certificate is the Service's, and the way to it is the API server's.
        base_url = f"{parts.scheme}://{address}"
        with httpx2.Client(base_url=base_url, timeout=_TIMEOUT_S, verify=parts.scheme != "https") as client:
            yield client


def token(client: httpx2.Client, secret: Mapping[str, str]) -> dict[str, Any]:
    """What the API answers a client that asks for a token. Raises `CommandFailed` and `httpx2.HTTPError`."""
    form = {
        "grant_type": "client_credentials",
        "client_id": secret["client-id"],
        "client_secret": secret["client-secret"],
    }
    return _json(client.post("/v1/auth/token", data=form))


def integrity(client: httpx2.Client, access_token: str) -> dict[str, Any]:
    """What the API says of the journal. Raises `CommandFailed` and `httpx2.HTTPError`."""
    return _json(client.get("/v1/integrity", headers={"Authorization": f"Bearer {access_token}"}))


def _json(answer: httpx2.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if answer.is_success:
        return dict(body)
    raise CommandFailed(f"the API answers {answer.status_code} {body.get('code', '')}: {body.get('detail', '')}")


@contextmanager
def _forwarded(service: str, namespace: str, port: int, context: str | None) -> Iterator[str]:
    chosen = [] if context is None else ["--context", context]
    command = ["kubectl", *chosen, "port-forward", "--namespace", namespace, f"service/{service}", f":{port}"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - names of Kubernetes
    except FileNotFoundError:
        raise CommandFailed("kubectl is not on the PATH: say --api-url") from None
    with process:
        try:
            told = "" if process.stdout is None else process.stdout.readline()
            forwarding = _FORWARDING.match(told)
            if forwarding is None:
                raise CommandFailed(f"kubectl does not forward to {namespace}/{service}: say --api-url")
            yield forwarding[1]
        finally:
            process.terminate()
