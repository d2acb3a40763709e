"""Settings of the API."""

from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec

from ledgerx.settings import Secret

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Read from `LEDGERX_DATABASE_URL`, `LEDGERX_KEYS` and so on.

    `database_url` logs in as `ledgerx_api`, and so do the URLs in the directory `databases`, which there may be instead
    (`ledgerx.databases`); `keys` is the keyset file of `ledgerx.keys`; `token_ttl_s` is the life of an access token in
    seconds, `refresh_token_ttl_s` that of a log-in; who logs in may leave out the tenant if it is `default_tenant`;
    `database_connections` bounds the pool of each database, and so the batches in flight. Rate limits are costs in a
    window of `rate_limit_window_s` seconds. Of the limits and of `max_accounts`, 0 is none. With a `management_port`
    health and metrics are served there, and not beside the API.
    `event_streams` bounds the streams that are open at the same time. `exports_url` is the storage that the streams
    write files of exports to; without it nobody can ask for one. Links to them are good for `exports_link_ttl_s`, and a
    tenant whose files take `exports_tenant_bytes` has to give some up first. Tenants may trust the
    `oidc_issuers`, whose addresses may also be in the `oidc_networks`.
    Webhooks are made where there are `sealing_keys`, a file of
    `ledgerx.sealing`, and at addresses that are not public with `webhooks_allow_private`.
    """

    database_url: Secret | None = None
    databases: Path | None = None
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
    max_accounts: Count = 10_000_000
    rate_limit_url: Secret | None = None
    rate_limit_window_s: Annotated[int, msgspec.Meta(ge=1)] = 60
    rate_limit_tenant: Count = 1_200_000
    rate_limit_client: Count = 1_200_000
    rate_limit_address: Count = 600
    trusted_proxies: str | None = None
    event_streams: int = 100
    exports_url: str | None = None
    exports_link_ttl_s: Annotated[int, msgspec.Meta(ge=1, le=604_800)] = 900
    exports_tenant_bytes: Annotated[int, msgspec.Meta(ge=1)] = 64 * 1024**3
    oidc_issuers: str | None = None
    oidc_networks: str | None = None
    sealing_keys: Path | None = None
    webhooks_allow_private: bool = False
    management_host: str = "127.0.0.1"
    management_port: int | None = None
    log_level: str = "INFO"
