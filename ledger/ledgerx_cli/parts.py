"""The platform's own parts as `ledgerx up` runs them, and what each is told."""

import asyncio
import sys
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ledgerx.logins import Database
from ledgerx_cli import demo
from ledgerx_cli.ports import LOOPBACK, free_ports
from ledgerx_cli.supervisor import Part
from ledgerx_cli.up_settings import OwnPart, Plan

_READY_TIMEOUT_S = 2
_START_TIMEOUT_S = 60
# Longer than a part takes to finish the work in hand.
_STOP_TIMEOUT_S = 30
# Databases that somebody else migrates are ready when they are ready.
_PATIENCE_S = 600


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts of a plan run in: their log-ins, or a folder with those of each part, a broker and files."""

    plan: Plan
    databases: Database | Path
    kafka: str | None
    exports: Path
    keys: Path
    sealing_keys: Path
    checkpoint_keys: Path


def management_urls(plan: Plan) -> dict[OwnPart, str]:
    """Where each of the plan's own parts says whether it is ready; on free ports but for the API."""
    ports = free_ports(*(0 for _ in plan.own_parts))
    return {
        name: plan.base_url if name == "api" else f"http://{LOOPBACK}:{port}"
        for name, port in zip(plan.own_parts, ports, strict=True)
    }


def own_part(name: OwnPart, around: Surroundings, management_url: str) -> Part:
    """One of the platform's own parts."""
    return Part(
        name=name,
        # -P: a directory below the current one must not be taken for a package.
        command=(sys.executable, "-P", "-m", "ledgerx_cli", name),
        environment=_environment(name, around, management_url),
        ready=partial(asyncio.to_thread, _is_ready, management_url),
        start_timeout_s=_PATIENCE_S if isinstance(around.databases, Path) else _START_TIMEOUT_S,
        stop_timeout_s=_STOP_TIMEOUT_S,
    )


def _environment(name: OwnPart, around: Surroundings, management_url: str) -> dict[str, str]:
    plan = around.plan
    told = _logins(name, around.databases)
    if name != "relay":
        told |= {
            "LEDGERX_EXPORTS_URL": around.exports.as_uri(),
            "LEDGERX_SEALING_KEYS": str(around.sealing_keys),
            "LEDGERX_WEBHOOKS_ALLOW_PRIVATE": str(plan.settings.webhooks_allow_private),
        }
    if name == "api":
        return told | {
            "LEDGERX_HOST": plan.host,
            "LEDGERX_PORT": str(plan.port),
            "LEDGERX_KEYS": str(around.keys),
            "LEDGERX_ISSUER": plan.settings.issuer or plan.base_url,
        }
    if name == "streams":
        told["LEDGERX_CHECKPOINT_KEYS"] = str(around.checkpoint_keys)
    return told | {
        "LEDGERX_KAFKA": str(around.kafka),
        "LEDGERX_MANAGEMENT_PORT": str(urlsplit(management_url).port),
    }


def _logins(name: OwnPart, databases: Database | Path) -> dict[str, str]:
    if isinstance(databases, Path):
        told = {"LEDGERX_DATABASES": str(databases / name)}
        return told | ({"LEDGERX_ENGINE_DATABASES": str(databases / "api")} if name == "streams" else {})
    match name:
        case "relay":
            return {"LEDGERX_DATABASE_URL": databases.relay_url}
        case "streams":
            return {
                "LEDGERX_DATABASE_URL": databases.streams_url,
                "LEDGERX_ENGINE_DATABASE_URL": databases.api_url,
            }
        case "api":
            return {"LEDGERX_DATABASE_URL": databases.api_url, "LEDGERX_DEFAULT_TENANT": demo.TENANT}


def _is_ready(management_url: str) -> bool:
    connection = HTTPConnection(urlsplit(management_url).netloc, timeout=_READY_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
