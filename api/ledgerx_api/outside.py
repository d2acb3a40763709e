"""Access tokens that somebody else has signed: whom a tenant trusts to, they are let in as.

A signature is checked before the tenant's settings are read, so that nobody without a good token of an issuer on the
platform's list makes the database work. What was found is remembered for a minute at most, so that a key that the
issuer withdraws, and trust that the tenant withdraws, end within a time that is known.
"""

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias
from uuid import UUID

import jwt

from ledgerx.errors import Forbidden, InvalidToken
from ledgerx.roles import SCOPES, Role
from ledgerx.tenancy import Scope
from ledgerx.trust import Algorithm, Trust
from ledgerx_api.issuers import Issuer
from ledgerx_api.tokens import Principal

ReadTrust: TypeAlias = Callable[[UUID], Awaitable[Trust | None]]

LEEWAY_S = 30
MAX_TOKEN_CHARACTERS = 16_384
MAX_SUBJECT_CHARACTERS = 200
# How long it takes until a change of what a tenant trusts holds in every process, and a withdrawn key no more.
TRUST_AGE_S = 30
REMEMBERED_S = 60
_REMEMBERED = 10_000
_READS_AT_ONCE = 2
_SUBJECT = re.compile(rf"[ -~]{{1,{MAX_SUBJECT_CHARACTERS}}}")
# RFC 9068; a plain JWT, and none at all, as many issuers have it.
_TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt", ""})
# In ID tokens, which tell a client who has logged in (OpenID Connect Core 1.0, 2 and 3.3.2.11), and in tokens that tell
# of a log-out and other events (RFC 8417, 2.2).
_CLAIMS_OF_OTHERS = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})
# How Keycloak and Amazon Cognito say it.
_ID_TOKENS = (("typ", "ID"), ("token_use", "id"))
_ROLES_BY_REACH = (Role.OWNER, Role.OPERATOR, Role.AUDITOR, Role.MEMBER)
_NOT_TRUSTED = "the tenant does not trust the access token's issuer for this audience"


class OutsideTokens:
    """Verifies tokens of the issuers on the platform's list against what the tenant they are sent to trusts.

    `clock` is the time of day in seconds.
    """

    def __init__(
        self, issuers: Iterable[Issuer], read_trust: ReadTrust, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._read_trust = read_trust
        self._clock = clock
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)
        self._trusts: OrderedDict[UUID, tuple[Trust | None, float]] = OrderedDict()
        self._good: OrderedDict[bytes, tuple[Principal, Trust, float]] = OrderedDict()

    async def verify(self, token: str, tenant: str | None) -> Principal | None:
        """Who `token` speaks for in the tenant with the id `tenant`; None where it is of no issuer on the list.

        Raises `InvalidToken`, `Forbidden` where it has no role, and `IssuerUnavailable`.
        """
        if not self._issuers:
            return None
        if tenant is not None:
            known = await self._recall(token, tenant)
            if known is not None:
                return known
        return await self._verify(token, tenant)

    def forget(self, tenant_id: UUID) -> None:
        """Read anew what a tenant trusts, next time."""
        self._trusts.pop(tenant_id, None)

    async def close(self) -> None:
        """Stop fetching keys."""
        for issuer in self._issuers.values():
            await issuer.close()

    async def _recall(self, token: str, tenant: str) -> Principal | None:
        known = self._good.get(_digest(token, tenant))
        if known is None or self._clock() >= known[2]:
            return None
        principal, trust, _ = known
        return principal if await self._trust(principal.tenant_id) == trust else None

    async def _verify(self, token: str, tenant: str | None) -> Principal | None:
        try:
            unverified = jwt.decode_complete(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return None
        issued_by = unverified["payload"].get("iss")
        issuer = self._issuers.get(issued_by) if isinstance(issued_by, str) else None
        if issuer is None:
            return None
        tenant_id = tenant_id_of(tenant)
        algorithm, kid = _checked_header(token, unverified["header"])
        claims = _checked_claims(token, await issuer.key(kid, algorithm), algorithm, issuer.url)
        trust = await self._trust(tenant_id)
        if trust is None:
            raise InvalidToken(_NOT_TRUSTED)
        principal = principal_of(tenant_id, trust, claims, algorithm)
        until = min(claims["exp"] + LEEWAY_S, self._clock() + REMEMBERED_S)
        _remember(self._good, _digest(token, str(tenant)), (principal, trust, until))
        return principal

    async def _trust(self, tenant_id: UUID) -> Trust | None:
        if self._is_unread(tenant_id):
            async with self._reads:
                # Who had to wait may find that it was read meanwhile.
                if self._is_unread(tenant_id):
                    trust = await self._read_trust(tenant_id)
                    _remember(self._trusts, tenant_id, (trust, self._clock() + TRUST_AGE_S))
                    return trust
        return self._trusts[tenant_id][0]

    def _is_unread(self, tenant_id: UUID) -> bool:
        known = self._trusts.get(tenant_id)
        return known is None or self._clock() >= known[1]


def tenant_id_of(header: str | None) -> UUID:
    """The id in the header `LedgerX-Tenant`. Raises `InvalidToken`."""
    if header is None:
        raise InvalidToken("an access token from outside needs the header LedgerX-Tenant: the id of the tenant")
    try:
        return UUID(header)
    except ValueError:
        raise InvalidToken("LedgerX-Tenant is not the id of a tenant") from None


def principal_of(tenant_id: UUID, trust: Trust, claims: Mapping[str, Any], algorithm: Algorithm) -> Principal:
    """Whom a tenant takes the bearer of a token with good claims for. Raises `InvalidToken` and `Forbidden`."""
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims["iss"] != trust.issuer or trust.audience not in audiences or algorithm not in trust.algorithms:
        raise InvalidToken(_NOT_TRUSTED)
    roles = {trust.roles[value] for value in _words(_at(claims, trust.role_claim)) if value in trust.roles}
    role = next((role for role in _ROLES_BY_REACH if role in roles), None)
    if role is None:
        raise Forbidden("the access token has no role in this tenant")
    scopes = SCOPES[role]
    if trust.scopes_claim is not None and scopes:
        scopes = _narrowed(scopes, _words(_at(claims, trust.scopes_claim), split=True))
    return Principal(tenant_id, trust.actor_prefix + claims["sub"], scopes, role)


def _checked_header(token: str, header: Mapping[str, Any]) -> tuple[Algorithm, str]:
    """The algorithm of the signature and the id of its key. Raises `InvalidToken`."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise InvalidToken(f"the access token has more than {MAX_TOKEN_CHARACTERS} characters")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "")
    if algorithm not in set(Algorithm) or not isinstance(kid, str):
        raise InvalidToken("the access token has no key id, or a signature of another kind")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise InvalidToken("this is a token of another type, not an access token")
    return Algorithm(algorithm), kid


def _checked_claims(token: str, key: Any, algorithm: Algorithm, issuer: str) -> dict[str, Any]:
    """The claims of a token with a good signature, in its time. Raises `InvalidToken`."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=issuer,
            leeway=LEEWAY_S,
            # Whose audience it is turns out with the tenant's settings.
            options={"require": ["iss", "aud", "exp", "iat", "sub"], "verify_aud": False},
        )
    except jwt.ExpiredSignatureError:
        raise InvalidToken("the access token has expired") from None
    except jwt.InvalidTokenError:
        raise InvalidToken("the access token is not valid") from None
    if not isinstance(claims["exp"], int | float) or _SUBJECT.fullmatch(claims["sub"]) is None:
        raise InvalidToken(f"sub has 1 to {MAX_SUBJECT_CHARACTERS} printable ASCII characters, exp is a number")
    if _CLAIMS_OF_OTHERS & claims.keys() or any(claims.get(name) == kind for name, kind in _ID_TOKENS):
        raise InvalidToken("this is an ID token or one of an event, not an access token")
    return claims


def _at(claims: Any, path: Iterable[str]) -> Any:
    """The claim at a path; None where there is none."""
    for name in path:
        claims = claims.get(name) if isinstance(claims, dict) else None
    return claims


def _words(claim: Any, *, split: bool = False) -> frozenset[str]:
    """The strings that a claim holds: one or a list, or one with spaces between the words, as scopes have it."""
    if isinstance(claim, str):
        return frozenset(claim.split() if split else [claim])
    return frozenset(value for value in claim if isinstance(value, str)) if isinstance(claim, list) else frozenset()


def _narrowed(scopes: frozenset[Scope], named: frozenset[str]) -> frozenset[Scope]:
    """The scopes of a role that a token names too. Raises `Forbidden` where none is left."""
    left = frozenset(scope for scope in Scope if scope in named and (scope in scopes or Scope.ADMIN in scopes))
    if not left:
        raise Forbidden("the access token names no scope of its role")
    return left


def _digest(token: str, tenant: str) -> bytes:
    """What stands for a token in a tenant; tokens of others may be long."""
    return hashlib.sha256(f"{tenant}\0{token}".encode()).digest()


def _remember(memory: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    memory[key] = value
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
