"""Checkpoints of journals over HTTP, signed by the streams, and proofs that are verified by their key alone."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from ledgerx import database as db
from ledgerx.checkpoints import origin_of
from ledgerx.database import Pool
from ledgerx.keys import Keyset, read_keyset, rotated, write_new_keyset
from ledgerx.logins import Database
from ledgerx.notes import parse_verifier_key
from ledgerx.proofs import BadProofError, verify_proof
from ledgerx.tenancy import ClientCredentials
from ledgerx.verify import verify
from ledgerx_cli.failures import CommandFailed
from ledgerx_cli.verify_proof import verify_proof_file
from ledgerx_streams import retention
from ledgerx_streams.projections.checkpoints import CHECKPOINTS
from ledgerx_streams.retention import thin_checkpoints
from ledgerx_streams.signing import Signer
from tests.integration.ledger_client import LedgerClient
from tests.integration.streaming import stream

PLATFORM = "ledger.example.com"


@pytest.fixture(scope="module")
def keyset(tmp_path_factory: pytest.TempPathFactory) -> Keyset:
    path = tmp_path_factory.mktemp("keys") / "checkpoint-keys.json"
    write_new_keyset(path)
    return read_keyset(path)


@pytest.fixture
async def pool(shared_database: Database) -> AsyncIterator[Pool]:
    async with db.pool(shared_database.streams_url, application_name="test", max_size=4) as pool:
        yield pool


@pytest.fixture
def sign(shared_database: Database, credentials: ClientCredentials, pool: Pool, keyset: Keyset) -> Callable[..., Any]:
    """Bring the tree up to the head, and sign all that is due."""

    async def sign(keys: Keyset = keyset, interval_s: float = 0.0) -> None:
        await stream(shared_database, credentials.tenant_id, CHECKPOINTS)
        await Signer(pool=pool, keyset=keys, platform=PLATFORM, interval_s=interval_s).sign_due()

    return sign


async def latest(client: LedgerClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/v1/checkpoints", limit=1)).body["items"][0]
    return found


def keys_of(checkpoint: dict[str, Any]) -> list[Any]:
    return [parse_verifier_key(text) for text in checkpoint["verifier_keys"]]


def verified(proof: Any, checkpoint: dict[str, Any]) -> str:
    return verify_proof(json.dumps(proof).encode(), keys_of(checkpoint))


def execute(database: Database, statement: LiteralString, tenant_id: UUID) -> int:
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        return connection.execute(statement, (tenant_id,)).rowcount


async def test_a_transaction_is_proved_to_be_in_a_checkpoint(
    client: LedgerClient, credentials: ClientCredentials, sign: Callable[..., Any]
) -> None:
    posted = [(await client.transfer(f"{n}", "2.50", metadata={"n": n})).body["id"] for n in range(5)]
    assert (await client.get(f"/v1/transactions/{posted[0]}/proof")).told == (409, "not_checkpointed")
    await sign()

    checkpoint = await latest(client)
    origin = origin_of(PLATFORM, credentials.tenant_id)
    assert checkpoint["size"] == posted[-1]
    assert checkpoint["note"].startswith(f"{origin}\n{posted[-1]}\n{checkpoint['root']}\ntrial-balance ")
    assert checkpoint["trial_balance"] == {
        "items": [
            {"asset": "USD", "posted": "1250", "scale": 2, "type": "asset"},
            {"asset": "USD", "posted": "-1250", "scale": 2, "type": "liability"},
        ],
        "size": posted[-1],
        "tenant": str(credentials.tenant_id),
    }
    for seq in posted:
        proof = (await client.get(f"/v1/transactions/{seq}/proof")).body
        assert proof["hash"] == (await client.get(f"/v1/transactions/{seq}")).body["hash"]
        assert verified(proof, checkpoint) == f"{origin}: entry {seq} is in the checkpoint of {posted[-1]} entries"
    assert (await client.get("/v1/transactions/1/proof")).told == (404, "not_found")
    assert (await client.get("/v1/transactions/99/proof")).told == (404, "not_found")


async def test_proofs_go_by_the_checkpoint_that_is_named_and_checkpoints_follow_from_one_another(
    client: LedgerClient, sign: Callable[..., Any]
) -> None:
    sizes = []
    for batch in range(4):
        made = [(await client.transfer(f"{batch}/{n}")).body["id"] for n in range(1 + 2 * batch)]
        sizes.append(made[-1])
        await sign()
    listed = [one["size"] async for page in client.pages("/v1/checkpoints", 3) for one in page]
    assert listed == sizes[::-1]

    checkpoint = await latest(client)
    for size in sizes:
        proof = (await client.get(f"/v1/transactions/{sizes[0]}/proof", checkpoint=size)).body
        assert verified(proof, checkpoint).endswith(f"is in the checkpoint of {size} entries")
        for older in sizes:
            answer = await client.get("/v1/checkpoints/proof", **{"from": older, "to": size})
            if older > size:
                assert answer.told == (422, "invalid_field")
            else:
                assert verified(answer.body, checkpoint).endswith(
                    f"the checkpoint of {size} entries begins with that of {older}"
                )
    assert (await client.get(f"/v1/transactions/{sizes[-1]}/proof", checkpoint=sizes[0])).told == (
        409,
        "not_checkpointed",
    )
    assert (await client.get(f"/v1/transactions/{sizes[0]}/proof", checkpoint=1)).told == (404, "not_found")
    assert (await client.get("/v1/checkpoints/proof", **{"from": 1, "to": 2})).told == (404, "not_found")


async def test_the_latest_note_comes_as_text(client: LedgerClient, sign: Callable[..., Any]) -> None:
    accept = {"Accept": "text/plain"}
    assert (await client.request("GET", "/v1/checkpoints", headers=accept)).told == (404, "not_found")
    await client.transfer("k")
    await sign()
    answer = await client.request("GET", "/v1/checkpoints", headers=accept)
    checkpoint = await latest(client)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.body == checkpoint["note"]
    assert "signed at 3 entries" in verify_proof(answer.body.encode(), keys_of(checkpoint))


async def test_what_is_not_so_is_not_proved(client: LedgerClient, sign: Callable[..., Any], keyset: Keyset) -> None:
    seqs = [(await client.transfer(f"{n}", f"{n + 1}.00")).body["id"] for n in range(3)]
    await sign()
    await client.transfer("more")
    await sign()
    checkpoint = await latest(client)
    proof = (await client.get(f"/v1/transactions/{seqs[0]}/proof")).body
    other = (await client.get(f"/v1/transactions/{seqs[1]}/proof")).body
    between = (await client.get("/v1/checkpoints/proof", **{"from": seqs[2], "to": seqs[2] + 1})).body
    statement = proof["trial_balance"]
    lines = [line | {"posted": "1"} for line in statement["items"]]
    forged = [
        proof | {"entry": proof["entry"].replace('"100"', '"900"')},
        proof | {"sequence": seqs[1]},
        proof | {"previous_hash": other["previous_hash"]},
        proof | {"proof": other["proof"]},
        proof | {"proof": proof["proof"][1:]},
        proof | {name: other[name] for name in ("entry", "hash", "previous_hash")},
        proof | {"tenant": "0198c0de-0000-7000-8000-000000000001"},
        proof | {"checkpoint": proof["checkpoint"].replace(f"\n{checkpoint['size']}\n", "\n9\n")},
        proof | {"trial_balance": statement | {"items": lines}},
        between | {"from": between["to"], "to": between["from"]},
        between | {"proof": []},
        {},
    ]
    assert verified(proof, checkpoint)
    assert verified(between, checkpoint)
    for one in forged:
        with pytest.raises(BadProofError):
            verified(one, checkpoint)
    stranger = rotated(rotated(keyset))
    with pytest.raises(BadProofError, match="no key that is known"):
        verify_proof(json.dumps(proof).encode(), [])
    assert stranger.current != keyset.current


async def test_who_knows_the_key_of_before_can_go_on_after_a_rotation(
    client: LedgerClient, sign: Callable[..., Any], keyset: Keyset
) -> None:
    await client.transfer("1")
    await sign()
    before = await latest(client)
    await client.transfer("2")
    await sign(rotated(keyset))
    after = await latest(client)
    between = (await client.get("/v1/checkpoints/proof", **{"from": before["size"], "to": after["size"]})).body
    assert verified(between, before)
    # The newest key alone does not know the older note.
    with pytest.raises(BadProofError):
        verify_proof(json.dumps(between).encode(), keys_of(after)[:1])
    assert set(before["verifier_keys"]) < set(after["verifier_keys"])


async def test_a_tree_is_signed_once_however_many_sign_and_not_before_it_is_due(
    client: LedgerClient, sign: Callable[..., Any]
) -> None:
    await client.transfer("1")
    await sign(interval_s=3_600.0)
    assert (await client.get("/v1/checkpoints")).body["items"] == []
    await sign()
    await sign()
    assert len((await client.get("/v1/checkpoints")).body["items"]) == 1


# When the checkpoints of a journal were signed, by their rank: the first two on a day, the third on another one.
_AGED = """
    UPDATE ledgerx.checkpoints AS c
    SET signed_at = now() - make_interval(days => (ARRAY[41, 41, 40, 3, 0])[r.rank]), superseded = r.rank IN (1, 4)
    FROM (SELECT size, rank() OVER (ORDER BY size) FROM ledgerx.checkpoints WHERE tenant_id = %s) AS r
    WHERE c.size = r.size
"""


async def test_of_old_days_the_last_checkpoint_is_kept_and_who_holds_a_dropped_one_goes_on_from_it(
    client: LedgerClient,
    credentials: ClientCredentials,
    shared_database: Database,
    pool: Pool,
    sign: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "CHECKPOINTS_AT_ONCE", 1)
    for number in range(5):
        await client.transfer(f"{number}")
        await sign()
    first, *others = (await client.get("/v1/checkpoints")).body["items"][::-1]
    await thin_checkpoints(pool, days=30)
    assert len((await client.get("/v1/checkpoints")).body["items"]) == 5

    execute(shared_database, _AGED, credentials.tenant_id)
    await thin_checkpoints(pool, days=30)

    kept = (await client.get("/v1/checkpoints")).body["items"][::-1]
    assert [one["size"] for one in kept] == [one["size"] for one in others]
    newest = kept[-1]
    between = (await client.get("/v1/checkpoints/proof", **{"from": first["size"], "to": newest["size"]})).body
    assert "from" not in between
    with pytest.raises(BadProofError, match="the one that you have kept"):
        verified(between, newest)
    proof, note = tmp_path / "proof.json", tmp_path / "note"
    proof.write_text(json.dumps(between))
    note.write_text(first["note"])
    said = verify_proof_file(proof, key=newest["verifier_keys"], older=note)
    assert f"begins with that of {first['size']}" in said
    note.write_text(others[0]["note"])
    with pytest.raises(CommandFailed, match="NOT verified"):
        verify_proof_file(proof, key=newest["verifier_keys"], older=note)
    for one in kept:
        assert (await client.get(f"/v1/transactions/{first['size']}/proof", checkpoint=one["size"])).status == 200
    async with await db.connect(shared_database.owner_url, application_name="test") as connection:
        assert (await verify(connection, credentials.tenant_id)).ok


async def test_a_checkpoint_is_superseded_by_a_later_one_of_its_day(
    client: LedgerClient, credentials: ClientCredentials, shared_database: Database, sign: Callable[..., Any]
) -> None:
    await client.transfer("1")
    await sign()
    yesterday = "UPDATE ledgerx.checkpoints SET signed_at = signed_at - interval '1 day' WHERE tenant_id = %s"
    execute(shared_database, yesterday, credentials.tenant_id)
    for number in range(2):
        await client.transfer(f"again {number}")
        await sign()
    with psycopg.connect(shared_database.admin_url) as connection:
        query = "SELECT superseded FROM ledgerx.checkpoints WHERE tenant_id = %s ORDER BY size"
        found = connection.execute(query, (credentials.tenant_id,)).fetchall()
    assert found == [(False,), (True,), (False,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledgerx.merkle_tiles SET hashes = substr(hashes, 1, 32) || sha256('') WHERE tenant_id = %s",
        "DELETE FROM ledgerx.merkle_tiles WHERE tenant_id = %s",
        "UPDATE ledgerx.checkpoints SET root = sha256('') WHERE tenant_id = %s",
    ],
)
async def test_nothing_is_signed_that_is_not_consistent_with_what_was_signed_before(
    client: LedgerClient,
    credentials: ClientCredentials,
    shared_database: Database,
    sign: Callable[..., Any],
    statement: LiteralString,
) -> None:
    await client.transfer("1")
    await sign()
    await client.transfer("2")
    assert execute(shared_database, statement, credentials.tenant_id) == 1
    await sign()
    assert len((await client.get("/v1/checkpoints")).body["items"]) == 1
    found = (await client.get("/v1/integrity")).body
    assert found["healthy"] is False
    assert "do not lead to its root" in found["finding"]["what"]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("SELECT FROM ledgerx.tenants WHERE tenant_id = %s", None),
        (
            "UPDATE ledgerx.merkle_tiles SET hashes = sha256('') || sha256('') WHERE tenant_id = %s",
            "the tile 0 of level 0",
        ),
        ("DELETE FROM ledgerx.merkle_tiles WHERE tenant_id = %s AND level = 0 AND index = 0", "the tile 0 of level 0"),
        ("DELETE FROM ledgerx.merkle_tiles WHERE tenant_id = %s AND level = 1", "the tile 0 of level 1"),
        ("UPDATE ledgerx.merkle_trees SET hashes = sha256('') WHERE tenant_id = %s", "the Merkle tree does not go on"),
        ("UPDATE ledgerx.merkle_trees SET trial_balance = '[]' WHERE tenant_id = %s", "the trial balance kept with"),
        ("UPDATE ledgerx.merkle_trees SET size = 1000 WHERE tenant_id = %s", "the Merkle tree has 1000 entries"),
        ("UPDATE ledgerx.checkpoints SET root = sha256('') WHERE tenant_id = %s", "the checkpoint of 3 entries has"),
        ("UPDATE ledgerx.checkpoints SET note = 'x' WHERE tenant_id = %s", "the checkpoint of 3 entries cannot be"),
        (
            "UPDATE ledgerx.checkpoints SET trial_balance = replace(trial_balance, '100', '200') WHERE tenant_id = %s",
            "the checkpoint of 3 entries has another trial balance",
        ),
    ],
)
async def test_verification_grows_the_tree_anew(
    client: LedgerClient,
    credentials: ClientCredentials,
    shared_database: Database,
    sign: Callable[..., Any],
    statement: LiteralString,
    found: str | None,
) -> None:
    await client.transfer("1")
    await sign()
    many = [{"debit": "bank", "credit": "user", "amount": "1"} for _ in range(300)]
    await client.request("POST", "/v1/transactions/batch", body={"transactions": many, "atomic": False}, key="many")
    await sign()
    await client.transfer("2")
    assert execute(shared_database, statement, credentials.tenant_id) > 0
    async with await db.connect(shared_database.owner_url, application_name="test") as connection:
        report = await verify(connection, credentials.tenant_id)
    if found is None:
        assert (report.findings, report.projections) == ([], {"checkpoints": 303})
    else:
        assert report.findings[0].what.startswith(found)


async def test_the_command_verifies_a_file_with_a_key_from_a_file(
    client: LedgerClient, sign: Callable[..., Any], tmp_path: Path
) -> None:
    seq = (await client.transfer("1")).body["id"]
    await sign()
    checkpoint = await latest(client)
    proof, key = tmp_path / "proof.json", tmp_path / "key"
    proof.write_text(json.dumps((await client.get(f"/v1/transactions/{seq}/proof")).body))
    key.write_text("\n".join(checkpoint["verifier_keys"]) + "\n")
    assert verify_proof_file(proof, key=[str(key)]).endswith("verified")
    assert verify_proof_file(proof, key=checkpoint["verifier_keys"]).endswith("verified")
    proof.write_text(proof.read_text().replace('"sequence": 3', '"sequence": 2'))
    with pytest.raises(CommandFailed, match="NOT verified"):
        verify_proof_file(proof, key=[str(key)])
    with pytest.raises(CommandFailed, match="cannot read"):
        verify_proof_file(tmp_path / "none", key=[str(key)])
    key.write_text("")
    with pytest.raises(CommandFailed, match="no key"):
        verify_proof_file(proof, key=[str(key)])
