"""A database restored to an earlier point beside a Kafka that keeps what came after: a journal of two histories."""

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path

from ledgerx.tenancy import ClientCredentials
from ledgerx_cli import platform
from ledgerx_cli.data_directory import DataDirectory
from ledgerx_streams.catalog import NAMES
from tests.integration import chaos_checks as checks
from tests.integration.chaos_kills import crash, kill
from tests.integration.ledger_client import LedgerClient, client_of, new_tenant
from tests.integration.relaying import eventually
from tests.integration.up_process import Up, clients_of_the_demo, ledgerx, tenant_of


def test_projections_stand_still_at_what_the_restored_journal_does_not_hold(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    postgres = DataDirectory(data).postgres
    with Up(data) as up:
        other, seq = asyncio.run(_begin(data))
        assert up.stop() == 0
    _copy(postgres, backup)
    with Up(data) as up:
        asyncio.run(_record_what_will_be_lost(data))
        crash(up, data)
    shutil.rmtree(postgres)
    _copy(backup, postgres)
    with Up(data) as up:
        asyncio.run(_meet_what_was_lost(data, other, seq))
        assert up.stop() == 0


def _copy(source: Path, target: Path) -> None:
    # PostgreSQL may run under another account, and its files have to stay that account's.
    subprocess.run(["cp", "--archive", source, target], check=True)  # noqa: S607 - wherever it is


async def _begin(data: Path) -> tuple[ClientCredentials, int]:
    """Post for the demo tenant and another one: how to log in as the latter, and where the former's journal is."""
    running = platform.find(data)
    other = await new_tenant(running.database)
    async with client_of(running.base_url, other), clients_of_the_demo(data) as (_, ledger, _owner):
        for code, kind in (("bank", "asset"), ("user", "liability")):
            assert (await ledger.open_account(code, kind)).status == 201
        return other, await _post(ledger, "kept")


async def _post(ledger: LedgerClient, key: str) -> int:
    posted = await ledger.transfer(key)
    assert posted.status == 201, posted.body
    return int(posted.body["id"])


async def _record_what_will_be_lost(data: Path) -> None:
    """Post what Kafka keeps, and no projection has seen."""
    os.kill(platform.find(data).pids["streams"], signal.SIGSTOP)
    async with clients_of_the_demo(data) as (_, ledger, _owner):
        for number in range(3):
            head = await _post(ledger, f"lost-{number}")
    await checks.check_the_topic(data, tenant_of(platform.demo(data)), head)


async def _meet_what_was_lost(data: Path, other: ClientCredentials, seq: int) -> None:
    """The projections of that tenant stop with an alarm, at what the journal holds, and go on when told to."""
    streams = platform.find(data).management["streams"]
    async with clients_of_the_demo(data) as (session, ledger, _owner):

        async def have_stopped() -> bool:
            return await checks.metric(session, streams, "ledgerx_projection_forks_total") == len(NAMES)

        await eventually(have_stopped)
        head = await _post(ledger, "anew")
        others = LedgerClient(session)
        await others.log_in(other)
        await _post(others, "anew")
        await checks.projections_at_the_head(others)
        state = (await ledger.get("/v1/integrity")).body
        assert {one["name"]: (one["sequence"], one["consistent"]) for one in state["projections"]} == dict.fromkeys(
            NAMES, (seq, True)
        )
        assert not state["healthy"]
        assert state["finding"]["what"].endswith(f"what comes after the entry {seq} is of another journal")
        assert (await ledger.get("/v1/accounts/bank/balance")).body["posted"] == "2.00"

        await kill(data, session, "streams", number=signal.SIGTERM)
        tenant = platform.demo(data).tenant
        cleared = await ledgerx(None, "tenant", "clear-findings", tenant, "--data", str(data))
        assert cleared.returncode == 0, cleared.stderr
        assert await _post(ledger, "on") == head + 1
        assert await checks.projections_at_the_head(ledger) == head + 1
    assert checks.verify(data, tenant)["ok"]
