"""Events on their way to real receivers, from real rows: in order, signed, tried again, given up, and never starved."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest
from prometheus_client import REGISTRY
from standardwebhooks import WebhookVerificationError

from ledgerx import database as db
from ledgerx import sealing, webhook_deliveries, webhooks
from ledgerx.audit import Author
from ledgerx.cloud_events import encode_event
from ledgerx.database import Pool, Queries, tenant_scope
from ledgerx.engine import Engine
from ledgerx.errors import NotFound
from ledgerx.feed import read_feed
from ledgerx.logins import Database
from ledgerx.outbound import Outbound
from ledgerx.sealing import SealingKeys
from ledgerx.webhooks import Changes, Endpoint, Reason, Status, Target
from ledgerx_streams.webhooks import store as store_module
from ledgerx_streams.webhooks.courier import Courier
from ledgerx_streams.webhooks.dispatcher import Dispatcher
from ledgerx_streams.webhooks.progress import Policy
from ledgerx_streams.webhooks.store import Lease, Store
from tests.integration.journals import Journal, new_journal, open_engine
from tests.webhook_receiver import Receiver, Site

# No test waits for a pause that it does not want to see.
POLICY = Policy(first_pause_s=0.001, longest_pause_s=0.01)
ADA = Author("user:ada")
T = TypeVar("T")
_ENTRIES = Queries("ledgerx_streams", "sql/entries.sql")


@pytest.fixture
async def engine(shared_database: Database) -> AsyncIterator[Engine]:
    async with open_engine(shared_database) as engine:
        yield engine


@pytest.fixture
async def api_pool(shared_database: Database) -> AsyncIterator[Pool]:
    """As the API is connected."""
    async with db.pool(shared_database.api_url, application_name="test", max_size=2) as pool:
        yield pool


@pytest.fixture
async def streams_pool(shared_database: Database) -> AsyncIterator[Pool]:
    """As the streams are connected."""
    async with db.pool(shared_database.streams_url, application_name="test", max_size=4) as pool:
        yield pool


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> SealingKeys:
    return sealing.write_new_sealing_keys(tmp_path_factory.mktemp("keys") / "sealing-keys.json")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as receiver:
        yield receiver


class Hook:
    """An endpoint of a tenant with its receiver."""

    def __init__(self, pool: Pool, journal: Journal, endpoint: Endpoint, secret: str, site: Site) -> None:
        self.pool = pool
        self.journal = journal
        self.id = endpoint.id
        self.secret = secret
        self.site = site

    @property
    def tenant_id(self) -> UUID:
        return self.journal.tenant_id

    async def do(self, act: Callable[..., Awaitable[Any]], *arguments: Any, **more: Any) -> Any:
        """Call a function of `ledgerx.webhooks` for it."""
        async with self.pool.connection() as connection:
            return await act(connection, self.tenant_id, self.id, *arguments, **more)

    async def change(self, **fields: Any) -> Endpoint:
        changed: Endpoint = await self.do(webhooks.change_endpoint, Changes(**fields), versions=None, author=ADA)
        return changed

    async def now(self) -> Endpoint:
        endpoint: Endpoint = await self.do(webhooks.read_endpoint)
        return endpoint

    async def log(self) -> list[tuple[int | None, str, str, int | None]]:
        """Number, cause, outcome and status of the attempts, oldest first."""
        found = await self.do(webhook_deliveries.read_deliveries, before=webhook_deliveries.NEWEST, limit=100)
        return [(one.sequence, one.cause, one.outcome, one.status_code) for one in reversed(found)]


@pytest.fixture
async def new_hook(
    shared_database: Database, engine: Engine, api_pool: Pool, receiver: Receiver, keys: SealingKeys
) -> AsyncIterator[Callable[..., Awaitable[Hook]]]:
    """Makes endpoints, each of a tenant of its own unless one is said. Their journals have six entries."""
    made: list[Hook] = []

    async def make(journal: Journal | None = None, *, url: str | None = None, **more: Any) -> Hook:
        journal = journal or await new_journal(shared_database, engine)
        name = f"{uuid4()}"
        fields = {"event_types": more.pop("event_types", None)}
        async with api_pool.connection() as connection:
            endpoint, secret = await webhooks.create_endpoint(
                connection,
                journal.tenant_id,
                Target(url=url or receiver.url(name), **fields),
                keys=keys,
                author=ADA,
                **more,
            )
        made.append(Hook(api_pool, journal, endpoint, secret, receiver.site(name)))
        return made[-1]

    yield make
    for hook in made:
        with suppress(NotFound):
            await hook.do(webhooks.delete_endpoint, versions=None, author=ADA)


async def tell(pool: Pool, *journals: Journal) -> None:
    """News of journals, as the projection of entries brings it."""
    async with pool.connection() as connection:
        for journal in journals:
            async with tenant_scope(connection, journal.tenant_id):
                await connection.execute(_ENTRIES.wake, {"tenant_id": journal.tenant_id, "seq": journal.last})


def courier_of(
    pool: Pool, keys: SealingKeys, policy: Policy = POLICY, *, allow_private: bool = True, timeout_s: float = 30
) -> tuple[Courier, Outbound]:
    outbound = Outbound(allowed=webhooks.networks(allow_private), timeout_s=timeout_s)
    return Courier(Store(pool), outbound, keys, timeout_s=timeout_s, policy=policy), outbound


@asynccontextmanager
async def delivering(
    pool: Pool, keys: SealingKeys, policy: Policy = POLICY, *, at_once: int = 32, **more: Any
) -> AsyncIterator[Dispatcher]:
    """A dispatcher at work."""
    courier, outbound = courier_of(pool, keys, policy, **more)
    dispatcher = Dispatcher(Store(pool), courier, at_once=at_once, keep_days=30)
    running = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await dispatcher.close(patience_s=0)
        await outbound.close()


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition."""
    while not condition():  # noqa: ASYNC110 - no event crosses processes
        await asyncio.sleep(0.01)


async def eventually(read: Callable[[], Awaitable[T]], holds: Callable[[T], Any]) -> T:
    """Wait until what is read is as it should be."""
    while not holds(found := await read()):  # noqa: ASYNC110 - no event crosses processes
        await asyncio.sleep(0.01)
    return found


async def caught_up(*hooks: Hook) -> None:
    """Wait until nothing is left to do for endpoints."""
    for hook in hooks:
        await eventually(hook.now, lambda now: not now.behind and not now.asked)


async def test_events_come_in_order_signed_and_as_the_feed_has_them(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, api_pool: Pool, keys: SealingKeys
) -> None:
    hook = await new_hook()
    async with delivering(streams_pool, keys):
        for transactions in (3, 1, 5):
            await hook.journal.post(transactions)
            await tell(streams_pool, hook.journal)
        await until(lambda: len(hook.site.received) == 9)
        await caught_up(hook)
    assert hook.site.seqs == list(range(7, 16))
    feed = await read_feed(api_pool, hook.tenant_id, after=6, limit=100)
    for entry, received in zip(feed.entries, hook.site.received, strict=True):
        received.verify(hook.secret)
        assert received.body == encode_event(hook.tenant_id, entry)
        assert received.headers["webhook-id"] == received.event["id"] == f"{hook.tenant_id}/{entry.seq}"
        assert received.headers["content-type"] == "application/json"
    assert await hook.log() == [(seq, "event", "delivered", 200) for seq in range(7, 16)]
    assert hook.site.most_under_way == 1


async def test_history_is_sent_from_where_it_is_asked_for(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys
) -> None:
    hook = await new_hook(from_sequence=3)
    async with delivering(streams_pool, keys):
        await until(lambda: len(hook.site.received) == 4)
        await caught_up(hook)
    assert hook.site.seqs == [3, 4, 5, 6]


async def test_only_wanted_types_are_sent_however_rare_they_are(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "WINDOW", 4)
    hook = await new_hook(event_types=("ledgerx.transaction.held", "ledgerx.account.closed"), from_sequence=1)
    await hook.journal.post(15)
    await hook.journal.hold(expires_in_s=1_000)
    await hook.journal.post(9)
    async with delivering(streams_pool, keys):
        await caught_up(hook)
    assert hook.site.seqs == [22]
    assert (await hook.now()).next_sequence == 32


async def test_a_failure_holds_up_what_comes_after_until_it_is_taken(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys
) -> None:
    hook = await new_hook()
    hook.site.answers = [500, 404, 302, 200, 503]
    await hook.journal.post(3)
    async with delivering(streams_pool, keys):
        await tell(streams_pool, hook.journal)
        await until(lambda: len(hook.site.received) == 7)
        await caught_up(hook)
    assert hook.site.seqs == [7, 7, 7, 7, 8, 8, 9]
    assert len({one.headers["webhook-id"] for one in hook.site.received}) == 3
    outcomes = [(seq, outcome, status) for seq, _, outcome, status in await hook.log()]
    assert outcomes == [
        (7, "failed", 500),
        (7, "failed", 404),
        (7, "failed", 302),
        (7, "delivered", 200),
        (8, "failed", 503),
        (8, "delivered", 200),
        (9, "delivered", 200),
    ]
    now = await hook.now()
    assert (now.failures, now.tried_since, now.retry_at) == (0, None, None)


async def test_a_pause_is_kept_and_ends_with_a_ping_that_is_taken(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys
) -> None:
    hook = await new_hook()
    hook.site.answers = [500]
    await hook.journal.post(1)
    async with delivering(streams_pool, keys, Policy(first_pause_s=3_600)):
        await tell(streams_pool, hook.journal)
        await eventually(hook.now, lambda now: now.retry_at)
        # News do not end the pause.
        await hook.journal.post(1)
        await tell(streams_pool, hook.journal)
        other = await new_hook(hook.journal, from_sequence=1)
        await caught_up(other)
        assert hook.site.seqs == [7]
        assert (await hook.now()).failures == 1
        await hook.do(webhook_deliveries.ping)
        await until(lambda: len(hook.site.received) == 4)
        await caught_up(hook)
    _, ping, *_ = hook.site.received
    ping.verify(hook.secret)
    assert ping.event["type"] == "ledgerx.webhook.ping"
    assert ping.event["data"] == {"webhook": f"{hook.id}"}
    assert ping.headers["webhook-id"] == ping.event["id"]
    assert [received.seq for received in hook.site.received if received is not ping] == [7, 7, 8]
    assert (await hook.log())[1] == (None, "ping", "delivered", 200)


async def test_a_receiver_may_ask_for_a_longer_pause(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys
) -> None:
    hook = await new_hook()
    hook.site.default, hook.site.headers = 429, {"Retry-After": "1200"}
    await hook.journal.post(1)
    async with delivering(streams_pool, keys, Policy(first_pause_s=0.001)):
        await tell(streams_pool, hook.journal)
        now = await eventually(hook.now, lambda now: now.retry_at)
    assert now.retry_at is not None
    assert now.tried_since is not None
    assert (now.retry_at - now.tried_since).total_seconds() == 1_200


async def test_what_nobody_takes_in_time_is_dead_and_can_be_sent_once_more(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys, shared_database: Database
) -> None:
    hook = await new_hook()
    hook.site.default = 500
    await hook.journal.post(3)
    async with delivering(streams_pool, keys):
        await tell(streams_pool, hook.journal)
        await until(lambda: len(hook.site.received) > 2)
        assert set(hook.site.seqs) == {7}
        # Three days later.
        query = (
            "UPDATE ledgerx.webhook_endpoints SET tried_since = tried_since - interval '3 days' WHERE endpoint_id = %s"
        )
        execute(shared_database, query, hook.id)
        await eventually(hook.log, lambda log: (7, "event", "dead", 500) in log)
        hook.site.default = 200
        await caught_up(hook)
        dead = await hook.do(
            webhook_deliveries.read_deliveries,
            before=webhook_deliveries.NEWEST,
            limit=9,
            outcome=webhook_deliveries.Outcome.DEAD,
        )
        assert [one.sequence for one in dead] == [7]
        assert dead[0].attempt > 2
        assert hook.site.seqs[-2:] == [8, 9]

        await hook.do(webhook_deliveries.redeliver_one, 7, author=ADA)
        await caught_up(hook)
        assert hook.site.seqs[-1] == 7
        assert (await hook.log())[-1] == (7, "redelivery", "delivered", 200)
        assert (await hook.now()).next_sequence == 10

        await hook.do(webhook_deliveries.redeliver_from, 7, author=ADA)
        await until(lambda: hook.site.seqs[-3:] == [7, 8, 9])
        await caught_up(hook)
    assert len({one.headers["webhook-id"] for one in hook.site.received}) == 3


def execute(database: Database, query: LiteralString, *parameters: Any) -> None:
    """As time and administrators do."""
    with psycopg.connect(database.admin_url) as connection:
        assert connection.execute(query, parameters).rowcount >= 1


async def test_an_endpoint_that_takes_nothing_is_disabled_and_goes_on_where_it_stood(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys, shared_database: Database
) -> None:
    hook = await new_hook()
    hook.site.default = 500
    await hook.journal.post(9)
    async with delivering(streams_pool, keys, Policy(first_pause_s=0.001, patience_s=0, dead_in_a_row=3)):
        await tell(streams_pool, hook.journal)
        now = await eventually(hook.now, lambda now: now.target.status is Status.DISABLED)
        assert (now.disabled_reason, now.next_sequence) == (Reason.FAILING, 10)
        assert hook.site.seqs == [7, 8, 9]
        hook.site.default = 200
        await tell(streams_pool, hook.journal)
        await hook.change(status=Status.ENABLED)
        await caught_up(hook)
    assert hook.site.seqs == [7, 8, 9, *range(10, 16)]
    with psycopg.connect(shared_database.admin_url) as connection:
        acts = connection.execute(
            "SELECT act, actor, details FROM ledgerx.audit_log WHERE tenant_id = %s ORDER BY audit_id",
            (hook.tenant_id,),
        ).fetchall()
    assert acts[1:] == [
        ("webhook_disabled", "system:webhooks", '{"reason":"failing"}'),
        ("webhook_changed", "user:ada", '{"status":"enabled"}'),
    ]


def attempts_counted(outcome: str) -> float:
    """What the metric says of events in turn."""
    labels = {"cause": "event", "outcome": outcome}
    return REGISTRY.get_sample_value("ledgerx_webhook_attempts_total", labels) or 0


async def test_410_disables_an_endpoint_at_once(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys
) -> None:
    hook = await new_hook()
    hook.site.answers = [200, 410]
    before = attempts_counted("gone")
    await hook.journal.post(5)
    async with delivering(streams_pool, keys):
        await tell(streams_pool, hook.journal)
        now = await eventually(hook.now, lambda now: now.target.status is Status.DISABLED)
        assert (now.disabled_reason, now.next_sequence) == (Reason.GONE, 8)
        assert await hook.log() == [(7, "event", "delivered", 200), (8, "event", "gone", 410)]
        assert attempts_counted("gone") == before + 1
        await tell(streams_pool, hook.journal)
        other = await new_hook(hook.journal, from_sequence=1)
        await caught_up(other)
        assert hook.site.seqs == [7, 8]
        await hook.change(status=Status.ENABLED)
        await caught_up(hook)
    assert hook.site.seqs == [7, 8, 8, 9, 10, 11]


async def test_a_redirect_is_not_followed(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys, receiver: Receiver
) -> None:
    hook = await new_hook()
    hook.site.default, hook.site.headers = 307, {"Location": receiver.url("elsewhere")}
    await hook.journal.post(1)
    async with delivering(streams_pool, keys):
        await tell(streams_pool, hook.journal)
        await until(lambda: len(hook.site.received) > 3)
    assert receiver.site("elsewhere").received == []


async def test_nothing_is_sent_to_an_address_that_is_not_public(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys, receiver: Receiver
) -> None:
    named = await new_hook(url=f"https://localhost:{receiver.port}/named")
    await named.journal.post(1)
    async with delivering(streams_pool, keys, allow_private=False):
        await tell(streams_pool, named.journal)
        await eventually(named.log, len)
    [found] = await named.do(webhook_deliveries.read_deliveries, before=webhook_deliveries.NEWEST, limit=1)
    assert (found.outcome, found.status_code) == ("failed", None)
    assert "not public" in found.error
    assert receiver.site("named").received == []


async def test_an_answer_that_does_not_end_counts_as_none(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys
) -> None:
    hook = await new_hook()
    hook.site.open.clear()
    await hook.journal.post(1)
    async with delivering(streams_pool, keys, timeout_s=0.2):
        await tell(streams_pool, hook.journal)
        await until(lambda: len(hook.site.received) > 1)
        hook.site.open.set()
        await caught_up(hook)
    assert (await hook.log())[0] == (7, "event", "failed", None)
    assert (await hook.log())[-1] == (7, "event", "delivered", 200)


async def test_an_answer_is_read_to_a_bound_and_counts_as_none_beyond_it(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys
) -> None:
    hook = await new_hook()
    hook.site.body = bytes(70_000)
    await hook.journal.post(1)
    async with delivering(streams_pool, keys):
        await tell(streams_pool, hook.journal)
        await until(lambda: len(hook.site.received) > 1)
    found = await hook.do(webhook_deliveries.read_deliveries, before=webhook_deliveries.NEWEST, limit=1)
    assert "more than 65536 bytes" in found[0].error


async def test_receivers_that_do_not_answer_hold_up_nobody_else(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys, shared_database: Database
) -> None:
    """Of 8 at once a tenant has one, and those that are known as slow have four."""
    stuck = await new_hook()
    same_tenant = [await new_hook(stuck.journal) for _ in range(3)]
    slow = [await new_hook() for _ in range(9)]
    fast = await new_hook()
    for hook in (stuck, *same_tenant, *slow):
        hook.site.open.clear()
    marked = [hook.id for hook in slow]
    execute(shared_database, "UPDATE ledgerx.webhook_endpoints SET is_slow = true WHERE endpoint_id = ANY(%s)", marked)
    for hook in (stuck, *slow, fast):
        await hook.journal.post(20)
    async with delivering(streams_pool, keys, at_once=8):
        await tell(streams_pool, stuck.journal, *(hook.journal for hook in slow))
        await until(lambda: sum(hook.site.under_way for hook in slow) == 4)
        await until(lambda: sum(hook.site.under_way for hook in (stuck, *same_tenant)) == 1)
        await tell(streams_pool, fast.journal)
        await until(lambda: len(fast.site.received) == 20)
        assert sum(hook.site.under_way for hook in slow) == 4
        assert sum(len(hook.site.received) for hook in (stuck, *same_tenant)) == 1
        for hook in (stuck, *same_tenant, *slow):
            hook.site.open.set()
        await caught_up(stuck, *same_tenant, *slow)
    assert {tuple(hook.site.seqs) for hook in (*same_tenant, *slow, fast)} == {tuple(range(7, 27))}


async def test_workers_side_by_side_send_one_event_of_an_endpoint_at_a_time_and_each_once(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys
) -> None:
    hooks = [await new_hook() for _ in range(4)]
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(delivering(streams_pool, keys))
        for _ in range(5):
            for hook in hooks:
                await hook.journal.post(4)
                await tell(streams_pool, hook.journal)
        await until(lambda: all(len(hook.site.received) >= 20 for hook in hooks))
        await caught_up(*hooks)
    for hook in hooks:
        assert hook.site.seqs == list(range(7, 27))
        assert hook.site.most_under_way == 1


async def test_both_secrets_sign_while_one_takes_the_place_of_the_other(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys, shared_database: Database
) -> None:
    hook = await new_hook()
    endpoint, fresh = await hook.do(webhooks.rotate_secret, overlap_s=600, keys=keys, author=ADA)
    assert endpoint.previous_secret_until is not None
    assert fresh != hook.secret
    async with delivering(streams_pool, keys):
        await hook.journal.post(1)
        await tell(streams_pool, hook.journal)
        await until(lambda: hook.site.received)
        await caught_up(hook)
        execute(
            shared_database,
            "UPDATE ledgerx.webhook_endpoints SET previous_until = now() WHERE endpoint_id = %s",
            hook.id,
        )
        await hook.journal.post(1)
        await tell(streams_pool, hook.journal)
        await until(lambda: len(hook.site.received) == 2)
    both, one = hook.site.received
    assert len(both.headers["webhook-signature"].split()) == 2
    both.verify(hook.secret)
    both.verify(fresh)
    one.verify(fresh)
    with pytest.raises(WebhookVerificationError):
        one.verify(hook.secret)
    with psycopg.connect(shared_database.admin_url) as connection:
        row = connection.execute(
            "SELECT secret, previous_secret FROM ledgerx.webhook_endpoints WHERE endpoint_id = %s", (hook.id,)
        ).fetchone()
    context = webhooks.seal_context(hook.tenant_id, hook.id)
    assert row is not None
    assert hook.secret != fresh
    assert {len(sealed) for sealed in row} == {8 + 12 + 32 + 16}
    assert keys.open(row[0], of=context) != keys.open(row[1], of=context)


async def test_without_the_key_nothing_is_sent_and_the_log_says_why(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, tmp_path: Path, keys: SealingKeys
) -> None:
    hook = await new_hook()
    await hook.journal.post(1)
    strange = sealing.write_new_sealing_keys(tmp_path / "strange.json")
    async with delivering(streams_pool, strange):
        await tell(streams_pool, hook.journal)
        await eventually(hook.log, len)
    [found] = await hook.do(webhook_deliveries.read_deliveries, before=webhook_deliveries.NEWEST, limit=1)
    assert found.error == "the secret cannot be opened"
    assert hook.site.received == []
    async with delivering(streams_pool, sealing.rotated(keys)):
        await caught_up(hook)
    assert hook.site.seqs == [7]


async def test_who_is_late_does_not_undo_what_was_changed_meanwhile(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys
) -> None:
    """Sent back while an event is under way, it goes back; given another URL, the failure of the old one is nothing."""
    hook = await new_hook()
    hook.site.open.clear()
    await hook.journal.post(2)
    async with delivering(streams_pool, keys, Policy(first_pause_s=3_600)):
        await tell(streams_pool, hook.journal)
        await until(lambda: hook.site.under_way)
        await hook.do(webhook_deliveries.redeliver_from, 5, author=ADA)
        hook.site.open.set()
        await caught_up(hook)
        assert hook.site.seqs == [7, 5, 6, 7, 8]
        hook.site.open.clear()
        hook.site.default = 500
        await hook.journal.post(1)
        await tell(streams_pool, hook.journal)
        await until(lambda: hook.site.under_way)
        moved = await new_hook(hook.journal)
        await hook.change(url=(await moved.now()).target.url)
        hook.site.open.set()
        await caught_up(hook)
    assert (await hook.now()).failures == 0
    assert moved.site.seqs == [9]


async def test_an_endpoint_is_one_workers_until_its_lease_has_run_out(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, shared_database: Database
) -> None:
    hook = await new_hook(from_sequence=1)
    store = Store(streams_pool)
    one, other = (Lease(hook.tenant_id, hook.id, uuid4(), 600) for _ in range(2))
    assert await store.claim(one) is not None
    assert await store.claim(other) is None
    assert (hook.tenant_id, hook.id) not in await store.due(slow=False, most=1_000)
    execute(
        shared_database, "UPDATE ledgerx.webhook_endpoints SET leased_until = now() WHERE endpoint_id = %s", hook.id
    )
    state = await store.claim(other)
    assert state is not None
    # Who had it can neither move nor release it.
    assert await store.move(one, state, 5) is None
    await store.release(one)
    assert await store.claim(one) is None
    moved = await store.move(other, state, 5)
    assert moved is not None
    assert moved.progress.next_seq == 5


async def test_news_that_come_while_a_turn_ends_are_not_lost(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, shared_database: Database
) -> None:
    """The end of the turn and the news write the same row: whoever is second sees the other."""
    hook = await new_hook()
    store = Store(streams_pool)
    lease = Lease(hook.tenant_id, hook.id, uuid4(), 600)
    assert await store.claim(lease) is not None
    await store.release(lease)
    assert await store.claim(lease) is None, "there is nothing to do"
    await tell(streams_pool, hook.journal)
    assert await store.claim(lease) is not None
    await hook.journal.post(1)
    async with streams_pool.connection() as connection, tenant_scope(connection, hook.tenant_id):
        await connection.execute(_ENTRIES.wake, {"tenant_id": hook.tenant_id, "seq": hook.journal.last})
        await (await connection.execute("SELECT 1")).fetchone()
        assert waiting_for_locks(shared_database) == 0
        releasing = asyncio.create_task(store.release(lease))
        await until(lambda: waiting_for_locks(shared_database))
    await releasing
    assert await store.claim(lease) is not None


def waiting_for_locks(database: Database) -> int:
    """How many connections of the streams wait for a lock."""
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'ledgerx_streams' AND wait_event_type = 'Lock'
    """
    with psycopg.connect(database.admin_url) as connection:
        [(waiting,)] = connection.execute(query).fetchall()
    return int(waiting)


async def test_attempts_are_forgotten_after_their_time(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, keys: SealingKeys, shared_database: Database
) -> None:
    hook = await new_hook(from_sequence=1)
    async with delivering(streams_pool, keys):
        await caught_up(hook)
    query = """
        UPDATE ledgerx.webhook_deliveries SET attempted_at = attempted_at - interval '31 days'
        WHERE endpoint_id = %s AND seq <= 4
    """
    execute(shared_database, query, hook.id)
    store = Store(streams_pool)
    while await store.drop_old(keep_days=30):
        pass
    assert [seq for seq, *_ in await hook.log()] == [5, 6]


async def test_what_is_behind_is_measured(
    new_hook: Callable[..., Awaitable[Hook]], streams_pool: Pool, shared_database: Database
) -> None:
    store = Store(streams_pool)
    open_before, entries_before, _ = await store.behind(failures_open=5)
    hook = await new_hook(from_sequence=1)
    query = """
        UPDATE ledgerx.webhook_endpoints SET failures = 5, tried_since = now() - interval '2 days'
        WHERE endpoint_id = %s
    """
    execute(shared_database, query, hook.id)
    open_circuits, entries, failing_s = await store.behind(failures_open=5)
    assert (open_circuits - open_before, entries - entries_before) == (1, 6)
    assert failing_s >= 2 * 86_400
    await hook.do(webhooks.delete_endpoint, versions=None, author=ADA)
