"""Settings of `ledgerx operator`."""

from pathlib import Path
from typing import Annotated

import msgspec


class OperatorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`namespace` is the operator's own, `api_url` what it tells applications.

    `watch_namespaces` and `oidc_issuers` are lists separated by commas; without the first it looks after tenants in the
    whole cluster. `configuration` is a file, see `ledgerx_operator.bootstrap`.
    """

    namespace: str
    api_url: str
    watch_namespaces: str | None = None
    configuration: Path | None = None
    oidc_issuers: str | None = None
    exports_destinations: str | None = None
    exports_tenant_bytes: Annotated[int, msgspec.Meta(ge=1)] = 64 * 1024**3
    webhooks_allow_private: bool = False
    database_connections: int = 4
    drift_interval_s: float = 300.0
    rotation_overlap_s: int = 86_400
    lease_duration_s: float = 15.0
    management_host: str = "127.0.0.1"
    management_port: int | None = None
    log_level: str = "INFO"


def listed(text: str | None) -> tuple[str, ...]:
    """The parts of a list separated by commas or spaces."""
    return tuple(dict.fromkeys((text or "").replace(",", " ").split()))
