"""What an issuer publishes: where its keys are (OpenID Connect Discovery 1.0), and the keys themselves (RFC 7517)."""

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWTError
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from ledgerx.trust import Algorithm

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
# By key id and the one algorithm that a key is for.
Keys: TypeAlias = Mapping[tuple[str, Algorithm], PublicKey]

MAX_KEYS = 100
MIN_AGE_S = 60
MAX_AGE_S = 3_600
DEFAULT_AGE_S = 600
# Shorter ones are too weak (NIST SP 800-131A), longer ones cost too much.
MIN_RSA_BITS = 2_048
MAX_RSA_BITS = 8_192
_MAX_KID_CHARACTERS = 255
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})")
# Of a key, the members that make its public half; all others are left out.
_KINDS: Mapping[tuple[str, str | None], tuple[Algorithm, Any, tuple[str, ...]]] = {
    ("RSA", None): (Algorithm.RS256, RSAAlgorithm, ("kty", "n", "e")),
    ("EC", "P-256"): (Algorithm.ES256, ECAlgorithm, ("kty", "crv", "x", "y")),
    ("OKP", "Ed25519"): (Algorithm.EDDSA, OKPAlgorithm, ("kty", "crv", "x")),
}


class BadDocumentError(Exception):
    """An issuer has published what it cannot mean."""


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


def discovery_url(issuer: str) -> str:
    """Where an issuer says where its keys are."""
    return issuer.removesuffix("/") + "/.well-known/openid-configuration"


def jwks_url(issuer: str, body: bytes) -> str:
    """Where the keys of `issuer` are. Raises `BadDocumentError`, also for what another issuer says."""
    found: _Discovery = _decode(body, _Discovery)
    if found.issuer != issuer:
        raise BadDocumentError("it says to be another issuer")
    return found.jwks_uri


def keys_of(body: bytes) -> Keys:
    """The keys of a set that can be used; others are passed over. Raises `BadDocumentError`."""
    found: _KeySet = _decode(body, _KeySet)
    if len(found.keys) > MAX_KEYS:
        raise BadDocumentError(f"it has more than {MAX_KEYS} keys")
    return dict(key for jwk in found.keys if (key := _key(jwk)) is not None)


def max_age_s(headers: Mapping[str, str]) -> int:
    """How long an answer may be kept, by `Cache-Control`, in seconds within bounds of ours."""
    found = _MAX_AGE.search(headers.get("Cache-Control", "").lower())
    return min(max(int(found[1]) if found else DEFAULT_AGE_S, MIN_AGE_S), MAX_AGE_S)


def _key(jwk: Mapping[str, Any]) -> tuple[tuple[str, Algorithm], PublicKey] | None:
    kid, kind, curve = jwk.get("kid"), jwk.get("kty"), jwk.get("crv")
    known = _KINDS.get((kind, curve)) if isinstance(kind, str) and isinstance(curve, str | None) else None
    if known is None or not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID_CHARACTERS:
        return None
    algorithm, reader, members = known
    if jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
        return None
    try:
        key = reader.from_jwk({member: jwk[member] for member in members})
    except (PyJWTError, KeyError, TypeError, ValueError):
        return None
    if isinstance(key, RSAPublicKey) and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return None
    return ((kid, algorithm), key) if isinstance(key, PublicKey) else None


def _decode(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise BadDocumentError("it is not what an issuer publishes") from None
