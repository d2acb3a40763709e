"""Where the outbox of a database is read from: its replication slot."""

import msgspec

from ledgerx.databases import ALONE
from ledgerx.settings import Secret

DEFAULT_SLOT = "ledgerx"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A database by its name, how to reach it, and its slot."""

    database: str
    url: Secret
    slot: str


def slot_of(prefix: str, database: str) -> str:
    """The slot of a database. Names of slots are the server's, which may have several databases.

    No other name of a database (`ledgerx.databases.NAME`) comes to the same.
    """
    return prefix if database == ALONE else f"{prefix}_{database.replace('-', '_')}"
