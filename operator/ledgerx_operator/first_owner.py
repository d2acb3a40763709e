"""The first owner of a tenant, whose first password is handed over in the connection Secret.

The Secret gets the password before the database gets its hash: whatever ends the operator in between, the next look
finds the password and no owner, and goes on. A tenant that has an owner never gets another one from here.
"""

import secrets
from typing import Self
from uuid import UUID

import msgspec

from ledgerx import users
from ledgerx.audit import SYSTEM
from ledgerx.database import Connection
from ledgerx.emails import Email, parse_email
from ledgerx.passwords import Passwords
from ledgerx.roles import Role
from ledgerx.tenancy import Scope
from ledgerx_operator.binding import decoded
from ledgerx_operator.cluster import Cluster
from ledgerx_operator.specs import BootstrapUser

_EMAIL, _PASSWORD = "bootstrap-email", "bootstrap-password"


class FirstOwner(msgspec.Struct, frozen=True):
    """Who is to be the first owner, with a password while it is known; `missing` where the tenant has no owner yet."""

    email: Email
    password: str | None
    missing: bool

    @classmethod
    async def of(
        cls, cluster: Cluster, connection: Connection, tenant_id: UUID, wanted: BootstrapUser, secret: tuple[str, str]
    ) -> Self:
        """Find out; `secret` is the namespace and the name of the connection Secret. Raises `InvalidField`."""
        email = parse_email(wanted.email)
        held = decoded(await cluster.read_secret(*secret))
        missing = not await users.has_owner(connection, tenant_id)
        password = held.get(_PASSWORD) if held.get(_EMAIL) == email.shown else None
        return cls(email, password or (secrets.token_urlsafe(24) if missing else None), missing)

    @property
    def data(self) -> dict[str, str]:
        """What the connection Secret says of it."""
        return {_EMAIL: self.email.shown} | ({_PASSWORD: self.password} if self.password else {})

    async def make(self, connection: Connection, tenant_id: UUID, passwords: Passwords) -> None:
        """Make the user where there is no owner, once the Secret has the password. Raises `EmailTaken`."""
        if not self.missing or self.password is None:
            return
        await users.create_user(
            connection,
            tenant_id,
            email=self.email,
            role=Role.OWNER,
            password_hash=await passwords.hash(self.password),
            scopes=frozenset({Scope.ADMIN}),
            author=SYSTEM,
        )
