"""The command `ledgerx`. Subcommands are imported when they run, so that each process loads its own part only."""

from cyclopts import App

from ledgerx import __version__
from ledgerx.errors import ConfigurationError, LedgerError
from ledgerx_cli.failures import CommandFailed, run

app = App(name="ledgerx", help="A multi-tenant double-entry ledger.", version=__version__, help_format="plaintext")
app.command("ledgerx_cli.up:up", name="up", help="Run the whole platform on this machine.")
app.command("ledgerx_api.server:main", name="api", help="Serve the HTTP API.")
app.command("ledgerx_streams.relay:main", name="relay", help="Carry the outbox from Postgres to Kafka.")
app.command("ledgerx_cli.streams:app", name="streams", help="Compute projections from the journal.")
app.command("ledgerx_cli.dlq:app", name="dlq", help="See to messages that a projection could not take.")
app.command("ledgerx_operator.service:main", name="operator", help="Look after tenants as custom resources.")
app.command("ledgerx_cli.migrate:migrate", name="migrate", help="Bring the database up to this release.")
app.command("ledgerx_cli.bench.command:bench", name="bench", help="Measure a running platform.")
app.command("ledgerx_cli.tenant:app", name="tenant", help="Manage tenants.")
app.command("ledgerx_cli.user:app", name="user", help="Manage people.")
app.command("ledgerx_cli.keys:app", name="keys", help="Manage the keys that sign access tokens.")
app.command("ledgerx_cli.rebuild:rebuild", name="rebuild", help="Compute a projection of a tenant anew.")
app.command("ledgerx_cli.openapi:openapi", name="openapi", help="Print the OpenAPI document of the HTTP API.")
app.command("ledgerx_cli.verify:verify", name="verify", help="Recompute a tenant's journal and projections.")
app.command(
    "ledgerx_cli.verify_proof:verify_proof_file", name="verify-proof", help="Verify a proof or a checkpoint, offline."
)
app.command("ledgerx_cli.export:export", name="export", help="Have data exported by a platform, and download it.")
app.command(
    "ledgerx_cli.export_journal:export_journal", name="export-journal", help="Write a tenant's journal to a file."
)


@app.command
def version() -> str:
    """Print the version."""
    return __version__


def main() -> None:
    """Run the subcommand that the arguments name."""
    run(app, "ledgerx", _expected_errors)


def _expected_errors() -> tuple[type[Exception], ...]:
    # Only a failure needs them.
    from aiokafka.errors import KafkaError  # noqa: PLC0415
    from psycopg.errors import InsufficientPrivilege, OperationalError  # noqa: PLC0415

    from ledgerx.migrate import ChangedMigrationError  # noqa: PLC0415

    ours = (CommandFailed, ConfigurationError, LedgerError, ChangedMigrationError)
    return (*ours, KafkaError, OperationalError, InsufficientPrivilege)
