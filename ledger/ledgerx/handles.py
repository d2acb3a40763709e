"""Opaque tokens that carry their tenant: refresh tokens, and those that set a password.

One is a prefix that tells what it is, and base64url of the tenant's id, the id of what it stands for, and 256 random
bits. Only the SHA-256 of those bits is kept: there is nothing to guess that a slow hash would protect.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from enum import StrEnum
from uuid import UUID

import msgspec

from ledgerx.errors import InvalidGrant

_SECRET_BYTES = 32
_BYTES = 16 + 16 + _SECRET_BYTES
MAX_CHARACTERS = 128


class Use(StrEnum):
    """What a token is for, as its prefix tells scanners for leaked secrets."""

    REFRESH = "lxr_"
    PASSWORD = "lxp_"  # noqa: S105 - a prefix


class Handle(msgspec.Struct, frozen=True):
    """What a token says."""

    tenant_id: UUID
    id: UUID
    secret: bytes

    def __repr__(self) -> str:
        return f"Handle(tenant_id={self.tenant_id}, id={self.id})"

    @property
    def sha256(self) -> bytes:
        """What is kept of the secret."""
        return hashlib.sha256(self.secret).digest()

    def matches(self, kept_sha256: bytes) -> bool:
        """Whether this is the token that `kept_sha256` was kept of."""
        return hmac.compare_digest(self.sha256, kept_sha256)

    def token(self, use: Use) -> str:
        """The token itself."""
        raw = self.tenant_id.bytes + self.id.bytes + self.secret
        return use + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def new_handle(tenant_id: UUID, for_id: UUID) -> Handle:
    """A fresh secret for `for_id`."""
    return Handle(tenant_id, for_id, secrets.token_bytes(_SECRET_BYTES))


def parse_handle(use: Use, token: str) -> Handle:
    """What a token for `use` says. Raises `InvalidGrant` for what is none."""
    try:
        encoded = token.encode("ascii").removeprefix(use.encode())
        raw = base64.b64decode(encoded + b"==", altchars=b"-_", validate=True)
    except (UnicodeError, binascii.Error):
        raise InvalidGrant from None
    if not token.startswith(use) or len(raw) != _BYTES:
        raise InvalidGrant
    return Handle(UUID(bytes=raw[:16]), UUID(bytes=raw[16:32]), raw[32:])
