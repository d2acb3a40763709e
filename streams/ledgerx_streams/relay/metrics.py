"""What the relay tells Prometheus."""

from prometheus_client import Counter, Enum, Gauge

SNAPSHOT = "snapshot"
STANDBY = "standby"
STARTING = "starting"
STREAMING = "streaming"

STATE = Enum(
    "ledgerx_relay_state",
    "starting: connecting; snapshot: sending the rows from before the slot; standby: another relay holds the slot.",
    states=[STARTING, SNAPSHOT, STANDBY, STREAMING],
)
ROWS = Counter("ledgerx_relay_rows", "Outbox rows handed to Kafka, repeats included.")
BYTES = Counter("ledgerx_relay_bytes", "Bytes of key and value handed to Kafka, repeats included.")
TRANSACTIONS = Counter("ledgerx_relay_transactions", "Database transactions streamed, repeats included.")
RECONNECTS = Counter("ledgerx_relay_reconnects", "Failures of a server after which the relay started over.")
KAFKA_FAILURES = Counter(
    "ledgerx_relay_kafka_failures", "Times that Kafka was away, took too long or refused an event."
)
SNAPSHOTS = Counter("ledgerx_relay_snapshots", "Snapshots completed.")
LOST_SLOTS = Counter("ledgerx_relay_lost_slots", "Slots that were invalidated or gone, and made anew.")
LOST_SLOT_AT = Gauge("ledgerx_relay_lost_slot_timestamp_seconds", "When that was last; 0 for not in this process.")
IN_FLIGHT_RECORDS = Gauge("ledgerx_relay_in_flight_records", "Records that Kafka has not acknowledged yet.")
IN_FLIGHT_BYTES = Gauge("ledgerx_relay_in_flight_bytes", "Bytes of the records that Kafka has not acknowledged yet.")
LAG_BYTES = Gauge("ledgerx_relay_lag_bytes", "Bytes of write-ahead log that the slot has not confirmed.")
LAG_SECONDS = Gauge(
    "ledgerx_relay_lag_seconds", "Age of the last heartbeat if Kafka has not acknowledged all before it, else 0."
)
