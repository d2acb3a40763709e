"""The search terms of entries that were recorded before there were any, or by a release that knows of none.

They are found page by page, each in a transaction of its own that also notes how far the tenant's journal is done: cut
short, it goes on from there, and so it does when it runs again after the last process of an earlier release is gone.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from ledgerx import database, rows
from ledgerx.database import Connection, Queries, tenant_scope

ENTRIES_PER_PAGE = 1_000

_queries = Queries("ledgerx", "sql/search_terms.sql")
_posting = Queries("ledgerx", "sql/posting.sql")


async def fill_search_terms(
    admin_url: str, *, progress: Callable[[UUID, int], None] = lambda _tenant, _seq: None
) -> None:
    """Give the entries of all tenants the search terms that they lack, up to the present heads.

    `progress` is told the number of the last entry after each page. Raises `psycopg.Error`.
    """
    async with await database.connect(admin_url, application_name="ledgerx-search-terms") as connection:
        await connection.execute("SET ROLE ledgerx_owner")
        cursor = await connection.execute(_queries.tenants)
        for (tenant_id,) in await cursor.fetchall():
            while (seq := await _fill_page(connection, tenant_id)) is not None:
                progress(tenant_id, seq)


async def _fill_page(connection: Connection, tenant_id: UUID) -> int | None:
    """The number of the last entry that was done; None where there was none left."""

    async def run(query: Any, **parameters: Any) -> Any:
        return await connection.execute(query, {"tenant_id": tenant_id, **parameters})

    async with tenant_scope(connection, tenant_id):
        await run(_queries.begin)
        await run(_queries.lock)
        page = await run(_queries.page, limit=ENTRIES_PER_PAGE)
        found = await page.fetchall()
        if not found:
            return None
        terms: dict[rows.Term, None] = {}
        for seq, _, account_id, amended_seq, category, metadata in found:
            if account_id is not None:
                terms.update(dict.fromkeys(rows.account_terms(account_id, metadata)))
            elif seq is not None:
                terms.update(dict.fromkeys(rows.transaction_terms(seq, amended_seq, category, metadata)))
        if terms:
            await run(_posting.insert_search_terms, **rows.term_columns(terms))
        last: int = found[0][1]
        await run(_queries.advance, seq=last)
    return last
