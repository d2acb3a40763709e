"""Opaque tokens that carry their tenant."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.errors import InvalidGrant
from ledgerx.handles import MAX_CHARACTERS, Use, new_handle, parse_handle


@pytest.mark.parametrize("use", Use)
def test_a_token_reads_back_and_matches_its_hash_alone(use: Use) -> None:
    handle, other = new_handle(uuid4(), uuid4()), new_handle(uuid4(), uuid4())
    token = handle.token(use)
    assert len(token) <= MAX_CHARACTERS
    assert parse_handle(use, token) == handle
    assert handle.matches(handle.sha256)
    assert not handle.matches(other.sha256)
    assert token not in repr(handle)
    assert handle.secret.hex() not in repr(handle)


def test_every_token_has_256_bits_of_its_own() -> None:
    tenant_id, for_id = uuid4(), uuid4()
    secrets = {new_handle(tenant_id, for_id).secret for _ in range(100)}
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {32}


def test_a_token_is_for_one_use() -> None:
    with pytest.raises(InvalidGrant):
        parse_handle(Use.PASSWORD, new_handle(uuid4(), uuid4()).token(Use.REFRESH))


@given(st.text(max_size=MAX_CHARACTERS), st.booleans())
def test_what_is_no_token_is_refused(text: str, prefixed: bool) -> None:
    with pytest.raises(InvalidGrant):
        parse_handle(Use.REFRESH, Use.REFRESH + text if prefixed else text)
