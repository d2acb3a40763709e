"""Signed notes against the example of the specification, and against whoever tampers with them."""

from base64 import b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledgerx.notes import BadNoteError, open_note, parse_verifier_key, sign, verifier_key

# A key and a note that the author of the format published (golang.org/x/mod/sumdb/note).
PUBLISHED_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in (1, 2))
NAME = "ledgerx/x"
PUBLIC, OTHER_PUBLIC = (verifier_key(NAME, key.public_key()) for key in (KEY, OTHER))
TEXT = "a\n\nb\n"
NOTE = sign(TEXT, NAME, [KEY])


def test_a_published_note_is_opened_with_its_published_key() -> None:
    text = open_note(PUBLISHED_NOTE, [parse_verifier_key(PUBLISHED_KEY)])
    assert text == PUBLISHED_NOTE.partition("\n\n")[0] + "\n"


def test_a_key_is_written_as_it_is_read() -> None:
    assert str(parse_verifier_key(PUBLISHED_KEY)) == PUBLISHED_KEY
    assert parse_verifier_key(f"{PUBLIC}\n") == PUBLIC


def test_a_note_opens_with_any_of_the_keys_that_signed_it() -> None:
    note = sign(TEXT, NAME, [KEY, OTHER])
    for keys in ([PUBLIC], [OTHER_PUBLIC], [OTHER_PUBLIC, PUBLIC]):
        assert open_note(note, keys) == TEXT
    assert open_note(NOTE, [OTHER_PUBLIC, PUBLIC]) == TEXT


@pytest.mark.parametrize(
    "note",
    [
        NOTE.replace("a", "c", 1),
        NOTE.replace("— ", "- "),
        NOTE.removesuffix("\n"),
        NOTE.replace(NAME, "ledgerx/y"),
        f"{TEXT}\n",
        TEXT,
        "",
        f"{NOTE}more\n",
        sign(TEXT, NAME, [OTHER]),
        sign(TEXT, NAME, [KEY] * 17),
    ],
)
def test_anything_else_is_refused(note: str) -> None:
    with pytest.raises(BadNoteError):
        open_note(note, [PUBLIC])


def test_one_bad_signature_of_a_known_key_spoils_the_note() -> None:
    name, signature = sign("other\n", NAME, [KEY]).rpartition("\n\n")[2].split("— ")[1].split(" ")
    with pytest.raises(BadNoteError, match="not good"):
        open_note(f"{NOTE}— {name} {signature}", [PUBLIC])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "x+00000000",
        PUBLISHED_KEY.replace("c7", "c8"),
        PUBLISHED_KEY.replace("AR", "AB"),
        f"x y+{PUBLISHED_KEY}",
    ],
)
def test_a_damaged_key_is_refused(text: str) -> None:
    with pytest.raises(BadNoteError):
        parse_verifier_key(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb"])
def test_a_name_is_one_word_without_a_plus(name: str) -> None:
    with pytest.raises(BadNoteError):
        sign(TEXT, name, [KEY])


def test_a_key_of_another_kind_is_refused() -> None:
    raw = b"\x02" + PUBLIC.raw
    key_id = sha256(f"{NAME}\n".encode() + raw).hexdigest()[:8]
    with pytest.raises(BadNoteError, match="not an Ed25519 key"):
        parse_verifier_key(f"{NAME}+{key_id}+{b64encode(raw).decode()}")
