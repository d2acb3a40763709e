"""What the relay reads from its environment."""

from pathlib import Path

from ledgerx.settings import Secret
from ledgerx_streams.kafka_access import KafkaSettings
from ledgerx_streams.slots import DEFAULT_SLOT


class Settings(KafkaSettings, frozen=True, kw_only=True):
    """`LEDGERX_` and the name in capitals is the variable of each.

    There is a `database_url`, or the directory `databases` with one for each (`ledgerx.databases`). `relay_slot` is the
    slot of the one database, and what those of many begin with. `relay_max_records` and `relay_max_bytes` bound what
    Kafka has not acknowledged yet of a database, and so the relay's memory; beyond them it stops reading.
    """

    database_url: Secret | None = None
    databases: Path | None = None
    management_host: str = "127.0.0.1"
    management_port: int | None = None
    log_level: str = "INFO"
    relay_slot: str = DEFAULT_SLOT
    relay_heartbeat_s: float = 10
    relay_max_records: int = 10_000
    relay_max_bytes: int = 16 * 1024 * 1024
