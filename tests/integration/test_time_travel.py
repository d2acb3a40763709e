"""Balances at any recorded and effective time against a naive sum, wherever the streams stand."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from unittest import mock

import msgspec
import psycopg
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ledgerx import database as db
from ledgerx.balances import read_balance_at
from ledgerx.batch import run_batch
from ledgerx.commands import Direction, Line, Post
from ledgerx.events import JournalMessage, decode
from ledgerx.journal import AccountType
from ledgerx.logins import Database
from ledgerx_streams.projections import dated
from ledgerx_streams.projections.balances import BALANCES
from ledgerx_streams.projections.volumes import VOLUMES
from ledgerx_streams.projector import Projector
from tests.commands import envelope, opening
from tests.integration.ledger_client import new_tenant

# Later than the tenant was made: time does not run backwards in a journal.
NOON = datetime(2100, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Posted(msgspec.Struct, frozen=True):
    """A transaction of `lines` equal debits of the account `a`, with an effective time of its own or none."""

    amount: int
    lines: int
    effective: int | None


minutes = st.integers(-5, 40)
posts = st.builds(
    Posted, st.integers(1, 10**6), st.sampled_from([1, 1, 1, 2, 499]), st.one_of(st.none(), minutes, minutes)
)
batches = st.lists(st.tuples(st.integers(0, 4), st.lists(posts, min_size=1, max_size=6)), min_size=1, max_size=8)
questions = st.lists(st.tuples(st.none() | minutes, st.none() | minutes), min_size=8, max_size=8)


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(batches, questions, st.integers(0, 8))
def test_a_balance_is_the_sum_of_what_was_known_and_in_effect(
    shared_database: Database,
    history: list[tuple[int, list[Posted]]],
    asked: list[tuple[int | None, int | None]],
    streamed: int,
) -> None:
    with mock.patch.multiple(dated, POSTINGS_PER_BLOCK=4, POSTINGS_PER_MARK=3):
        asyncio.run(_compare(shared_database, history, asked, streamed))


async def _compare(
    database: Database,
    history: Sequence[tuple[int, list[Posted]]],
    asked: Sequence[tuple[int | None, int | None]],
    streamed: int,
) -> None:
    tenant_id = (await new_tenant(database)).tenant_id
    known: list[tuple[datetime, datetime, int]] = []
    clock = NOON
    async with await db.connect(database.api_url, application_name="test") as connection:
        await run_batch(connection, tenant_id, [opening("a", kind=AccountType.ASSET), opening("b")], clock=lambda: NOON)
        for number, (pause, batch) in enumerate(history):
            clock += pause * MINUTE
            commands = [_command(f"{number}.{index}", one) for index, one in enumerate(batch)]
            await run_batch(connection, tenant_id, commands, clock=lambda now=clock: now)  # type: ignore[misc]
            known += [
                (clock, clock if one.effective is None else NOON + one.effective * MINUTE, one.amount * one.lines)
                for one in batch
            ]
    async with (
        db.pool(database.streams_url, application_name="test", max_size=2) as streams,
        db.pool(database.api_url, application_name="test", max_size=1) as pool,
    ):
        projectors = [Projector(BALANCES, streams), Projector(VOLUMES, streams)]
        for messages in (_messages(database, tenant_id)[:streamed], _messages(database, tenant_id)):
            for one in messages:
                for projector in projectors:
                    await projector.apply(tenant_id, [one])
            for as_of, effective_at in [*asked, (None, None)]:
                cut = None if as_of is None else NOON + as_of * MINUTE
                effective = None if effective_at is None else NOON + effective_at * MINUTE
                found = await read_balance_at(pool, tenant_id, "a", confined_to=None, as_of=cut, effective_at=effective)
                assert found.balance.posted == sum(
                    amount
                    for recorded, in_effect, amount in known
                    if (cut is None or recorded <= cut) and (effective is None or in_effect <= effective)
                )
                assert found.seq == (
                    2 + len(known) if cut is None else 2 * (cut >= NOON) + sum(one[0] <= cut for one in known)
                )


def _command(key: str, posted: Posted) -> Post:
    lines = [Line("a", Direction.DEBIT, f"{posted.amount / 100:.2f}")] * posted.lines
    return Post(
        lines=(*lines, Line("b", Direction.CREDIT, f"{posted.amount * posted.lines / 100:.2f}")),
        effective_at=None if posted.effective is None else NOON + posted.effective * MINUTE,
        **envelope(key),
    )


def _messages(database: Database, tenant_id: object) -> list[JournalMessage]:
    with psycopg.connect(database.admin_url) as connection:
        rows = connection.execute(
            "SELECT payload FROM ledgerx.outbox WHERE tenant_id = %s ORDER BY first_seq", (tenant_id,)
        )
        return [decode(payload.encode()) for (payload,) in rows]
