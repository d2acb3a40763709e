"""What exports hold: the same as the API says, at one entry, in every format."""

import asyncio
import csv
import io
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from arro3.io import read_parquet
from beancount import loader
from beancount.core import data as beancount_data
from beancount.core import realization

from ledgerx import database as db
from ledgerx.database import Pool
from ledgerx.exports import Dataset, ExportFilters, Format
from ledgerx.journal import AccountType, Kind
from ledgerx.logins import Database
from ledgerx.tenancy import ClientCredentials
from ledgerx_streams.exports import pages, parquet
from ledgerx_streams.exports.beancount_names import account_code, account_name, asset_code
from ledgerx_streams.exports.tables import Cut
from ledgerx_streams.exports.writing import FileTooLargeError, Measures, file_chunks
from tests.integration.api_process import ApiProcess
from tests.integration.exporting import NO_LIMIT, lines, written
from tests.integration.ledger_client import LedgerClient, client_of, new_tenant


@pytest.fixture
async def pool(shared_database: Database) -> AsyncIterator[Pool]:
    """Connections of the role that writes exports."""
    async with db.pool(shared_database.streams_url, application_name="test", max_size=2) as pool:
        yield pool


async def fill(client: LedgerClient) -> None:
    """A bit of everything: dated, held, captured, reversed, amended, with awkward text, in two assets."""
    for opened in (
        await client.open_account("Yen_bank.1", "asset", asset="JPY"),
        await client.open_account("yen:-fees", "revenue", asset="JPY"),
        await client.open_account("unused"),
    ):
        assert opened.status == 201
    description = 'says "hi" \\ and\nmore, =1+1'
    made = [
        await client.transfer("1", "100.00", reference="=SUM(A1)", category="a", description=description),
        await client.transfer("2", "0.01", metadata={"order": "77", "n": 1}, effective_at="2020-02-29T12:00:00Z"),
        await client.transfer("3", "7", debit="Yen_bank.1", credit="yen:-fees"),
        await client.transfer("4", "30.00", kind="hold"),
        await client.transfer("5", "5.00", kind="hold", expires_at="2999-01-01T00:00:00Z"),
        await client.transfer("6", "2.50", category="b"),
    ]
    assert [one.status for one in made] == [201] * 6
    hold, target = made[3].body["id"], made[5].body["id"]
    part = [
        {"account": "bank", "direction": "debit", "amount": "10.00"},
        {"account": "user", "direction": "credit", "amount": "10.00"},
    ]
    for path, body in (
        (f"/v1/transactions/{hold}/capture", {"postings": part}),
        (f"/v1/transactions/{target}/reverse", {}),
    ):
        answer = await client.request("POST", path, body=body, key=path)
        assert answer.status == 201, answer
    amended = await client.request("PATCH", f"/v1/transactions/{target}", body={"category": "a", "description": "-x"})
    assert amended.status == 200


async def transactions_of(client: LedgerClient, **params: Any) -> list[dict[str, Any]]:
    page = (await client.get("/v1/transactions", limit=500, **params)).body
    assert page["next_cursor"] is None
    return page["items"][::-1]  # type: ignore[no-any-return]


async def test_transactions_are_those_of_the_api(
    client: LedgerClient, credentials: ClientCredentials, pool: Pool
) -> None:
    await fill(client)
    seq = await client.head()

    found = lines(await written(pool, credentials.tenant_id, seq, Dataset.TRANSACTIONS))

    assert [one.pop("sequence") for one in found] == [seq] * len(found)
    assert found == await transactions_of(client)


@pytest.mark.parametrize(
    ("filters", "params"),
    [
        ({"account": "bank"}, {"account": "bank"}),
        ({"prefix": "yen"}, {"prefix": "yen"}),
        ({"category": "a"}, {"category": "a"}),
        ({"kind": Kind.HOLD}, {"kind": "hold"}),
        ({"reference": "=SUM(A1)"}, {"reference": "=SUM(A1)"}),
        ({"metadata": '{"order":"77"}'}, {"metadata": '{"order":"77"}'}),
        ({"effective_to": datetime(2021, 1, 1, tzinfo=UTC)}, {"effective_to": "2021-01-01T00:00:00Z"}),
        ({"effective_from": datetime(2021, 1, 1, tzinfo=UTC)}, {"effective_from": "2021-01-01T00:00:00Z"}),
        ({"amount_from": "5", "amount_to": "30.00"}, {"amount_from": "5", "amount_to": "30.00"}),
        ({"account": "bank", "amount_from": "30"}, {"account": "bank", "amount_from": "30"}),
        ({"reference": "nobody's"}, {"reference": "nobody's"}),
    ],
    ids=str,
)
async def test_filters_are_those_of_the_lists(
    client: LedgerClient,
    credentials: ClientCredentials,
    pool: Pool,
    monkeypatch: pytest.MonkeyPatch,
    filters: dict[str, Any],
    params: dict[str, str],
) -> None:
    await fill(client)
    monkeypatch.setattr(pages, "ENTRIES_AT_ONCE", 3)
    monkeypatch.setattr(pages, "LINES_AT_ONCE", 2)
    expected = await transactions_of(client, **params)

    seq = await client.head()
    found = lines(await written(pool, credentials.tenant_id, seq, Dataset.TRANSACTIONS, **filters))
    postings = lines(await written(pool, credentials.tenant_id, seq, Dataset.POSTINGS, **filters))

    assert [one["id"] for one in found] == [one["id"] for one in expected]
    assert {one["transaction"] for one in postings} == {one["id"] for one in expected}
    if "account" in filters:
        assert {one["account"] for one in postings} == {filters["account"]}
    else:
        whole = "amount_from" not in filters and "prefix" not in filters
        assert not whole or len(postings) == sum(len(one["postings"]) for one in expected)
    for one in postings:
        if "amount_from" in filters:
            assert float(one["amount"]) >= float(filters["amount_from"])


async def test_a_recorded_range_is_that_of_the_lists(
    client: LedgerClient, credentials: ClientCredentials, pool: Pool
) -> None:
    await fill(client)
    everything = await transactions_of(client)
    moment = everything[2]["recorded_at"]
    params = {"recorded_from": moment, "recorded_to": everything[-1]["recorded_at"]}
    filters: dict[str, Any] = {name: datetime.fromisoformat(value) for name, value in params.items()}

    found = lines(await written(pool, credentials.tenant_id, await client.head(), Dataset.TRANSACTIONS, **filters))

    expected = await transactions_of(client, **params)
    assert expected
    assert [one["id"] for one in found] == [one["id"] for one in expected]


async def test_an_export_is_true_at_its_entry_whatever_is_recorded_later(
    client: LedgerClient, credentials: ClientCredentials, pool: Pool
) -> None:
    await client.transfer("1", "1.00", category="before")
    first = (await transactions_of(client))[0]["id"]
    seq = await client.head()
    wanted = [(dataset, Format.JSONL) for dataset in Dataset] + [(Dataset.TRANSACTIONS, Format.BEANCOUNT)]
    cut = [await written(pool, credentials.tenant_id, seq, *one) for one in wanted]
    of_category = await written(pool, credentials.tenant_id, seq, Dataset.TRANSACTIONS, category="before")

    await client.request("PATCH", f"/v1/transactions/{first}", body={"category": "after"})
    await client.transfer("2", "1.00", category="before")
    await client.open_account("later")

    assert [await written(pool, credentials.tenant_id, seq, *one) for one in wanted[:3]] == cut[:3]
    assert (await written(pool, credentials.tenant_id, seq, *wanted[3])).splitlines()[2:] == cut[3].splitlines()[2:]
    assert await written(pool, credentials.tenant_id, seq, Dataset.TRANSACTIONS, category="before") == of_category


async def test_an_export_is_whole_while_writes_go_on(
    client: LedgerClient, credentials: ClientCredentials, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ENTRIES_AT_ONCE", 5)
    monkeypatch.setattr(pages, "LINES_AT_ONCE", 4)
    for number in range(20):
        await client.transfer(f"before {number}")
    seq = await client.head()
    stop = asyncio.Event()

    async def write() -> int:
        number = 0
        while not stop.is_set():
            await client.transfer(f"meanwhile {number}", debit="user", credit="bank", amount="0.01")
            number += 1
        return number

    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(write())
        rows = lines(await written(pool, credentials.tenant_id, seq, Dataset.POSTINGS))
        balances = lines(await written(pool, credentials.tenant_id, seq, Dataset.BALANCES))
        while await client.head() == seq:
            pass
        stop.set()

    assert writing.result() > 0
    assert len(rows) == 40
    assert {one["account"]: one["posted"] for one in balances} == {"bank": "20.00", "user": "20.00"}
    assert {one["sequence"] for one in rows + balances} == {seq}


async def test_balances_are_those_of_the_api(client: LedgerClient, credentials: ClientCredentials, pool: Pool) -> None:
    await fill(client)
    seq = await client.head()

    found = lines(await written(pool, credentials.tenant_id, seq, Dataset.BALANCES))

    accounts = (await client.get("/v1/accounts", limit=500)).body["items"]
    assert [one["account"] for one in found] == [one["code"] for one in accounts]
    for one in found:
        shown = (await client.get(f"/v1/accounts/{one['account']}/balance")).body
        members = ("account", "asset", "scale", "posted", "pending_in", "pending_out", "available", "sequence")
        assert {name: one[name] for name in members} == {name: shown[name] for name in members}
    user = next(one for one in found if one["account"] == "user")
    assert (user["posted"], user["pending_in"]) == ("110.01", "5.00")


async def test_balances_have_the_filters_of_accounts_and_a_time_of_effect(
    client: LedgerClient, credentials: ClientCredentials, pool: Pool
) -> None:
    await fill(client)
    seq = await client.head()

    async def found(**filters: Any) -> dict[str, str]:
        raw = await written(pool, credentials.tenant_id, seq, Dataset.BALANCES, **filters)
        return {one["account"]: one["posted"] for one in lines(raw)}

    assert await found(type=AccountType.REVENUE) == {"yen:-fees": "7"}
    assert list(await found(asset="USD")) == ["bank", "unused", "user"]
    assert await found(prefix="yen") == {"yen:-fees": "7"}
    assert await found(account="yen") == {}
    assert await found(account="user") == {"user": "110.01"}
    assert await found(account="user", effective_at=datetime(2021, 1, 1, tzinfo=UTC)) == {"user": "0.01"}


async def test_csv_has_a_head_and_no_formula(client: LedgerClient, credentials: ClientCredentials, pool: Pool) -> None:
    await fill(client)
    seq = await client.head()

    raw = await written(pool, credentials.tenant_id, seq, Dataset.TRANSACTIONS, Format.CSV)

    assert raw.count(b"\r\n") == len(list(csv.reader(io.StringIO(raw.decode(), newline=""))))
    rows = list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    first = (await transactions_of(client))[0]
    assert rows[0]["id"] == str(first["id"])
    assert rows[0]["reference"] == "'=SUM(A1)"
    assert rows[0]["description"] == first["description"]
    assert json.loads(rows[0]["postings"]) == first["postings"]
    assert rows[0]["recorded_at"] == first["recorded_at"]
    assert {row["sequence"] for row in rows} == {str(seq)}
    assert "'-x" in {row["description"] for row in rows}


@pytest.mark.parametrize("dataset", Dataset)
async def test_parquet_has_the_rows_of_json(
    client: LedgerClient, credentials: ClientCredentials, pool: Pool, monkeypatch: pytest.MonkeyPatch, dataset: Dataset
) -> None:
    await fill(client)
    monkeypatch.setattr(pages, "LINES_AT_ONCE", 4)
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 5)
    seq = await client.head()

    raw = await written(pool, credentials.tenant_id, seq, dataset, Format.PARQUET)

    table = read_parquet(io.BytesIO(raw)).read_all()
    names = table.column_names
    rows = [
        dict(zip(names, values, strict=True))
        for values in zip(*(table.column(name).to_pylist() for name in names), strict=True)
    ]
    expected = lines(await written(pool, credentials.tenant_id, seq, dataset))
    assert len(rows) == len(expected)
    for row, one in zip(rows, expected, strict=True):
        for name, value in row.items():
            if isinstance(value, datetime):
                assert value == datetime.fromisoformat(one[name])
            elif name in ("metadata", "postings") and value is not None:
                assert json.loads(value) == one[name]
            else:
                assert value == one.get(name), name


async def test_beancount_agrees_with_every_balance(
    client: LedgerClient, credentials: ClientCredentials, pool: Pool, tmp_path: Path
) -> None:
    await fill(client)
    seq = await client.head()
    balances = lines(await written(pool, credentials.tenant_id, seq, Dataset.BALANCES))

    file = tmp_path / "ledger.beancount"
    file.write_bytes(await written(pool, credentials.tenant_id, seq, Dataset.TRANSACTIONS, Format.BEANCOUNT))

    checked = await asyncio.create_subprocess_exec(Path(sys.executable).with_name("bean-check"), file)
    assert await checked.wait() == 0
    entries, errors, _ = loader.load_file(str(file))
    assert errors == []
    transactions = [entry for entry in entries if isinstance(entry, beancount_data.Transaction)]
    assert {entry.meta["ledgerx-id"] for entry in transactions} == {one["id"] for one in await transactions_of(client)}
    assert f"entry {seq} of its journal" in file.read_text()
    asserted = {entry.account for entry in entries if isinstance(entry, beancount_data.Balance)}
    root = realization.realize(entries)
    for one in balances:
        sign = 1 if one["normal_side"] == "debit" else -1
        name = account_name(one["account"], AccountType(one["type"]))
        assert name in asserted
        assert account_code(name) == one["account"]
        amounts = {asset_code(position.units.currency): position.units.number for position in realized(root, name)}
        assert {asset: str(number * sign) for asset, number in amounts.items() if number} == (
            {one["asset"]: one["posted"]} if float(one["posted"]) else {}
        )
    pending = [
        position for name in ("Debits", "Credits") for position in realized(root, f"Equity:Pending-{name}", whole=True)
    ]
    assert sum(position.units.number for position in pending) == 0
    assert max(position.units.number for position in pending) == 5


def realized(root: Any, name: str, *, whole: bool = False) -> list[Any]:
    account = realization.get(root, name)
    if account is None:
        return []
    return list(realization.compute_balance(account) if whole else account.balance)


async def test_a_filtered_beancount_file_is_correct_without_balances(
    client: LedgerClient, credentials: ClientCredentials, pool: Pool, tmp_path: Path
) -> None:
    await fill(client)
    raw = await written(
        pool, credentials.tenant_id, await client.head(), Dataset.TRANSACTIONS, Format.BEANCOUNT, account="bank"
    )
    file = tmp_path / "ledger.beancount"
    file.write_bytes(raw)

    entries, errors, _ = loader.load_file(str(file))

    assert errors == []
    assert not [entry for entry in entries if isinstance(entry, beancount_data.Balance)]
    assert [entry for entry in entries if isinstance(entry, beancount_data.Transaction)]


async def test_an_empty_ledger_can_be_exported(shared_database: Database, pool: Pool, tmp_path: Path) -> None:
    tenant_id = (await new_tenant(shared_database)).tenant_id
    for dataset in Dataset:
        assert await written_empty(pool, tenant_id, dataset, Format.JSONL) == b""
        assert (await written_empty(pool, tenant_id, dataset, Format.CSV)).count(b"\n") == 1
        table = read_parquet(io.BytesIO(await written_empty(pool, tenant_id, dataset, Format.PARQUET))).read_all()
        assert table.num_rows == 0
    file = tmp_path / "ledger.beancount"
    file.write_bytes(await written_empty(pool, tenant_id, Dataset.TRANSACTIONS, Format.BEANCOUNT))
    assert loader.load_file(str(file))[1] == []


async def written_empty(pool: Pool, tenant_id: UUID, dataset: Dataset, file_format: Format) -> bytes:
    cut = Cut(tenant_id=tenant_id, seq=0, recorded_at=None, filters=ExportFilters())
    chunks = file_chunks(pool, cut, dataset, file_format, Measures(), max_bytes=NO_LIMIT)
    return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("file_format", Format)
async def test_a_file_has_no_more_bytes_than_it_may(
    client: LedgerClient, credentials: ClientCredentials, pool: Pool, file_format: Format
) -> None:
    await fill(client)
    cut = Cut(tenant_id=credentials.tenant_id, seq=await client.head(), recorded_at=None, filters=ExportFilters())
    with pytest.raises(FileTooLargeError):
        async for _ in file_chunks(pool, cut, Dataset.TRANSACTIONS, file_format, Measures(), max_bytes=100):
            pass


async def test_days_are_those_of_the_tenants_time_zone(api: ApiProcess, shared_database: Database, pool: Pool) -> None:
    credentials = await new_tenant(shared_database, time_zone="Asia/Tokyo")
    async with client_of(api.base_url, credentials) as client:
        await client.transfer("1", effective_at="2024-12-31T23:30:00Z")
        await client.transfer("2", effective_at="9999-12-31T23:59:59Z")
        seq = await client.head()
    raw = (await written(pool, credentials.tenant_id, seq, Dataset.TRANSACTIONS, Format.BEANCOUNT)).decode()
    days = [line[:10] for line in raw.splitlines() if line[10:13] == " * "]
    assert days == ["2025-01-01", "9999-12-30"]
    assert f"9999-12-31 balance {account_name('bank', AccountType.ASSET)}" in raw
