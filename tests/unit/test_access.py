"""The table of routes, scopes and roles."""

from pathlib import Path

import pytest

from ledgerx.roles import SCOPES, Role, reaches
from ledgerx.tenancy import Scope
from ledgerx_api.access import OPT, Access
from tests.routes import documented_roles, documented_routes, new_app, routes_of

EVERYTHING_BUT_ADMIN = frozenset(Scope) - {Scope.ADMIN}


def row(name: str, access: Access | None) -> str:
    scope = "open" if access is None else f"`{access.scope}`" if access.scope else ""
    roles = ", ".join(sorted(access.roles)) if access else ""
    return " | ".join(["", f"`{name}`", scope, roles, ""]).strip().replace("|  |", "| |")


def test_the_documented_table_is_that_of_the_application(tmp_path: Path) -> None:
    table = {str(route): route.handler.opt.get(OPT) for route in routes_of(new_app(tmp_path))}
    documented = {
        name: None
        if wanted.is_open
        else Access(Scope(wanted.scope) if wanted.scope else None, frozenset(map(Role, wanted.roles)))
        for name, wanted in documented_routes().items()
    }
    wrong = table.keys() ^ documented.keys() | {
        name for name, access in table.items() if documented.get(name) != access
    }
    assert wrong == set(), "docs/access.md needs these rows:\n" + "\n".join(
        row(name, access) for name, access in table.items()
    )


def test_the_documented_roles_are_those_of_the_code() -> None:
    assert documented_roles() == {role.value: frozenset(map(str, scopes)) for role, scopes in SCOPES.items()}


def test_no_role_but_the_owners_is_admin() -> None:
    assert [role for role, scopes in SCOPES.items() if Scope.ADMIN in scopes] == [Role.OWNER]


@pytest.mark.parametrize("role", Role)
def test_who_has_no_scope_reaches_members_only(role: Role) -> None:
    assert reaches(frozenset(), role) == (role is Role.MEMBER)
    assert reaches(EVERYTHING_BUT_ADMIN, role) == (role in (Role.MEMBER, Role.OPERATOR))
    assert reaches(frozenset({Scope.ADMIN}), role)
