"""Tokens for services (OAuth 2 client credentials, RFC 6749 4.4) and the keys that verify them."""

import base64
import binascii
from typing import Annotated, Any
from urllib.parse import unquote_plus

import msgspec
from litestar import Request, Response, get, post
from litestar.enums import RequestEncodingType
from litestar.handlers import HTTPRouteHandler
from litestar.params import Body

from ledgerx.errors import InvalidClient, InvalidScope, UnsupportedGrantType
from ledgerx.keys import Keyset
from ledgerx.tenancy import Scope, authenticate_client, tenant_of_client
from ledgerx_api.access import OPEN_TO_ALL
from ledgerx_api.databases import Databases
from ledgerx_api.tokens import Principal, Tokens


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The form of a token request; the client's id and secret may come by HTTP Basic instead."""

    grant_type: str
    scope: str = ""
    client_id: str = ""
    client_secret: str = ""


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 6749, 5.1."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


def routes(databases: Databases, tokens: Tokens, keyset: Keyset) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @post("/v1/auth/token", status_code=200, tags=["auth"], operation_id="createToken", **OPEN_TO_ALL)
    async def create_token(
        request: Request[Any, Any, Any],
        data: Annotated[TokenRequest, Body(media_type=RequestEncodingType.URL_ENCODED)],
    ) -> Response[TokenAnswer]:
        """Get an access token with the id and secret of an API client, by HTTP Basic or in the form."""
        if data.grant_type != "client_credentials":
            raise UnsupportedGrantType(f'"{data.grant_type[:64]}" is not client_credentials')
        client_id, client_secret = _basic(request.headers.get("authorization")) or (data.client_id, data.client_secret)
        database = await databases.find(tenant_of_client(client_id))
        async with database.pool.connection() as connection:
            tenant_id, granted = await authenticate_client(connection, client_id, client_secret)
        database.tenants.check(tenant_id)
        wanted = frozenset(data.scope.split()) or granted
        if not wanted <= granted:
            raise InvalidScope(f"this client may ask for: {' '.join(sorted(granted))}")
        scopes = frozenset(map(Scope, wanted))
        token = tokens.sign(Principal(tenant_id, f"client:{client_id}", scopes))
        return Response(
            TokenAnswer(
                access_token=token,
                token_type="Bearer",  # noqa: S106 - the name of the scheme
                expires_in=tokens.ttl_s,
                scope=" ".join(sorted(scopes)),
            ),
            headers={"Cache-Control": "no-store"},
        )

    @get("/.well-known/jwks.json", tags=["auth"], operation_id="getKeys", **OPEN_TO_ALL)
    async def get_keys() -> dict[str, list[dict[str, str]]]:
        """The public keys of access tokens (JWK set, RFC 7517)."""
        return keyset.jwks()

    return [create_token, get_keys]


def _basic(header: str | None) -> tuple[str, str] | None:
    """The id and secret of HTTP Basic, form-encoded within as RFC 6749 2.3.1 wants it."""
    scheme, _, credentials = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeError):
        raise InvalidClient from None
    return unquote_plus(client_id), unquote_plus(secret)
