"""Log-in by password, and what follows from one: a family of refresh tokens, of which the latest alone is good.

- Every attempt is counted before its outcome is known, by tenant and email, for users that do not exist as well: what
  it says and how long it takes tells nobody who exists. From the fifth in a row that failed, each locks the next one
  out for twice as long as the one before, up to 15 minutes.
- A refresh token is good once. Whoever brings a used one has a copy: the family ends, for thief and owner alike.
"""

import hashlib
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid_utils

from ledgerx import audit
from ledgerx.audit import Act, Author
from ledgerx.database import Connection, Pool, Queries, tenant_scope
from ledgerx.emails import Email
from ledgerx.errors import EmailTaken, Forbidden, InvalidCredentials, InvalidGrant, TooManyAttempts
from ledgerx.handles import Handle, Use, new_handle, parse_handle
from ledgerx.passwords import Passwords, checked_password, normal
from ledgerx.roles import Role
from ledgerx.tenancy import registration_allowed, tenant_named
from ledgerx.users import Status, User, insert_user, user_of

FREE_ATTEMPTS = 5
MAX_LOCK_S = 900
FORGET_AFTER_S = 86_400
MAX_FAMILIES = 50

# Holds the attempts at tenants that do not exist.
_NOBODY = UUID(int=0)
_ANONYMOUS = "anonymous"
_people = Queries("ledgerx", "sql/people.sql")
_queries = Queries("ledgerx", "sql/sessions.sql")


class Session(msgspec.Struct, frozen=True):
    """Somebody is logged in: `refresh_token` keeps it so."""

    tenant_id: UUID
    user: User
    refresh_token: str

    def __repr__(self) -> str:
        return f"Session(user={self.user.id})"


class _Attempt(msgspec.Struct, frozen=True):
    """A counted attempt to prove a password: of nobody where there is no such user."""

    tenant_id: UUID
    subject: bytes
    failures: int
    user: User | None
    password_hash: str | None


async def log_in(
    pool: Pool, passwords: Passwords, *, tenant: str, email: Email, password: str, address: str | None, ttl_s: int
) -> Session:
    """Log in for `ttl_s` seconds. Raises `InvalidCredentials`, `TooManyAttempts` and `Overloaded`."""
    async with pool.connection() as connection:
        tenant_id = await tenant_named(connection, tenant)
        attempt = await _count(connection, tenant_id, tenant, email)
    good = await passwords.verify(attempt.password_hash, password)
    fresh_hash = None
    if good and attempt.password_hash and passwords.is_outdated(attempt.password_hash):
        fresh_hash = await passwords.hash(normal(password))
    session = None
    async with pool.connection() as connection:
        if good and attempt.user:
            session = await _open(connection, attempt, attempt.user, address, ttl_s, fresh_hash)
        if session is None and tenant_id is not None:
            who = attempt.user.subject if attempt.user else f"email:{email.shown}"
            await _record_failure(connection, attempt, Author(_ANONYMOUS, address), who)
    if session is None:
        raise InvalidCredentials
    return session


async def refresh(pool: Pool, token: str, *, address: str | None) -> Session:
    """The next refresh token for one that is good, which it is no more. Raises `InvalidGrant`."""
    handle = parse_handle(Use.REFRESH, token)
    async with pool.connection() as connection, tenant_scope(connection, handle.tenant_id):
        session = await _rotate(connection, handle, address)
    if session is None:
        raise InvalidGrant
    return session


async def log_out(pool: Pool, token: str, *, address: str | None) -> None:
    """End the log-in that a refresh token belongs to, if there is one. Raises `InvalidGrant` for what is no token."""
    handle = parse_handle(Use.REFRESH, token)
    key = {"tenant_id": handle.tenant_id, "family_id": handle.id}
    async with pool.connection() as connection, tenant_scope(connection, handle.tenant_id):
        row = await (await connection.execute(_queries.lock_family, key)).fetchone()
        if row is not None:
            act = Act.LOGOUT if handle.matches(row[1]) else Act.REFRESH_REUSED
            await _end(connection, handle, act, row[0], address)


async def register(
    pool: Pool,
    passwords: Passwords,
    *,
    tenant: str,
    email: Email,
    name: str | None,
    password: str,
    address: str | None,
) -> None:
    """Make somebody a member who asks for it. Somebody who is there already is left as is, and nobody is told.

    Raises `Forbidden` where the tenant, if there is one, does not allow it, `InvalidField` and `Overloaded`.
    """
    checked = checked_password(password)
    async with pool.connection() as connection:
        tenant_id = await tenant_named(connection, tenant)
        if tenant_id is None or not await registration_allowed(connection, tenant_id):
            raise Forbidden("this tenant does not take registrations")
    password_hash = await passwords.hash(checked)
    user_id = uuid_utils.uuid7()
    async with pool.connection() as connection:
        try:
            await insert_user(
                connection,
                tenant_id,
                user_id,
                email=email,
                name=name,
                role=Role.MEMBER,
                password_hash=password_hash,
                act=Act.USER_REGISTERED,
                author=Author(f"user:{user_id}", address),
            )
        except EmailTaken:
            return


async def change_password(
    pool: Pool, passwords: Passwords, tenant_id: UUID, user_id: UUID, *, current: str, new: str, author: Author
) -> None:
    """Set another password and end all log-ins of the user.

    Raises `NotFound` for a user who is gone, `InvalidField`, `InvalidCredentials`, `TooManyAttempts` and `Overloaded`.
    """
    checked = checked_password(new)
    key = {"tenant_id": tenant_id, "user_id": user_id}
    async with pool.connection() as connection:
        async with tenant_scope(connection, tenant_id, read_only=True):
            cursor = await connection.execute(_people.user, key)
        user = user_of(await cursor.fetchone())
        attempt = await _count(connection, tenant_id, "", user.email)
    if not await passwords.verify(attempt.password_hash, current):
        async with pool.connection() as connection:
            await _record_failure(connection, attempt, author, user.subject)
        raise InvalidCredentials
    new_hash = await passwords.hash(checked)
    async with pool.connection() as connection, tenant_scope(connection, tenant_id):
        changed = await _set_password(connection, key, new_hash, replaces=attempt.password_hash)
        if not changed:
            raise InvalidCredentials
        await audit.record(connection, tenant_id, Act.PASSWORD_CHANGED, author, user.subject)


async def reset_password(pool: Pool, passwords: Passwords, token: str, *, password: str, address: str | None) -> None:
    """Set a password with a password token, which is used up, and end all log-ins of the user.

    Raises `InvalidGrant`, `InvalidField` and `Overloaded`.
    """
    checked = checked_password(password)
    handle = parse_handle(Use.PASSWORD, token)
    key = {"tenant_id": handle.tenant_id, "user_id": handle.id}
    async with pool.connection() as connection:
        async with tenant_scope(connection, handle.tenant_id, read_only=True):
            cursor = await connection.execute(_people.password_token, key)
        row = await cursor.fetchone()
    # Nobody without a token has a password hashed.
    if row is None or not handle.matches(row[0]):
        raise InvalidGrant
    password_hash = await passwords.hash(checked)
    async with pool.connection() as connection, tenant_scope(connection, handle.tenant_id):
        # Everywhere the user's row is locked before the rows of the user's tokens.
        if not await _set_password(connection, key, password_hash, replaces=None):
            raise InvalidGrant
        used = await connection.execute(_people.take_password_token, {**key, "token_sha256": handle.sha256})
        if await used.fetchone() is None:
            raise InvalidGrant
        subject = f"user:{handle.id}"
        await audit.record(connection, handle.tenant_id, Act.PASSWORD_RESET, Author(subject, address), subject)


async def _count(connection: Connection, tenant_id: UUID | None, tenant: str, email: Email) -> _Attempt:
    """Count an attempt and find whose it is. Raises `TooManyAttempts`, also for a user that does not exist."""
    scope_id = tenant_id or _NOBODY
    subject = _subject(tenant_id, tenant, email.key)
    parameters = {
        "tenant_id": scope_id,
        "subject": subject,
        "email_key": email.key,
        "free": FREE_ATTEMPTS,
        "max_lock_s": MAX_LOCK_S,
        "forget_s": FORGET_AFTER_S,
    }
    async with tenant_scope(connection, scope_id):
        counted = await connection.execute(_queries.claim_attempt, parameters)
        left = await connection.execute(_queries.lock_left, parameters)
        await connection.execute(_queries.forget_attempts, parameters)
        found = await connection.execute(_people.user_by_email, parameters)
    count, row, lock = await counted.fetchone(), await found.fetchone(), await left.fetchone()
    if count is None:
        raise TooManyAttempts("wait before you try again", retry_after_s=lock[0] if lock else 1)
    user = user_of(row) if row else None
    password_hash = row[-1] if row and user and user.status is Status.ACTIVE else None
    return _Attempt(scope_id, subject, count[0], user, password_hash)


async def _open(
    connection: Connection, attempt: _Attempt, user: User, address: str | None, ttl_s: int, fresh_hash: str | None
) -> Session | None:
    """The session of a user whose password was right, unless that or the user changed meanwhile."""
    tenant_id = attempt.tenant_id
    key = {"tenant_id": tenant_id, "user_id": user.id}
    handle = new_handle(tenant_id, uuid_utils.uuid7())
    async with tenant_scope(connection, tenant_id):
        row = await (await connection.execute(_queries.lock_user, key)).fetchone()
        if row != (attempt.password_hash, Status.ACTIVE):
            return None
        if fresh_hash is not None:
            replacing = {**key, "password_hash": fresh_hash, "replaces": attempt.password_hash}
            await connection.execute(_people.set_password, replacing)
        await connection.execute(_queries.delete_oldest_families, {**key, "keep": MAX_FAMILIES - 1})
        family = {**key, "family_id": handle.id, "token_sha256": handle.sha256, "ttl_s": ttl_s}
        await connection.execute(_queries.insert_family, family)
        await connection.execute(_queries.clear_attempts, {"tenant_id": tenant_id, "subject": attempt.subject})
        await audit.record(connection, tenant_id, Act.LOGIN, Author(user.subject, address), user.subject)
    return Session(tenant_id, user, handle.token(Use.REFRESH))


async def _record_failure(connection: Connection, attempt: _Attempt, author: Author, subject: str) -> None:
    act = Act.LOGIN_LOCKED if attempt.failures >= FREE_ATTEMPTS else Act.LOGIN_FAILED
    async with tenant_scope(connection, attempt.tenant_id):
        await audit.record(connection, attempt.tenant_id, act, author, subject)


async def _rotate(connection: Connection, handle: Handle, address: str | None) -> Session | None:
    """The next session of a family; None when it ended, now or before."""
    tenant_id = handle.tenant_id
    family = {"tenant_id": tenant_id, "family_id": handle.id}
    row = await (await connection.execute(_queries.lock_family, family)).fetchone()
    if row is None:
        return None
    user_id, token_sha256, is_expired = row
    if not handle.matches(token_sha256):
        await _end(connection, handle, Act.REFRESH_REUSED, user_id, address)
        return None
    if is_expired:
        await connection.execute(_queries.delete_family, family)
        return None
    # Without a lock of the user: who is suspended meanwhile loses this family to that transaction.
    found = await connection.execute(_people.user, {"tenant_id": tenant_id, "user_id": user_id})
    user = user_of(await found.fetchone())
    fresh = new_handle(tenant_id, handle.id)
    await connection.execute(_queries.rotate_family, {**family, "token_sha256": fresh.sha256})
    return Session(tenant_id, user, fresh.token(Use.REFRESH))


async def _end(connection: Connection, handle: Handle, act: Act, user_id: UUID, address: str | None) -> None:
    subject = f"user:{user_id}"
    actor = subject if act is Act.LOGOUT else _ANONYMOUS
    await connection.execute(_queries.delete_family, {"tenant_id": handle.tenant_id, "family_id": handle.id})
    await audit.record(connection, handle.tenant_id, act, Author(actor, address), subject)


async def _set_password(
    connection: Connection, key: dict[str, UUID], password_hash: str, *, replaces: str | None
) -> bool:
    """Set a password, end the user's log-ins, and take back failed attempts; False when there is none to replace."""
    cursor = await connection.execute(
        _people.set_password, {**key, "password_hash": password_hash, "replaces": replaces}
    )
    row = await cursor.fetchone()
    if row is None:
        return False
    await connection.execute(_people.delete_families, key)
    subject = _subject(key["tenant_id"], "", row[0])
    await connection.execute(_queries.clear_attempts, {"tenant_id": key["tenant_id"], "subject": subject})
    return True


def _subject(tenant_id: UUID | None, tenant: str, email_key: str) -> bytes:
    """What attempts are counted by; the name of a tenant tells those apart that do not exist."""
    return hashlib.sha256(f"{tenant_id or tenant}\0{email_key}".encode()).digest()
