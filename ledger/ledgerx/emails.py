"""Addresses of people: how they are shown, and how they are compared."""

import re
import unicodedata

import msgspec

from ledgerx.errors import InvalidField

MAX_CHARACTERS = 254  # RFC 5321, 4.5.3.1.3, less the angle brackets
_SHAPE = re.compile(r"[^\s@]{1,64}@[^\s@.]+(?:\.[^\s@.]+)*")


class Email(msgspec.Struct, frozen=True):
    """An address: `shown` has its domain in lower case, `key` all of it: two with the same key are the same."""

    shown: str
    key: str


def parse_email(text: str) -> Email:
    """The address in `text`, in Unicode's form NFC. Raises `InvalidField` for what is none."""
    local, _, domain = unicodedata.normalize("NFC", text).rpartition("@")
    shown = unicodedata.normalize("NFC", f"{local}@{domain.casefold()}")
    if not (_SHAPE.fullmatch(shown) and shown.isprintable() and len(shown) <= MAX_CHARACTERS):
        raise InvalidField(f"an email is name@domain, at most {MAX_CHARACTERS} characters")
    return Email(shown, unicodedata.normalize("NFC", shown.casefold()))
