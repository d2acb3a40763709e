"""Links that open one file for a while, to whoever has them: an HMAC over tenant, export and expiry.

The keys are derived from those that sign access tokens, and a link is good under any key of the keyset: a rotation
breaks none, and there is no second secret to keep.
"""

import hashlib
import hmac
import struct
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import cached_property
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledgerx.errors import NotFound
from ledgerx.keys import Keyset, PrivateJwk

_FIELDS = struct.Struct(">16s16sq")
_PURPOSE = b"ledgerx download links 1"
# Base64 of the fields and of the HMAC, without padding: 72 bytes.
LINK_CHARACTERS = 96


class Download(msgspec.Struct, frozen=True):
    """What a link opens."""

    tenant_id: UUID
    export_id: UUID


class DownloadLinks:
    """Makes and checks links under the keys of `keyset`."""

    def __init__(self, keyset: Keyset) -> None:
        self._keyset = keyset

    def make(self, download: Download, *, expires_at: int) -> str:
        """The link of `download`, good until `expires_at` in seconds of the Unix epoch."""
        fields = _FIELDS.pack(download.tenant_id.bytes, download.export_id.bytes, expires_at)
        return urlsafe_b64encode(fields + _sign(self._keys[0], fields)).decode()

    def open(self, link: str) -> Download:
        """What a link opens. Raises `NotFound` for one that is forged or has expired, the same for both."""
        try:
            raw = urlsafe_b64decode(link.encode("ascii"))
        except ValueError:
            raise _not_found() from None
        fields, signature = raw[: _FIELDS.size], raw[_FIELDS.size :]
        # All of them are tried, so that the time taken says nothing.
        good = [hmac.compare_digest(_sign(key, fields), signature) for key in self._keys]
        if not any(good):
            raise _not_found()
        tenant, export, expires_at = _FIELDS.unpack(fields)
        if expires_at < time.time():
            raise _not_found()
        return Download(UUID(bytes=tenant), UUID(bytes=export))

    @cached_property
    def _keys(self) -> list[bytes]:
        """A key for each of the keyset, the current one first."""
        keyset = self._keyset
        return [_derive(key) for key in (keyset.current, keyset.previous, keyset.next) if key is not None]


def _derive(key: PrivateJwk) -> bytes:
    secret = urlsafe_b64decode(key.d + "=" * (-len(key.d) % 4))
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret)


def _sign(key: bytes, fields: bytes) -> bytes:
    return hmac.digest(key, fields, hashlib.sha256)


def _not_found() -> NotFound:
    return NotFound("there is no such link, or it has expired: ask for a new one")
