"""Settings of the streams."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from ledgerx.checkpoints import DEFAULT_ORIGIN
from ledgerx.export_files import MAX_FILE_BYTES
from ledgerx.settings import Secret
from ledgerx_streams.kafka_access import KafkaSettings
from ledgerx_streams.slots import DEFAULT_SLOT


class Settings(KafkaSettings, frozen=True, kw_only=True):
    """There is a `database_url`, or the directory `databases` with one for each (`ledgerx.databases`).

    `engine_database_url` is that of the engine's role, or `engine_databases` a directory of those; without it this
    worker leaves due holds to others.

    It also leaves exports to others without `exports_url`, the storage that their files go to unless they name one of
    `exports_destinations`, at most `exports_max_bytes` each. It writes `exports_at_once`, and files are kept for
    `exports_keep_days`, those at destinations for good.

    The outbox is kept for `outbox_retention_days` whole days at least, and until the slot has confirmed it, which is
    that of the relay or of Debezium: `relay_slot`, or what those of many databases begin with.

    Without `sealing_keys`, a file of `ledgerx.sealing`, this worker leaves webhooks to others; they get
    `webhooks_timeout_s` seconds for each attempt, `webhooks_patience_s` in all, at most `webhooks_at_once` of a
    database at the same time, and the log of attempts is kept for `webhooks_log_days`.

    Without `checkpoint_keys`, a keyset of its own, it leaves checkpoints to others; those of a tenant are signed at
    most every `checkpoint_interval_s` seconds, in the name of `checkpoint_origin` and the tenant's id, and after
    `checkpoint_keep_days` days the last one of each day is kept. At most `scrub_entries_per_s` stored entries are
    read again in a second; 0 leaves that to others.
    """

    database_url: Secret | None = None
    databases: Path | None = None
    engine_database_url: Secret | None = None
    engine_databases: Path | None = None
    exports_url: str | None = None
    exports_destinations: str | None = None
    exports_at_once: Annotated[int, Meta(ge=1, le=16)] = 2
    exports_keep_days: Annotated[int, Meta(ge=1, le=3_650)] = 7
    exports_max_bytes: Annotated[int, Meta(ge=1, le=MAX_FILE_BYTES)] = 16 * 1024**3
    sealing_keys: Path | None = None
    webhooks_allow_private: bool = False
    webhooks_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 15
    webhooks_patience_s: Annotated[float, Meta(ge=0)] = 259_200
    webhooks_at_once: Annotated[int, Meta(ge=1, le=100)] = 64
    webhooks_log_days: Annotated[int, Meta(ge=1)] = 30
    checkpoint_keys: Path | None = None
    checkpoint_origin: Annotated[str, Meta(pattern=r"^[^\s+]{1,200}$")] = DEFAULT_ORIGIN
    checkpoint_interval_s: Annotated[float, Meta(ge=1)] = 10.0
    checkpoint_keep_days: Annotated[int, Meta(ge=1, le=36_500)] = 30
    scrub_entries_per_s: Annotated[int, Meta(ge=0)] = 2_000
    relay_slot: str = DEFAULT_SLOT
    outbox_retention_days: Annotated[int, Meta(ge=1, le=3_650)] = 7
    management_host: str = "127.0.0.1"
    management_port: int | None = None
    log_level: str = "INFO"
