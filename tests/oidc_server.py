"""A real OpenID Connect issuer, or many: discovery and keys over HTTP, tokens signed with keys of its own."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PrivateKey: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/keys"
AUDIENCE = "https://ledger.example.com"
# To make an RSA key takes a while, and one is as good as another.
RSA_KEY = rsa.generate_private_key(65_537, 2_048)
ALGORITHMS = ("EdDSA", "ES256", "RS256")


class OidcIssuer:
    """An issuer with a key of each algorithm, whose id is the algorithm's name. `fetches` counts by document."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, PrivateKey] = {algorithm: new_key(algorithm) for algorithm in ALGORITHMS}
        self.fetches: Counter[str] = Counter()
        self.discovery: dict[str, Any] = {"issuer": url, "jwks_uri": url + JWKS}
        # Answers in place of its own, by document: status, headers, body.
        self.instead: dict[str, tuple[int, Mapping[str, str], bytes]] = {}
        self.jwks_headers: dict[str, str] = {"Cache-Control": "public, max-age=600"}
        self.is_up = True
        # Cleared, it lets everybody wait for its keys.
        self.answers = threading.Event()
        self.answers.set()

    def document(self, name: str) -> tuple[int, Mapping[str, str], bytes] | None:
        """What it answers to a request for a document."""
        self.fetches[name] += 1
        if not self.is_up:
            return 503, {}, b""
        if name == JWKS:
            self.answers.wait(30)
        if name in self.instead:
            return self.instead[name]
        if name == DISCOVERY:
            return 200, {}, json.dumps(self.discovery).encode()
        if name == JWKS:
            return 200, self.jwks_headers, json.dumps({"keys": self.jwks()}).encode()
        return None

    def jwks(self) -> list[dict[str, Any]]:
        """Its public keys."""
        return [{**public_jwk(key), "kid": kid, "use": "sig"} for kid, key in self.keys.items()]

    def token(self, kid: str = "EdDSA", *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token that is good but for what is said; a claim of None is left out."""
        now = int(time.time())
        content = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "iat": now,
            "exp": now + 300,
            "groups": ["ledger-operators"],
        } | claims
        key = self.keys[kid]
        said = {name: value for name, value in content.items() if value is not None}
        return jwt.PyJWS().encode(
            json.dumps(said).encode(),
            key,
            algorithm=algorithm_of(key),
            headers={"kid": kid, "typ": "at+jwt"} | dict(header or {}),
        )


class OidcServer:
    """Serves issuers of any name below one port of loopback."""

    def __init__(self, port: int = 0) -> None:
        self._issuers: dict[str, OidcIssuer] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._http.daemon_threads = True
        self.port: int = self._http.server_address[1]

    def url(self, name: str) -> str:
        """What an issuer of this name is called."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def issuer(self, name: str) -> OidcIssuer:
        """An issuer of this name, new."""
        made = self._issuers[name] = OidcIssuer(self.url(name))
        return made

    @contextmanager
    def running(self) -> Iterator["OidcServer"]:
        """Serve in a thread of its own."""
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            for issuer in self._issuers.values():
                issuer.answers.set()
            self._http.shutdown()
            self._http.server_close()
            thread.join()

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                _, name, document = urlsplit(self.path).path.split("/", 2)
                issuer = server._issuers.get(name)
                answer = issuer.document(f"/{document}") if issuer else None
                status, headers, body = answer or (404, {}, b"")
                self.send_response(status)
                for field, value in headers.items():
                    self.send_header(field, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        return Handler


def new_key(algorithm: str) -> PrivateKey:
    """A key for this algorithm."""
    if algorithm == "EdDSA":
        return Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else RSA_KEY


def algorithm_of(key: PrivateKey) -> str:
    """The algorithm that a key is for."""
    if isinstance(key, Ed25519PrivateKey):
        return "EdDSA"
    return "ES256" if isinstance(key, EllipticCurvePrivateKey) else "RS256"


def public_jwk(key: PrivateKey) -> dict[str, Any]:
    """The public half."""
    if isinstance(key, Ed25519PrivateKey):
        return OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    if isinstance(key, EllipticCurvePrivateKey):
        return ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
