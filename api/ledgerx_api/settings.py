"""Settings of the API."""

from pathlib import Path

import msgspec

from ledgerx.settings import Secret


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Read from `LEDGERX_DATABASE_URL`, `LEDGERX_KEYS` and so on.

    `database_url` logs in as `ledgerx_api`; `keys` is the keyset file of `ledgerx.keys`; `token_ttl_s` is the life of
    an access token in seconds, `refresh_token_ttl_s` that of a log-in; who logs in may leave out the tenant if it is
    `default_tenant`; `database_connections` bounds the pool, and so the batches in flight.
    """

    database_url: Secret
    keys: Path
    host: str = "127.0.0.1"
    port: int = 8080
    issuer: str = "ledgerx"
    audience: str = "ledgerx"
    token_ttl_s: int = 900
    refresh_token_ttl_s: int = 2_592_000
    default_tenant: str | None = None
    database_connections: int = 8
    max_body_bytes: int = 1024 * 1024
    log_level: str = "INFO"
