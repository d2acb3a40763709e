"""What members may do, and what they are told: `decide` for commands that are confined to an owner, and redaction."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.commands import (
    Amend,
    AnyCommand,
    Capture,
    CloseAccount,
    Direction,
    Expire,
    Hold,
    Line,
    Post,
    Release,
    Reverse,
    UpdateAccount,
)
from ledgerx.deciding.ledger import Ledger
from ledgerx.errors import Forbidden
from ledgerx.journal import AccountType, Entry, Kind, Layer, Posting
from ledgerx.members import counterparts, own_key, redacted
from ledgerx.outcomes import Outcome, Recorded, Refused, Replayed
from ledgerx.state import Sums
from tests.commands import envelope, opening, transfer
from tests.unit.memory_ledger import NOON, MemoryLedger

ALICE, BOB = "alice-id", "bob-id"
MEMBER: dict[str, Any] = {"confined_to": ALICE, "actor": f"user:{ALICE}"}
Told = tuple[str, int, str, dict[str, Any]] | str


def by_alice(key: str, amount: str = "1", debit: str = "wallet", credit: str = "bob", **more: Any) -> Post:
    """A payment of Alice's."""
    return transfer(key, amount, debit=debit, credit=credit, **MEMBER, **more)


def hold(key: str, amount: str = "1", *, debit: str = "wallet", credit: str = "bob", **more: Any) -> Hold:
    lines = (Line(debit, Direction.DEBIT, amount), Line(credit, Direction.CREDIT, amount))
    return Hold(lines=lines, **envelope(key) | more)


def told(outcome: Outcome) -> Told:
    """All that a client can see of a refusal."""
    if not isinstance(outcome, Refused):
        return type(outcome).__name__
    error = outcome.error
    return error.code, error.status, error.detail, error.extra


def code_of(outcome: Outcome) -> str | None:
    return outcome.error.code if isinstance(outcome, Refused) else None


def run(ledger: MemoryLedger, *commands: AnyCommand) -> Sequence[Outcome]:
    return ledger.run(commands).outcomes


def alices(*, funds: str, debt: str) -> MemoryLedger:
    """Alice has `funds` in `wallet` and nothing in `savings` and may owe up to `debt` on `debt`; `bank` is not hers."""
    ledger = MemoryLedger(members_may_post=True)
    run(
        ledger,
        opening("bank", kind=AccountType.ASSET),
        opening("wallet", owner=ALICE, min_balance="0"),
        opening("savings", owner=ALICE, min_balance="0"),
        opening("debt", kind=AccountType.ASSET, owner=ALICE, max_balance=debt),
        transfer("fund", funds, credit="wallet"),
    )
    return ledger


@pytest.fixture
def ledger() -> MemoryLedger:
    """Alice's ledger with some in `savings`, with `bob` and `shop`."""
    ledger = alices(funds="100", debt="50")
    run(
        ledger,
        opening("bob", owner=BOB, min_balance="0"),
        opening("shop"),
        transfer("fund savings", "5", credit="savings"),
        transfer("fund bob", "7", credit="bob"),
    )
    return ledger


def test_a_member_posts_only_where_the_tenant_lets_it_and_is_told_nothing_else(ledger: MemoryLedger) -> None:
    ledger.members_may_post = False
    commands = [by_alice("a"), by_alice("b", credit="nobody"), hold("c", **MEMBER)]
    commands.append(by_alice("d", "1000000", if_versions={"bob": 1}))
    outcomes = run(
        ledger,
        *commands,
        Capture(target=1, **envelope("e") | MEMBER),
        Release(target=9, **envelope("f") | MEMBER),
    )
    assert [told(outcome) for outcome in outcomes] == [
        ("forbidden", 403, "this tenant does not let members post", {})
    ] * 6


@pytest.mark.parametrize(
    ("debit", "credit", "refused"),
    [
        ("wallet", "bob", None),
        ("wallet", "savings", None),
        ("wallet", "shop", None),
        ("wallet", "bank", None),
        ("wallet", "debt", None),
        ("debt", "shop", None),
        ("bob", "wallet", "bob"),
        ("bank", "wallet", "bank"),
        ("shop", "bob", "shop"),
        ("nobody", "wallet", "nobody"),
        ("wallet", "nobody", "nobody"),
    ],
)
@pytest.mark.parametrize("pay", [by_alice, lambda key, **sides: hold(key, **sides, **MEMBER)])
def test_a_member_debits_its_own_accounts_and_credits_any(
    ledger: MemoryLedger, pay: Any, debit: str, credit: str, refused: str | None
) -> None:
    [outcome] = run(ledger, pay("t", debit=debit, credit=credit))
    if refused is None:
        assert isinstance(outcome, Recorded)
    else:
        assert told(outcome) == (
            "unknown_account",
            422,
            f'there is no account "{refused}" that this can be booked on',
            {"account": refused},
        )


def test_own_accounts_are_told_as_they_are(ledger: MemoryLedger) -> None:
    run(ledger, UpdateAccount(code="savings", frozen=True, **envelope("freeze")))
    outcomes = run(
        ledger,
        by_alice("a", "100.01"),
        by_alice("b", "50.01", debit="debt"),
        by_alice("c", debit="savings"),
        by_alice("d", "0.001"),
    )
    assert [code_of(outcome) for outcome in outcomes] == [
        "insufficient_funds",
        "limit_exceeded",
        "account_frozen",
        "too_many_decimals",
    ]
    [short, over, *_] = outcomes
    assert isinstance(short, Refused)
    assert isinstance(over, Refused)
    assert (short.error.extra, over.error.extra) == (
        {"account": "wallet", "shortfall": "0.01"},
        {"account": "debt", "excess": "0.01"},
    )


# What may be wrong with somebody else's account that is credited.
IN_THE_WAY: dict[str, list[AnyCommand]] = {
    "missing": [],
    "frozen": [opening("x"), UpdateAccount(code="x", frozen=True, **envelope("freeze"))],
    "closed": [opening("x"), CloseAccount(code="x", **envelope("close"))],
    "another asset": [opening("x", "JPY")],
    "full": [opening("x", max_balance="0.99")],
    "empty": [opening("x", kind=AccountType.ASSET, min_balance="0")],
}


@pytest.mark.parametrize(
    "command",
    [
        by_alice("t", credit="x"),
        by_alice("t", "1.00", credit="x", metadata='{"a":1}'),
        hold("t", credit="x", **MEMBER),
        by_alice("t", debit="x", credit="x"),
        by_alice("t", debit="x", credit="wallet"),
        # The amounts would tell the scale, and the sums the asset.
        Post(
            lines=(Line("wallet", Direction.DEBIT, "1"), Line("x", Direction.CREDIT, "1.001")),
            **envelope("t") | MEMBER,
        ),
        Post(
            lines=(Line("wallet", Direction.DEBIT, "1"), Line("x", Direction.CREDIT, "1", "EUR")),
            **envelope("t") | MEMBER,
        ),
        by_alice("t", credit="shop", if_versions={"x": 0}),
    ],
)
def test_what_is_wrong_with_an_account_of_somebody_else_is_told_like_one_that_is_missing(command: Post) -> None:
    answers = {}
    for name, setting in IN_THE_WAY.items():
        ledger = MemoryLedger(members_may_post=True)
        run(
            ledger,
            opening("bank", kind=AccountType.ASSET),
            opening("shop"),
            opening("wallet", owner=ALICE, min_balance="0"),
            transfer("fund", "100", credit="wallet"),
            *setting,
        )
        [outcome] = run(ledger, command)
        answers[name] = told(outcome)
    # That an amount is too fine is told of an account that takes its asset, whose scale is that of the member's own.
    fine = ("too_many_decimals", 422, '"1.001" has more than 2 decimals', {"scale": 2})
    assert answers["missing"] == (
        "unknown_account",
        422,
        'there is no account "x" that this can be booked on',
        {"account": "x"},
    )
    assert all(one in (answers["missing"], fine) for one in answers.values()), answers


def test_who_has_too_little_is_not_told_what_others_have_room_for(ledger: MemoryLedger) -> None:
    run(ledger, opening("cup", max_balance="1"))
    lines = (Line("cup", Direction.CREDIT, "101"), Line("wallet", Direction.DEBIT, "101"))
    [outcome] = run(ledger, Post(lines=lines, **envelope("t") | MEMBER))
    assert code_of(outcome) == "insufficient_funds"


def test_the_owner_counts_as_the_commands_before_leave_it(ledger: MemoryLedger) -> None:
    give = UpdateAccount(code="wallet", owner=BOB, **envelope("give"))
    take = UpdateAccount(code="bob", owner=ALICE, **envelope("take"))
    before, _, _, gone, new = run(
        ledger, by_alice("a"), give, take, by_alice("b"), by_alice("c", debit="bob", credit="shop")
    )
    assert isinstance(before, Recorded)
    assert (code_of(gone), code_of(new)) == ("unknown_account", None)


def test_a_member_does_nothing_but_what_moves_money(ledger: MemoryLedger) -> None:
    commands: list[AnyCommand] = [
        Amend(target=7, category="mine", **envelope("a") | MEMBER),
        Expire(target=7, **envelope("b") | MEMBER),
        opening("new"),
        UpdateAccount(code="wallet", frozen=True, **envelope("c") | MEMBER),
        CloseAccount(code="wallet", **envelope("d") | MEMBER),
    ]
    commands[2] = msgspec.structs.replace(commands[2], **MEMBER)
    assert {code_of(outcome) for outcome in run(ledger, *commands)} == {"forbidden"}


# Who does what with a hold, and whether that may be: who pays captures it, who is promised something gives it up.
@pytest.mark.parametrize(
    ("debit", "credit", "capture", "release"),
    [
        ("wallet", "bob", None, "forbidden"),
        ("bob", "wallet", "forbidden", None),
        ("wallet", "savings", None, None),
        ("bob", "shop", "not_found", "not_found"),
    ],
)
def test_a_hold_is_resolved_by_who_loses_by_it(
    ledger: MemoryLedger, debit: str, credit: str, capture: str | None, release: str | None
) -> None:
    number = ledger.head.seq + 1
    run(ledger, hold("h", debit=debit, credit=credit), hold("i", debit=debit, credit=credit))
    parts = (Line(debit, Direction.DEBIT, "0.5"), Line(credit, Direction.CREDIT, "0.5"))
    partly, captured, released = run(
        ledger,
        Capture(target=number, lines=parts, **envelope("part") | MEMBER),
        Capture(target=number, **envelope("capture") | MEMBER),
        Release(target=number + 1, **envelope("release") | MEMBER),
    )
    assert (code_of(captured), code_of(released)) == (capture, release)
    # The rest would be released; and what is left of others' accounts would be told.
    assert code_of(partly) == ("not_found" if capture == "not_found" else "forbidden")


@pytest.mark.parametrize(
    ("debit", "credit", "code"),
    [
        ("bob", "wallet", None),
        ("wallet", "bob", "forbidden"),
        ("wallet", "savings", None),
        ("bank", "bob", "not_found"),
    ],
)
@pytest.mark.parametrize("kind", [Kind.POST, Kind.CAPTURE])
def test_a_transaction_is_reversed_by_who_got_it(
    ledger: MemoryLedger, kind: Kind, debit: str, credit: str, code: str | None
) -> None:
    if kind is Kind.POST:
        run(ledger, transfer("t", debit=debit, credit=credit))
    else:
        run(ledger, hold("t", debit=debit, credit=credit))
        run(ledger, Capture(target=ledger.head.seq, **envelope("capture")))
    number = ledger.head.seq
    missing, [outcome] = (
        run(ledger, Reverse(target=number + 10, **envelope("r") | MEMBER)),
        run(ledger, Reverse(target=number, **envelope("r") | MEMBER)),
    )
    assert code_of(outcome) == code
    if code == "not_found":
        [unknown] = missing
        assert isinstance(unknown, Refused)
        assert isinstance(outcome, Refused)
        assert outcome.error.detail == unknown.error.detail.replace(str(number + 10), str(number))


def test_the_other_account_of_a_transaction_that_is_in_the_way_is_not_named(ledger: MemoryLedger) -> None:
    run(ledger, transfer("t", debit="bob", credit="wallet"))
    number = ledger.head.seq
    run(ledger, UpdateAccount(code="bob", frozen=True, **envelope("freeze")))
    [outcome] = run(ledger, Reverse(target=number, **envelope("r") | MEMBER))
    assert told(outcome) == ("conflict", 409, "an account of somebody else does not take this", {})
    # Who may not do it anyway is not told that much.
    run(ledger, UpdateAccount(code="bob", frozen=False, **envelope("thaw")), hold("h", debit="bob", credit="wallet"))
    number = ledger.head.seq
    run(ledger, UpdateAccount(code="bob", frozen=True, **envelope("freeze again")))
    [outcome] = run(ledger, Capture(target=number, **envelope("c") | MEMBER))
    assert told(outcome) == ("forbidden", 403, "a member takes from its own accounts only", {})


@pytest.mark.parametrize(
    ("layer", "amount", "rest", "is_taken"),
    [
        (Layer.POSTED, 1, [], True),
        (Layer.POSTED, -1, [], False),
        (Layer.PENDING_DEBIT, 1, [], True),
        (Layer.PENDING_DEBIT, -1, [], False),
        (Layer.PENDING_CREDIT, -1, [], False),
        (Layer.PENDING_CREDIT, 3, [], True),
        (Layer.PENDING_CREDIT, 3, [-2], True),
        (Layer.PENDING_CREDIT, 3, [-2, -1], False),
    ],
)
def test_whatever_the_command_nothing_is_recorded_that_others_lose_by(
    ledger: MemoryLedger, layer: Layer, amount: int, rest: list[int], is_taken: bool
) -> None:
    command = by_alice("t")
    working = Ledger(ledger.state([command]), NOON)
    bob = Posting("bob", ledger.accounts["bob"].account_id, "USD", 2, amount, layer)
    postings = [bob, *(msgspec.structs.replace(bob, layer=Layer.POSTED, amount=posted) for posted in rest)]
    if is_taken:
        with pytest.raises(Forbidden):
            working.move(command, Kind.CAPTURE, postings)
    assert working.head == ledger.head
    if not is_taken:
        assert working.move(command, Kind.CAPTURE, postings).entry.seq == ledger.head.seq + 1


def test_a_member_is_shown_its_own_lines_and_balances(ledger: MemoryLedger) -> None:
    lines = (
        Line("wallet", Direction.DEBIT, "10"),
        Line("savings", Direction.CREDIT, "1"),
        Line("bob", Direction.CREDIT, "4"),
        Line("shop", Direction.CREDIT, "5"),
    )
    post = Post(lines=lines, **envelope(own_key(f"user:{ALICE}", "k")) | MEMBER)
    first, again = run(ledger, post), run(ledger, post)
    for outcome in (*first, *again):
        assert isinstance(outcome, Recorded | Replayed)
        assert [(line.account, line.amount) for line in outcome.entry.postings] == [
            ("wallet", 1000),
            ("savings", -100),
            ("", -900),
        ]
        assert (outcome.entry.actor, outcome.entry.idempotency_key, outcome.entry.hash) == (f"user:{ALICE}", "k", b"")
    assert isinstance(first[0], Recorded)
    assert first[0].balances.keys() == {"wallet", "savings"}
    # The journal has it all.
    assert [line.account for line in ledger.entries[-1].postings] == ["wallet", "savings", "bob", "shop"]
    assert ledger.entries[-1].hash == ledger.head.hash


def test_who_else_made_a_transaction_is_left_out() -> None:
    entry = Entry(
        seq=9,
        kind=Kind.POST,
        recorded_at=NOON,
        actor="client:till",
        idempotency_key="order 7",
        fingerprint=b"f",
        annotations_hash=b"a",
        postings=(Posting("wallet", 1, "USD", 2, -100),),
        category="food",
        hash=b"h",
    )
    shown = redacted(entry, ALICE)
    assert (shown.actor, shown.idempotency_key, shown.fingerprint, shown.annotations_hash, shown.hash) == (
        "",
        None,
        None,
        None,
        b"",
    )
    assert (shown.seq, shown.category) == (9, "food")


AMOUNTS = st.integers(1, 5)
SIDES = st.sampled_from(["own", "other"])
MOVES = st.lists(st.tuples(SIDES, SIDES, st.sampled_from(["USD", "EUR"]), AMOUNTS), min_size=1, max_size=6)


def posted_lines(moves: list[tuple[str, str, str, int]]) -> list[Posting]:
    return [
        Posting(account, 1, asset, 2, sign * amount)
        for debit, credit, asset, amount in moves
        for account, sign in ((debit, 1), (credit, -1))
    ]


def held(line: Posting) -> Posting:
    layer = Layer.PENDING_DEBIT if line.amount > 0 else Layer.PENDING_CREDIT
    return msgspec.structs.replace(line, layer=layer)


def taken_off(line: Posting) -> Posting:
    return msgspec.structs.replace(held(line), amount=-line.amount)


@given(MOVES, st.sampled_from([Kind.POST, Kind.HOLD, Kind.CAPTURE, Kind.RELEASE]))
def test_own_lines_and_the_rest_balance_as_the_transaction_does(
    moves: list[tuple[str, str, str, int]], kind: Kind
) -> None:
    posted = posted_lines(moves)
    lines = {
        Kind.POST: posted,
        Kind.HOLD: [held(line) for line in posted],
        Kind.RELEASE: [taken_off(line) for line in posted],
        Kind.CAPTURE: [*(taken_off(line) for line in posted), *posted],
    }[kind]
    own = [line for line in lines if line.account == "own"]
    rest = list(counterparts(kind, own))
    totals: Counter[tuple[str, bool]] = Counter()
    for line in [*own, *rest]:
        totals[line.asset, line.layer is Layer.POSTED] += line.amount
    assert not any(totals.values())
    assert all(line.account == "" and line.amount for line in rest)
    assert len({(line.asset, line.layer is Layer.POSTED) for line in rest}) == len(rest)
    # The pending layers are those that the other lines of such a transaction stand on.
    assert {(line.layer, line.amount > 0) for line in rest} <= POSSIBLE[kind]
    # Of a whole transaction nothing is left to stand for.
    assert list(counterparts(kind, lines)) == []


# The layers on which debits (True) and credits of a kind of transaction stand.
POSSIBLE = {
    Kind.POST: {(Layer.POSTED, True), (Layer.POSTED, False)},
    Kind.HOLD: {(Layer.PENDING_DEBIT, True), (Layer.PENDING_CREDIT, False)},
    Kind.RELEASE: {(Layer.PENDING_DEBIT, False), (Layer.PENDING_CREDIT, True)},
    Kind.CAPTURE: {
        (Layer.PENDING_DEBIT, False),
        (Layer.PENDING_CREDIT, True),
        (Layer.POSTED, True),
        (Layer.POSTED, False),
    },
}


OWN_CODES = ["wallet", "savings", "debt"]
OTHERS = ["other:1", "other:2", "other:3"]
# What may be the matter with each of the others' accounts; their assets are the same, for who may pay learns these.
FACTS = st.sampled_from(["missing", "open", "frozen", "full", "poor", "bobs"])
LINES = st.lists(
    st.tuples(st.sampled_from([*OWN_CODES, *OTHERS]), st.sampled_from(Direction), st.integers(0, 4)),
    min_size=2,
    max_size=4,
)
PAYMENTS = st.tuples(
    st.sampled_from(["wallet", "debt", "other:1"]), st.sampled_from([*OWN_CODES, *OTHERS]), st.integers(1, 20)
)


def world(facts: Sequence[str]) -> MemoryLedger:
    """Alice's accounts and those of others, of which these are the facts; and holds and posts between them.

    Their numbers are the same in every world.
    """
    ledger = alices(funds="10", debt="5")
    for code, fact in zip(OTHERS, facts, strict=True):
        run(ledger, opening(code if fact != "missing" else f"nothing:{code}", owner=BOB if fact == "bobs" else None))
        limits: dict[str, Any] = {"full": {"max_balance": "2"}, "poor": {"min_balance": "-1"}}.get(fact, {})
        if fact != "missing":
            run(ledger, UpdateAccount(code=code, frozen=fact == "frozen", **limits, **envelope(f"set {code}")))
    return ledger


def settle(ledger: MemoryLedger, payments: Sequence[tuple[str, str, int]]) -> None:
    """Holds and posts that somebody else makes."""
    for number, (debit, credit, amount) in enumerate(payments):
        make = hold if number % 2 else transfer
        run(ledger, make(f"made {number}", str(amount), debit=debit, credit=credit))


def commands_of_alice(lines: list[tuple[str, Direction, int]], target: int) -> list[AnyCommand]:
    given_lines = tuple(Line(code, direction, str(amount)) for code, direction, amount in lines)
    paid = tuple(line for line in given_lines if line.account in OWN_CODES or line.direction is Direction.CREDIT)
    return [
        Post(lines=given_lines, **envelope("p") | MEMBER),
        Hold(lines=given_lines, **envelope("h") | MEMBER),
        Post(lines=paid, **envelope("q") | MEMBER),
        Capture(target=target, **envelope("c") | MEMBER),
        Release(target=target, **envelope("r") | MEMBER),
        Reverse(target=target, **envelope("v") | MEMBER),
    ]


@given(st.lists(FACTS, min_size=3, max_size=3), st.lists(PAYMENTS, max_size=4), LINES, st.integers(5, 20))
def test_nobody_else_loses_by_a_member_and_nobody_else_is_named(
    facts: list[str], payments: list[tuple[str, str, int]], lines: list[tuple[str, Direction, int]], target: int
) -> None:
    ledger = world(facts)
    settle(ledger, payments)
    named = {code for code, _, _ in lines}
    for command in commands_of_alice(lines, target):
        before = {code: ledger.sums(account.account_id) for code, account in ledger.accounts.items()}
        [outcome] = run(ledger, command)
        shown = repr(outcome) if not isinstance(outcome, Refused) else repr(told(outcome))
        is_named = named if isinstance(command, Post) and isinstance(outcome, Refused) else set()
        assert not any(code in shown for code in [*OTHERS, "bank"] if code not in is_named), shown
        for code, account in ledger.accounts.items():
            if account.owner != ALICE:
                assert loses_nothing(before[code], ledger.sums(account.account_id)), (command, code)


def loses_nothing(before: Sums, after: Sums) -> bool:
    """Whether nothing more was debited or reserved, and what was promised is there or still promised."""
    return (
        after.posted <= before.posted
        and after.pending_debit <= before.pending_debit
        and after.posted + after.pending_credit <= before.posted + before.pending_credit
    )


@given(
    st.lists(FACTS, min_size=3, max_size=3),
    st.lists(FACTS, min_size=3, max_size=3),
    LINES,
    st.integers(1, 25),
)
def test_facts_about_others_change_an_answer_only_where_their_accounts_take_nothing(
    facts: list[str], other_facts: list[str], lines: list[tuple[str, Direction, int]], target: int
) -> None:
    for command in commands_of_alice(lines, target):
        answers = []
        for some in (facts, other_facts):
            ledger = world(some)
            # As many entries everywhere: numbers tell nothing.
            while ledger.head.seq < 15:
                run(ledger, opening(f"filler:{ledger.head.seq}"))
            [outcome] = run(ledger, command)
            answers.append(told(outcome))
        unknown = [one for one in answers if not isinstance(one, str) and one[0] == "unknown_account"]
        assert answers[0] == answers[1] or unknown, answers
        for _, _, detail, extra in unknown:
            assert detail == f'there is no account "{extra["account"]}" that this can be booked on'
            assert extra.keys() == {"account"}


@pytest.mark.parametrize(
    ("owner", "actor"), [(ALICE, f"user:{ALICE}"), ("oidc:https://issuer:alice", "oidc:https://issuer:alice")]
)
def test_what_a_member_did_is_told_to_it_and_to_nobody_else(owner: str, actor: str) -> None:
    entry = Entry(seq=9, kind=Kind.POST, recorded_at=NOON, actor=actor, idempotency_key=own_key(actor, "k"))
    mine, theirs = redacted(entry, owner), redacted(entry, BOB)
    assert (mine.actor, mine.idempotency_key) == (actor, "k")
    assert (theirs.actor, theirs.idempotency_key) == ("", None)


def test_keys_of_two_members_never_meet() -> None:
    assert own_key("oidc:0123456789ab:sub", "a:b") != own_key("oidc:0123456789ab:sub:a", "b")
