"""Where a request comes from, for the audit log."""

from collections.abc import Callable
from typing import Any, TypeAlias

from litestar import Request
from litestar.types import Scope

from ledgerx.audit import Author
from ledgerx_api.tokens import Principal

# The network address of the client of a request, if it is known.
AddressOf: TypeAlias = Callable[[Scope], str | None]


def author(request: Request[Principal, Any, Any], address_of: AddressOf) -> Author:
    """Who acts by a request."""
    return Author(request.user.actor, address_of(request.scope))
