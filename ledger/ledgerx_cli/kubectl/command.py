"""`kubectl ledgerx`, which kubectl finds on the PATH as `kubectl-ledgerx`."""

import sys
from typing import Annotated, Any, TypeAlias

import msgspec
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from ledgerx import __version__
from ledgerx_cli.failures import CommandFailed, run
from ledgerx_cli.kubectl import api
from ledgerx_cli.kubectl import cluster as of
from ledgerx_cli.kubectl.cluster import Database, Operator, State, Tenant
from ledgerx_cli.options import AsJson

app = App(name="kubectl ledgerx", help="LedgerX in a cluster.", version=__version__, help_format="plaintext")

Context: TypeAlias = Annotated[str | None, Parameter(help="A context of the kubeconfig; the current one unless said.")]
Namespace: TypeAlias = Annotated[
    str | None, Parameter(name=["--namespace", "-n"], help="The namespace; that of the context unless said.")
]
Everywhere: TypeAlias = Annotated[
    bool, Parameter(name=["--all-namespaces", "-A"], negative="", help="In all namespaces.")
]
ApiUrl: TypeAlias = Annotated[str | None, Parameter(help="Where the API is reached, instead of through kubectl.")]
Name: TypeAlias = Annotated[str, Parameter(help="The LedgerTenant.")]


class Status(msgspec.Struct, frozen=True):
    """What `kubectl ledgerx status` tells. `tenants` are counted by the reason of their condition `Ready`."""

    operators: list[Operator]
    databases: list[Database]
    tenants: dict[str, int]

    @property
    def well(self) -> bool:
        """Whether somebody is at work, and nothing is known to be wrong with the databases."""
        return any(one.active for one in self.operators) and all(one.state.well for one in self.databases)


@app.command
def status(*, context: Context = None, json: AsJson = False) -> int:
    """Tell how operators, databases and tenants are; exit with 1 unless an operator and all databases are well."""
    with of.cluster(context) as client:
        counts: dict[str, int] = {}
        for tenant in of.tenants(client, None):
            counts[tenant.state.reason] = counts.get(tenant.state.reason, 0) + 1
        found = Status(of.operators(client), of.databases(client), counts)
    if json:
        _print_json(found)
    else:
        _print(
            "operator in", "holder", "active", rows=[(one.namespace, one.holder, one.active) for one in found.operators]
        )
        _print_databases(found.databases)
        _print("tenants", "count", rows=sorted(counts.items()))
    return 0 if found.well else 1


@app.command
def tenants(
    *, namespace: Namespace = None, everywhere: Everywhere = False, context: Context = None, json: AsJson = False
) -> int:
    """List tenants; exit with 1 unless all are as declared and healthy."""
    with of.cluster(context) as client:
        found = of.tenants(client, None if everywhere else namespace or client.namespace)
    if json:
        _print_json(found)
    else:
        _print_tenants(found)
    return 0 if all(one.state.well for one in found) else 1


@app.command
def lag(*, context: Context = None, json: AsJson = False) -> int:
    """Tell how far relays and streams are behind, the worst first; exit with 1 where that is too far."""
    with of.cluster(context) as client:
        databases, all_tenants = of.databases(client), of.tenants(client, None)
    behind = sorted((one for one in all_tenants if one.lag_s), key=lambda one: one.lag_s or 0, reverse=True)
    if json:
        _print_json({"databases": databases, "tenants": behind})
    else:
        _print_databases(databases)
        _print_tenants(behind)
    states = [*(one.state for one in databases), *(one.state for one in all_tenants)]
    return 0 if all(state.healthy is not False for state in states) else 1


@app.command
def token(
    name: Name,
    /,
    *,
    namespace: Namespace = None,
    api_url: ApiUrl = None,
    context: Context = None,
    json: AsJson = False,
) -> None:
    """Print an access token of the client in a tenant's connection Secret."""
    with of.cluster(context) as client:
        secret = of.connection(client, namespace or client.namespace, name)
    with api.reaching(secret["uri"], api_url, context) as reached:
        granted = api.token(reached, secret)
    if json:
        _print_json(granted)
    else:
        sys.stdout.write(f"{granted['access_token']}\n")


@app.command
def verify(
    name: Name,
    /,
    *,
    namespace: Namespace = None,
    api_url: ApiUrl = None,
    context: Context = None,
    json: AsJson = False,
) -> int:
    """Tell what the audit of a tenant's journal says; exit with 1 unless that is healthy."""
    with of.cluster(context) as client:
        secret = of.connection(client, namespace or client.namespace, name)
    with api.reaching(secret["uri"], api_url, context) as reached:
        found = api.integrity(reached, api.token(reached, secret)["access_token"])
    if json:
        _print_json(found)
    else:
        _print("sequence", "hash", "healthy", rows=[(found["sequence"], found["hash"], found["healthy"])])
        _print("projection", "at", rows=[(one["name"], one["sequence"]) for one in found["projections"]])
        if found["finding"] is not None:
            _print(*found["finding"], rows=[tuple(found["finding"].values())])
    return 0 if found["healthy"] else 1


@app.command
def detach(
    *objects: Annotated[str, Parameter(help="As lt/shop; kinds are lt, lc, lx and ldb.")],
    everything: Annotated[bool, Parameter(name="--all", negative="", help="All of the namespace.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    force: Annotated[bool, Parameter(negative="", help="Although an operator is at work.")] = False,
    json: AsJson = False,
) -> None:
    """Let objects be deleted though the operator is gone: takes its finalizer off. Ledgers stay as they are."""
    with of.cluster(context) as client:
        where = namespace or client.namespace
        if not force and any(one.active for one in of.operators(client)):
            raise CommandFailed("an operator is at work and would take hold of them again: say --force to do it anyway")
        chosen = [_parsed(one) for one in objects]
        if everything:
            chosen += [(kind, name) for kind in of.KINDS for name in of.names(client, kind, where)]
        if not chosen:
            raise CommandFailed("say which objects, or --all")
        done = [f"{kind}/{name}" for kind, name in chosen if of.let_go(client, kind, where, name)]
    if json:
        _print_json({"detached": done})
    else:
        sys.stdout.write("".join(f"{one} detached\n" for one in done))


def main() -> None:
    """Run the subcommand that the arguments name."""
    run(app, "kubectl ledgerx", _expected_errors)


def _expected_errors() -> tuple[type[Exception], ...]:
    # Only a failure needs them.
    from httpx2 import HTTPError  # noqa: PLC0415
    from lightkube.core.exceptions import ConfigError  # noqa: PLC0415

    return (CommandFailed, HTTPError, ConfigError)


def _parsed(text: str) -> tuple[str, str]:
    kind, _, name = text.partition("/")
    if kind not in of.KINDS or not name:
        raise CommandFailed(f"{text} is not {', '.join(of.KINDS)} and a name, as lt/shop")
    return kind, name


def _print_json(found: Any) -> None:
    sys.stdout.write(f"{msgspec.json.encode(found).decode()}\n")


def _print_databases(found: list[Database]) -> None:
    rows = [
        (
            one.namespace,
            one.name,
            *_shown(one.state),
            one.tenants,
            one.max_tenants,
            one.size_bytes,
            one.lag_bytes,
            one.schema,
        )
        for one in found
    ]
    _print("namespace", "database", "ready", "healthy", "tenants", "max", "bytes", "lag bytes", "schema", rows=rows)


def _print_tenants(found: list[Tenant]) -> None:
    rows = [
        (
            one.namespace,
            one.name,
            *_shown(one.state),
            one.database,
            one.accounts,
            one.transactions,
            one.lag_s,
            one.secret,
        )
        for one in found
    ]
    _print(
        "namespace", "tenant", "ready", "healthy", "database", "accounts", "transactions", "lag s", "secret", rows=rows
    )


def _shown(state: State) -> tuple[str, str]:
    return state.reason, state.health


def _print(*heads: str, rows: list[tuple[Any, ...]]) -> None:
    """A table on a terminal; elsewhere lines with tabs, which nothing cuts off."""
    console = Console(highlight=False)
    texts = [["" if one is None else str(one) for one in row] for row in rows]
    if not console.is_terminal:
        sys.stdout.write("".join("\t".join(row) + "\n" for row in [list(heads), *texts]))
        return
    table = Table(*heads)
    for row in texts:
        table.add_row(*row)
    console.print(table)
