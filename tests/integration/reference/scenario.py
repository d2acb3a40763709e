"""What the examples of the reference tell: a small business with a wallet app, from its first user to its audit log.

Each route has a step that succeeds, and each error of its own one that is refused with it. What all routes have in
common, such as errors of tokens, bodies and rate limits, is asked by `probes` with the requests shown here.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from ledgerx.roles import SCOPES, Role
from ledgerx.tenancy import ClientCredentials
from ledgerx.webhooks import MAX_ENDPOINTS
from ledgerx_api.batch import NDJSON
from ledgerx_api.tokens import Principal
from tests.integration.people import PASSWORD
from tests.integration.reference.recorder import FORM, Recorder, Request, request

TENANT = "demo"
OWNER_EMAIL = "ada@example.com"
# The issuers that the platform takes tokens of.
ISSUER = "https://login.example.com/realms/main"
UNREACHABLE_ISSUER = "http://127.0.0.1:9/nobody"
AUDIENCE = "https://ledger.example.com/demo"
# The number of the first transaction, behind the entries of accounts.
DEPOSIT = 11
DEPOSIT_KEY = "deposit-1"
_WHEN = "2026-01-05T08:30:00Z"
_EXPIRES = "2099-12-31T23:59:59Z"


class Cast(msgspec.Struct, frozen=True):
    """Who acts: the tenant, the owner of it, and the credentials of its API client; and another tenant."""

    tenant_id: UUID
    other_id: UUID
    owner_id: UUID
    credentials: ClientCredentials

    @property
    def owner(self) -> Principal:
        return Principal(self.tenant_id, f"user:{self.owner_id}", SCOPES[Role.OWNER], Role.OWNER)

    @property
    def others_owner(self) -> Principal:
        return Principal(self.other_id, f"user:{self.owner_id}", SCOPES[Role.OWNER], Role.OWNER)

    @property
    def service(self) -> Principal:
        scopes = SCOPES[Role.OPERATOR]
        return Principal(self.tenant_id, f"client:{self.credentials.client_id}", scopes)


async def play(
    recorder: Recorder,
    cast: Cast,
    *,
    reach_head: Callable[[], None],
    sign_head: Callable[[], Awaitable[None]],
    give_up: Callable[[str], None],
    write_exports: Callable[[], Awaitable[None]],
) -> None:
    """Record all of it.

    `reach_head` brings the projections to the head of the journal, `sign_head` signs it, `give_up` lets an event for a
    webhook be dead, `write_exports` writes the files that were asked for.
    """
    await services(recorder, cast)
    await log_in(recorder, cast)
    await issuers(recorder, cast)
    await accounts(recorder, cast)
    await transactions(recorder, cast)
    await sign_head()
    await holds(recorder, cast)
    await reversals(recorder, cast)
    await batches(recorder, cast)
    await reads(recorder, cast)
    await closing(recorder, cast)
    await assets(recorder, cast)
    await categories(recorder, cast)
    await settings(recorder, cast)
    await integrity(recorder, cast, sign_head)
    reach_head()
    captured = request("GET", "/v1/accounts/users:1:wallet/snapshots", principal=cast.service)
    await recorder.show("Its balances as they were captured", captured)
    await events(recorder, cast)
    await webhooks(recorder, cast, give_up)
    await exports(recorder, cast, write_exports)
    await people(recorder, cast)
    await passwords(recorder, cast)
    await clients(recorder, cast)
    await recorder.show("The audit log", request("GET", "/v1/audit-log?limit=3", principal=cast.owner))


async def services(recorder: Recorder, cast: Cast) -> None:
    """How a service gets a token."""
    form = {
        "grant_type": "client_credentials",
        "client_id": cast.credentials.client_id,
        "client_secret": cast.credentials.client_secret,
    }
    token = partial(request, "POST", "/v1/auth/token", media_type=FORM)
    await recorder.show("A token for a service", token(form))
    await recorder.refused("unsupported_grant_type", token({**form, "grant_type": "password"}))
    await recorder.refused("invalid_scope", token({**form, "scope": "admin"}))
    await recorder.refused("invalid_client", token({**form, "client_secret": "guess"}))
    await recorder.show("The public keys", request("GET", "/.well-known/jwks.json"))


async def log_in(recorder: Recorder, cast: Cast) -> None:
    """How a person gets tokens, and the next ones."""
    credentials = {"tenant": TENANT, "email": OWNER_EMAIL, "password": PASSWORD}
    login = partial(request, "POST", "/v1/auth/login")
    tokens = await recorder.show("Log in", login(credentials))
    await recorder.refused("invalid_credentials", login({**credentials, "password": "wrong"}))
    refresh = partial(request, "POST", "/v1/auth/refresh")
    following = await recorder.show("The next tokens", refresh({"refresh_token": tokens["refresh_token"]}))
    await recorder.show("Log out", request("POST", "/v1/auth/logout", {"refresh_token": following["refresh_token"]}))
    await recorder.refused("invalid_grant", refresh({"refresh_token": following["refresh_token"]}))
    await recorder.refused("invalid_grant", request("POST", "/v1/auth/logout", {"refresh_token": "none"}))
    await recorder.show("Who is logged in", request("GET", "/v1/users/me", principal=cast.owner))


async def issuers(recorder: Recorder, cast: Cast) -> None:
    """Trusting an issuer outside; the other tenant goes on trusting one that cannot be reached."""
    trust = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "role_claim": ["realm_access", "roles"],
        "roles": {"ledger-admins": "owner", "customers": "member"},
    }
    ask = partial(request, target="/v1/auth/issuer", principal=cast.owner)
    await recorder.refused("issuer_not_allowed", ask("PUT", body={**trust, "issuer": "https://login.example.org"}))
    await recorder.show("Trust an issuer", ask("PUT", body=trust))
    taken = request("PUT", "/v1/auth/issuer", trust, principal=cast.others_owner)
    await recorder.refused("issuer_taken", taken)
    await recorder.show("The trusted issuer", ask("GET"))
    for method, body in (("PUT", trust | {"audience": "https://ledger.example.com/b"}), ("DELETE", None)):
        await recorder.refused("precondition_failed", ask(method, body=body, headers={"If-Match": '"9"'}))
    await recorder.show("Trust nobody", ask("DELETE"))
    await recorder.refused("not_found", ask("GET"))
    await recorder.refused("not_found", ask("DELETE"))
    unreachable = trust | {"issuer": UNREACHABLE_ISSUER}
    await recorder.done(request("PUT", "/v1/auth/issuer", unreachable, principal=cast.others_owner))


async def accounts(recorder: Recorder, cast: Cast) -> None:
    """Opening and changing accounts."""
    post = partial(request, "POST", "/v1/accounts", principal=cast.service)
    bank = {"code": "bank", "asset": "EUR", "type": "asset"}
    wallet = {
        "code": "users:1:wallet",
        "asset": "EUR",
        "type": "liability",
        "min_balance": "0",
        "max_balance": "10000",
        "owner": "user-1",
        "metadata": {"plan": "basic"},
    }
    await recorder.show("Money at the bank", post(bank))
    await recorder.show("A wallet with limits", post(wallet, key="wallet-of-user-1"))
    for code, kind in (("users:2:wallet", "liability"), ("fees", "revenue"), ("frozen", "liability")):
        await recorder.done(post({"code": code, "asset": "EUR", "type": kind}))
    await recorder.done(post({"code": "dollars", "asset": "USD", "type": "asset"}))
    await recorder.done(post({"code": "closed", "asset": "EUR", "type": "asset"}))
    await recorder.refused("account_exists", post(wallet))
    await recorder.refused("unknown_asset", post({**bank, "code": "gold", "asset": "GOLD"}))
    await recorder.refused("invalid_field", post({**bank, "code": "not a code"}))
    await recorder.refused("malformed", post(b"{"))
    nobody = Principal(cast.tenant_id, "client:nobody", frozenset())
    await recorder.refused("forbidden", request("POST", "/v1/accounts", bank, principal=nobody))

    patch = partial(request, "PATCH", principal=cast.service)
    await recorder.show("Raise a limit", patch("/v1/accounts/users:1:wallet", {"max_balance": "25000"}))
    await recorder.show("Freeze an account", patch("/v1/accounts/frozen", {"frozen": True}))
    await recorder.show(
        "Close an account", request("DELETE", "/v1/accounts/closed", key="close", principal=cast.service)
    )
    await recorder.refused("account_closed", patch("/v1/accounts/closed", {"frozen": True}))


def post(cast: Cast, key: str, amount: str, debit: str, credit: str, **fields: Any) -> Request:
    """A transaction of two lines."""
    body = {"debit": debit, "credit": credit, "amount": amount, **fields}
    return request("POST", "/v1/transactions", body, key=key, principal=cast.service)


def lines(*postings: tuple[str, str, str]) -> list[dict[str, str]]:
    """Postings of account, direction and amount."""
    return [{"account": account, "direction": side, "amount": amount} for account, side, amount in postings]


async def transactions(recorder: Recorder, cast: Cast) -> None:
    """Posting and amending."""
    wallet = "users:1:wallet"
    ask = partial(post, cast)
    deposit = ask(
        DEPOSIT_KEY,
        "100.00",
        "bank",
        wallet,
        reference="wire 4711",
        category="deposit",
        metadata={"order": "77"},
        effective_at=_WHEN,
    )
    recorded = await recorder.show("Two lines in short", deposit)
    assert recorded["id"] == DEPOSIT, "entries were recorded before this that were not: say its number in DEPOSIT"
    split = lines((wallet, "debit", "20.00"), ("users:2:wallet", "credit", "19.00"), ("fees", "credit", "1.00"))
    await recorder.show(
        "A payment with a fee",
        request("POST", "/v1/transactions", {"postings": split}, key="order-78", principal=cast.service),
    )
    dry_run = {"debit": wallet, "credit": "bank", "amount": "5.00"}
    target = "/v1/transactions?dry_run=true"
    await recorder.show("A dry run", request("POST", target, dry_run, principal=cast.service))

    await recorder.refused("idempotency_key_reused", ask(DEPOSIT_KEY, "1.00", "bank", wallet))
    await recorder.refused("insufficient_funds", ask("t1", "100.00", wallet, "bank"))
    await recorder.refused("limit_exceeded", ask("t1", "25000.00", "bank", wallet))
    await recorder.refused("unknown_account", ask("t1", "1.00", "bank", "users:3:wallet"))
    await recorder.refused("asset_mismatch", ask("t1", "1.00", "bank", wallet, asset="USD"))
    await recorder.refused("unbalanced", ask("t1", "1.00", "bank", "dollars"))
    await recorder.refused("account_frozen", ask("t1", "1.00", "bank", "frozen"))
    await recorder.refused("account_closed", ask("t1", "1.00", "bank", "closed"))
    await recorder.refused("invalid_amount", ask("t1", "ten", "bank", wallet))
    await recorder.refused("too_many_decimals", ask("t1", "1.001", "bank", wallet))
    await recorder.refused("precondition_failed", ask("t1", "1.00", "bank", wallet, if_balance_version={wallet: 1}))

    amend = partial(request, "PATCH", f"/v1/transactions/{DEPOSIT}", principal=cast.service)
    await recorder.show("Another category", amend({"category": "top-up", "description": "first deposit"}))


async def holds(recorder: Recorder, cast: Cast) -> None:
    """Reserving money, and what becomes of it."""
    wallet = "users:1:wallet"

    def hold(amount: str, key: str, **fields: Any) -> Request:
        return post(cast, key, amount, wallet, "users:2:wallet", kind="hold", **fields)

    async def held(amount: str, key: str) -> int:
        return int((await recorder.done(hold(amount, key)))["id"])

    def resolve(how: str, target: int, body: Any = None, *, query: str = "", key: str = "again") -> Request:
        return request("POST", f"/v1/transactions/{target}/{how}{query}", body, key=key, principal=cast.service)

    whole = (await recorder.show("A hold", hold("10.00", "hold-1", expires_at=_EXPIRES)))["id"]
    part, released = await held("10.00", "hold-2"), await held("10.00", "hold-3")
    await recorder.show("Try a capture", resolve("capture", whole, query="?dry_run=true"))
    await recorder.show("Capture all of it", resolve("capture", whole, key="capture-1"))
    taken = lines((wallet, "debit", "7.50"), ("users:2:wallet", "credit", "7.50"))
    await refuse_parts(recorder, partial(resolve, "capture", part), wallet, "users:2:wallet")
    await recorder.show("Capture a part", resolve("capture", part, {"postings": taken}, key="capture-2"))
    await recorder.show("Try a release", resolve("release", released, query="?dry_run=true"))
    await recorder.show("Release a hold", resolve("release", released, {"description": "cancelled"}, key="release-3"))
    open_hold = await held("1.00", "hold-4")
    soon = (datetime.now(UTC) + timedelta(seconds=0.5)).isoformat()
    ending = (await recorder.done(hold("1.00", "hold-6", expires_at=soon)))["id"]
    for how in ("capture", "release"):
        await recorder.refused("hold_already_resolved", resolve(how, whole))
        await recorder.refused("not_a_hold", resolve(how, DEPOSIT))
        for code, conditions in (
            ("precondition_failed", {wallet: 1}),
            ("unknown_account", {"nobody": 1}),
            ("account_closed", {"closed": 1}),
        ):
            await recorder.refused(code, resolve(how, open_hold, {"if_balance_version": conditions}))
    await recorder.refused_at_last("hold_expired", resolve("capture", ending, query="?dry_run=true"))


async def reversals(recorder: Recorder, cast: Cast) -> None:
    """Taking back what was posted."""
    wallet, shop = "users:1:wallet", "users:2:wallet"

    def reverse(target: int, body: Any = None, *, query: str = "", key: str = "again") -> Request:
        return request("POST", f"/v1/transactions/{target}/reverse{query}", body, key=key, principal=cast.service)

    async def posted(key: str, amount: str, debit: str, credit: str) -> int:
        return int((await recorder.done(post(cast, key, amount, debit, credit)))["id"])

    paid = await posted("order-79", "12.00", wallet, shop)
    await recorder.show("Try a refund", reverse(paid, query="?dry_run=true"))
    refund = lines((wallet, "debit", "2.00"), (shop, "credit", "2.00"))
    await refuse_parts(recorder, partial(reverse, paid), wallet, shop)
    await recorder.refused("precondition_failed", reverse(paid, {"if_balance_version": {wallet: 1}}))
    await recorder.show("A part, as it reads there", reverse(paid, {"postings": refund}, key="refund-79a"))
    await recorder.show("What is left of it", reverse(paid, key="refund-79b"))
    await recorder.refused("already_reversed", reverse(paid))
    hold = await recorder.done(post(cast, "hold-5", "1.00", wallet, shop, kind="hold"))
    await recorder.refused("not_reversible", reverse(hold["id"]))
    await recorder.refused("insufficient_funds", reverse(DEPOSIT))
    payout = await posted("payout-1", "50.00", wallet, "bank")
    await recorder.done(request("PATCH", "/v1/accounts/users:1:wallet", {"max_balance": "60"}, principal=cast.service))
    await recorder.refused("limit_exceeded", reverse(payout))


async def refuse_parts(recorder: Recorder, take: Callable[[Any], Request], debit: str, credit: str) -> None:
    """Record what may be wrong with postings that are to be a part of a transaction of at least 2 and at most 12."""

    def part(amount: str, *, into: str = credit, taken: str | None = None) -> list[dict[str, str]]:
        return lines((debit, "debit", amount), (into, "credit", taken or amount))

    for code, postings in {
        "exceeds_target": part("13.00"),
        "unbalanced": part("2.00", taken="1.00"),
        "unknown_account": part("2.00", into="nobody"),
        "account_closed": part("2.00", into="closed"),
        "account_frozen": part("2.00", into="frozen"),
        "invalid_amount": part("0"),
        "too_many_decimals": part("2.005"),
        "asset_mismatch": [line | {"asset": "USD"} for line in part("2.00")],
    }.items():
        await recorder.refused(code, take({"postings": postings}))


async def batches(recorder: Recorder, cast: Cast) -> None:
    """Many transactions at once."""
    payroll = [
        {"debit": "bank", "credit": "users:2:wallet", "amount": "15.00", "reference": "May"},
        {"debit": "bank", "credit": "users:1:wallet", "amount": "9000.00", "reference": "May"},
    ]
    batch = partial(request, "POST", "/v1/transactions/batch", principal=cast.service)
    await recorder.show("Each on its own", batch({"transactions": payroll}, key="payroll-may"))
    atomic = {"transactions": payroll[:1], "atomic": True}
    await recorder.show("All or none", batch(atomic, key="payroll-june"))
    await recorder.refused("batch_refused", batch({"transactions": payroll, "atomic": True}, key="payroll-july"))
    numeric = {"transactions": [payroll[0] | {"amount": 15}]}
    await recorder.refused("invalid_amount", batch(numeric, key="payroll-july"))
    ndjson = "".join(f"{json.dumps(item)}\n" for item in payroll)
    await recorder.show("A line each", batch(ndjson, key="payroll-august", media_type=NDJSON))


async def reads(recorder: Recorder, cast: Cast) -> None:
    """What can be asked of it all."""

    def get(target: str, headers: Mapping[str, str] | None = None) -> Request:
        return request("GET", target, principal=cast.service, headers=headers)

    wallet = "/v1/accounts/users:1:wallet"
    january = "from=2026-01-01&to=2026-02-01"
    period = "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z"
    for title, asked in {
        "The first accounts": get("/v1/accounts?limit=2"),
        "Those of an owner": get("/v1/accounts?prefix=users&owner=user-1"),
        "One account": get(wallet),
        "What it has now": get(f"{wallet}/balance"),
        "What it had at a time of effect": get(f"{wallet}/balance?effective_at=2026-01-31T00:00:00Z"),
        "Its last lines": get(f"{wallet}/postings?limit=2"),
        "The statement of a month": get(f"{wallet}/statement?{period}"),
        "The statement as a file": get(f"{wallet}/statement?{period}", {"Accept": "text/csv"}),
        "One transaction": get(f"/v1/transactions/{DEPOSIT}"),
        "Those with certain metadata": get('/v1/transactions?metadata={"order":"77"}'),
        "Those of an account": get("/v1/transactions?account=fees&limit=1"),
        "All wallets together": get("/v1/balance?prefix=users"),
        "The whole ledger": get("/v1/trial-balance"),
        "A month by category": get(f"/v1/summary?{january}&group_by=category,month&prefix=users"),
    }.items():
        await recorder.show(title, asked)
    await recorder.refused("invalid_field", get("/v1/balance"))
    await recorder.refused("not_found", get("/v1/balance?account=nobody"))
    await recorder.refused("invalid_cursor", get("/v1/accounts?cursor=nonsense"))


async def integrity(recorder: Recorder, cast: Cast, sign_head: Callable[[], Awaitable[None]]) -> None:
    """Checkpoints, and what is proved by them."""
    get = partial(request, "GET", principal=cast.service)
    [older] = (await recorder.done(get("/v1/checkpoints")))["items"]
    last = (await recorder.done(post(cast, "cashback", "1.00", "bank", "users:2:wallet")))["id"]
    await recorder.refused("not_checkpointed", get(f"/v1/transactions/{last}/proof"))
    await sign_head()
    await recorder.show("The latest checkpoint", get("/v1/checkpoints?limit=1"))
    note = partial(request, "GET", "/v1/checkpoints", headers={"Accept": "text/plain"})
    await recorder.show("Its note alone", note(principal=cast.service))
    await recorder.refused("not_found", note(principal=cast.others_owner))
    await recorder.show("The proof of a transaction", get(f"/v1/transactions/{DEPOSIT}/proof"))
    await recorder.show("What an older one begins with", get(f"/v1/checkpoints/proof?from={older['size']}&to={last}"))
    await recorder.show("From a note that only you have kept", get(f"/v1/checkpoints/proof?from=1&to={last}"))
    await recorder.refused("invalid_field", get(f"/v1/checkpoints/proof?from={last}&to={older['size']}"))
    await recorder.refused("not_found", get("/v1/checkpoints/proof?from=1&to=2"))
    await recorder.refused("not_found", get(f"/v1/transactions/{DEPOSIT}/proof?checkpoint=1"))


async def closing(recorder: Recorder, cast: Cast) -> None:
    """The end of accounts, and limits that do not fit."""
    close = partial(request, "DELETE", principal=cast.service)
    await recorder.refused("account_not_empty", close("/v1/accounts/bank"))
    await recorder.refused("account_closed", close("/v1/accounts/closed"))
    await recorder.refused("precondition_failed", close("/v1/accounts/frozen", headers={"If-Match": '"1"'}))
    new = {"code": "new", "asset": "EUR", "type": "asset"}
    for code, limits in {
        "invalid_amount": {"min_balance": "none"},
        "too_many_decimals": {"min_balance": "0.001"},
        "insufficient_funds": {"min_balance": "10000"},
        "limit_exceeded": {"max_balance": "-10000"},
    }.items():
        await recorder.refused(code, request("POST", "/v1/accounts", new | limits, principal=cast.service))
        await recorder.refused(code, request("PATCH", "/v1/accounts/bank", limits, principal=cast.service))


async def assets(recorder: Recorder, cast: Cast) -> None:
    """Assets of the tenant's own."""
    ask = partial(request, principal=cast.service)
    bitcoin = {"code": "BTC", "scale": 8, "name": "Bitcoin"}
    await recorder.show("A crypto currency", ask("POST", "/v1/assets", bitcoin))
    await recorder.refused("asset_exists", ask("POST", "/v1/assets", bitcoin))
    await recorder.refused("asset_in_use", ask("POST", "/v1/assets", {"code": "EUR", "scale": 4}))
    await recorder.done(ask("POST", "/v1/assets", {"code": "POINTS", "scale": 0}))
    await recorder.show("Those of the tenant", ask("GET", "/v1/assets?registered=true"))
    await recorder.show("A currency", ask("GET", "/v1/assets/EUR"))
    await recorder.show("Another name of an asset", ask("PATCH", "/v1/assets/BTC", {"name": "Bitcoin, on chain"}))
    vault = {"code": "vault", "asset": "BTC", "type": "asset"}
    await recorder.done(ask("POST", "/v1/accounts", vault))
    await recorder.refused("asset_in_use", ask("DELETE", "/v1/assets/BTC"))
    await recorder.show("Take an asset away", ask("DELETE", "/v1/assets/POINTS"))
    for method, body in (("PATCH", {"name": "Points"}), ("DELETE", None)):
        await recorder.refused("precondition_failed", ask(method, "/v1/assets/BTC", body, headers={"If-Match": '"1"'}))
        await recorder.refused("not_found", ask(method, "/v1/assets/POINTS", body))
    await recorder.refused("not_found", ask("GET", "/v1/assets/POINTS"))


async def categories(recorder: Recorder, cast: Cast) -> None:
    """Categories that are registered."""
    ask = partial(request, principal=cast.service)
    fruit = {"code": "food:fruit", "name": "Fruit"}
    await recorder.show("A category", ask("POST", "/v1/categories", fruit))
    await recorder.refused("category_exists", ask("POST", "/v1/categories", fruit))
    await recorder.done(ask("POST", "/v1/categories", {"code": "food:bread"}))
    await recorder.show("Those below another", ask("GET", "/v1/categories?prefix=food"))
    await recorder.show("One category", ask("GET", "/v1/categories/food:fruit"))
    await recorder.show("Another name of it", ask("PATCH", "/v1/categories/food:fruit", {"name": "Fruit and nuts"}))
    await recorder.show("Take a category away", ask("DELETE", "/v1/categories/food:bread"))
    for method, body in (("PATCH", {"name": "Bread"}), ("DELETE", None)):
        stale = ask(method, "/v1/categories/food:fruit", body, headers={"If-Match": '"1"'})
        await recorder.refused("precondition_failed", stale)
        await recorder.refused("not_found", ask(method, "/v1/categories/food:bread", body))


async def settings(recorder: Recorder, cast: Cast) -> None:
    """Strict categories, for a while."""
    ask = partial(request, principal=cast.owner)
    await recorder.show("What is set", ask("GET", "/v1/settings"))
    hold = await recorder.done(post(cast, "hold-7", "1.00", "users:1:wallet", "users:2:wallet", kind="hold"))
    strict = {"strict_categories": True}
    await recorder.show("Strict categories", ask("PATCH", "/v1/settings", strict))
    stale = ask("PATCH", "/v1/settings", strict, headers={"If-Match": '"1"'})
    await recorder.refused("precondition_failed", stale)
    unknown = {"category": "food:meat"}
    await recorder.refused("unknown_category", post(cast, "t2", "1.00", "bank", "users:2:wallet", **unknown))
    transaction = "/v1/transactions/{}".format
    await recorder.refused("unknown_category", ask("PATCH", transaction(DEPOSIT), unknown))
    for how, target in (("capture", hold["id"]), ("release", hold["id"]), ("reverse", DEPOSIT)):
        asked = ask("POST", f"{transaction(target)}/{how}", unknown, key="unknown")
        await recorder.refused("unknown_category", asked)
    await recorder.done(ask("PATCH", "/v1/settings", {"strict_categories": False}))


async def events(recorder: Recorder, cast: Cast) -> None:
    """The journal as a feed."""
    get = partial(request, "GET", principal=cast.service)
    await recorder.show("From the beginning", get("/v1/events?after=0&limit=1"))
    await recorder.show("From the last one seen", get(f"/v1/events/stream?after={DEPOSIT - 1}"))
    await recorder.show("Where the journal stands", get("/v1/integrity"))


async def exports(recorder: Recorder, cast: Cast, write: Callable[[], Awaitable[None]]) -> None:
    """Files of it all."""
    ask = partial(request, principal=cast.service)
    wanted = {"format": "csv", "dataset": "balances", "filters": {"prefix": "users"}}
    first = (await recorder.show("The balances of all wallets", ask("POST", "/v1/exports", wanted)))["id"]
    ledger = await recorder.show(
        "The ledger for Beancount", ask("POST", "/v1/exports", {"format": "beancount", "dataset": "transactions"})
    )
    foreign = {"format": "csv", "dataset": "balances", "filters": {"category": "food"}}
    await recorder.refused("invalid_field", ask("POST", "/v1/exports", foreign))
    await recorder.show("Cancel an export", ask("DELETE", f"/v1/exports/{ledger['id']}"))
    await recorder.refused("export_not_done", ask("GET", f"/v1/exports/{ledger['id']}/download"))
    await write()
    done = await recorder.show("One that is done", ask("GET", f"/v1/exports/{first}"))
    await recorder.show("All of them", ask("GET", "/v1/exports?limit=2"))
    await recorder.show("To its file", ask("GET", f"/v1/exports/{first}/download"))
    url = done["download"]["url"]
    await recorder.show("The file", request("GET", url))
    await recorder.show("The beginning of the file", request("GET", url, headers={"Range": "bytes=0-30"}))
    await recorder.refused("range_not_satisfiable", request("GET", url, headers={"Range": "bytes=9999-"}))
    await recorder.refused("not_found", request("GET", "/v1/downloads/nothing"))
    other = ask("POST", "/v1/exports", {"format": "jsonl", "dataset": "postings"})
    ended = await recorder.done(other)
    await write()
    link = (await recorder.done(ask("GET", f"/v1/exports/{ended['id']}")))["download"]["url"]
    await recorder.done(ask("DELETE", f"/v1/exports/{ended['id']}"))
    await recorder.refused("export_expired", ask("GET", f"/v1/exports/{ended['id']}/download"))
    await recorder.refused("export_expired", request("GET", link))
    await recorder.refused_at_last("too_many_exports", other)


async def webhooks(recorder: Recorder, cast: Cast, give_up: Callable[[str], None]) -> None:
    """Where events are posted to."""
    ask = partial(request, principal=cast.service)
    hook = {"url": "https://example.com/hooks/ledger", "event_types": ["ledgerx.transaction.posted"]}
    made = await recorder.show("To a URL", ask("POST", "/v1/webhooks", hook))
    path = f"/v1/webhooks/{made['id']}"
    give_up(made["id"])
    await recorder.show("All webhooks", ask("GET", "/v1/webhooks"))
    await recorder.show("How far it is", ask("GET", path))
    await recorder.show("Other events", ask("PATCH", path, {"event_types": None}, headers={"If-Match": '"1"'}))
    await recorder.show("Is it there?", ask("POST", f"{path}/ping"))
    await recorder.show("What nobody took", ask("GET", f"{path}/deliveries?outcome=dead"))
    await recorder.show("One event once more", ask("POST", f"{path}/redeliver", {"sequence": DEPOSIT}))
    await recorder.show("All since an entry", ask("POST", f"{path}/redeliver", {"from_sequence": DEPOSIT}))
    await recorder.show("A new secret", ask("POST", f"{path}/rotate-secret", {"overlap_s": 3_600}))
    for method, body in (("PATCH", {"event_types": None}), ("DELETE", None)):
        await recorder.refused("precondition_failed", ask(method, path, body, headers={"If-Match": '"1"'}))
    await recorder.refused_at_last("conflict", ask("POST", f"{path}/ping"))
    await recorder.refused("conflict", ask("POST", f"{path}/redeliver", {"sequence": 1}))
    await recorder.done(ask("PATCH", path, {"status": "disabled"}))
    await recorder.refused("webhook_disabled", ask("POST", f"{path}/ping"))
    await recorder.refused("webhook_disabled", ask("POST", f"{path}/redeliver", {"sequence": 1}))
    await recorder.show("Remove a webhook", ask("DELETE", path))
    another = partial(request, "POST", "/v1/webhooks", hook, principal=cast.others_owner)
    for _ in range(MAX_ENDPOINTS):
        await recorder.done(another())
    await recorder.refused("too_many_webhooks", another())


async def people(recorder: Recorder, cast: Cast) -> None:
    """Users: made, changed, removed."""
    ask = partial(request, principal=cast.owner)
    grace = {"email": "grace@example.com", "role": "auditor", "name": "Grace"}
    made = await recorder.show("An auditor", ask("POST", "/v1/users", grace))
    await recorder.refused("email_taken", ask("POST", "/v1/users", grace))
    await recorder.show("All users", ask("GET", "/v1/users"))
    path = f"/v1/users/{made['id']}"
    await recorder.show("One user", ask("GET", path))
    await recorder.show("Another role", ask("PATCH", path, {"role": "operator"}, headers={"If-Match": '"1"'}))
    await recorder.refused("email_taken", ask("PATCH", path, {"email": OWNER_EMAIL}))
    me = f"/v1/users/{cast.owner_id}"
    await recorder.refused("last_owner", ask("PATCH", me, {"role": "member"}))
    await recorder.refused("last_owner", ask("DELETE", me))
    token = await recorder.show("A token for a password", ask("POST", f"{path}/password-reset"))
    reset = {"token": token["token"], "password": "a new and long one"}
    await recorder.show("Set a password", request("POST", "/v1/auth/password-reset", reset))
    await recorder.refused("invalid_grant", request("POST", "/v1/auth/password-reset", reset))
    for method, body in (("PATCH", {"name": "G."}), ("DELETE", None)):
        await recorder.refused("precondition_failed", ask(method, path, body, headers={"If-Match": '"1"'}))
    await recorder.show("Remove a user", ask("DELETE", path))
    removed = Principal(cast.tenant_id, f"user:{made['id']}", SCOPES[Role.OPERATOR], Role.OPERATOR)
    change = {"current_password": PASSWORD, "new_password": PASSWORD}
    await recorder.refused("not_found", request("GET", "/v1/users/me", principal=removed))
    await recorder.refused("not_found", request("POST", "/v1/users/me/password", change, principal=removed))
    newcomer = {"tenant": TENANT, "email": "joan@example.com", "password": "a new and long one", "name": "Joan"}
    await recorder.show("Become a member", request("POST", "/v1/auth/register", newcomer))
    await recorder.refused("forbidden", request("POST", "/v1/auth/register", {**newcomer, "tenant": "closed"}))


async def passwords(recorder: Recorder, cast: Cast) -> None:
    """Changing one's own password, and guessing it too often."""
    change = partial(request, "POST", "/v1/users/me/password", principal=cast.owner)
    await recorder.show("Another password", change({"current_password": PASSWORD, "new_password": PASSWORD * 2}))
    guess = change({"current_password": "wrong", "new_password": PASSWORD})
    await recorder.refused("invalid_credentials", guess)
    login = {"tenant": TENANT, "email": OWNER_EMAIL, "password": "wrong"}
    await recorder.refused_at_last("too_many_attempts", guess)
    await recorder.refused_at_last("too_many_attempts", request("POST", "/v1/auth/login", login))


async def clients(recorder: Recorder, cast: Cast) -> None:
    """Services and their secrets."""
    ask = partial(request, principal=cast.owner)
    await recorder.show("All services", ask("GET", "/v1/clients"))
    made = await recorder.show(
        "A service that reads", ask("POST", "/v1/clients", {"name": "reports", "scopes": ["ledger:read"]})
    )
    path = f"/v1/clients/{made['client_id']}"
    secret = await recorder.show("One more secret", ask("POST", f"{path}/secrets"))
    for _ in range(2):
        await recorder.done(ask("POST", f"{path}/secrets"))
    await recorder.refused("conflict", ask("POST", f"{path}/secrets"))
    await recorder.show("End a secret", ask("DELETE", f"{path}/secrets/{secret['id']}"))
    await recorder.show("End a service", ask("DELETE", path))
