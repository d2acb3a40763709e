"""Roles of people, and the scopes that each comes with.

A member has no scope: it reaches what a route opens to members by name, and there only what is its own. So a route
that says nothing about members is closed to them.
"""

from collections.abc import Mapping
from enum import StrEnum

from ledgerx.tenancy import Scope


class Role(StrEnum):
    """What a person is in a tenant."""

    OWNER = "owner"
    OPERATOR = "operator"
    MEMBER = "member"
    AUDITOR = "auditor"


SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.OWNER: frozenset({Scope.ADMIN}),
    Role.OPERATOR: frozenset({Scope.LEDGER_READ, Scope.LEDGER_WRITE, Scope.EXPORTS_WRITE, Scope.WEBHOOKS_WRITE}),
    Role.MEMBER: frozenset(),
    Role.AUDITOR: frozenset({Scope.LEDGER_READ}),
}


def reaches(scopes: frozenset[Scope], role: Role) -> bool:
    """Whether who has `scopes` may make, change or remove people of `role`: nobody hands out more than they have.

    An auditor reads the audit log, which no scope but `admin` opens.
    """
    return Scope.ADMIN in scopes or (role is not Role.AUDITOR and SCOPES[role] <= scopes)
