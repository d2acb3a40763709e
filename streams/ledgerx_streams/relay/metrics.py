"""What the relay tells Prometheus: of each database, and of Kafka."""

from prometheus_client import Counter, Enum, Gauge

SNAPSHOT = "snapshot"
STANDBY = "standby"
STARTING = "starting"
STREAMING = "streaming"

KAFKA_FAILURES = Counter(
    "ledgerx_relay_kafka_failures", "Times that Kafka was away, took too long or refused an event."
)

_OF = ["database"]
_STATE = Enum(
    "ledgerx_relay_state",
    "starting: connecting; snapshot: sending the rows from before the slot; standby: another relay holds the slot.",
    _OF,
    states=[STARTING, SNAPSHOT, STANDBY, STREAMING],
)
_ROWS = Counter("ledgerx_relay_rows", "Outbox rows handed to Kafka, repeats included.", _OF)
_BYTES = Counter("ledgerx_relay_bytes", "Bytes of key and value handed to Kafka, repeats included.", _OF)
_TRANSACTIONS = Counter("ledgerx_relay_transactions", "Database transactions streamed, repeats included.", _OF)
_RECONNECTS = Counter("ledgerx_relay_reconnects", "Failures of a server after which the relay started over.", _OF)
_SNAPSHOTS = Counter("ledgerx_relay_snapshots", "Snapshots completed.", _OF)
_LOST_SLOTS = Counter("ledgerx_relay_lost_slots", "Slots that were invalidated or gone, and made anew.", _OF)
_LOST_SLOT_AT = Gauge(
    "ledgerx_relay_lost_slot_timestamp_seconds", "When that was last; 0 for not in this process.", _OF
)
_IN_FLIGHT_RECORDS = Gauge("ledgerx_relay_in_flight_records", "Records that Kafka has not acknowledged yet.", _OF)
_IN_FLIGHT_BYTES = Gauge(
    "ledgerx_relay_in_flight_bytes", "Bytes of the records that Kafka has not acknowledged yet.", _OF
)
_LAG_BYTES = Gauge("ledgerx_relay_lag_bytes", "Bytes of write-ahead log that the slot has not confirmed.", _OF)
_LAG_SECONDS = Gauge(
    "ledgerx_relay_lag_seconds", "Age of the last heartbeat if Kafka has not acknowledged all before it, else 0.", _OF
)
_ALL = (
    _STATE,
    _ROWS,
    _BYTES,
    _TRANSACTIONS,
    _RECONNECTS,
    _SNAPSHOTS,
    _LOST_SLOTS,
    _LOST_SLOT_AT,
    _IN_FLIGHT_RECORDS,
    _IN_FLIGHT_BYTES,
    _LAG_BYTES,
    _LAG_SECONDS,
)


class RelayMetrics:
    """What is told of one database."""

    def __init__(self, database: str) -> None:
        self._database = database
        self.state = _STATE.labels(database)
        self.rows = _ROWS.labels(database)
        self.bytes = _BYTES.labels(database)
        self.transactions = _TRANSACTIONS.labels(database)
        self.reconnects = _RECONNECTS.labels(database)
        self.snapshots = _SNAPSHOTS.labels(database)
        self.lost_slots = _LOST_SLOTS.labels(database)
        self.lost_slot_at = _LOST_SLOT_AT.labels(database)
        self.in_flight_records = _IN_FLIGHT_RECORDS.labels(database)
        self.in_flight_bytes = _IN_FLIGHT_BYTES.labels(database)
        self.lag_bytes = _LAG_BYTES.labels(database)
        self.lag_seconds = _LAG_SECONDS.labels(database)

    def forget(self) -> None:
        """Tell nothing of it any more."""
        for metric in _ALL:
            metric.remove(self._database)
