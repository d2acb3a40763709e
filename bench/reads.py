"""The reads that `bench.reading` measures: paths of each kind, another one each time."""

import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from urllib.parse import urlencode

from ledgerx.filters import TransactionFilters
from ledgerx.journal import Kind
from ledgerx_api.paging import DEFAULT_LIMIT, Cursor, after
from tests.integration.large_journal import FIRST_AT, USERS

HOT = "bank"
_LIST = "/v1/transactions"


class Reads:
    """Paths on a journal of `make_large_journal` whose last entry is `last`; `chance` picks accounts and moments."""

    def __init__(self, last: int, chance: random.Random) -> None:
        self._last = last
        self._chance = chance

    def kinds(self) -> dict[str, Callable[[], str]]:
        """A function that makes a path, by the name of the kind of read."""
        return {**self._of_accounts(), **self._lists(), **self._sums()}

    def _of_accounts(self) -> dict[str, Callable[[], str]]:
        kinds: dict[str, Callable[[], str]] = {}
        for whose, code in (("hot", lambda: HOT), ("ordinary", self._user)):
            path = self._path_of(code)
            kinds |= {
                f"balance, {whose}": path("balance"),
                f"balance, recorded time, {whose}": path("balance", as_of=self._moment),
                f"balance, effective time, {whose}": path("balance", effective_at=self._moment),
                f"balance, both times, {whose}": path("balance", as_of=self._moment, effective_at=self._moment),
                f"statement, effective time, {whose}": path("statement", period=self._month),
                f"statement, recorded time, {whose}": path("statement", period=self._month, by=lambda: "recorded"),
                f"postings, {whose}": path("postings"),
                f"postings, deep page, {whose}": self._deep_postings(code),
            }
        # As somebody saw it at that time: the recorded and the effective time are one and the same moment.
        kinds["balance, both times the same, hot"] = lambda: self._at_one_moment(HOT)
        return kinds

    def _lists(self) -> dict[str, Callable[[], str]]:
        often = (("category", "c3"), ("metadata", '{"channel":"web"}'), ("prefix", "users"), ("account", HOT))
        rare = (("category", "rare"), ("metadata", '{"channel":"post"}'), ("kind", Kind.HOLD))
        kinds = {
            "transactions": lambda: _LIST,
            "transactions, deep page": self._deep_list(TransactionFilters()),
            "transactions of an ordinary account": lambda: _list(account=self._user()),
            "transactions by reference": lambda: _list(reference=f"r{self._chance.randrange(USERS + 2, self._last)}"),
            "transactions of a recorded day": lambda: _list(**self._day("recorded")),
            "transactions of an effective day": lambda: _list(**self._day("effective")),
            "transactions of an effective day and account": lambda: _list(account=HOT, **self._day("effective")),
            "transactions of a rare amount": lambda: _list(amount_from="1000.00"),
            "transactions of a rare amount, deep page": self._deep_list(TransactionFilters(amount_from="1000.00")),
            "transactions of the hot account and a rare category": lambda: _list(account=HOT, category="rare"),
            "transactions of an account and a frequent category": lambda: _list(account=self._user(), category="c3"),
        }
        for frequency, filters in (("frequent", often), ("rare", rare)):
            for name, value in filters:
                kinds[f"transactions, {frequency} {name}"] = lambda name=name, value=value: _list(**{name: value})
                kinds[f"transactions, {frequency} {name}, deep page"] = self._deep_list(
                    TransactionFilters(**{name: value})
                )
        return kinds

    def _sums(self) -> dict[str, Callable[[], str]]:
        def summary(**parameters: str) -> str:
            return "/v1/summary?" + urlencode(parameters)

        def days(length: int) -> dict[str, str]:
            begin = self._moment_at().date()
            return {"from": f"{begin}", "to": f"{begin + timedelta(days=length)}"}

        everything = {"from": f"{date(2100, 1, 1)}", "to": f"{date(2110, 1, 1)}"}
        # Of the large journal: more would be refused.
        year = {"from": f"{date(2101, 1, 1)}", "to": f"{date(2101, 12, 1)}"}
        return {
            "balance of a prefix": lambda: "/v1/balance?prefix=users",
            "trial balance": lambda: "/v1/trial-balance",
            "summary of an ordinary account by day, a month": lambda: summary(
                account=self._user(), group_by="day", **days(30)
            ),
            "summary of the hot account by month, all": lambda: summary(account=HOT, group_by="month", **everything),
            "summary of all accounts by category, a day": lambda: summary(group_by="category", **days(1)),
            "summary of all accounts by category, a month": lambda: summary(group_by="category", **days(30)),
            "summary of all accounts by month, eleven months": lambda: summary(group_by="month", **year),
        }

    def _path_of(self, code: Callable[[], str]) -> Callable[..., Callable[[], str]]:
        def path(
            what: str, *, period: Callable[[], dict[str, str]] | None = None, **parameters: Callable[[], str]
        ) -> Callable[[], str]:
            def one() -> str:
                query = {name: value() for name, value in parameters.items()} | (period() if period else {})
                return f"/v1/accounts/{code()}/{what}?{urlencode(query)}"

            return one

        return path

    def _deep_postings(self, code: Callable[[], str]) -> Callable[[], str]:
        def one() -> str:
            path = f"/v1/accounts/{code()}/postings"
            return f"{path}?cursor={after(Cursor(path, DEFAULT_LIMIT, None), (self._seq(), 0))}"

        return one

    def _deep_list(self, filters: TransactionFilters) -> Callable[[], str]:
        def one() -> str:
            return f"{_LIST}?cursor={after(Cursor(_LIST, DEFAULT_LIMIT, None), (filters, self._seq()))}"

        return one

    def _at_one_moment(self, code: str) -> str:
        moment = self._moment()
        return f"/v1/accounts/{code}/balance?{urlencode({'as_of': moment, 'effective_at': moment})}"

    def _user(self) -> str:
        return f"users:{self._chance.randrange(USERS)}"

    def _seq(self) -> int:
        return self._chance.randrange(USERS + 2, self._last)

    def _moment_at(self) -> datetime:
        return FIRST_AT + timedelta(minutes=self._chance.randrange(self._last))

    def _moment(self) -> str:
        return f"{self._moment_at():%Y-%m-%dT%H:%M:%SZ}"

    def _month(self) -> dict[str, str]:
        begin = self._moment_at()
        return {"from": f"{begin:%Y-%m-%dT%H:%M:%SZ}", "to": f"{begin + timedelta(days=30):%Y-%m-%dT%H:%M:%SZ}"}

    def _day(self, time: str) -> dict[str, str]:
        begin = self._moment_at()
        end = begin + timedelta(days=1)
        return {f"{time}_from": f"{begin:%Y-%m-%dT%H:%M:%SZ}", f"{time}_to": f"{end:%Y-%m-%dT%H:%M:%SZ}"}


def _list(**parameters: str) -> str:
    return f"{_LIST}?{urlencode(parameters)}"
