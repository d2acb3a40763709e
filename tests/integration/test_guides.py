"""The guides, played through on a real server: each request is sent, each answer compared with the one shown.

A request is a block of `http` that begins with its method, its answer the next block, which begins with `HTTP/1.1`.
`…` stands for any value, a member of that name for any others. Each chapter, from one `##` to the next, is a tenant of
its own. `<!-- hold 9 expires -->` lets that hold expire, as time would.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
import pytest

from ledgerx import database as db
from ledgerx.commands import Expire
from ledgerx.engine import Engine
from ledgerx.expiry import ACTOR
from ledgerx.logins import Database
from ledgerx.outcomes import Recorded
from tests.commands import envelope
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import Answer, LedgerClient, new_tenant

GUIDES = sorted((Path(__file__).parents[2] / "docs" / "guides").glob("*.md"))
ANYTHING = "…"
BLOCK = re.compile(r"^```http\n(.*?)^```$|^<!-- hold (\d+) expires -->$", re.MULTILINE | re.DOTALL)
EXPIRES_AT = re.compile(r'(?<="expires_at": ")[^"]+(?=")')


class Message(msgspec.Struct, frozen=True):
    """A request or an answer as a page shows it: its first line, and what follows."""

    first: str
    headers: dict[str, str]
    body: Any

    @classmethod
    def of(cls, block: str) -> "Message":
        head, _, body = block.partition("\n\n")
        first, *lines = head.strip().split("\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return cls(first, headers, msgspec.json.decode(body) if body.strip() else None)


class Chapter(msgspec.Struct, frozen=True):
    guide: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.guide}: {self.title}"


def chapters() -> Iterator[Chapter]:
    for guide in GUIDES:
        for chapter in guide.read_text(encoding="utf-8").split("\n## ")[1:]:
            title, _, text = chapter.partition("\n")
            if BLOCK.search(text):
                yield Chapter(guide.name, title, text)


def fits(shown: Any, real: Any) -> bool:
    """Whether a value is what a page shows of it."""
    if shown == ANYTHING:
        return True
    if isinstance(shown, dict) and isinstance(real, dict):
        named = shown.keys() - {ANYTHING}
        is_whole = ANYTHING in shown or named == real.keys()
        return is_whole and all(name in real and fits(shown[name], real[name]) for name in named)
    if isinstance(shown, list) and isinstance(real, list):
        return len(shown) == len(real) and all(map(fits, shown, real))
    return bool(shown == real)


async def expire(database: Database, tenant_id: UUID, hold: int) -> None:
    """Let a hold expire, by an engine whose clock is ahead of all others."""
    async with db.pool(database.api_url, application_name="test", max_size=1) as pool:
        engine = Engine(pool, clock=lambda: datetime.now(UTC) + timedelta(days=30))
        outcome = await engine.run(tenant_id, Expire(target=hold, **(envelope(f"expire-{hold}") | {"actor": ACTOR})))
        await engine.drain()
    assert isinstance(outcome, Recorded), outcome


async def send(client: LedgerClient, asked: Message) -> Answer:
    method, target = asked.first.split(" ", 1)
    path, _, query = target.partition("?")
    params = dict(one.split("=", 1) for one in query.split("&") if one)
    return await client.request(method, path, body=asked.body, headers=asked.headers, params=params)


@pytest.mark.parametrize("chapter", list(chapters()), ids=str)
async def test_a_chapter_happens_as_it_is_told(api: ApiProcess, shared_database: Database, chapter: Chapter) -> None:
    # Holds that end by themselves are shown with a date, which is to come whenever this runs.
    in_a_week = (datetime.now(UTC) + timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ")
    steps = BLOCK.finditer(EXPIRES_AT.sub(in_a_week, chapter.text))
    credentials = await new_tenant(shared_database)
    async with aiohttp.ClientSession(api.base_url) as session:
        client = LedgerClient(session)
        await client.log_in(credentials)
        for block, hold in (step.groups() for step in steps):
            if hold:
                await expire(shared_database, credentials.tenant_id, int(hold))
                continue
            asked, shown = Message.of(block), Message.of(next(steps)[1])
            answer = await send(client, asked)
            # What stands behind the number goes by the version of Python.
            assert shown.first.startswith(f"HTTP/1.1 {answer.status} "), (asked, answer.body)
            assert shown.headers.items() <= dict(answer.headers).items(), asked
            assert fits(shown.body, answer.body), (
                f"{chapter} shows another answer to {asked.first} {asked.body} than\n"
                f"{msgspec.json.format(msgspec.json.encode(answer.body)).decode()}"
            )


def test_every_guide_is_played() -> None:
    assert {chapter.guide for chapter in chapters()} == {guide.name for guide in GUIDES}


@pytest.mark.parametrize(
    ("shown", "real", "expected"),
    [
        ({"a": "…"}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1, "…": "…"}, {"a": 1, "b": 2}, True),
        ({"a": 1, "…": "…"}, {"a": 2, "b": 2}, False),
        ({"a": 1, "…": "…"}, {"b": 2}, False),
        ([{"a": "…"}], [{"a": 1}], True),
        ([1], [1, 2], False),
        ("1.00", "1.0", False),
    ],
)
def test_what_a_page_shows_fits_or_not(shown: Any, real: Any, expected: bool) -> None:
    assert fits(shown, real) == expected
