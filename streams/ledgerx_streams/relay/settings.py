"""What the relay reads from its environment."""

from ledgerx.settings import Secret
from ledgerx_streams.kafka_access import KafkaSettings
from ledgerx_streams.retention import DEFAULT_SLOT


class Settings(KafkaSettings, frozen=True, kw_only=True):
    """`LEDGERX_` and the name in capitals is the variable of each.

    Databases on one server need a `relay_slot` each. `relay_max_records` and `relay_max_bytes` bound what Kafka has not
    acknowledged yet, and so the relay's memory; beyond them it stops reading.
    """

    database_url: Secret
    management_host: str = "127.0.0.1"
    management_port: int | None = None
    log_level: str = "INFO"
    relay_slot: str = DEFAULT_SLOT
    relay_heartbeat_s: float = 10
    relay_max_records: int = 10_000
    relay_max_bytes: int = 16 * 1024 * 1024
