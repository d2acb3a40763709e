"""What people and machines read to operate the API: its document, docs page, metrics, traces and health."""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from ledgerx.logins import Database
from ledgerx.tenancy import ClientCredentials
from tests.integration.ledger_client import LedgerClient
from tests.routes import documented_routes


async def test_the_document_is_openapi_3_1_and_complete(client: LedgerClient) -> None:
    document = (await client.get("/docs/openapi.json")).body
    assert document["openapi"].startswith("3.1.")
    operations = {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert operations.keys() >= {
        ("post", "/v1/transactions"),
        ("get", "/v1/transactions"),
        ("post", "/v1/accounts"),
        ("post", "/v1/auth/token"),
    }
    names = [operation["operationId"] for operation in operations.values()]
    assert len(names) == len(set(names))
    wanted = documented_routes()
    for (method, path), operation in operations.items():
        assert operation["summary"]
        assert bool(operation.get("security")) != wanted[f"{method.upper()} {path}"].is_open
    for reference in references(document):
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def references(document: Any) -> Iterator[str]:
    """Every `$ref` in a document."""
    if isinstance(document, dict):
        if isinstance(document.get("$ref"), str):
            yield document["$ref"]
        document = list(document.values())
    if isinstance(document, list):
        for inner in document:
            yield from references(inner)


async def test_the_docs_page_needs_no_other_host(client: LedgerClient) -> None:
    page = (await client.get("/docs")).body
    # The document is in the page as well, with examples that name other hosts.
    head = page.partition("<body>")[0]
    scripts = re.findall(r"<script[^>]*>", page)
    assert "://" not in head + "".join(scripts)
    sources = re.findall(r"""(?:src|href)=["'](/[^"']+)""", head + "".join(scripts))
    assert len(sources) >= 3
    for source in sources:
        assert (await client.get(source)).status == 200


async def test_metrics_tell_routes_and_outcomes_but_no_tenant(
    client: LedgerClient, credentials: ClientCredentials
) -> None:
    await client.transfer("k")
    await client.get("/v1/accounts/user/balance")
    text = (await client.get("/metrics")).body
    assert 'ledgerx_http_request_seconds_count{method="POST",route="/v1/transactions",status="201"}' in text
    assert 'ledgerx_engine_commands_total{outcome="recorded"}' in text
    assert "/v1/accounts/user" not in text
    assert str(credentials.tenant_id) not in text


async def test_the_trace_of_a_request_follows_its_entry(
    client: LedgerClient, credentials: ClientCredentials, shared_database: Database
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for key, header in (("k", trace), ("l", "nonsense")):
        await client.request(
            "POST",
            "/v1/transactions",
            body={"debit": "bank", "credit": "user", "amount": "1.00"},
            key=key,
            headers={"traceparent": header},
        )
    with psycopg.connect(shared_database.admin_url) as connection:
        found = connection.execute(
            "SELECT traceparent FROM ledgerx.outbox WHERE tenant_id = %s AND first_seq >= 3 ORDER BY first_seq",
            (credentials.tenant_id,),
        ).fetchall()
    assert found == [(trace,), (None,)]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz"])
async def test_health_is_open_to_all(client: LedgerClient, path: str) -> None:
    client.token = None
    answer = await client.get(path)
    assert (answer.status, answer.body) == (200, {"status": "ok"})
