"""Users over HTTP."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from ledgerx.logins import Database
from ledgerx.roles import Role
from ledgerx.tenancy import Scope
from ledgerx_api.tokens import Principal
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import Answer, LedgerClient
from tests.integration.people import Person, audited, post, speaking_for

ADA = {"email": "Ada@Example.com", "name": "Ada", "role": "operator"}


async def change(client: LedgerClient, user_id: Any, if_match: str | None = None, **fields: Any) -> Answer:
    headers = {} if if_match is None else {"If-Match": if_match}
    return await client.request("PATCH", f"/v1/users/{user_id}", body=fields, headers=headers)


async def test_a_user_is_made_shown_changed_and_removed(
    admin: LedgerClient, owner: Person, shared_database: Database
) -> None:
    made = await post(admin, "/v1/users", **ADA)
    assert made.status == 201
    assert made.headers["ETag"] == '"1"'
    path = made.headers["Location"]
    assert made.body | {"id": "", "created_at": "", "updated_at": ""} == {
        "id": "",
        "email": "Ada@example.com",
        "name": "Ada",
        "role": "operator",
        "status": "active",
        "version": 1,
        "created_at": "",
        "updated_at": "",
    }
    shown = await admin.get(path)
    assert (shown.body, shown.headers["ETag"]) == (made.body, '"1"')

    changed = await change(admin, made.body["id"], '"1"', email="ada@lovelace.example", name=None, role="member")
    assert (changed.status, changed.headers["ETag"]) == (200, '"2"')
    assert (await admin.get(path)).body == changed.body
    assert {**changed.body, "updated_at": ""} == {
        **made.body,
        "email": "ada@lovelace.example",
        "name": None,
        "role": "member",
        "version": 2,
        "updated_at": "",
    }
    assert (await change(admin, made.body["id"], role="member")).headers["ETag"] == '"2"'

    assert (await admin.request("DELETE", path, headers={"If-Match": '"2"'})).status == 204
    for gone in (await admin.get(path), await admin.request("DELETE", path), await change(admin, made.body["id"])):
        assert gone.told == (404, "not_found")
    subject, me = f"user:{made.body['id']}", f"user:{owner.user_id}"
    assert list(audited(shared_database, owner.tenant_id))[1:] == [
        (f"user_{act}", me, subject, "127.0.0.1") for act in ("created", "changed", "deleted")
    ]
    assert (await post(admin, "/v1/users", **ADA)).status == 201


@pytest.mark.parametrize(
    ("if_match", "status"),
    [('"1"', 200), ("*", 200), ('"7", "1"', 200), ('"2"', 412), ('W/"1"', 412), ("1", 412), ("nonsense", 412)],
)
async def test_a_change_goes_by_the_version_it_was_made_for(admin: LedgerClient, if_match: str, status: int) -> None:
    user_id = (await post(admin, "/v1/users", **ADA)).body["id"]
    assert (await change(admin, user_id, if_match, name="Countess")).status == status
    version = {"If-Match": if_match if status == 412 else '"2"'}
    assert (await admin.request("DELETE", f"/v1/users/{user_id}", headers=version)).status == (
        412 if status == 412 else 204
    )


async def test_of_changes_for_one_version_at_once_one_wins(admin: LedgerClient) -> None:
    user_id = (await post(admin, "/v1/users", **ADA)).body["id"]
    answers = await asyncio.gather(*(change(admin, user_id, '"1"', name=f"Ada {n}") for n in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412, 412]


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@EXAMPLE.COM", "Ada@exAmple.com"])
async def test_an_email_is_one_persons_in_whatever_case(admin: LedgerClient, email: str) -> None:
    await post(admin, "/v1/users", **ADA)
    assert (await post(admin, "/v1/users", **ADA | {"email": email})).told == (409, "email_taken")
    other = (await post(admin, "/v1/users", **ADA | {"email": "other@example.com"})).body["id"]
    assert (await change(admin, other, email=email)).told == (409, "email_taken")


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "nobody"},
        {"email": "a\0@b.c"},
        {"email": f"{'x' * 250}@b.c"},
        {"name": ""},
        {"name": "a\0"},
        {"name": "x" * 256},
        {"role": "king"},
        {"role": None},
        {"password": "short"},
        {"status": "active"},
        {"tenant": "other"},
    ],
)
async def test_a_bad_user_is_refused(admin: LedgerClient, fields: dict[str, Any]) -> None:
    assert (await post(admin, "/v1/users", **ADA | fields)).told == (422, "invalid_field")
    assert len((await admin.get("/v1/users")).body["items"]) == 1


async def test_users_are_listed_in_pages_and_found_by_email(admin: LedgerClient, owner: Person) -> None:
    made = [(await post(admin, "/v1/users", **ADA | {"email": f"{n}@example.com"})).body["id"] for n in range(4)]
    pages = [page async for page in admin.pages("/v1/users", 2)]
    assert [[user["id"] for user in page] for page in pages] == [[str(owner.user_id), made[0]], made[1:3], made[3:]]
    found = (await admin.get("/v1/users", email="2@EXAMPLE.com")).body
    assert ([user["id"] for user in found["items"]], found["next_cursor"]) == ([made[2]], None)
    assert (await admin.get("/v1/users", email="nobody@example.com")).body["items"] == []
    assert (await admin.get("/v1/users", email="nonsense")).told == (422, "invalid_field")
    assert (await admin.get("/v1/users", cursor="nonsense")).told == (400, "invalid_cursor")


@pytest.mark.parametrize("act", ["demote", "suspend", "remove"])
async def test_a_tenant_keeps_an_owner(admin: LedgerClient, owner: Person, act: str) -> None:
    async def leave(user_id: str) -> Answer:
        if act == "remove":
            return await admin.request("DELETE", f"/v1/users/{user_id}")
        return await change(admin, user_id, **{"role": "auditor"} if act == "demote" else {"status": "suspended"})

    me = str(owner.user_id)
    assert (await leave(me)).told == (409, "last_owner")
    assert (await change(admin, me, name="Still here")).status == 200
    other = (await post(admin, "/v1/users", **ADA | {"role": "owner"})).body["id"]
    answers = await asyncio.gather(leave(me), leave(other))
    assert sorted(answer.told[1] or "" for answer in answers) == ["", "last_owner"]


def principal(owner: Person, *scopes: Scope) -> Principal:
    return Principal(owner.tenant_id, "client:provisioning", frozenset(scopes))


@pytest.mark.parametrize(
    ("scopes", "role", "allowed"),
    [
        ([Scope.USERS_WRITE], "member", True),
        ([Scope.USERS_WRITE], "operator", False),
        ([Scope.USERS_WRITE, Scope.LEDGER_READ], "auditor", False),
        ([Scope.USERS_WRITE, Scope.LEDGER_READ, Scope.LEDGER_WRITE], "operator", False),
        ([scope for scope in Scope if scope is not Scope.ADMIN], "operator", True),
        ([scope for scope in Scope if scope is not Scope.ADMIN], "auditor", False),
        ([scope for scope in Scope if scope is not Scope.ADMIN], "owner", False),
        ([Scope.ADMIN], "owner", True),
    ],
)
async def test_nobody_hands_out_or_takes_over_more_than_they_have(
    api: ApiProcess, admin: LedgerClient, owner: Person, scopes: list[Scope], role: str, allowed: bool
) -> None:
    person = (await post(admin, "/v1/users", **ADA | {"role": role})).body["id"]
    member = (await post(admin, "/v1/users", **ADA | {"role": "member", "email": "m@example.com"})).body["id"]
    async with speaking_for(api, principal(owner, *scopes)) as client:
        answers = [
            await post(client, "/v1/users", **ADA | {"role": role, "email": "b@example.com"}),
            await change(client, member, role=role),
            await post(client, f"/v1/users/{person}/password-reset"),
            await change(client, person, role="member"),
            await client.request("DELETE", f"/v1/users/{person}"),
        ]
    if allowed:
        # The last two act on a member, whom everybody here may remove.
        assert [answer.status for answer in answers] == [201, 200, 201, 200, 204]
    else:
        assert {answer.told for answer in answers} == {(403, "forbidden")}


async def test_a_client_is_nobody_to_show_or_to_give_a_password(api: ApiProcess, owner: Person) -> None:
    async with speaking_for(api, principal(owner, Scope.ADMIN)) as client:
        assert (await client.get("/v1/users/me")).told == (403, "forbidden")
        passwords = {"current_password": "x" * 12, "new_password": "x" * 12}
        assert (await post(client, "/v1/users/me/password", **passwords)).told == (403, "forbidden")


@pytest.mark.parametrize("user_id", ["nonsense", "0", str(uuid4()), "me2"])
async def test_a_user_who_is_not_there_is_not_found(admin: LedgerClient, user_id: str) -> None:
    assert (await admin.get(f"/v1/users/{user_id}")).told == (404, "not_found")
    assert (await change(admin, user_id, name="x")).told == (404, "not_found")


async def test_who_was_removed_sees_nothing_of_oneself(
    api: ApiProcess, admin: LedgerClient, owner: Person, shared_database: Database
) -> None:
    made = (await post(admin, "/v1/users", **ADA)).body["id"]
    await admin.request("DELETE", f"/v1/users/{made}")
    gone = Principal(owner.tenant_id, f"user:{made}", frozenset({Scope.LEDGER_READ}), Role.OPERATOR)
    async with speaking_for(api, gone) as client:
        assert (await client.get("/v1/users/me")).told == (404, "not_found")


async def test_the_audit_log_is_listed_newest_first_for_owners_and_auditors(
    api: ApiProcess, admin: LedgerClient, owner: Person
) -> None:
    for n in range(3):
        await post(admin, "/v1/users", **ADA | {"email": f"{n}@example.com"})
    pages = [page async for page in admin.pages("/v1/audit-log", 3)]
    assert [len(page) for page in pages] == [3, 1]
    newest = pages[0][0]
    assert (newest["act"], newest["actor"], newest["address"]) == (
        "user_created",
        f"user:{owner.user_id}",
        "127.0.0.1",
    )
    assert newest["details"] == {"role": "operator", "email": "2@example.com"}
    auditor = Principal(owner.tenant_id, f"user:{uuid4()}", frozenset({Scope.LEDGER_READ}), Role.AUDITOR)
    async with speaking_for(api, auditor) as client:
        assert (await client.get("/v1/audit-log", limit=3)).body["items"] == pages[0]
