"""Signatures of Standard Webhooks 1.0 (github.com/standard-webhooks/standard-webhooks), the symmetric ones."""

import base64
import hashlib
import hmac
from collections.abc import Sequence


def signed_headers(message_id: str, timestamp_s: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The headers of a message: one signature for each of `secrets`, of which the receiver has to know one.

    `message_id` has no full stop, `timestamp_s` is seconds since 1970.
    """
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp_s, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": f"{timestamp_s}",
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in secrets),
    }


def _signature(secret: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
