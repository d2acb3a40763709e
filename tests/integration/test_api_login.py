"""Log-in of people over HTTP: passwords, lock-out, refresh tokens, registration and password tokens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import psycopg
import pytest
from argon2 import PasswordHasher

from ledgerx.handles import Use, new_handle
from ledgerx.logins import Database
from ledgerx.roles import Role
from ledgerx.sessions import FREE_ATTEMPTS, MAX_FAMILIES, MAX_LOCK_S
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import Answer, LedgerClient
from tests.integration.people import PASSWORD, Person, audited, log_in, new_people, post, speaking_for

NEW_PASSWORD = "another horse battery"


@pytest.fixture
async def owner(shared_database: Database) -> Person:
    [person] = await new_people(shared_database, Role.OWNER)
    return person


@pytest.fixture
async def anybody(api: ApiProcess) -> AsyncIterator[LedgerClient]:
    """A client without a token."""
    async with aiohttp.ClientSession(api.base_url) as session:
        yield LedgerClient(session)


def execute(database: Database, statement: str, *parameters: Any) -> int:
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        return connection.execute(statement.encode(), parameters).rowcount


async def refresh(client: LedgerClient, token: str) -> Answer:
    return await post(client, "/v1/auth/refresh", refresh_token=token)


async def test_a_password_buys_tokens_that_work(anybody: LedgerClient, owner: Person) -> None:
    answer = await log_in(anybody, owner, email=owner.email.upper())
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert (answer.body["token_type"], answer.body["expires_in"], answer.body["scope"]) == ("Bearer", 900, "admin")
    claims = jwt.decode(answer.body["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["role"]) == (f"user:{owner.user_id}", "owner")
    anybody.token = answer.body["access_token"]
    me = await anybody.get("/v1/users/me")
    assert (me.status, me.body["id"], me.body["email"]) == (200, str(owner.user_id), owner.email)
    assert (await anybody.get("/v1/accounts")).status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "wrong horse battery"},
        {"email": "nobody@example.com"},
        {"tenant": "no/such"},
        {"tenant": "no/such", "email": "nobody@example.com", "password": ""},
        {"password": ""},
        {"password": "\0" * 20},
    ],
)
async def test_every_wrong_log_in_is_answered_alike(
    anybody: LedgerClient, owner: Person, wrong: dict[str, str]
) -> None:
    answer = await log_in(anybody, owner, **wrong)
    assert answer.told == (401, "invalid_credentials")
    reference = await log_in(anybody, owner, password="reference reference")
    assert answer.body == reference.body
    assert headers_of(answer) == headers_of(reference)


def headers_of(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.lower() != "date"}


async def test_who_may_not_log_in_is_answered_like_who_does_not_exist(
    anybody: LedgerClient, owner: Person, shared_database: Database
) -> None:
    execute(shared_database, "UPDATE ledgerx.users SET status = 'suspended' WHERE user_id = %s", owner.user_id)
    suspended = await log_in(anybody, owner)
    execute(
        shared_database,
        "UPDATE ledgerx.users SET status = 'active', password_hash = NULL WHERE user_id = %s",
        owner.user_id,
    )
    invited = await log_in(anybody, owner)
    unknown = await log_in(anybody, owner, email="nobody@example.com")
    assert suspended.told == (401, "invalid_credentials")
    assert suspended.body == invited.body == unknown.body


@pytest.mark.parametrize("email", ["", "a", "a@", "@b.c", "a b@c.d", "a@b..c", "a\0@b.c", "x" * 65 + "@b.c", "@" * 10])
async def test_what_is_no_email_is_told_so(anybody: LedgerClient, owner: Person, email: str) -> None:
    assert (await log_in(anybody, owner, email=email)).told == (422, "invalid_field")


async def test_the_tenant_must_be_named_where_there_is_no_default(anybody: LedgerClient, owner: Person) -> None:
    answer = await post(anybody, "/v1/auth/login", email=owner.email, password=PASSWORD)
    assert answer.told == (422, "invalid_field")


@pytest.mark.parametrize("email", [None, "nobody@example.com"])
@pytest.mark.parametrize("known_tenant", [True, False])
async def test_guesses_are_locked_out_whether_or_not_there_is_such_a_user(
    anybody: LedgerClient, owner: Person, email: str | None, known_tenant: bool
) -> None:
    wrong = {"password": "wrong horse battery", "email": email or owner.email}
    if not known_tenant:
        wrong["tenant"] = f"{owner.tenant}/no"
    for _ in range(FREE_ATTEMPTS):
        assert (await log_in(anybody, owner, **wrong)).told == (401, "invalid_credentials")
    locked = await log_in(anybody, owner, **wrong | {"password": PASSWORD})
    assert locked.told == (429, "too_many_attempts")
    assert int(locked.headers["Retry-After"]) == 1


async def test_guesses_side_by_side_count_too(anybody: LedgerClient, owner: Person, shared_database: Database) -> None:
    guesses = [log_in(anybody, owner, password=f"wrong horse battery {n}") for n in range(2 * FREE_ATTEMPTS)]
    told = [answer.told for answer in await asyncio.gather(*guesses)]
    # Those that the first lock, of a second, outlived are refused; nobody got a free sixth guess meanwhile.
    counted = told.count((401, "invalid_credentials"))
    with psycopg.connect(shared_database.admin_url) as connection:
        row = connection.execute(
            "SELECT failures FROM ledgerx.login_attempts WHERE tenant_id = %s", (owner.tenant_id,)
        ).fetchone()
    assert row == (counted,)
    assert told.count((429, "too_many_attempts")) == len(told) - counted > 0


async def test_the_lock_grows_to_its_maximum_and_one_good_log_in_ends_it(
    anybody: LedgerClient, owner: Person, shared_database: Database
) -> None:
    await log_in(anybody, owner, password="wrong horse battery")
    failed = "UPDATE ledgerx.login_attempts SET failures = %s, locked_until = '-infinity' WHERE tenant_id = %s"
    waits = []
    for failures in (FREE_ATTEMPTS - 1, FREE_ATTEMPTS, FREE_ATTEMPTS + 2, 2_000_000_000):
        execute(shared_database, failed, failures, owner.tenant_id)
        assert (await log_in(anybody, owner, password="wrong horse battery")).status == 401
        waits.append(lock_of(shared_database, owner))
    assert waits == [1, 2, 8, MAX_LOCK_S]
    assert int((await log_in(anybody, owner)).headers["Retry-After"]) > MAX_LOCK_S - 60
    execute(shared_database, failed, 20, owner.tenant_id)
    assert (await log_in(anybody, owner)).status == 200
    assert (await log_in(anybody, owner, password="wrong horse battery")).status == 401
    acts = [act for act, *_ in audited(shared_database, owner.tenant_id)][1:]
    assert acts == ["login_failed", *["login_locked"] * 4, "login", "login_failed"]


def lock_of(database: Database, person: Person) -> int:
    with psycopg.connect(database.admin_url) as connection:
        row = connection.execute(
            "SELECT extract(EPOCH FROM locked_until - last_at)::int FROM ledgerx.login_attempts WHERE tenant_id = %s",
            (person.tenant_id,),
        ).fetchone()
    assert row is not None
    return int(row[0])


async def test_attempts_are_forgotten_after_a_day(
    anybody: LedgerClient, owner: Person, shared_database: Database
) -> None:
    for email in ("a@example.com", "b@example.com", owner.email):
        await log_in(anybody, owner, email=email, password="wrong horse battery")
    execute(
        shared_database,
        "UPDATE ledgerx.login_attempts SET failures = 20, last_at = now() - interval '25 hours' WHERE tenant_id = %s",
        owner.tenant_id,
    )
    assert (await log_in(anybody, owner, password="wrong horse battery")).status == 401
    with psycopg.connect(shared_database.admin_url) as connection:
        rows = connection.execute(
            "SELECT failures, locked_until = '-infinity' FROM ledgerx.login_attempts WHERE tenant_id = %s",
            (owner.tenant_id,),
        ).fetchall()
    assert rows == [(1, True)]


async def test_a_refresh_token_is_good_once_and_a_used_one_ends_the_family(
    anybody: LedgerClient, owner: Person, shared_database: Database
) -> None:
    first = (await log_in(anybody, owner)).body["refresh_token"]
    other_family = (await log_in(anybody, owner)).body["refresh_token"]
    second = (await refresh(anybody, first)).body["refresh_token"]
    assert second != first
    third = await refresh(anybody, second)
    assert third.status == 200
    assert (await refresh(anybody, first)).told == (401, "invalid_grant")
    assert (await refresh(anybody, third.body["refresh_token"])).told == (401, "invalid_grant")
    assert (await refresh(anybody, other_family)).status == 200
    acts = [(act, actor) for act, actor, *_ in audited(shared_database, owner.tenant_id)]
    me = f"user:{owner.user_id}"
    assert acts == [("user_created", "system"), ("login", me), ("login", me), ("refresh_reused", "anonymous")]


@pytest.mark.parametrize("at_once", [2, 8])
async def test_of_refreshes_with_one_token_at_once_one_wins_and_the_family_ends(
    anybody: LedgerClient, owner: Person, at_once: int
) -> None:
    token = (await log_in(anybody, owner)).body["refresh_token"]
    answers = await asyncio.gather(*(refresh(anybody, token) for _ in range(at_once)))
    [won] = [answer for answer in answers if answer.status == 200]
    assert [answer.told for answer in answers if answer is not won] == [(401, "invalid_grant")] * (at_once - 1)
    assert (await refresh(anybody, won.body["refresh_token"])).told == (401, "invalid_grant")


async def test_no_token_is_made_up(anybody: LedgerClient, owner: Person, shared_database: Database) -> None:
    token = (await log_in(anybody, owner)).body["refresh_token"]
    guessed = new_handle(owner.tenant_id, owner.user_id)
    for bad in (
        "",
        "lxr_",
        token[:-1],
        token + "A",
        "lxp_" + token[4:],
        token[:4] + "\u00e9" + token[5:],
        guessed.token(Use.REFRESH),
        new_handle(owner.user_id, owner.tenant_id).token(Use.REFRESH),
        "x" * 128,
    ):
        assert (await refresh(anybody, bad)).told == (401, "invalid_grant"), bad
        assert (await post(anybody, "/v1/auth/password-reset", token=bad, password=NEW_PASSWORD)).told == (
            401,
            "invalid_grant",
        )
    assert (await refresh(anybody, token)).status == 200
    stored = "SELECT FROM ledgerx.refresh_tokens WHERE token_sha256::text LIKE %s"
    assert execute(shared_database, stored, f"%{token[4:20]}%") == 0


async def test_a_log_in_ends_when_its_time_is_over(
    anybody: LedgerClient, owner: Person, shared_database: Database
) -> None:
    token = (await log_in(anybody, owner)).body["refresh_token"]
    execute(
        shared_database, "UPDATE ledgerx.refresh_tokens SET expires_at = now() WHERE tenant_id = %s", owner.tenant_id
    )
    assert (await refresh(anybody, token)).told == (401, "invalid_grant")


async def test_logging_out_ends_one_log_in_and_can_be_repeated(
    anybody: LedgerClient, owner: Person, shared_database: Database
) -> None:
    token, other = [(await log_in(anybody, owner)).body["refresh_token"] for _ in range(2)]
    for _ in range(2):
        assert (await post(anybody, "/v1/auth/logout", refresh_token=token)).status == 204
    assert (await refresh(anybody, token)).told == (401, "invalid_grant")
    assert (await refresh(anybody, other)).status == 200
    assert [act for act, *_ in audited(shared_database, owner.tenant_id)].count("logout") == 1


async def test_a_log_in_renews_a_hash_of_weaker_parameters(
    anybody: LedgerClient, owner: Person, shared_database: Database
) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
    execute(shared_database, "UPDATE ledgerx.users SET password_hash = %s WHERE user_id = %s", weak, owner.user_id)
    answers = await asyncio.gather(log_in(anybody, owner), log_in(anybody, owner))
    # The second may find another hash than it verified, and is refused like any wrong password.
    assert 200 in {answer.status for answer in answers}
    renewed = "SELECT FROM ledgerx.users WHERE user_id = %s AND password_hash LIKE '$argon2id$v=19$m=65536%%'"
    assert execute(shared_database, renewed, owner.user_id) == 1
    assert (await log_in(anybody, owner)).status == 200


async def test_a_user_has_so_many_log_ins_and_the_oldest_ends_first(
    anybody: LedgerClient, owner: Person, shared_database: Database
) -> None:
    oldest, newer = [(await log_in(anybody, owner)).body["refresh_token"] for _ in range(2)]
    execute(
        shared_database,
        """
        INSERT INTO ledgerx.refresh_tokens (tenant_id, family_id, user_id, token_sha256, expires_at)
        SELECT %s, gen_random_uuid(), %s, sha256(''), now() + interval '100 days' FROM generate_series(1, %s)
        """,
        owner.tenant_id,
        owner.user_id,
        MAX_FAMILIES - 3,
    )
    await log_in(anybody, owner)
    assert (await refresh(anybody, oldest)).status == 200
    await log_in(anybody, owner)
    assert (await refresh(anybody, oldest)).told == (401, "invalid_grant")
    assert (await refresh(anybody, newer)).status == 200


async def test_members_register_where_the_tenant_allows_it_and_a_taken_email_is_not_told(
    anybody: LedgerClient, owner: Person, shared_database: Database
) -> None:
    wanted = {"tenant": owner.tenant, "email": "New@Example.com", "password": PASSWORD, "name": "New"}
    closed = await post(anybody, "/v1/auth/register", **wanted)
    assert closed.told == (403, "forbidden")
    assert (await post(anybody, "/v1/auth/register", **wanted | {"tenant": "no/such"})).body == closed.body

    execute(
        shared_database, "UPDATE ledgerx.tenants SET allow_registration = true WHERE tenant_id = %s", owner.tenant_id
    )
    made = await post(anybody, "/v1/auth/register", **wanted)
    taken = await post(anybody, "/v1/auth/register", **wanted | {"email": owner.email, "password": NEW_PASSWORD})
    assert (made.status, made.body) == (taken.status, taken.body) == (202, {"status": "accepted"})
    assert headers_of(made) == headers_of(taken)
    assert (await log_in(anybody, owner, password=NEW_PASSWORD)).status == 401
    assert (await log_in(anybody, owner)).status == 200

    anybody.token = (await log_in(anybody, owner, email="new@example.com")).body["access_token"]
    me = (await anybody.get("/v1/users/me")).body
    assert (me["role"], me["email"], me["name"]) == ("member", "New@example.com", "New")
    assert (await anybody.get("/v1/accounts")).body == {"items": [], "next_cursor": None}
    assert (await anybody.get("/v1/trial-balance")).told == (403, "forbidden")
    assert (await anybody.get("/v1/users")).told == (403, "forbidden")


@pytest.mark.parametrize("password", ["", "elevenchars", "x" * 257, "e\u0301" * 11])
async def test_a_password_that_is_too_short_or_too_long_is_refused(
    anybody: LedgerClient, owner: Person, shared_database: Database, password: str
) -> None:
    execute(
        shared_database, "UPDATE ledgerx.tenants SET allow_registration = true WHERE tenant_id = %s", owner.tenant_id
    )
    wanted = {"tenant": owner.tenant, "email": "new@example.com", "password": password}
    assert (await post(anybody, "/v1/auth/register", **wanted)).told == (422, "invalid_field")
    handle = new_handle(owner.tenant_id, owner.user_id).token(Use.PASSWORD)
    assert (await post(anybody, "/v1/auth/password-reset", token=handle, password=password)).told == (
        422,
        "invalid_field",
    )


async def test_changing_ones_password_ends_every_log_in(
    anybody: LedgerClient, owner: Person, shared_database: Database
) -> None:
    session = (await log_in(anybody, owner)).body
    anybody.token = session["access_token"]
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    path = "/v1/users/me/password"
    assert (await post(anybody, path, **change | {"current_password": "wrong"})).told == (401, "invalid_credentials")
    assert (await post(anybody, path, **change | {"new_password": "short"})).told == (422, "invalid_field")
    assert (await post(anybody, path, **change)).status == 204
    assert (await post(anybody, path, **change)).told == (401, "invalid_credentials")
    assert (await refresh(anybody, session["refresh_token"])).told == (401, "invalid_grant")
    assert (await log_in(anybody, owner)).told == (401, "invalid_credentials")
    assert (await log_in(anybody, owner, password=NEW_PASSWORD)).status == 200
    assert "password_changed" in [act for act, *_ in audited(shared_database, owner.tenant_id)]


async def test_guesses_of_the_current_password_are_locked_out(anybody: LedgerClient, owner: Person) -> None:
    anybody.token = (await log_in(anybody, owner)).body["access_token"]
    guess = {"current_password": "wrong horse battery", "new_password": NEW_PASSWORD}
    for _ in range(FREE_ATTEMPTS):
        assert (await post(anybody, "/v1/users/me/password", **guess)).status == 401
    assert (await post(anybody, "/v1/users/me/password", **guess)).told == (429, "too_many_attempts")


async def password_token(api: ApiProcess, owner: Person, person: Person) -> str:
    async with speaking_for(api, owner.principal) as admin:
        answer = await post(admin, f"/v1/users/{person.user_id}/password-reset")
        assert answer.status == 201
        assert answer.headers["Cache-Control"] == "no-store"
        return str(answer.body["token"])


async def test_a_password_token_is_good_once_and_the_latest_only(
    api: ApiProcess, anybody: LedgerClient, shared_database: Database
) -> None:
    owner, member = await new_people(shared_database, Role.OWNER, Role.MEMBER)
    session = (await log_in(anybody, member)).body["refresh_token"]
    for _ in range(FREE_ATTEMPTS):
        await log_in(anybody, member, password="wrong horse battery")
    replaced = await password_token(api, owner, member)
    token = await password_token(api, owner, member)
    reset = {"token": token, "password": NEW_PASSWORD}
    assert (await post(anybody, "/v1/auth/password-reset", **reset | {"token": replaced})).told == (
        401,
        "invalid_grant",
    )
    told = await asyncio.gather(*(post(anybody, "/v1/auth/password-reset", **reset) for _ in range(3)))
    assert sorted(answer.status for answer in told) == [204, 401, 401]
    assert (await log_in(anybody, member, password=NEW_PASSWORD)).status == 200
    assert (await refresh(anybody, session)).told == (401, "invalid_grant")
    acts = [act for act, *_ in audited(shared_database, owner.tenant_id)]
    assert (acts.count("password_token_issued"), acts.count("password_reset")) == (2, 1)


async def test_a_password_token_expires(api: ApiProcess, anybody: LedgerClient, shared_database: Database) -> None:
    owner, member = await new_people(shared_database, Role.OWNER, Role.MEMBER)
    token = await password_token(api, owner, member)
    execute(
        shared_database, "UPDATE ledgerx.password_tokens SET expires_at = now() WHERE tenant_id = %s", owner.tenant_id
    )
    reset = {"token": token, "password": NEW_PASSWORD}
    assert (await post(anybody, "/v1/auth/password-reset", **reset)).told == (401, "invalid_grant")
    assert (await log_in(anybody, member)).status == 200


async def test_who_is_suspended_or_removed_is_logged_out_at_once(
    api: ApiProcess, anybody: LedgerClient, shared_database: Database
) -> None:
    owner, suspended, removed = await new_people(shared_database, Role.OWNER, Role.OPERATOR, Role.AUDITOR)
    tokens = [(await log_in(anybody, person)).body["refresh_token"] for person in (suspended, removed)]
    async with speaking_for(api, owner.principal) as admin:
        path = f"/v1/users/{suspended.user_id}"
        assert (await admin.request("PATCH", path, body={"status": "suspended"})).status == 200
        assert (await admin.request("DELETE", f"/v1/users/{removed.user_id}")).status == 204
        for token in tokens:
            assert (await refresh(anybody, token)).told == (401, "invalid_grant")
        for person in (suspended, removed):
            assert (await log_in(anybody, person)).told == (401, "invalid_credentials")
        assert (await admin.request("PATCH", path, body={"status": "active"})).status == 200
    assert (await refresh(anybody, tokens[0])).told == (401, "invalid_grant")
    assert (await log_in(anybody, suspended)).status == 200


async def test_a_refreshed_token_has_the_role_of_now(
    api: ApiProcess, anybody: LedgerClient, shared_database: Database
) -> None:
    owner, operator = await new_people(shared_database, Role.OWNER, Role.OPERATOR)
    token = (await log_in(anybody, operator)).body["refresh_token"]
    async with speaking_for(api, owner.principal) as admin:
        await admin.request("PATCH", f"/v1/users/{operator.user_id}", body={"role": "auditor"})
    assert (await refresh(anybody, token)).body["scope"] == "ledger:read"


async def test_the_same_email_in_another_tenant_is_somebody_else(
    anybody: LedgerClient, shared_database: Database, owner: Person
) -> None:
    [other] = await new_people(shared_database, Role.OWNER)
    execute(
        shared_database,
        "UPDATE ledgerx.users SET email = %s, email_key = %s, password_hash = NULL WHERE user_id = %s",
        owner.email,
        owner.email,
        other.user_id,
    )
    assert (await log_in(anybody, owner)).status == 200
    assert (await log_in(anybody, owner, tenant=other.tenant)).told == (401, "invalid_credentials")


async def test_the_audit_log_tells_who_from_where(
    anybody: LedgerClient, owner: Person, shared_database: Database
) -> None:
    await log_in(anybody, owner, password="wrong horse battery")
    await log_in(anybody, owner, email="nobody@example.com")
    await log_in(anybody, owner)
    me, here = f"user:{owner.user_id}", "127.0.0.1"
    assert list(audited(shared_database, owner.tenant_id))[1:] == [
        ("login_failed", "anonymous", me, here),
        ("login_failed", "anonymous", "email:nobody@example.com", here),
        ("login", me, me, here),
    ]
