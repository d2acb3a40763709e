"""The composition root of the API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

import psycopg
import structlog
from litestar import Litestar, Router
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.static_files import create_static_files_router

from ledgerx import __version__, database
from ledgerx.engine import Engine
from ledgerx.errors import LedgerError
from ledgerx.keys import read_keyset
from ledgerx.partitions import keep_partitions_ahead
from ledgerx_api import access, metrics, problems, tracing
from ledgerx_api.routes import accounts, auth, balances, health, statements, summaries, transactions
from ledgerx_api.settings import ApiSettings
from ledgerx_api.tokens import Tokens

_log = structlog.get_logger()
_ASSETS = "/docs/assets"


def create_app(settings: ApiSettings) -> Litestar:
    """The application. Raises `ConfigurationError` when the keyset cannot be read."""
    keyset = read_keyset(settings.keys)
    tokens = Tokens(keyset, issuer=settings.issuer, audience=settings.audience, ttl_s=settings.token_ttl_s)
    pool = database.pool(
        settings.database_url.reveal(), application_name="ledgerx-api", max_size=settings.database_connections
    )
    engine = Engine(pool)

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        await pool.open()
        partitions = asyncio.create_task(keep_partitions_ahead(pool.connection))
        _log.info("started", version=__version__)
        yield
        partitions.cancel()
        await engine.drain()
        await pool.close()
        _log.info("drained and stopped")

    return Litestar(
        route_handlers=[
            *auth.routes(pool, tokens, keyset),
            *accounts.routes(pool, engine),
            *balances.routes(pool),
            *statements.routes(pool),
            *summaries.routes(pool),
            *transactions.routes(pool, engine),
            *health.routes(pool),
            _swagger_assets(),
        ],
        lifespan=[lifespan],
        middleware=[metrics.measured, tracing.traced, access.authorised_by(tokens)],
        exception_handlers={
            LedgerError: problems.answer,
            HTTPException: problems.answer_http,
            psycopg.Error: problems.answer_database,
            Exception: problems.answer_bug,
        },
        request_max_body_size=settings.max_body_bytes,
        openapi_config=_openapi(),
        logging_config=None,
    )


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="LedgerX",
        version=__version__,
        description="A multi-tenant double-entry ledger.",
        path="/docs",
        use_handler_docstrings=True,
        components=Components(
            security_schemes={
                access.SECURITY_SCHEME: SecurityScheme(
                    type="http", scheme="bearer", bearer_format="JWT", description="From POST /v1/auth/token."
                )
            }
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
