"""Signatures of webhooks, as the library of Standard Webhooks verifies them."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from ledgerx_streams.webhooks.signing import signed_headers

SECRETS = [bytes([number]) * 32 for number in range(3)]


def verify(secret: bytes, headers: dict[str, str], body: str) -> None:
    Webhook("whsec_" + base64.b64encode(secret).decode()).verify(body, headers, json_parse=False)


@given(body=st.text(), message_id=st.from_regex(r"[a-z0-9/-]{1,60}", fullmatch=True), secret=st.binary(min_size=24))
def test_what_is_signed_verifies(body: str, message_id: str, secret: bytes) -> None:
    headers = signed_headers(message_id, int(time.time()), body.encode(), [secret])
    verify(secret, headers, body)
    assert headers["webhook-id"] == message_id


def test_each_of_two_secrets_verifies_and_no_third() -> None:
    headers = signed_headers("t/7", int(time.time()), b"{}", SECRETS[:2])
    for secret in SECRETS[:2]:
        verify(secret, headers, "{}")
    with pytest.raises(WebhookVerificationError):
        verify(SECRETS[2], headers, "{}")


def test_all_that_a_receiver_goes_by_is_signed() -> None:
    now = int(time.time())
    headers = signed_headers("t/7", now, b"{}", SECRETS[:1])
    for changed in ({"webhook-id": "t/8"}, {"webhook-timestamp": f"{now + 1}"}):
        with pytest.raises(WebhookVerificationError, match="signature"):
            verify(SECRETS[0], headers | changed, "{}")
    with pytest.raises(WebhookVerificationError, match="signature"):
        verify(SECRETS[0], headers, "{ }")


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the specification, version 1.0.0, "Signature scheme"."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, [secret])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
