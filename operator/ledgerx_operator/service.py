"""`ledgerx operator`: waits for the lease, runs kopf while it holds it, and ends when it is lost."""

import asyncio
import logging
import os
import random
import signal
import socket
import uuid
from datetime import UTC, datetime
from functools import partial
from typing import Any

import kopf
import structlog

from ledgerx import management, telemetry
from ledgerx.export_files import destinations
from ledgerx.settings import load
from ledgerx_operator import conditions
from ledgerx_operator.bootstrap import Configuration, bring_about, read_configuration
from ledgerx_operator.cluster import Cluster, connected
from ledgerx_operator.databases import Databases
from ledgerx_operator.handlers import AT_ONCE, Handlers
from ledgerx_operator.lease import LeaderLease
from ledgerx_operator.ledger_client import ClientReconciler
from ledgerx_operator.ledger_database import DatabaseReconciler
from ledgerx_operator.ledger_export import LOOK_S, ExportReconciler, is_idle
from ledgerx_operator.ledger_tenant import TenantReconciler
from ledgerx_operator.names import (
    CLIENTS,
    DATABASES,
    EXPORTS,
    FINALIZER,
    GROUP,
    OPERATOR,
    OPERATOR_PREFIX,
    TENANTS,
    VERSION,
)
from ledgerx_operator.observing import Observer
from ledgerx_operator.settings import OperatorSettings, listed

# The API server ends watches in its own time; these bound what a lost connection can hide.
_WATCH_S = 300
_REQUEST_S = 30
_CONNECT_S = 10
# How long what is under way may take to end once the lease is lost; another operator may be at work then.
_STOP_S = 3.0

_log = structlog.get_logger()


def main() -> int:
    """Look after the resources of LedgerX until SIGTERM or SIGINT; return the exit code.

    Raises `ConfigurationError`.
    """
    settings = load(OperatorSettings)
    configuration = read_configuration(settings.configuration)
    destinations(settings.exports_destinations)
    telemetry.configure("operator", level=settings.log_level)
    for chatty in ("kopf", "httpx", "httpx2", "httpcore", "httpcore2", "yoyo", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("kopf.objects").addFilter(_without_settings)
    code = asyncio.run(_run(settings, configuration))
    if code:
        # A thread that still migrates would keep the process, and must not go on beside another operator.
        logging.shutdown()
        os._exit(code)
    return code


def _without_settings(record: logging.LogRecord) -> bool:
    """Every line about an object has all of kopf's settings with it."""
    record.__dict__.pop("settings", None)
    return True


async def _run(settings: OperatorSettings, configuration: Configuration) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with (
        management.serve(settings.management_host, settings.management_port, lambda: True),
        connected(settings.namespace, listed(settings.watch_namespaces)) as cluster,
    ):
        identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        lease = LeaderLease(cluster.client, settings.namespace, identity, settings.lease_duration_s)
        if not await _first(lease.acquire(), stopped.wait()):
            return 0
        if await _lead(settings, configuration, cluster, lease, stopped):
            await lease.release()
            return 0
        return 1


async def _lead(
    settings: OperatorSettings,
    configuration: Configuration,
    cluster: Cluster,
    lease: LeaderLease,
    stopped: asyncio.Event,
) -> bool:
    """Run kopf until it is told to stop; false when the lease was lost or kopf failed."""
    databases = Databases(connections=settings.database_connections)
    operator = asyncio.create_task(_operate(settings, configuration, cluster, databases, stopped))
    holding = asyncio.create_task(lease.hold())
    await asyncio.wait({operator, holding}, return_when=asyncio.FIRST_COMPLETED)
    if holding.done():
        operator.cancel()
        await asyncio.wait({operator}, timeout=_STOP_S)
        return False
    # The pools are not closed: kopf has cancelled every task that began while it ran, and theirs are among them.
    holding.cancel()
    if operator.exception() is not None:
        _log.critical("operator failed", exc_info=operator.exception())
        return False
    return True


async def _operate(
    settings: OperatorSettings,
    configuration: Configuration,
    cluster: Cluster,
    databases: Databases,
    stopped: asyncio.Event,
) -> None:
    if not await _first(bring_about(cluster, configuration), stopped.wait()):
        return
    watched = listed(settings.watch_namespaces)
    registry = kopf.OperatorRegistry()
    register(registry, settings, cluster, databases)
    await kopf.operator(
        registry=registry,
        settings=kopf_settings(),
        standalone=True,
        clusterwide=not watched,
        namespaces=tuple(dict.fromkeys((settings.namespace, *watched))) if watched else (),
        stop_flag=stopped,
    )


def register(
    registry: kopf.OperatorRegistry, settings: OperatorSettings, cluster: Cluster, databases: Databases
) -> None:
    """Tell kopf what to call for which objects."""
    at_once = asyncio.Semaphore(AT_ONCE)
    database = DatabaseReconciler(cluster, databases)
    tenant = TenantReconciler(cluster, databases, settings)
    client = ClientReconciler(cluster, tenant.placement, settings)
    export = ExportReconciler(tenant.placement, settings)
    observer = Observer(databases, settings.drift_interval_s)
    of_databases = Handlers("LedgerDatabase", database.reconcile, database.release, at_once, observe=observer.database)
    of_tenants = Handlers("LedgerTenant", tenant.reconcile, tenant.leave, at_once, observe=observer.tenant)
    of_clients = Handlers("LedgerClient", client.reconcile, client.leave, at_once)
    of_exports = Handlers("LedgerExport", export.reconcile, export.leave, at_once, idle=is_idle)

    def in_own_namespace(*, namespace: str | None, **_: Any) -> bool:
        return namespace == settings.namespace

    def in_another_namespace(*, namespace: str | None, **_: Any) -> bool:
        return namespace != settings.namespace

    drift_s = settings.drift_interval_s
    for plural, handlers, when, every_s in (
        (DATABASES, of_databases, in_own_namespace, drift_s),
        (TENANTS, of_tenants, None, drift_s),
        (CLIENTS, of_clients, None, drift_s),
        (EXPORTS, of_exports, None, min(drift_s, LOOK_S)),
    ):
        options: dict[str, Any] = {"registry": registry, "when": when}
        for on in (kopf.on.create, kopf.on.update, kopf.on.resume):
            on(GROUP, VERSION, plural, id="reconcile", **options)(handlers.changed)
        kopf.on.delete(GROUP, VERSION, plural, id="leave", **options)(handlers.deleted)
        kopf.timer(
            GROUP,
            VERSION,
            plural,
            id="drift",
            interval=every_s,
            initial_delay=partial(_spread_s, every_s),
            **options,
        )(handlers.looked_at)

    @kopf.on.event(GROUP, VERSION, DATABASES, registry=registry, when=in_another_namespace)
    async def misplaced(*, body: kopf.Body, patch: kopf.Patch, type: str | None, **_: Any) -> None:  # noqa: A002
        if type != "DELETED":
            refused = conditions.misplaced(body, settings.namespace, at=datetime.now(UTC))
            if refused != (body.get("status") or {}).get("conditions"):
                patch.status["conditions"] = refused

    @kopf.on.login(registry=registry)
    def log_in(**options: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**options) or kopf.login_with_kubeconfig(**options)


def _spread_s(every_s: float, **_: Any) -> float:
    """How long to wait for the first time, in seconds, so that not all objects are looked at in the same moment."""
    return every_s * random.uniform(0.5, 1)  # noqa: S311 - no secret


def kopf_settings() -> kopf.OperatorSettings:
    """What kopf runs with: bookkeeping below our own prefix, time-outs on everything, no look at CRDs or namespaces."""
    settings = kopf.OperatorSettings()
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=OPERATOR_PREFIX)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(
        prefix=OPERATOR_PREFIX, key="last-handled-configuration"
    )
    settings.watching.server_timeout = _WATCH_S
    settings.watching.client_timeout = _WATCH_S + _REQUEST_S
    settings.watching.connect_timeout = _CONNECT_S
    settings.networking.request_timeout = _REQUEST_S
    settings.networking.connect_timeout = _CONNECT_S
    settings.scanning.disabled = True
    settings.posting.loggers = False
    settings.posting.reporting_component = OPERATOR
    settings.posting.reporting_instance = socket.gethostname()
    settings.posting.event_name_prefix = f"{OPERATOR}-"
    return settings


async def _first(wanted: Any, other: Any) -> bool:
    """Whether `wanted` ends before `other`; what is left of the two is cancelled. Raises what `wanted` raises."""
    tasks = [asyncio.ensure_future(wanted), asyncio.ensure_future(other)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if tasks[0] not in done:
        return False
    await tasks[0]
    return True
