"""What goes on while parts of a platform are killed: clients that post, and somebody who asks for exports."""

import asyncio
import random
from collections.abc import Awaitable
from itertools import cycle, repeat

import aiohttp

from tests.integration.ledger_client import Answer, LedgerClient

CLIENTS = 8
# What one endpoint of webhooks takes, one event after the other, is the bound of a load that it can follow.
_PAUSE_S = 0.08
_AGAIN_S = 0.2
_BETWEEN_EXPORTS_S = 6.0
FORMATS = ("csv", "jsonl", "parquet")
# The answers of a receiver that fails now and then, and is left alone for some seconds each time.
FAILING_NOW_AND_THEN = (*repeat(200, 300), 503) * 200


async def open_accounts(ledger: LedgerClient) -> None:
    """Open the accounts that the clients move money between."""
    assert (await ledger.open_account("chaos:bank", "asset")).status == 201
    for client in range(CLIENTS):
        assert (await ledger.open_account(f"chaos:{client}")).status == 201


class Posts:
    """Clients that post, each transaction with a key that is kept until it is acknowledged."""

    def __init__(self, ledger: LedgerClient) -> None:
        self._ledger = ledger
        self._stopping = False
        # The number of the transaction by the key that it was posted with.
        self.acknowledged: dict[str, int] = {}

    async def run(self) -> None:
        """Post as all clients until `stop`; what is under way then is brought to its end."""
        async with asyncio.TaskGroup() as clients:
            for client in range(CLIENTS):
                clients.create_task(self._post(client))

    def stop(self) -> None:
        """Begin nothing new."""
        self._stopping = True

    async def _post(self, client: int) -> None:
        number = 0
        while not self._stopping:
            key = f"{client}-{number}"
            number += 1
            while (answer := await self._try(key, client)) is None:  # noqa: ASYNC110 - the server says nothing before
                await asyncio.sleep(_AGAIN_S)
            self.acknowledged[key] = int(answer.body["id"])
            await asyncio.sleep(_PAUSE_S)

    async def _try(self, key: str, client: int) -> Answer | None:
        posting = self._ledger.transfer(key, "1.00", debit="chaos:bank", credit=f"chaos:{client}")
        return await answered(posting, expected=201)


async def answered(request: Awaitable[Answer], *, expected: int) -> Answer | None:
    """The answer with the status that was expected; None where the platform is not there."""
    try:
        answer = await request
    except (aiohttp.ClientError, TimeoutError):
        return None
    if answer.status == 503:
        return None
    assert answer.status == expected, answer.body
    return answer


async def ask_for_exports(owner: LedgerClient, chance: random.Random) -> None:
    """Ask for files of all transactions now and then until cancelled, in each format in its turn."""
    for file_format in cycle(FORMATS):
        await asyncio.sleep(chance.uniform(0, _BETWEEN_EXPORTS_S))
        wanted = {"format": file_format, "dataset": "transactions"}
        # Without an answer there may be an export or none.
        await answered(owner.request("POST", "/v1/exports", body=wanted), expected=202)
