"""Access tokens: JWTs (RFC 9068) signed with Ed25519.

Verifying a signature costs more than posting a transaction does, so a token found good is remembered until it expires.
"""

import time
from collections import OrderedDict
from uuid import UUID

import jwt
import msgspec
import uuid_utils.compat as uuid_utils

from ledgerx.errors import InvalidToken
from ledgerx.keys import Keyset
from ledgerx.members import USER
from ledgerx.roles import Role
from ledgerx.tenancy import Scope

_ALGORITHM = "EdDSA"
_REMEMBERED = 10_000
_LEEWAY_S = 5


class Principal(msgspec.Struct, frozen=True):
    """Who asks: `actor` is what the journal records.

    It is `client:<client id>`, `user:<user id>`, or for who comes with a token from outside `oidc:<issuer>:<subject>`.
    Users and those from outside have a `role`, clients have none.
    """

    tenant_id: UUID
    actor: str
    scopes: frozenset[Scope]
    role: Role | None = None

    @property
    def user_id(self) -> UUID | None:
        """The user's id; None for a client, and for who comes from outside."""
        return UUID(self.actor.removeprefix(USER)) if self.actor.startswith(USER) else None

    @property
    def confined_to(self) -> str | None:
        """The `owner` beside whose accounts this principal sees none; None for who sees all of the tenant.

        It is a user's id, and the whole name of who comes from outside, which no user and no other issuer can have.
        """
        return self.actor.removeprefix(USER) if self.role is Role.MEMBER else None


class Tokens:
    """Signs and verifies the access tokens of this platform."""

    def __init__(self, keyset: Keyset, *, issuer: str, audience: str, ttl_s: int) -> None:
        self.ttl_s = ttl_s
        self._keyset = keyset
        self._issuer = issuer
        self._audience = audience
        self._good: OrderedDict[str, tuple[Principal, float]] = OrderedDict()

    def sign(self, principal: Principal) -> str:
        """An access token for `principal`, good for `ttl_s` seconds."""
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": principal.actor,
            "tid": str(principal.tenant_id),
            "scope": " ".join(sorted(principal.scopes)),
            "iat": now,
            "exp": now + self.ttl_s,
            "jti": str(uuid_utils.uuid7()),
        }
        if principal.role is not None:
            claims["role"] = principal.role
        headers = {"kid": self._keyset.current.kid, "typ": "at+jwt"}
        return jwt.encode(claims, self._keyset.signing_key, algorithm=_ALGORITHM, headers=headers)

    def recall(self, token: str) -> Principal | None:
        """Who `token` speaks for, if it was found good before and has not expired since."""
        known = self._good.get(token)
        if known is None:
            return None
        principal, expires_at = known
        if time.time() < expires_at:
            return principal
        del self._good[token]
        return None

    def verify(self, token: str) -> Principal:
        """Who `token` speaks for. Raises `InvalidToken`."""
        known = self.recall(token)
        if known is not None:
            return known
        principal, expires_at = self._verify(token)
        self._good[token] = (principal, expires_at)
        if len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)
        return principal

    def _verify(self, token: str) -> tuple[Principal, float]:
        try:
            header = jwt.get_unverified_header(token)
            key = self._keyset.public_keys.get(header.get("kid", ""))
            if key is None or header.get("typ") != "at+jwt":
                raise InvalidToken("the access token was not signed by this platform")
            claims = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iat", "sub", "tid", "scope"]},
            )
            scopes = frozenset(map(Scope, claims["scope"].split()))
            role = Role(claims["role"]) if "role" in claims else None
            return Principal(UUID(claims["tid"]), claims["sub"], scopes, role), claims["exp"] + _LEEWAY_S
        except jwt.ExpiredSignatureError:
            raise InvalidToken("the access token has expired") from None
        except jwt.InvalidAudienceError:
            raise InvalidToken("the access token is meant for another audience") from None
        except (jwt.InvalidTokenError, ValueError):
            raise InvalidToken("the access token is not valid") from None
