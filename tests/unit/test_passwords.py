"""Passwords: which are taken, and how they are hashed."""

import asyncio
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from ledgerx.errors import InvalidField, Overloaded
from ledgerx.passwords import MAX_CHARACTERS, MAX_WAITING, MIN_CHARACTERS, Passwords, checked_password

GOOD = "correct horse battery"


@pytest.fixture(scope="module")
def passwords() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


@pytest.mark.parametrize(
    "text", ["x" * MIN_CHARACTERS, "x" * MAX_CHARACTERS, " " * 20, "\u00e9" * 12, "\U0001f40e" * 12]
)
def test_a_password_of_good_length_is_taken_whatever_it_is_made_of(text: str) -> None:
    assert checked_password(text) == text


@pytest.mark.parametrize("text", ["", "x" * (MIN_CHARACTERS - 1), "x" * (MAX_CHARACTERS + 1), "e\u0301" * 11])
def test_other_lengths_are_refused_counted_after_composition(text: str) -> None:
    with pytest.raises(InvalidField, match="12 to 256"):
        checked_password(text)


async def test_a_hash_is_argon2id_with_the_parameters_of_rfc_9106(passwords: Passwords) -> None:
    made = await passwords.hash(GOOD)
    assert made.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert not passwords.is_outdated(made)
    assert await passwords.hash(GOOD) != made


async def test_a_password_verifies_however_it_was_composed(passwords: Passwords) -> None:
    made = await passwords.hash(checked_password("caf\u00e9 au lait"))
    assert await passwords.verify(made, "cafe\u0301 au lait")
    assert not await passwords.verify(made, "cafe au lait")


async def test_nobody_has_no_password(passwords: Passwords) -> None:
    assert not await passwords.verify(None, GOOD)
    assert not await passwords.verify(None, "")


async def test_a_hash_of_weaker_parameters_still_verifies_but_is_outdated(passwords: Passwords) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(GOOD)
    assert await passwords.verify(weak, GOOD)
    assert passwords.is_outdated(weak)


async def test_only_so_many_wait_and_the_others_are_told_at_once(passwords: Passwords) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(GOOD)
    results = await asyncio.gather(
        *(passwords.verify(weak, GOOD) for _ in range(MAX_WAITING + 3)), return_exceptions=True
    )
    assert results[:MAX_WAITING] == [True] * MAX_WAITING
    assert [type(result) for result in results[MAX_WAITING:]] == [Overloaded] * 3
    assert await passwords.verify(weak, GOOD)
