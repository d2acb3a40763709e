"""People of a tenant."""

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from ledgerx import sessions, users
from ledgerx.emails import parse_email
from ledgerx.errors import NotFound
from ledgerx.passwords import Passwords, checked_password
from ledgerx.roles import Role
from ledgerx.tenancy import Scope
from ledgerx_api import paging
from ledgerx_api import schemas_people as schemas
from ledgerx_api.access import requires
from ledgerx_api.body import JsonBody
from ledgerx_api.origin import AddressOf, author
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.preconditions import IfMatch, etag, versions
from ledgerx_api.requests import LedgerRequest

UserId = Annotated[UUID, Parameter(description="The user's id.")]
_USERS = "/v1/users"
_USER = _USERS + "/{user_id:uuid}"


def routes(passwords: Passwords, *, address_of: AddressOf) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @post(
        _USERS,
        dto=JsonBody[schemas.NewUser],
        return_dto=None,
        tags=["users"],
        operation_id="createUser",
        **requires(Scope.USERS_WRITE),
    )
    async def create_user(request: LedgerRequest, data: schemas.NewUser) -> Response[schemas.User]:
        """Make a user, of a role within one's own scopes."""
        email = parse_email(data.email)
        password_hash = None if data.password is None else await passwords.hash(checked_password(data.password))
        async with request.pool.connection() as connection:
            user = await users.create_user(
                connection,
                request.user.tenant_id,
                email=email,
                role=data.role,
                name=data.name,
                password_hash=password_hash,
                scopes=request.user.scopes,
                author=author(request, address_of),
            )
        return Response(schemas.user(user), headers=etag(user.version) | {"Location": f"{_USERS}/{user.id}"})

    @get(_USERS, tags=["users"], operation_id="listUsers", **requires(Scope.USERS_WRITE, roles=[Role.AUDITOR]))
    async def list_users(
        request: LedgerRequest,
        email: Annotated[str | None, Parameter(max_length=254, description="The user with this email only.")] = None,
        limit: Limit = None,
        cursor: CursorParameter = None,
    ) -> Page[schemas.User]:
        """List users in the order in which they came."""
        wanted = None if email is None else parse_email(email)
        here = paging.start(_USERS, cursor, limit, first=users.FIRST, position=UUID)
        async with request.pool.connection() as connection:
            found = await users.read_users(
                connection, request.user.tenant_id, after=here.position, limit=here.limit + 1, email=wanted
            )
        return paging.page(here, found, schemas.user, lambda last: last.id)

    @get(_USERS + "/me", tags=["users"], operation_id="getMe", **requires(None, roles=Role))
    async def get_me(request: LedgerRequest) -> Response[schemas.User]:
        """Get who is logged in."""
        return await _show(request, _me(request))

    @get(_USER, tags=["users"], operation_id="getUser", **requires(Scope.USERS_WRITE, roles=[Role.AUDITOR]))
    async def get_user(request: LedgerRequest, user_id: UserId) -> Response[schemas.User]:
        """Get a user."""
        return await _show(request, user_id)

    @patch(
        _USER,
        dto=JsonBody[schemas.UserChanges],
        return_dto=None,
        tags=["users"],
        operation_id="changeUser",
        **requires(Scope.USERS_WRITE),
    )
    async def change_user(
        request: LedgerRequest, user_id: UserId, data: schemas.UserChanges, if_match: IfMatch = None
    ) -> Response[schemas.User]:
        """Change a user whose role is, and stays, within one's own scopes. Access tokens live out their minutes."""
        changes = schemas.changes(data)
        async with request.pool.connection() as connection:
            user = await users.change_user(
                connection,
                request.user.tenant_id,
                user_id,
                changes,
                versions=versions(if_match),
                scopes=request.user.scopes,
                author=author(request, address_of),
            )
        return Response(schemas.user(user), headers=etag(user.version))

    @delete(_USER, tags=["users"], operation_id="deleteUser", **requires(Scope.USERS_WRITE))
    async def delete_user(request: LedgerRequest, user_id: UserId, if_match: IfMatch = None) -> None:
        """Remove a user, and end all log-ins. Access tokens live out their minutes."""
        async with request.pool.connection() as connection:
            await users.delete_user(
                connection,
                request.user.tenant_id,
                user_id,
                versions=versions(if_match),
                scopes=request.user.scopes,
                author=author(request, address_of),
            )

    @post(
        _USERS + "/me/password",
        status_code=204,
        dto=JsonBody[schemas.PasswordChange],
        return_dto=None,
        tags=["users"],
        operation_id="changePassword",
        **requires(None, roles=Role),
    )
    async def change_password(request: LedgerRequest, data: schemas.PasswordChange) -> None:
        """Change one's own password. It ends all log-ins, this one too."""
        await sessions.change_password(
            request.pool,
            passwords,
            request.user.tenant_id,
            _me(request),
            current=data.current_password,
            new=data.new_password,
            author=author(request, address_of),
        )

    @post(
        _USER + "/password-reset",
        tags=["users"],
        operation_id="createPasswordToken",
        **requires(Scope.USERS_WRITE),
    )
    async def create_password_token(request: LedgerRequest, user_id: UserId) -> Response[schemas.PasswordToken]:
        """Get a token to hand over to a user, who may set a password with it once within a day."""
        async with request.pool.connection() as connection:
            token, expires_at = await users.issue_password_token(
                connection,
                request.user.tenant_id,
                user_id,
                scopes=request.user.scopes,
                author=author(request, address_of),
            )
        return Response(
            schemas.PasswordToken(token=token, expires_at=expires_at), headers={"Cache-Control": "no-store"}
        )

    async def _show(request: LedgerRequest, user_id: UUID) -> Response[schemas.User]:
        async with request.pool.connection() as connection:
            user = await users.read_user(connection, request.user.tenant_id, user_id)
        return Response(schemas.user(user), headers=etag(user.version))

    return [
        create_user,
        list_users,
        get_me,
        get_user,
        change_user,
        delete_user,
        change_password,
        create_password_token,
    ]


def _me(request: LedgerRequest) -> UUID:
    """The user who asks. Raises `NotFound` for who comes with a token from outside."""
    user_id = request.user.user_id
    if user_id is None:
        raise NotFound("who comes with a token from outside is no user here")
    return user_id
