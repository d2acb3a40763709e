"""Which of several databases a tenant is in.

A tenant never moves, so that this is looked up once: every database that is open is asked whether it has the tenant.
Of each one statement at a time asks for all who wait, so that tenants which are nowhere cost no more however many
there are of them.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Generic, TypeAlias, TypeVar
from uuid import UUID

import structlog
from prometheus_client import Gauge

from ledgerx.errors import Overloaded, Unavailable

# How long somebody waits for a database that is not open yet, before others go on without it.
PATIENCE_S = 5.0
MAX_REMEMBERED = 100_000
MAX_WAITING = 1_000
# How long nobody asks again for a tenant that was nowhere.
UNKNOWN_S = 1.0
_UNKNOWN_REMEMBERED = 10_000

# A tenant's id, or its name where that is all that is known of it.
Key: TypeAlias = UUID | str
D = TypeVar("D")
# Which of the tenants a database has.
Holds: TypeAlias = Callable[[D, Sequence[Key]], Awaitable[Collection[Key]]]

_OPEN = Gauge(
    "ledgerx_database_open",
    "1 for a database that this process works with, 0 for one that does not answer, or lacks migrations.",
    ["part", "database"],
    multiprocess_mode="livemin",
)
_log = structlog.get_logger()


class _Asking(Generic[D]):
    """Asks one database for tenants, all at once that came since it was asked last."""

    def __init__(self, database: D, holds: Holds[D]) -> None:
        self.database = database
        self._holds = holds
        self._waiting: dict[Key, asyncio.Future[bool | None]] = {}
        self._task: asyncio.Task[None] | None = None

    def ask(self, key: Key) -> "asyncio.Future[bool | None]":
        """Whether the database has a tenant; None where it does not answer. Raises `Overloaded`."""
        answer = self._waiting.get(key)
        if answer is None:
            if len(self._waiting) >= MAX_WAITING:
                raise Overloaded("too many tenants are being looked for")
            answer = self._waiting[key] = asyncio.get_running_loop().create_future()
            if self._task is None:
                self._task = asyncio.create_task(self._run())
        return answer

    async def _run(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, {}
            held: Collection[Key] | None = None
            try:
                held = await self._holds(self.database, list(asked))
            except Exception as error:  # noqa: BLE001 - somebody waits for each answer, whatever goes wrong
                _log.warning("tenants not looked for", error=f"{type(error).__name__}: {error}".strip())
            for key, answer in asked.items():
                answer.set_result(None if held is None else key in held)
        self._task = None


class Placement(Generic[D]):
    """The databases of a `part` that are open, as what is made of each, and the tenants known to be in them.

    Where there is one database it is taken for that of every tenant with `trusting`, and nobody asks.
    """

    def __init__(self, part: str, holds: Holds[D], *, trusting: bool, patience_s: float = PATIENCE_S) -> None:
        self._part = part
        self._holds = holds
        self._trusting = trusting
        self._patience_s = patience_s
        self._names: frozenset[str] = frozenset()
        self._open: dict[str, _Asking[D]] = {}
        # Those that are not open, and until when somebody waits for each.
        self._awaited: dict[str, float] = {}
        self._homes: dict[UUID, D] = {}
        self._nowhere: OrderedDict[Key, float] = OrderedDict()
        self._only: D | None = None
        self._news = asyncio.Event()

    @property
    def databases(self) -> Mapping[str, D]:
        """Those that are open, by name."""
        return {name: asking.database for name, asking in sorted(self._open.items())}

    @property
    def alone(self) -> bool:
        """Whether there is no more than one database."""
        return len(self._names) <= 1

    @property
    def settled(self) -> bool:
        """Whether databases are open, and nobody waits for others any more."""
        return bool(self._open) and all(until <= time.monotonic() for until in self._awaited.values())

    def expect(self, names: frozenset[str]) -> None:
        """From now on there are databases of these names and no others."""
        if names == self._names:
            return
        gone, new = self._names - names, names - self._names
        self._names = names
        for name in new:
            self._await(name)
        for name in gone - self._open.keys():
            self._forget(name)
        self._changed()

    @contextmanager
    def opened(self, name: str, database: D, *, answers: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Take `database` for open in the block; for Prometheus it is so while it `answers`."""
        self._awaited.pop(name, None)
        self._open[name] = _Asking(database, self._holds)
        self._nowhere.clear()
        _OPEN.labels(self._part, name).set_function(lambda: float(answers()))
        self._changed()
        try:
            yield
        finally:
            del self._open[name]
            _OPEN.remove(self._part, name)
            self._homes = {tenant_id: home for tenant_id, home in self._homes.items() if home is not database}
            if name in self._names:
                self._await(name)
            else:
                self._forget(name)
            self._changed()

    def known(self, tenant_id: UUID) -> D | None:
        """The tenant's database, where it needs no asking."""
        return self._only or self._homes.get(tenant_id)

    async def find(self, key: Key) -> D | None:
        """The database of a tenant; None where every database was asked and none has it.

        Raises `Unavailable` where one that may have it does not answer, and `Overloaded`.
        """
        while self._only is None:
            if isinstance(key, UUID) and key in self._homes:
                return self._homes[key]
            if self._nowhere.get(key, 0) > time.monotonic():
                return None
            news = self._news
            home, all_answered = await self._ask(key)
            if home is not None:
                self._remember(key, home)
                return home
            if news is not self._news:
                # A database that was opened meanwhile was not asked.
                continue
            if all_answered and not self._awaited and self._open:
                self._forget_for_now(key)
                return None
            left_s = max(self._awaited.values(), default=0) - time.monotonic()
            if left_s <= 0:
                raise Unavailable("a database that may have the tenant does not answer")
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), left_s)
        return self._only

    async def wait(self, timeout_s: float) -> None:
        """Return once all databases are open, or `timeout_s` is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._open or self._awaited:
                    await self._news.wait()

    async def _ask(self, key: Key) -> tuple[D | None, bool]:
        """The database that has a tenant, as soon as it says so; else whether all that are open have answered."""
        asked = {asking.ask(key): asking for asking in self._open.values()}
        pending, all_answered = set(asked), True
        while pending:
            # Others wait for the same answers: whoever gives up must not take them along.
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for answer in done:
                if answer.result():
                    return asked[answer].database, True
                all_answered = all_answered and answer.result() is not None
        return None, all_answered

    def _remember(self, key: Key, home: D) -> None:
        # A name may be another tenant's later, and a database closed by now.
        if isinstance(key, UUID) and any(asking.database is home for asking in self._open.values()):
            self._homes[key] = home
            if len(self._homes) > MAX_REMEMBERED:
                del self._homes[next(iter(self._homes))]

    def _forget_for_now(self, key: Key) -> None:
        self._nowhere[key] = time.monotonic() + UNKNOWN_S
        self._nowhere.move_to_end(key)
        if len(self._nowhere) > _UNKNOWN_REMEMBERED:
            self._nowhere.popitem(last=False)

    def _await(self, name: str) -> None:
        self._awaited[name] = time.monotonic() + self._patience_s
        _OPEN.labels(self._part, name).set(0)

    def _forget(self, name: str) -> None:
        self._awaited.pop(name, None)
        _OPEN.remove(self._part, name)

    def _changed(self) -> None:
        only = self._open.get(next(iter(self._names))) if self._trusting and len(self._names) == 1 else None
        self._only = None if only is None else only.database
        # Whoever waits looks again.
        news, self._news = self._news, asyncio.Event()
        news.set()
