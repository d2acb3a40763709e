"""Postgres: connections, the tenant's scope and named queries.

`tenant_scope` is the only place that opens a transaction which can see a tenant's rows. SQL lives in `.sql` files next
to the code that runs it; `Queries` reads them.
"""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, LiteralString, cast
from uuid import UUID

from psycopg import Error as PostgresError
from psycopg.errors import PipelineAborted
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

from ledgerx.bursts import BurstingConnection

Connection = BurstingConnection
Pool = AsyncConnectionPool[Connection]

# A stalled or vanished client must not hold a tenant's head: the server ends what takes longer than this.
STATEMENT_TIMEOUT_MS = 15_000
LOCK_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000

# Connections beyond the least of a pool are closed when nobody has used them for so long: a process has pools for each
# of many databases.
MAX_IDLE_S = 120.0

_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
_NAME = re.compile(r"^-- name: (\w+)\n-- (.+)\n", re.MULTILINE)


class Queries:
    """The named queries of one `.sql` file, as attributes.

    A query stands below `-- name: <name>` and one line that says what it is for.
    """

    def __init__(self, package: str, filename: str) -> None:
        text = (files(package) / filename).read_text(encoding="utf-8")
        parts = _NAME.split(text)
        self._queries = dict(zip(parts[1::3], (part.strip() for part in parts[3::3]), strict=True))

    def __getattr__(self, name: str) -> LiteralString:
        try:
            return cast("LiteralString", self._queries[name])  # comes from a file of the package, never from input
        except KeyError:
            raise AttributeError(name) from None


def integer_arrays(names: Sequence[str], rows: Iterable[Iterable[int]]) -> dict[str, str]:
    """Rows of integers as one array literal a column, by name.

    Takes half as long as psycopg's dumping of lists item by item, and a prepared statement always gets the same types.
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return {name: "{" + ",".join(map(str, column)) + "}" for name, column in zip(names, columns, strict=True)}


def connection_options(application_name: str, *, durable: bool = True, role: str | None = None) -> dict[str, Any]:
    """Keyword arguments of a connection of ours: time-outs on the server, keepalives, a name to find it by.

    A commit that is not `durable` may be gone after a crash of the server: for what can be computed again. With a
    `role` the connection acts as that one, of which whoever logs in must be a member.
    """
    settings: dict[str, Any] = {
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
        "synchronous_commit": "on" if durable else "off",
        # Our queries go by key and have one good plan each, whatever the tables held when it was made; to plan the
        # short ones anew costs several times what they do.
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "timezone": "UTC",
    }
    if role is not None:
        settings["role"] = role
    return {
        "application_name": application_name,
        "connect_timeout": 5,
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        "autocommit": True,
        # From the first use: psycopg 3.3 takes a statement for prepared that it was to prepare later on and that an
        # error before it in the pipeline skipped, and every use of it on that connection fails from then on.
        "prepare_threshold": 0,
        **_KEEPALIVE,
    }


async def connect(url: str, *, application_name: str) -> Connection:
    """Open one connection with `connection_options`, in autocommit."""
    return await Connection.connect(url, **connection_options(application_name))


def pool(
    url: str,
    *,
    application_name: str,
    max_size: int,
    min_size: int = 1,
    durable: bool = True,
    role: str | None = None,
) -> Pool:
    """A pool of connections with `connection_options`; the caller opens and closes it."""
    return AsyncConnectionPool(
        url,
        connection_class=Connection,
        kwargs=connection_options(application_name, durable=durable, role=role),
        min_size=min_size,
        max_size=max_size,
        max_idle=MAX_IDLE_S,
        open=False,
        timeout=5,
        name=application_name,
    )


@asynccontextmanager
async def tenant_scope(
    connection: Connection, tenant_id: UUID, *, read_only: bool = False, snapshot: bool = False
) -> AsyncIterator[Connection]:
    """A pipelined transaction (READ COMMITTED) that sees and writes the rows of one tenant only.

    Commits when the block ends well, rolls back otherwise. No result is waited for before it is fetched or the block
    ends, so a block that only executes costs one round trip; its results are there to fetch afterwards.

    A `read_only` scope is the implicit transaction of a pipeline, which spares two statements. It must not write: what
    was written before an error in the block would stay. The statements of a `snapshot` see one moment and cannot write.
    """
    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if snapshot else "BEGIN"
    try:
        async with connection.pipeline():
            if not read_only:
                await connection.execute(begin)
            await connection.execute("SELECT set_config('ledgerx.tenant', %s, true)", (str(tenant_id),))
            yield connection
            if not read_only:
                await connection.execute("COMMIT")
    except BaseException as error:
        if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
            await connection.execute("ROLLBACK")
        if (first := first_of(error)) is not error:
            raise first from None
        raise


def first_of(error: BaseException) -> BaseException:
    """The error that a pipeline met where `error` only says that what came after it was skipped.

    Psycopg reads the results at the end of a pipeline twice: what the second reading meets hides what the first one
    did, and how much that reads is a matter of when the server's answers arrive.
    """
    if isinstance(error, PipelineAborted) and isinstance(error.__context__, PostgresError):
        return error.__context__
    return error
