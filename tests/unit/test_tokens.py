"""Access tokens: who is let in, and for how long."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import msgspec
import pytest
import time_machine
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledgerx.errors import InvalidToken
from ledgerx.keys import Keyset, write_new_keyset
from ledgerx.roles import SCOPES, Role
from ledgerx.tenancy import Scope
from ledgerx_api.tokens import Principal, Tokens

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TTL_S = 900
LEEWAY_S = 5
PRINCIPAL = Principal(
    UUID("0198c0de-0000-7000-8000-000000000001"), "client:1", frozenset({Scope.LEDGER_READ, Scope.LEDGER_WRITE})
)


@pytest.fixture(scope="module")
def keyset(tmp_path_factory: pytest.TempPathFactory) -> Keyset:
    return write_new_keyset(tmp_path_factory.mktemp("keys") / "keys.json")


@pytest.fixture
def tokens(keyset: Keyset) -> Tokens:
    return Tokens(keyset, issuer="here", audience="ledger", ttl_s=TTL_S)


def forge(keyset: Keyset, *, key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token that is good but for what is said; a claim of None is left out."""
    now = int(NOW.timestamp())
    content = {
        "iss": "here",
        "aud": "ledger",
        "sub": PRINCIPAL.actor,
        "tid": str(PRINCIPAL.tenant_id),
        "scope": "ledger:read",
        "iat": now,
        "exp": now + TTL_S,
    } | claims
    return jwt.encode(
        {name: value for name, value in content.items() if value is not None},
        keyset.signing_key if key is None else key,
        algorithm="EdDSA",
        headers={"kid": keyset.current.kid, "typ": "at+jwt"} | (header or {}),
    )


def by_hand(header: dict[str, Any], payload: str, secret: bytes = b"") -> str:
    """A token put together without a library, which would refuse to; signed by HMAC if there is a secret."""
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    signature = hmac.digest(secret, f"{head}.{payload}".encode(), hashlib.sha256) if secret else b""
    return f"{head}.{payload}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def test_a_token_says_who_its_bearer_is(tokens: Tokens) -> None:
    assert tokens.verify(tokens.sign(PRINCIPAL)) == PRINCIPAL


@pytest.mark.parametrize("role", Role)
def test_a_token_says_what_a_person_is_in_the_tenant(tokens: Tokens, role: Role) -> None:
    user_id = UUID(int=7)
    person = tokens.verify(tokens.sign(Principal(PRINCIPAL.tenant_id, f"user:{user_id}", SCOPES[role], role)))
    assert (person.role, person.user_id, person.scopes) == (role, user_id, SCOPES[role])
    assert person.confined_to == (str(user_id) if role is Role.MEMBER else None)


def test_a_client_is_no_person(tokens: Tokens) -> None:
    client = tokens.verify(tokens.sign(PRINCIPAL))
    assert (client.role, client.user_id, client.confined_to) == (None, None, None)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "elsewhere"},
        {"aud": "others"},
        {"aud": None},
        {"iss": None},
        {"exp": None},
        {"sub": None},
        {"tid": None},
        {"scope": None},
        {"tid": "demo"},
        {"scope": "ledger:read everything"},
        {"role": "king"},
        {"role": 1},
        {"exp": int(NOW.timestamp()) - LEEWAY_S - 1},
        {"nbf": int(NOW.timestamp()) + 60},
        {"header": {"kid": "unknown"}},
        {"header": {"typ": "JWT"}},
    ],
)
def test_a_token_with_wrong_claims_is_refused(keyset: Keyset, tokens: Tokens, claims: dict[str, Any]) -> None:
    with time_machine.travel(NOW, tick=False):
        assert tokens.verify(forge(keyset)).actor == PRINCIPAL.actor
        with pytest.raises(InvalidToken):
            tokens.verify(forge(keyset, **claims))


def test_a_token_of_another_platform_is_refused(keyset: Keyset, tokens: Tokens, tmp_path: Path) -> None:
    other = write_new_keyset(tmp_path / "other.json")
    with time_machine.travel(NOW, tick=False), pytest.raises(InvalidToken):
        tokens.verify(forge(keyset, key=other.signing_key))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_token_tampered_with_is_refused(tokens: Tokens, part: int) -> None:
    parts = tokens.sign(PRINCIPAL).split(".")
    middle = len(parts[part]) // 2
    parts[part] = parts[part][:middle] + ("A" if parts[part][middle] != "A" else "B") + parts[part][middle + 1 :]
    with pytest.raises(InvalidToken):
        tokens.verify(".".join(parts))


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256"])
def test_no_other_algorithm_is_taken(keyset: Keyset, tokens: Tokens, algorithm: str) -> None:
    public_key = keyset.public_keys[keyset.current.kid].public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    payload = tokens.sign(PRINCIPAL).split(".")[1]
    secret = public_key if algorithm == "HS256" else b""
    with pytest.raises(InvalidToken):
        tokens.verify(by_hand({"alg": algorithm, "typ": "at+jwt", "kid": keyset.current.kid}, payload, secret))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "\u00e9", "e30.e30.e30", "bnVsbA.bnVsbA.bnVsbA", "x" * 100_000]
)
def test_what_is_no_token_is_refused(tokens: Tokens, token: str) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify(token)


def test_tokens_of_the_next_and_the_previous_key_are_taken(keyset: Keyset, tokens: Tokens) -> None:
    assert keyset.next is not None
    rotated = Keyset(current=keyset.next, previous=keyset.current)
    after = Tokens(rotated, issuer="here", audience="ledger", ttl_s=TTL_S)
    assert tokens.verify(after.sign(PRINCIPAL)) == PRINCIPAL
    assert after.verify(tokens.sign(PRINCIPAL)) == PRINCIPAL


def test_a_remembered_token_expires_like_any_other(tokens: Tokens) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        token = tokens.sign(PRINCIPAL)
        assert tokens.verify(token) == PRINCIPAL
        clock.shift(timedelta(seconds=TTL_S + LEEWAY_S - 1))
        assert tokens.verify(token) == PRINCIPAL
        clock.shift(timedelta(seconds=1))
        with pytest.raises(InvalidToken, match="expired"):
            tokens.verify(token)


def test_a_refused_token_is_not_remembered(tokens: Tokens, keyset: Keyset) -> None:
    with time_machine.travel(NOW, tick=False):
        token = forge(keyset, aud="others")
        for _ in range(2):
            with pytest.raises(InvalidToken, match="audience"):
                tokens.verify(token)


def test_the_published_keys_are_public_only(keyset: Keyset) -> None:
    published = keyset.jwks()["keys"]
    assert [key["kid"] for key in published] == [keyset.current.kid, keyset.next.kid if keyset.next else None]
    assert all(key.keys() == {"kty", "crv", "x", "kid", "use", "alg"} for key in published)


def test_keys_do_not_show_themselves(keyset: Keyset) -> None:
    assert keyset.current.d not in f"{keyset} {keyset.current!r}"
    assert msgspec.json.decode(msgspec.json.encode(keyset), type=Keyset) == keyset
