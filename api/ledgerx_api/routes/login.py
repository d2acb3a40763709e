"""Log-in of people: passwords for tokens, tokens for the next ones, and the ways out and in."""

from typing import Any

from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from ledgerx import sessions
from ledgerx.emails import parse_email
from ledgerx.errors import InvalidField
from ledgerx.handles import Use, parse_handle
from ledgerx.passwords import Passwords
from ledgerx.roles import SCOPES
from ledgerx.sessions import Session
from ledgerx_api import schemas_people as schemas
from ledgerx_api.access import OPEN_TO_ALL
from ledgerx_api.body import JsonBody
from ledgerx_api.databases import Databases, TenantDatabase
from ledgerx_api.origin import AddressOf
from ledgerx_api.tokens import Principal, Tokens

_AUTH = "/v1/auth"
_OPEN: dict[str, Any] = {"return_dto": None, "tags": ["auth"], **OPEN_TO_ALL}


def routes(
    databases: Databases,
    tokens: Tokens,
    passwords: Passwords,
    *,
    default_tenant: str | None,
    refresh_token_ttl_s: int,
    address_of: AddressOf,
) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    def tenant_of(data: schemas.LogIn) -> str:
        tenant = data.tenant or default_tenant
        if tenant is None:
            raise InvalidField("name the tenant")
        return tenant

    async def of_token(use: Use, token: str) -> TenantDatabase:
        return await databases.find(parse_handle(use, token).tenant_id)

    def answer(database: TenantDatabase, session: Session) -> Response[schemas.Tokens]:
        database.tenants.check(session.tenant_id)
        scopes, user = SCOPES[session.user.role], session.user
        return Response(
            schemas.Tokens(
                access_token=tokens.sign(Principal(session.tenant_id, user.subject, scopes, user.role)),
                refresh_token=session.refresh_token,
                token_type="Bearer",  # noqa: S106 - the name of the scheme
                expires_in=tokens.ttl_s,
                scope=" ".join(sorted(scopes)),
            ),
            headers={"Cache-Control": "no-store"},
        )

    @post(
        f"{_AUTH}/login",
        status_code=200,
        dto=JsonBody[schemas.LogIn],
        operation_id="logIn",
        **_OPEN,
    )
    async def log_in(request: Request[Any, Any, Any], data: schemas.LogIn) -> Response[schemas.Tokens]:
        """Log in with email and password.

        From the fifth attempt in a row that fails, each locks the next one out for twice as long, up to 15 minutes.
        """
        tenant = tenant_of(data)
        database = await databases.find(tenant)
        session = await sessions.log_in(
            database.pool,
            passwords,
            tenant=tenant,
            email=parse_email(data.email),
            password=data.password,
            address=address_of(request.scope),
            ttl_s=refresh_token_ttl_s,
        )
        return answer(database, session)

    @post(
        f"{_AUTH}/refresh",
        status_code=200,
        dto=JsonBody[schemas.RefreshToken],
        operation_id="refreshTokens",
        **_OPEN,
    )
    async def refresh(request: Request[Any, Any, Any], data: schemas.RefreshToken) -> Response[schemas.Tokens]:
        """Get the next tokens for a refresh token, which is good once: bringing a used one ends the log-in."""
        database = await of_token(Use.REFRESH, data.refresh_token)
        session = await sessions.refresh(database.pool, data.refresh_token, address=address_of(request.scope))
        return answer(database, session)

    @post(
        f"{_AUTH}/logout",
        status_code=204,
        dto=JsonBody[schemas.RefreshToken],
        operation_id="logOut",
        **_OPEN,
    )
    async def log_out(request: Request[Any, Any, Any], data: schemas.RefreshToken) -> None:
        """End the log-in that a refresh token belongs to; access tokens live out their minutes."""
        database = await of_token(Use.REFRESH, data.refresh_token)
        await sessions.log_out(database.pool, data.refresh_token, address=address_of(request.scope))

    @post(
        f"{_AUTH}/register",
        status_code=202,
        dto=JsonBody[schemas.Registration],
        operation_id="register",
        **_OPEN,
    )
    async def register(request: Request[Any, Any, Any], data: schemas.Registration) -> schemas.Registered:
        """Become a member of a tenant that allows it. The answer is the same where the email is taken."""
        tenant = tenant_of(data)
        database = await databases.find(tenant)
        await sessions.register(
            database.pool,
            passwords,
            tenant=tenant,
            email=parse_email(data.email),
            name=data.name,
            password=data.password,
            address=address_of(request.scope),
        )
        return schemas.Registered()

    @post(
        f"{_AUTH}/password-reset",
        status_code=204,
        dto=JsonBody[schemas.PasswordReset],
        operation_id="resetPassword",
        **_OPEN,
    )
    async def reset_password(request: Request[Any, Any, Any], data: schemas.PasswordReset) -> None:
        """Set a password with a password token, which is good once. It ends all log-ins of the user."""
        database = await of_token(Use.PASSWORD, data.token)
        await sessions.reset_password(
            database.pool, passwords, data.token, password=data.password, address=address_of(request.scope)
        )

    return [log_in, refresh, log_out, register, reset_password]
