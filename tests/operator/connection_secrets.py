"""What the connection Secret of a tenant is good for."""

from uuid import UUID

import aiohttp

from ledgerx.tenancy import ClientCredentials


def credentials_in(secret: dict[str, str] | None) -> ClientCredentials:
    """The API client in a connection Secret."""
    assert secret is not None
    return ClientCredentials(
        tenant_id=UUID(secret["tenant"]), client_id=secret["client-id"], client_secret=secret["client-secret"]
    )


async def token_status(session: aiohttp.ClientSession, secret: dict[str, str]) -> tuple[int, str | None]:
    """How the API of a session answers a client of a Secret that asks for a token."""
    form = {
        "grant_type": "client_credentials",
        "client_id": secret["client-id"],
        "client_secret": secret["client-secret"],
    }
    async with session.post("/v1/auth/token", data=form) as answer:
        return answer.status, (await answer.json()).get("code")
