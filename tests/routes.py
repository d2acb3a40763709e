"""The routes of the application, and who may call them by docs/access.md."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from ledgerx.keys import write_new_keyset
from ledgerx.settings import Secret
from ledgerx_api.app import create_app
from ledgerx_api.settings import ApiSettings

ACCESS = Path(__file__).parents[1] / "docs" / "access.md"
# What is there beside the routes of ours: the reference and its assets, open to all.
REFERENCE = "/docs"


class Route(msgspec.Struct, frozen=True):
    """A route and its handler, such as `GET /v1/users/{user_id}`."""

    method: str
    path: str
    handler: HTTPRouteHandler

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Wanted(msgspec.Struct, frozen=True):
    """What docs/access.md says of a route: `scope` is None where none reaches it; who is open asks for nothing."""

    is_open: bool
    scope: str | None
    roles: frozenset[str]


def new_app(directory: Path, **settings: str) -> Litestar:
    """The application, not connected to anything."""
    keys = directory / "keys.json"
    write_new_keyset(keys)
    # Litestar 2 announces what its version 3, which is not asked for, will want otherwise.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return create_app(ApiSettings(database_url=Secret("postgresql://nowhere"), keys=keys, **settings))  # type: ignore[arg-type]


def routes_of(app: Litestar) -> Iterator[Route]:
    """Our routes, in order."""
    routes = [route for route in app.routes if isinstance(route, HTTPRoute) and not route.path.startswith(REFERENCE)]
    for route in sorted(routes, key=lambda route: route.path_format):
        for method, (handler, _) in sorted(route.route_handler_map.items()):
            if method != "OPTIONS":
                yield Route(method, route.path_format, handler)


def documented_routes() -> dict[str, Wanted]:
    """The table of routes."""
    found = {}
    for route, scope, roles in _rows("Routes"):
        names = frozenset(name.strip() for name in roles.split(",") if name.strip())
        found[route] = Wanted(scope == "open", scope if scope not in ("open", "") else None, names)
    return found


def documented_roles() -> Mapping[str, frozenset[str]]:
    """The scopes of each role."""
    return {role: frozenset(scopes.replace(",", " ").split()) for role, scopes, _ in _rows("Roles")}


def _rows(section: str) -> Iterator[list[str]]:
    text = ACCESS.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip().replace("`", "") for cell in line.split("|")[1:-1]]
