"""A client of the HTTP API that speaks for one tenant."""

import io
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from ledgerx.database import connect
from ledgerx.logins import Database
from ledgerx.tenancy import ClientCredentials, Scope, create_client, create_tenant

# What was answered in this session: method, path, status, and the code of a problem.
ANSWERED: set[tuple[str, str, int, str | None]] = set()
READ_WRITE = frozenset({Scope.LEDGER_READ, Scope.LEDGER_WRITE})


@dataclass(frozen=True)
class Answer:
    """An answer with its JSON body."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def is_plain_http(self) -> bool:
        """Whether it is an error of HTTP itself, such as a method that a path does not have."""
        return isinstance(self.body, dict) and self.body.get("type") == "about:blank"

    @property
    def told(self) -> tuple[int, str | None]:
        """The status and, of a problem, the code."""
        return self.status, self.body.get("code") if isinstance(self.body, dict) else None


async def new_tenant(
    database: Database, scopes: frozenset[Scope] = READ_WRITE, *, time_zone: str = "UTC"
) -> ClientCredentials:
    """A tenant of a random name with one API client."""
    async with await connect(database.owner_url, application_name="test") as connection:
        tenant_id = await create_tenant(connection, f"test/{secrets.token_hex(6)}", time_zone=time_zone)
        return await create_client(connection, tenant_id, "test", scopes)


class LedgerClient:
    """Sends requests with `token`; without one unless it is set."""

    def __init__(self, session: aiohttp.ClientSession, token: str | None = None) -> None:
        self._session = session
        self.token = token

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Send a request; a body of bytes goes as it is, any other as JSON."""
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        if key is not None:
            sent["Idempotency-Key"] = key
        raw_body = body if isinstance(body, bytes) else json.dumps(body).encode()
        data = None if body is None else io.BytesIO(raw_body)
        async with self._session.request(
            method, path, data=data, headers=sent | dict(headers or {}), params=params, allow_redirects=False
        ) as answer:
            raw = await answer.read()
            is_json = answer.content_type.endswith(("/json", "+json"))
            told = Answer(
                answer.status, answer.headers, json.loads(raw) if is_json and raw else raw.decode(errors="replace")
            )
            if not told.is_plain_http:
                # An account that is answered has a code as well.
                code = told.body["code"] if told.status >= 400 else None
                ANSWERED.add((method, urlsplit(path).path, told.status, code))
            return told

    async def get(self, path: str, **params: Any) -> Answer:
        """Get a path."""
        return await self.request("GET", path, params=params)

    async def log_in(self, credentials: ClientCredentials) -> None:
        """Get the token of an API client and use it from now on."""
        form = {
            "grant_type": "client_credentials",
            "client_id": credentials.client_id,
            "client_secret": credentials.client_secret,
        }
        async with self._session.post("/v1/auth/token", data=form) as answer:
            assert answer.status == 200, await answer.text()
            self.token = (await answer.json())["access_token"]

    async def open_account(self, code: str, kind: str = "liability", **fields: Any) -> Answer:
        """Open an account in US dollars unless said."""
        return await self.request("POST", "/v1/accounts", body={"code": code, "asset": "USD", "type": kind} | fields)

    async def transfer(self, key: str, amount: str = "1.00", **fields: Any) -> Answer:
        """Move an amount from the account `bank` to the account `user` unless said."""
        body = {"debit": "bank", "credit": "user", "amount": amount} | fields
        return await self.request("POST", "/v1/transactions", body=body, key=key)

    async def head(self) -> int:
        """The number of the journal's last entry."""
        return int((await self.get("/v1/accounts/bank/balance")).body["sequence"])

    async def pages(self, path: str, limit: int) -> AsyncIterator[list[Any]]:
        """The pages of a list, to its end."""
        page = (await self.get(path, limit=limit)).body
        yield page["items"]
        while page["next_cursor"] is not None:
            page = (await self.get(path, cursor=page["next_cursor"])).body
            yield page["items"]


@asynccontextmanager
async def client_of(base_url: str, credentials: ClientCredentials) -> AsyncIterator[LedgerClient]:
    """A client that is logged in and has the accounts `bank` (no limits) and `user` (not below zero)."""
    connector = aiohttp.TCPConnector(limit=128)
    async with aiohttp.ClientSession(base_url, connector=connector) as session:
        client = LedgerClient(session)
        await client.log_in(credentials)
        for opened in (
            await client.open_account("bank", "asset"),
            await client.open_account("user", min_balance="0"),
        ):
            assert opened.status == 201, opened
        yield client
