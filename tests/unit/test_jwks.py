"""What is taken of the documents of an issuer."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from ledgerx.trust import Algorithm
from ledgerx_api import jwks
from ledgerx_api.jwks import BadDocumentError
from tests.oidc_server import ALGORITHMS, new_key, public_jwk

ISSUER = "https://login.example.com/a"
KEYS = {algorithm: {**public_jwk(new_key(algorithm)), "kid": "1"} for algorithm in ALGORITHMS}


def taken(*keys: Any) -> set[tuple[str, Algorithm]]:
    return set(jwks.keys_of(json.dumps({"keys": keys}).encode()))


@pytest.mark.parametrize(("issuer", "url"), [(ISSUER, ISSUER), (f"{ISSUER}/", ISSUER)])
def test_an_issuer_says_where_its_keys_are(issuer: str, url: str) -> None:
    assert jwks.discovery_url(issuer) == f"{url}/.well-known/openid-configuration"
    body = json.dumps({"issuer": issuer, "jwks_uri": "https://keys.example.com/", "more": [1]}).encode()
    assert jwks.jwks_url(issuer, body) == "https://keys.example.com/"


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"\xff", b"{}", b"[" * 100_000, b'{"issuer":"https://login.example.com/a"}'),
        *(
            json.dumps({"issuer": other, "jwks_uri": "https://keys.example.com/"}).encode()
            for other in (None, f"{ISSUER}/", "https://login.example.com", ISSUER.upper())
        ),
        b'{"issuer":"https://login.example.com/a","jwks_uri":7}',
    ],
)
def test_another_issuer_or_no_document_is_an_error(body: bytes) -> None:
    with pytest.raises(BadDocumentError):
        jwks.jwks_url(ISSUER, body)


def test_a_key_is_for_the_algorithm_of_its_own_type() -> None:
    """One id may stand for a key of each type."""
    assert taken(*KEYS.values()) == {("1", algorithm) for algorithm in Algorithm}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "members",
    [
        *({"use": "enc"}, {"kid": None}, {"kid": 1}, {"kid": ""}, {"kid": "k" * 256}, {"kty": "oct", "k": "AAAA"}),
        *({"kty": None}, {"kty": []}, {"crv": []}, {"crv": "P-384"}, {"alg": "HS256"}, {"alg": "none"}),
        *({"alg": "PS256"}, {"x": "!", "n": "!"}, {"x": 7, "n": 7}, {"x": "", "n": ""}),
    ],
)
def test_a_key_that_is_of_no_use_is_passed_over(algorithm: str, members: dict[str, Any]) -> None:
    other = {**public_jwk(new_key("EdDSA")), "kid": "other"}
    assert taken({**KEYS[algorithm], **members}, other) == {("other", Algorithm.EDDSA)}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("member", ["kty", "x", "n"])
def test_a_key_that_lacks_a_member_is_passed_over(algorithm: str, member: str) -> None:
    whole = KEYS[algorithm]
    assert taken({name: value for name, value in whole.items() if name != member}) == (
        set() if member in whole else {("1", Algorithm(algorithm))}
    )


def test_keys_of_other_types_and_sizes_are_passed_over() -> None:
    small = rsa.generate_private_key(65_537, 1_024).public_key()  # noqa: S505 - to be refused
    assert not taken({**RSAAlgorithm.to_jwk(small, as_dict=True), "kid": "1"})
    large = {**KEYS["RS256"], "n": "w" * (jwks.MAX_RSA_BITS // 6 + 4)}
    assert not taken(large)
    curve = ec.generate_private_key(ec.SECP384R1()).public_key()
    assert not taken({**ECAlgorithm.to_jwk(curve, as_dict=True), "kid": "1"})
    assert not taken({**OKPAlgorithm.to_jwk(Ed448PrivateKey.generate().public_key(), as_dict=True), "kid": "1"})


def test_of_a_private_key_only_the_public_half_is_taken() -> None:
    private = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    assert "d" in private
    [public] = jwks.keys_of(json.dumps({"keys": [{**private, "kid": "1"}]}).encode()).values()
    assert isinstance(public, ec.EllipticCurvePublicKey)


def test_a_set_may_be_empty_but_not_endless() -> None:
    assert not taken()
    many = [{**KEYS["EdDSA"], "kid": f"{number}"} for number in range(jwks.MAX_KEYS + 1)]
    assert len(taken(*many[1:])) == jwks.MAX_KEYS
    with pytest.raises(BadDocumentError):
        taken(*many)
    for body in (b"", b"{}", b'{"keys":{}}', b'{"keys":[7]}', b'{"keys":null}', b'{"keys":' + b"[" * 100_000):
        with pytest.raises(BadDocumentError):
            jwks.keys_of(body)


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        *(("", 600), ("no-store", 600), ("max-age=900", 900), ("public, max-age=900, immutable", 900)),
        *(("Max-Age=900", 900), ('max-age="900"', 900), ("max-age=0", 60), ("max-age=99999999999999999999", 3_600)),
        *(("s-maxage=900", 600), ("max-age=-1", 600), ("max-age=x", 600), ("max-age=86400", 3_600)),
    ],
)
def test_documents_are_kept_as_long_as_they_say_within_bounds(cache_control: str, seconds: int) -> None:
    assert jwks.max_age_s({"Cache-Control": cache_control}) == seconds
    assert jwks.max_age_s({}) == jwks.DEFAULT_AGE_S
