"""Passwords of people: argon2id (RFC 9106), hashed off the event loop, a few at once.

A hash costs 64 MiB and a tenth of a second by intent. `Passwords` bounds how many are made at once and how many wait,
so that a flood of log-ins neither takes the memory nor holds up those who post.
"""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY

from ledgerx.errors import InvalidField, Overloaded

MIN_CHARACTERS = 12
MAX_CHARACTERS = 256
HASHES_AT_ONCE = 2
MAX_WAITING = 32

T = TypeVar("T")


def checked_password(text: str) -> str:
    """A new password in Unicode's form NFC (RFC 8265, 4.2). Raises `InvalidField` for one too short or too long."""
    password = normal(text)
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise InvalidField(f"a password has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters")
    return password


def normal(text: str) -> str:
    """A password as it is hashed, however the keyboard composed it."""
    return unicodedata.normalize("NFC", text)


class Passwords:
    """Hashes and verifies. One for a process; `close` it in the end."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._threads = ThreadPoolExecutor(HASHES_AT_ONCE, thread_name_prefix="argon2")
        self._waiting = 0
        # Who is unknown, or has no password, is verified against this: the time taken says nothing.
        self._nobodys = self._hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        """The hash of a checked password, with its parameters. Raises `Overloaded`."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether `password` is the one behind the hash; it takes as long without a hash. Raises `Overloaded`."""
        return await self._run(lambda: self._verify(password_hash, normal(password)))

    def is_outdated(self, password_hash: str) -> bool:
        """Whether a hash was made with parameters of another time."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """End the threads once they are done."""
        self._threads.shutdown()

    def _verify(self, password_hash: str | None, password: str) -> bool:
        try:
            self._hasher.verify(password_hash or self._nobodys, password)
        except VerifyMismatchError:
            return False
        return password_hash is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise Overloaded("too many passwords wait to be checked")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
