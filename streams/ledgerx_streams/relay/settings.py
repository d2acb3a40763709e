"""What the relay reads from its environment."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ledgerx.settings import Secret


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`LEDGERX_` and the name in capitals is the variable of each.

    Databases on one server need a `relay_slot` each. `relay_max_records` and `relay_max_bytes` bound what Kafka has not
    acknowledged yet, and so the relay's memory; beyond them it stops reading. The outbox is kept for
    `outbox_retention_days` whole days at least.
    """

    database_url: Secret
    kafka: str
    management_host: str = "127.0.0.1"
    management_port: int | None = None
    log_level: str = "INFO"
    relay_slot: str = "ledgerx"
    relay_heartbeat_s: float = 10
    relay_max_records: int = 10_000
    relay_max_bytes: int = 16 * 1024 * 1024
    outbox_retention_days: Annotated[int, Meta(ge=1, le=3_650)] = 7
