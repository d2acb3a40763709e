"""The change-data-capture relay: the outbox, from PostgreSQL's write-ahead log to Kafka, as Debezium would carry it."""

import uvloop

from ledgerx import telemetry
from ledgerx.settings import load
from ledgerx_streams.relay.service import serve
from ledgerx_streams.relay.settings import Settings


def main() -> int:
    """Run the relay until SIGTERM or SIGINT. Raises `ConfigurationError` on missing settings."""
    settings = load(Settings)
    telemetry.configure("relay", level=settings.log_level)
    uvloop.run(serve(settings))
    return 0
