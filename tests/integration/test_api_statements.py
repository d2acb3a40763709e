"""Statements over HTTP: JSON page by page, and CSV."""

import csv
import io
import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.integration.ledger_client import LedgerClient

STATEMENT = "/v1/accounts/bank/statement"
EVER = {"from": "2000-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}


@pytest.fixture
async def history(client: LedgerClient) -> list[dict[str, Any]]:
    """The postings of `bank`, oldest first: 40 transactions, some back-dated, future-dated or of one instant."""
    for number in range(40):
        fields: dict[str, Any] = {"reference": f"r{number}"}
        if number % 3 == 0:
            fields["effective_at"] = f"2026-01-{1 + (number * 7) % 28:02}T12:00:00Z"
        elif number % 5 == 0:
            fields["effective_at"] = f"2027-02-{1 + number % 4:02}T00:00:00Z"
        if number % 4 == 3:
            fields |= {"debit": "user", "credit": "bank"}
        await client.transfer(f"{number}", f"{number + 1}.25" if number % 4 != 3 else "0.50", **fields)
    lines: list[dict[str, Any]] = []
    async for page in client.pages("/v1/accounts/bank/postings", 100):
        lines += page
    return lines[::-1]


async def pages_of(client: LedgerClient, limit: int, **query: str) -> list[Any]:
    pages = [(await client.get(STATEMENT, limit=limit, **query)).body]
    while pages[-1]["next_cursor"] is not None:
        pages.append((await client.get(STATEMENT, cursor=pages[-1]["next_cursor"])).body)
    return pages


def signed(line: dict[str, Any]) -> Decimal:
    return Decimal(line["amount"]) * (1 if line["direction"] == "debit" else -1)


@pytest.mark.parametrize("by", ["effective", "recorded"])
@pytest.mark.parametrize("limit", [1, 4, 500])
async def test_the_lines_lead_from_the_opening_to_the_closing_balance(
    client: LedgerClient, history: list[dict[str, Any]], by: str, limit: int
) -> None:
    field = f"{by}_at"
    times = sorted({line[field] for line in history})
    for begin, end in itertools.pairwise([EVER["from"], times[3], times[8], times[-2], EVER["to"]]):
        pages = await pages_of(client, limit, by=by, **{"from": begin, "to": end})
        within = [line for line in history if begin <= line[field] < end]
        expected = sorted(within, key=lambda line: (line[field], line["transaction"]))
        lines = [line for page in pages for line in page["items"]]
        assert [line["transaction"] for line in lines] == [line["transaction"] for line in expected]
        running = sum((signed(line) for line in history if line[field] < begin), Decimal())
        assert {Decimal(page["opening"]["posted"]) for page in pages} == {running}
        for line in lines:
            running += signed(line)
            assert Decimal(line["balance"]["posted"]) == running
        assert {Decimal(page["closing"]["posted"]) for page in pages} == {running}
        assert {page["sequence"] for page in pages} == {42}
        assert all(len(page["items"]) <= limit for page in pages)


@pytest.mark.parametrize("by", ["effective", "recorded"])
async def test_a_statement_stays_true_at_its_entry_while_others_write(
    client: LedgerClient, history: list[dict[str, Any]], by: str
) -> None:
    before = await pages_of(client, 500, by=by, **EVER)
    page = (await client.get(STATEMENT, limit=7, by=by, **EVER)).body
    seen = list(page["items"])
    while page["next_cursor"] is not None:
        await client.transfer(f"back {len(seen)}", effective_at="2025-01-01T00:00:00Z")
        await client.transfer(f"now {len(seen)}")
        await client.transfer(f"far {len(seen)}", effective_at="2099-01-01T00:00:00Z")
        page = (await client.get(STATEMENT, cursor=page["next_cursor"])).body
        assert (page["opening"], page["closing"]) == (before[0]["opening"], before[0]["closing"])
        seen += page["items"]
    assert seen == before[0]["items"]


async def test_the_balance_at_a_time_is_that_of_the_statement(
    client: LedgerClient, history: list[dict[str, Any]]
) -> None:
    for line in history[::5]:
        moment = datetime.fromisoformat(line["effective_at"])
        after = (moment + timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")
        balance = (await client.get("/v1/accounts/bank/balance", effective_at=line["effective_at"])).body
        [page] = await pages_of(client, 500, **{"from": EVER["from"], "to": after})
        assert page["closing"]["posted"] == balance["posted"]


async def test_csv_has_the_same_lines_between_opening_and_closing(
    client: LedgerClient, history: list[dict[str, Any]]
) -> None:
    [page] = await pages_of(client, 500, **EVER)
    answer = await client.request("GET", STATEMENT, params=EVER, headers={"Accept": "text/csv"})
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body, newline="")))
    assert (rows[0]["kind"], rows[-1]["kind"]) == ("opening", "closing")
    assert rows[-1]["posted"] == page["closing"]["posted"]
    assert [(row["transaction"], row["effective_at"], row["posted"]) for row in rows[1:-1]] == [
        (str(line["transaction"]), line["effective_at"], line["balance"]["posted"]) for line in page["items"]
    ]
    assert [row["debit"] or f"-{row['credit']}" for row in rows[1:-1]] == [
        line["amount"] if line["direction"] == "debit" else f"-{line['amount']}" for line in page["items"]
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@cmd", "\tx", "\rx", "\n=1", 'say "hi", you', "plain"])
async def test_no_cell_of_a_csv_is_a_formula(client: LedgerClient, text: str) -> None:
    await client.transfer("k", reference=text, category=text, description=text)
    answer = await client.request("GET", STATEMENT, params=EVER, headers={"Accept": "text/csv"})
    [_, row, _] = csv.DictReader(io.StringIO(answer.body, newline=""))
    expected = text if text[0] in "sp" else f"'{text}"
    assert {row["reference"], row["category"], row["description"]} == {expected}


@pytest.mark.parametrize(
    ("path", "query", "told"),
    [
        ("/v1/accounts/nobody/statement", EVER, (404, "not_found")),
        (STATEMENT, {}, (422, "invalid_field")),
        (STATEMENT, {"from": EVER["from"]}, (422, "invalid_field")),
        (STATEMENT, {"from": EVER["to"], "to": EVER["from"]}, (422, "invalid_field")),
        (STATEMENT, {"from": EVER["to"], "to": EVER["to"]}, (422, "invalid_field")),
        (STATEMENT, {"from": "2026-01-01T00:00:00", "to": EVER["to"]}, (422, "invalid_field")),
        (STATEMENT, {"from": "then", "to": "now"}, (422, "invalid_field")),
        (STATEMENT, EVER | {"by": "booking"}, (422, "invalid_field")),
        (STATEMENT, EVER | {"limit": "501"}, (422, "invalid_field")),
        (STATEMENT, EVER | {"cursor": "nonsense"}, (400, "invalid_cursor")),
    ],
)
async def test_a_statement_that_cannot_be_is_told(
    client: LedgerClient, path: str, query: dict[str, str], told: tuple[int, str]
) -> None:
    assert (await client.get(path, **query)).told == told


@pytest.mark.parametrize("end", ["0001-01-01T00:00:01Z", "9999-12-31T23:59:59.999999Z"])
async def test_a_statement_of_all_time_is_one_too(client: LedgerClient, end: str) -> None:
    await client.transfer("k")
    page = (await client.get(STATEMENT, **{"from": "0001-01-01T00:00:00Z", "to": end})).body
    assert len(page["items"]) == end.startswith("9")


@pytest.mark.parametrize("by", ["effective", "recorded"])
async def test_lines_show_annotations_as_they_were_amended_by_the_statements_entry(
    client: LedgerClient, by: str
) -> None:
    paid = [(await client.transfer(f"{n}", "1.00", category="food", description="lunch")).body["id"] for n in range(2)]
    await client.request("PATCH", f"/v1/transactions/{paid[0]}", body={"category": "travel", "description": None})
    first = (await client.get(STATEMENT, by=by, limit=1, **EVER)).body
    # The statement stands at its entry, so an amendment after that does not show on its second page.
    await client.request("PATCH", f"/v1/transactions/{paid[1]}", body={"category": "late"})
    second = (await client.get(STATEMENT, cursor=first["next_cursor"])).body
    shown = [(line["transaction"], line["category"], line["description"]) for line in first["items"] + second["items"]]
    assert shown == [(paid[0], "travel", None), (paid[1], "food", "lunch")]
