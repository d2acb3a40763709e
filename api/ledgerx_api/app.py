"""The composition root of the API."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from uuid import UUID

import psycopg
import structlog
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.static_files import create_static_files_router
from litestar.types import Scope

from ledgerx import __version__
from ledgerx.download_links import DownloadLinks
from ledgerx.errors import ConfigurationError, LedgerError
from ledgerx.export_files import ExportFiles
from ledgerx.keys import Keyset, read_keyset
from ledgerx.outbound import Network, Outbound, OutboundError, checked_url
from ledgerx.passwords import Passwords
from ledgerx.sealing import read_sealing_keys
from ledgerx.trust import Trust, read_trust
from ledgerx.webhooks import networks
from ledgerx_api import access, addresses, metrics, problems, tracing
from ledgerx_api.databases import Databases
from ledgerx_api.downloads import Downloads
from ledgerx_api.event_streams import EventStreams
from ledgerx_api.issuers import FETCH_TIMEOUT_S, Issuer
from ledgerx_api.outside import OutsideTokens
from ledgerx_api.rate_limits import RateLimiter
from ledgerx_api.raw_json import RawJsonPlugin
from ledgerx_api.reference.operation import shown_problems
from ledgerx_api.reference.structs import DescribedStructPlugin
from ledgerx_api.requests import LedgerRequest, database_of
from ledgerx_api.routes import (
    account_changes,
    accounts,
    assets,
    audit,
    auth,
    balances,
    batches,
    categories,
    checkpoints,
    clients,
    events,
    exports,
    health,
    issuer,
    login,
    snapshots,
    statements,
    summaries,
    tenant_settings,
    transactions,
    users,
    webhook_deliveries,
    webhooks,
)
from ledgerx_api.settings import ApiSettings
from ledgerx_api.tokens import Tokens

_log = structlog.get_logger()
_ASSETS = "/docs/assets"
# How long the start waits for databases; without them the process serves all the same, and is not ready.
_DATABASES_WAIT_S = 5
_DESCRIPTION = """\
A multi-tenant double-entry ledger. Amounts are decimal strings in units of the asset, times are RFC 3339 in UTC, lists
come in pages: ask for the next one with `next_cursor` as `cursor`. Requests that move money carry an
`Idempotency-Key`: sent again, they answer with the same transaction. Errors are problem details (RFC 9457) with a
stable `code`."""
_TAGS = {
    "accounts": "What holds money: one asset each, with limits that always hold, balances, lines, statements.",
    "assets": "What can be counted: currencies, and whatever a tenant registers.",
    "audit": "Who did what to users and clients.",
    "auth": "Tokens for services and for people.",
    "balances": "Many accounts together: aggregates, the trial balance, and summaries by period and category.",
    "categories": "What transactions may be labelled with, where a tenant wants to be sure of it.",
    "clients": "Services that may call this API, and their secrets.",
    "events": "The journal as a feed.",
    "exports": "Files of transactions, postings and balances, true at one entry of the journal.",
    "integrity": "Where the journal stands, and how far the projections are.",
    "settings": "What a tenant may choose.",
    "transactions": "Money that moves: posts, holds and what becomes of them, reversals, batches.",
    "users": "People and their roles.",
    "webhooks": "Events posted to URLs, signed and in order.",
}


def create_app(settings: ApiSettings, keyset: Keyset | None = None) -> Litestar:
    """The application. Raises `ConfigurationError` when the keys or a storage cannot be used; `keyset` may be given.

    `state.streams` are the streams to close before its server waits for the end of all requests, and `state.ready()`
    says whether it can answer requests.
    """
    keyset = keyset or read_keyset(settings.keys)
    sealing_keys = None if settings.sealing_keys is None else read_sealing_keys(settings.sealing_keys)
    tokens = Tokens(keyset, issuer=settings.issuer, audience=settings.audience, ttl_s=settings.token_ttl_s)
    databases = Databases(settings)
    trusted_proxies = addresses.networks(settings.trusted_proxies)
    limiter = RateLimiter(settings, trusted_proxies, _own_rate)
    passwords = Passwords()

    issuer_networks = addresses.networks(settings.oidc_networks, "LEDGERX_OIDC_NETWORKS")
    issuer_urls = _issuer_urls(settings, issuer_networks)
    outbound = Outbound(allowed=issuer_networks, timeout_s=FETCH_TIMEOUT_S)
    outside = OutsideTokens([Issuer(url, outbound) for url in issuer_urls], partial(_read_trust, databases))

    def address_of(scope: Scope) -> str | None:
        address = addresses.address_of(scope, trusted_proxies)
        return None if address is None else str(address)

    streams = EventStreams(databases.close_streams, max_streams=settings.event_streams)
    files = None if settings.exports_url is None else ExportFiles(settings.exports_url)
    downloads = Downloads(files, DownloadLinks(keyset), ttl_s=settings.exports_link_ttl_s)

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        serving = asyncio.create_task(databases.run())
        await databases.wait(_DATABASES_WAIT_S)
        _log.info("started", version=__version__)
        yield
        serving.cancel()
        await asyncio.wait({serving})
        await outside.close()
        await outbound.close()
        passwords.close()
        await limiter.close()
        _log.info("drained and stopped")

    return Litestar(
        route_handlers=[
            *auth.routes(databases, tokens, keyset),
            *accounts.routes(),
            *balances.routes(),
            *statements.routes(),
            *snapshots.routes(),
            *summaries.routes(),
            *account_changes.routes(),
            *assets.routes(),
            *categories.routes(),
            *tenant_settings.routes(),
            *login.routes(
                databases,
                tokens,
                passwords,
                default_tenant=settings.default_tenant,
                refresh_token_ttl_s=settings.refresh_token_ttl_s,
                address_of=address_of,
            ),
            *users.routes(passwords, address_of=address_of),
            *clients.routes(address_of=address_of),
            *issuer.routes(outside, allowed_issuers=issuer_urls, address_of=address_of),
            *audit.routes(),
            *webhooks.routes(sealing_keys, networks(settings.webhooks_allow_private), address_of=address_of),
            *webhook_deliveries.routes(address_of=address_of),
            *transactions.routes(),
            *batches.routes(limiter),
            *events.routes(streams, tokens, outside, databases),
            *exports.routes(downloads, databases, max_bytes=settings.exports_tenant_bytes, address_of=address_of),
            *checkpoints.routes(),
            *([] if settings.management_port is not None else health.routes(databases.ready)),
            _swagger_assets(),
        ],
        lifespan=[lifespan],
        state=State({"streams": streams, "ready": databases.ready}),
        middleware=[
            metrics.measured,
            tracing.traced,
            access.authorised_by(tokens, outside, databases),
            limiter.limited,
        ],
        exception_handlers={
            LedgerError: problems.answer,
            HTTPException: problems.answer_http,
            psycopg.Error: problems.answer_database,
            Exception: problems.answer_bug,
        },
        request_class=LedgerRequest,
        request_max_body_size=settings.max_body_bytes,
        openapi_config=_openapi(),
        plugins=[RawJsonPlugin(), DescribedStructPlugin()],
        logging_config=None,
    )


def _issuer_urls(settings: ApiSettings, networks: Sequence[Network]) -> tuple[str, ...]:
    """The issuers of `LEDGERX_OIDC_ISSUERS`. Raises `ConfigurationError`."""
    urls = (settings.oidc_issuers or "").replace(",", " ").split()
    for url in urls:
        try:
            checked_url(url, networks)
        except OutboundError as error:
            raise ConfigurationError(f"LEDGERX_OIDC_ISSUERS: {url}: {error}") from None
    if settings.issuer in urls:
        raise ConfigurationError("LEDGERX_OIDC_ISSUERS: the platform itself is not an issuer outside")
    return tuple(dict.fromkeys(urls))


async def _read_trust(databases: Databases, tenant_id: UUID) -> Trust | None:
    database = await databases.find(tenant_id)
    async with database.pool.connection() as connection:
        record = await read_trust(connection, tenant_id)
    return None if record is None else record.trust


def _own_rate(scope: Scope, tenant_id: UUID) -> int | None:
    """How many requests a second the tenant of a request may send, if it has a limit of its own."""
    return database_of(scope).tenants.requests_per_second(tenant_id)


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="LedgerX",
        version=__version__,
        description=_DESCRIPTION,
        tags=[Tag(name=name, description=description) for name, description in _TAGS.items()],
        path="/docs",
        use_handler_docstrings=True,
        components=Components(
            examples=shown_problems(),
            security_schemes={
                access.SECURITY_SCHEME: SecurityScheme(
                    type="http",
                    scheme="bearer",
                    bearer_format="JWT",
                    description="From POST /v1/auth/login or /v1/auth/token, or of the issuer that the tenant trusts.",
                ),
                access.TENANT_SCHEME: SecurityScheme(
                    type="apiKey",
                    security_scheme_in="header",
                    name=access.TENANT_HEADER,
                    description="The id of the tenant. A token from outside needs it; with a token of the platform it "
                    "may be left out, and must be that of the token's tenant.",
                ),
            },
        ),
        render_plugins=[
            SwaggerRenderPlugin(
                path="/",
                js_url=f"{_ASSETS}/swagger-ui-bundle.js",
                css_url=f"{_ASSETS}/swagger-ui.css",
                standalone_preset_js_url=f"{_ASSETS}/swagger-ui-standalone-preset.js",
                favicon=f"<link rel='icon' type='image/png' href='{_ASSETS}/favicon-32x32.png'>",
            )
        ],
    )


def _swagger_assets() -> Router:
    directory = Path(str(files("swagger_ui") / "static"))
    return create_static_files_router(_ASSETS, directories=[directory], include_in_schema=False)
